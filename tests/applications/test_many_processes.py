"""credit-like train under torchrun: two processes leave the run of one, and speak as one."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from applications.__main__ import main

#: Nothing that draws random numbers in training, which each process would draw for itself.
EXACT = ("model.dropout=0", "model.unknown_rate=0", "trainer.device=cpu")


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "training_log.csv").open() as file:
        return list(csv.DictReader(file))


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*torchrun, "-m", "applications.train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_train_the_detector_of_one_and_speak_once(mode: str, job: list[str], tmp_path: Path) -> None:
    words = [*job, *EXACT]
    assert main(["train", *words, f"save_loc={tmp_path / 'one'}", "--no-evaluate"]) == 0
    ended = launch(*words, f"save_loc={tmp_path / 'two'}", f"trainer.mode={mode}")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("epoch 1/2 ") == ended.stdout.count(" windows, split by ") == 1
    for row, other in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        assert row.keys() == other.keys()
        assert all(math.isclose(float(row[name]), float(other[name]), rel_tol=1e-3) for name in row), (row, other)
    assert (tmp_path / "two" / "report.html").exists()
    again = launch(*words, f"save_loc={tmp_path / 'two'}", f"trainer.mode={mode}")
    assert again.stderr.count("holds a run already") == 1, again.stderr
