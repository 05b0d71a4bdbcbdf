"""A nursery of training processes that are killed: ``python -m tests.training.killed FOLDER KILLS SEED HOW``.

torch is imported once; every life of a run is a fork. First a run in ``FOLDER/undisturbed``, then the same one in
``FOLDER/killed``. ``HOW`` is ``inside`` (the process kills itself with SIGKILL at a drawn event: a batch, or any
system call of a save) or ``outside`` (the parent kills after a drawn time). Prints one line a life; exits 0 when the
last life, which nobody kills, ends well.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.utils.tensorboard
from tensorboard.summary.writer import event_file_writer

from tests.training.toys import Setup, send

SETUP = Setup(every_steps=2, accumulate=2, scheduler="linear-warmup-cosine")
CALLS = ("fsync", "replace", "link", "unlink", "open")


def live(folder: Path, life: int, kill_at: int | None, setup: Setup) -> None:
    """Train until the end, or until event number ``kill_at``."""
    real = time.time  # event files are read in the order of their names: seconds, then the process id as text
    event_file_writer.time = SimpleNamespace(time=lambda: real() + 100 * life)
    events = 0

    def event() -> None:
        nonlocal events
        events += 1
        if events == kill_at:
            send(signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            event()
            result = call(*arguments, **named)
            event()
            return result

        return wrapper

    os.fsync = lambda descriptor: None  # durable or not, a kill leaves the page cache alone
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    setup.fit(folder, lambda *_: event(), use_tensorboard=True, save_top_k=2)


def main(folder: Path, kills: int, seed: int, how: str) -> None:
    torch.set_num_threads(1)
    draw = random.Random(seed)
    setup = replace(SETUP, epochs=max(3, kills), workers=2 if how == "outside" else 0)
    for life in range(-1, kills + 1):
        undisturbed, killed = life == -1, 0 <= life < kills
        event, delay = draw.randrange(1, 90), draw.uniform(0.0, 1.0)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run = folder / ("undisturbed" if undisturbed else "killed")
            live(run, life, event if killed and how == "inside" else None, setup)
            os._exit(0)
        if killed and how == "outside":
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"life {life}: event {event}, {delay:.2f} s, ended with {status}", flush=True)
        if status != 0 and not (killed and status == -signal.SIGKILL):
            sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
