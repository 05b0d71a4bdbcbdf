"""torchrun --max-restarts: a run whose process was killed goes on by itself, to the same weights; no other does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from credit_like.training import read_checkpoint

#: Process 1 kills itself before its DIES_AT-th optimizer step, in its first life.
MORTAL = """
import os
import signal

from trainers import GATTrainer


class Mortal(GATTrainer):
    steps = 0

    def do_opt_step(self):
        self.steps += 1
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if self.rank == 1 and first and self.steps == int(os.environ["DIES_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().do_opt_step()
"""


@pytest.fixture
def mortal(tmp_path: Path, job: list[str]) -> list[str]:
    (tmp_path / "mortal.py").write_text(MORTAL)
    return [*job, "--trainer", "mortal:Mortal", "--no-evaluate", "trainer.mode=ddp", "trainer.device=cpu"]


def launch(tmp_path: Path, *words: str, dies_at: int = 0) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DIES_AT": str(dies_at),
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}",
    }
    command = [*torchrun, "--max-restarts", "1", "-m", "applications.train", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def weights(folder: Path) -> dict[str, Any]:
    return read_checkpoint(folder / "checkpoint.pt")["model"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_a_run_whose_process_was_killed_goes_on_by_itself(mode: str, mortal: list[str], tmp_path: Path) -> None:
    words = (*mortal, f"trainer.mode={mode}", "trainer.checkpoint_every_steps=3", "trainer.epochs=3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ended = launch(tmp_path, *words, f"save_loc={whole}")
    assert ended.returncode == 0, ended.stderr
    steps = read_checkpoint(whole / "checkpoint.pt")["step_state"]["optimizer_step"]
    ended = launch(tmp_path, *words, f"save_loc={killed}", dies_at=steps // 2)
    assert ended.returncode == 0, ended.stderr
    assert "exitcode: -9" in ended.stderr  # torchrun's report of the first life
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(killed)[name]), name
    assert (whole / "training_log.csv").read_text() == (killed / "training_log.csv").read_text()


@pytest.mark.slow
def test_a_restart_takes_up_no_run_that_was_there_before(mortal: list[str], tmp_path: Path) -> None:
    words = (*mortal, f"save_loc={tmp_path / 'run'}", "trainer.epochs=1")
    assert launch(tmp_path, *words).returncode == 0
    refused = launch(tmp_path, *words)
    assert refused.returncode == 1
    assert refused.stderr.count("holds a run already") == 2, refused.stderr  # once in each life


@pytest.mark.slow
def test_a_restart_does_not_outwit_a_time_limit(mortal: list[str], tmp_path: Path) -> None:
    words = (*mortal, f"save_loc={tmp_path / 'run'}", "trainer.epochs=99", "trainer.time_limit_minutes=0.001")
    stopped = launch(tmp_path, *words)
    assert stopped.returncode == 1
    assert stopped.stderr.count("go on with `credit-like train") == 1, stopped.stderr
    assert "was stopped, and torchrun's restart does not go on with it" in stopped.stderr
