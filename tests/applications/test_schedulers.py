"""The job scripts of docs/schedulers.md, run by a scheduler that is a loop: stopped, requeued, and done at last."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "schedulers.md"
FOUND = re.findall(r"```sh\n(#!.*?)```", PAGE.read_text(), re.DOTALL)
SCRIPTS = dict(zip(("slurm", "pbs", "several"), FOUND, strict=True))

#: Two tasks on this machine; ends with the highest of their exit codes.
SRUN = """
for task in 0 1; do SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & echo $! >> tasks; done
code=0
for task in $(cat tasks); do wait $task; ended=$?; [ $ended -gt $code ] && code=$ended; done
rm tasks
exit $code
"""


@pytest.fixture
def home(tmp_path: Path, job: list[str]) -> Path:
    """A folder with the scheduler's commands: they note that the job wants to be run again."""
    programs = tmp_path / "bin"
    programs.mkdir()
    small = " ".join(f"'{part}'" for part in job[1:])
    tools = {
        "scontrol": '[ "$1" = show ] && echo 127.0.0.1 || echo "$@" >> requeued',
        "srun": SRUN,
        "qsub": 'echo "$@" >> requeued',
        "credit-like": f'exec {sys.executable} -m applications "$@" {small} trainer.epochs=6 $MORE',
    }
    for name, body in tools.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    return tmp_path


def submit(home: Path, script: str, more: str, warn: bool = False) -> tuple[int, str]:
    """One turn of the job: its exit code and what it said. ``warn``: SIGUSR1 once an epoch has ended."""
    (home / "job.sh").write_text(script)
    environment = os.environ | {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(PAGE.parents[1]),
        "SLURM_JOB_ID": "17",
        "SLURM_NTASKS": "2",
        "PBS_O_WORKDIR": str(home),
        "MORE": more,
        "OMP_NUM_THREADS": "1",
    }
    with (home / "said").open("w+") as said:
        process = subprocess.Popen(
            ["bash", "job.sh"], cwd=home, env=environment, stdout=said, stderr=subprocess.STDOUT, text=True
        )
        log = home / "runs" / "gat" / "training_log.csv"
        begun = log.read_text() if log.exists() else ""
        while warn and process.poll() is None and (not log.exists() or log.read_text() == begun):
            signal.sigtimedwait([], 0.05)
        if warn and (home / "tasks").exists():
            for task in (home / "tasks").read_text().split():
                os.kill(int(task), signal.SIGUSR1)
        elif warn:
            process.send_signal(signal.SIGUSR1)
        code = process.wait(timeout=300)
        said.seek(0)
        return code, said.read()


def ended(home: Path) -> int:
    """Epochs in the run's log."""
    return len((home / "runs" / "gat" / "training_log.csv").read_text().splitlines()) - 1


@pytest.mark.slow
def test_slurm_warns_by_a_signal_and_requeues(home: Path) -> None:
    code, said = submit(home, SCRIPTS["slurm"], "", warn=True)
    assert code == 75, said
    assert (home / "requeued").read_text() == "requeue 17\n"
    assert 1 <= ended(home) < 6
    code, said = submit(home, SCRIPTS["slurm"], "")
    assert code == 0, said
    assert ended(home) == 6
    assert (home / "requeued").read_text() == "requeue 17\n"
    assert (home / "runs" / "gat" / "report.html").exists()


@pytest.mark.slow
def test_slurm_warns_each_of_several_processes(home: Path) -> None:
    code, said = submit(home, SCRIPTS["several"], "", warn=True)
    assert code == 75, said
    assert (home / "requeued").read_text() == "requeue 17\n"
    code, said = submit(home, SCRIPTS["several"], "")
    assert code == 0, said
    assert ended(home) == 6
    assert (home / "runs" / "gat" / "report.html").exists()


@pytest.mark.slow
def test_pbs_stops_by_the_clock_and_submits_itself_again(home: Path) -> None:
    script = SCRIPTS["pbs"].replace("time_limit_minutes=220", "time_limit_minutes=0.005")
    assert script != SCRIPTS["pbs"]
    turns = [submit(home, script, "") for _ in range(2)]
    assert [code for code, _ in turns] == [75, 75], turns[-1][1]
    assert (home / "requeued").read_text() == "train.pbs\n" * 2
    code, said = submit(home, SCRIPTS["pbs"], "")  # this turn has time enough
    assert code == 0, said
    assert ended(home) == 6
