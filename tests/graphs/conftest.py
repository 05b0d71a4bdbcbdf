"""A small store that many tests only read: two captures, attacks, two buses, three splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_like.can.captures import AttackInterval, Capture
from credit_like.graphs.plan import Segment, SplitPlan
from credit_like.graphs.store import GraphStore
from credit_like.graphs.windows import WindowSettings
from tests.graphs.traffic import capture

SETTINGS = WindowSettings(window=20, stride=15)


def two_captures() -> list[Capture]:
    first = capture("first", 1500, seed=1, attacked=slice(300, 420), ids=25)
    t = first.frames.t
    flood = AttackInterval("dos", float(t[300]), float(t[419]))
    quiet = AttackInterval("suspension", float(t[700]), float(t[760]))
    first = Capture(first.name, first.frames, first.source, "sedan", (flood, quiet))
    return [first, capture("second", 900, seed=2, attacked=slice(500, 640), family="fuzzing", buses=2, ids=25)]


def three_way_plan() -> SplitPlan:
    segments = (
        Segment("first", "train", 0, 1000),
        Segment("first", "validation", 1020, 1500),
        Segment("second", "test/known", 10, 900),
    )
    return SplitPlan(segments, "time_blocks", (("first",), ("second",)), {"embargo": 0.5})


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    folder: Path = tmp_path_factory.mktemp("stores") / "small"
    return GraphStore.build(folder, two_captures(), three_way_plan(), SETTINGS)
