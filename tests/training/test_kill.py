"""kill -9 at any moment, during saves too: the run that was killed and restarted ends like the one that was not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from credit_like.training import read_checkpoint
from tests.training.toys import outcome

ROOT = Path(__file__).parents[2]


def lives(folder: Path, kills: int, seed: int, how: str) -> str:
    command = [sys.executable, "-m", "tests.training.killed", str(folder), str(kills), str(seed), how]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def points(folder: Path) -> dict[str, Any]:
    """All scalars that TensorBoard would show: {writer/tag: [(step, value), ...]}."""
    shown = {}
    for writer in ("batches", "epochs"):
        events = EventAccumulator(str(folder / "tensorboard" / writer), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            shown[f"{writer}/{tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
    return shown


def compare(folder: Path, kills: int, seed: int, how: str) -> str:
    told = lives(folder, kills, seed, how)
    assert outcome(folder / "killed") == outcome(folder / "undisturbed"), told
    assert points(folder / "killed") == points(folder / "undisturbed"), told
    names = [sorted(path.name for path in (folder / run).iterdir()) for run in ("killed", "undisturbed")]
    assert names[0] == names[1], told
    for path in (folder / "killed").glob("*.pt"):
        read_checkpoint(path)
    return told


def test_killed_and_restarted(tmp_path: Path) -> None:
    told = compare(tmp_path, kills=6, seed=3, how="inside")
    assert told.count("ended with -9") == 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_thirty_times_inside(seed: int, tmp_path: Path) -> None:
    told = compare(tmp_path, kills=30, seed=seed, how="inside")
    assert told.count("ended with -9") >= 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_thirty_times_from_outside_with_workers(seed: int, tmp_path: Path) -> None:
    compare(tmp_path, kills=30, seed=seed, how="outside")
