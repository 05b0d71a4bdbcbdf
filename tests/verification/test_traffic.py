"""The groups of a certificate and the second implementation that verifies them, on real captures."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_like.can import read_dataset
from credit_like.graphs.groups import find_groups
from credit_like.verification.traffic import SharedTraffic, group_problems


@pytest.mark.parametrize("name", ["crysys_s11", "camaro_ctt_format", "ralliart_hcrl_format", "nissan350z_road_format"])
def test_honest_groups_hold(name: str, real_data: Path) -> None:
    captures = read_dataset(real_data / name).captures
    assert group_problems(SharedTraffic(captures), find_groups(captures).record()) == []
