"""Several workers of one study: processes that call the same command, and one that watches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tqdm import tqdm

from applications._cli import EXIT_DONE, EXIT_STOPPED
from credit_like.config import UserError
from credit_like.hpo import best_trial

if TYPE_CHECKING:
    import optuna


def run_workers(argv: Sequence[str], workers: int, folder: Path, study: optuna.Study, trials: int) -> bool:
    """Run the command ``argv`` of ``tune`` in ``workers`` processes until each has ended; whether they were stopped.

    What they print goes to ``worker_K.log`` in ``folder``. Ctrl-C and SIGTERM are passed on to all of them once, and
    they stop where each can be gone on with. Raises UserError when none of them ended well.
    """
    command = [sys.executable, "-m", "applications.tune", *argv, "--workers", "1"]
    environment = dict(os.environ)
    share = str(max(1, (os.cpu_count() or 1) // workers))
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
        environment.setdefault(name, share)  # together they use the machine once
    logs = [folder / f"worker_{number + 1}.log" for number in range(workers)]
    processes = [
        # In a session of its own, so that Ctrl-C reaches it once, from here.
        subprocess.Popen(
            command, env=environment, stdout=log.open("ab"), stderr=subprocess.STDOUT, start_new_session=True
        )
        for log in logs
    ]
    stopped: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _watch(processes, study, trials)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    codes = [process.returncode for process in processes]
    if stopped or EXIT_STOPPED in codes:
        print(f"stopped; the same command goes on with the study in {folder}", file=sys.stderr)
        return True
    for log, code in zip(logs, codes, strict=True):
        if code != EXIT_DONE:
            print(f"note: a worker ended with {code}; {log} says why", file=sys.stderr)
    if EXIT_DONE not in codes:
        raise UserError(f"every worker failed; the last lines of {logs[0]}:\n{_tail(logs[0])}")
    return False


def _watch(processes: Sequence[subprocess.Popen[bytes]], study: optuna.Study, trials: int) -> None:
    """A bar of the trials that have ended, until every process has."""
    with tqdm(total=trials, desc=study.study_name, unit="trial", delay=2, disable=None) as bar:
        while True:
            running = any(process.poll() is None for process in processes)
            bar.n = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
            best = best_trial(study)
            bar.set_postfix_str("" if best is None else f"best {best.value:.6g}", refresh=True)
            if not running:
                return
            time.sleep(1)


def _tail(log: Path, lines: int = 8) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
