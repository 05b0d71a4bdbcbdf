"""The loss curves of five fixed runs are those that were written down: `python -m tests.golden.runs` rewrites them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.golden.runs import FOLDER, RUNS, golden_file

RTOL = 1e-4  # between machines the curves differ by rounding, about 1e-6


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No fsync, and one thread: with more, tiny models wait for each other."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("name", RUNS)
def test_the_curves_have_not_moved(name: str, tmp_path: Path) -> None:
    golden = json.loads(golden_file(name).read_text())
    curves = RUNS[name](tmp_path)
    assert curves.keys() == golden.keys()
    for column, values in golden.items():
        assert curves[column] == pytest.approx(values, rel=RTOL), (
            f"{column} of {name} has moved; if that is meant, `python -m tests.golden.runs` rewrites the curves, "
            "and the commit says why"
        )


@pytest.mark.parametrize("name", RUNS)
def test_the_curves_say_something(name: str) -> None:
    """A run that learns nothing would notice nothing."""
    golden = json.loads(golden_file(name).read_text())
    assert len(golden["train_loss"]) >= 4
    assert golden["train_loss"][-1] < 0.8 * golden["train_loss"][0]


def test_every_curve_has_a_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(RUNS)
