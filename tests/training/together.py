"""Several real processes that train together, with gloo over localhost, as torchrun would start them.

A fork server imports torch once; every process is a fork of it. The store, through which the processes find each other,
is held by the test's own process, as torchrun's agent holds it: no port is guessed, and a failure can be read when the
process that had it is gone.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.training.test_together"])
PATIENCE = 120  # seconds after which processes that wait for each other are taken to hang: a failure, never a pass


@dataclass(frozen=True)
class Ending:
    """How one process ended: what the function returned, or what it raised; and all that it printed."""

    rank: int
    result: Any = None
    error: BaseException | None = None
    printed: str = ""
    code: int | None = 0


def together(
    function: Callable[..., Any], folder: Path, *arguments: Any, processes: int = 2, hanging: int | None = None
) -> list[Ending]:
    """``function(rank, *arguments)`` in so many processes; how each ended. ``folder`` takes their output.

    Raises TimeoutError when one of them does not end; ``hanging`` is not waited for, but killed as torchrun would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    started = []
    for rank in range(processes):
        ranked = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = _CONTEXT.Process(target=_live, args=(function, rank, arguments, ranked, folder), daemon=True)
        process.start()
        started.append(process)
    deadline = time.monotonic() + PATIENCE
    try:
        for process in (process for rank, process in enumerate(started) if rank != hanging):
            process.join(max(0.0, deadline - time.monotonic()))
        stuck = [rank for rank, process in enumerate(started) if process.is_alive() and rank != hanging]
        if stuck:
            for rank in stuck:
                os.kill(started[rank].pid or 0, signal.SIGABRT)  # faulthandler writes where it waits
            raise TimeoutError(f"processes {stuck} hang: " + "".join(_printed(folder, rank) for rank in stuck))
    finally:
        for process in started:
            process.kill()
            process.join()
    return [_ending(folder, rank, process.exitcode) for rank, process in enumerate(started)]


def results(endings: list[Ending]) -> list[Any]:
    """What the function returned in each process; raises what one of them raised."""
    for ending in endings:
        if ending.error is not None:
            raise ending.error
        assert ending.code == 0, ending
    return [ending.result for ending in endings]


def _live(function: Callable[..., Any], rank: int, arguments: Any, environment: dict[str, str], folder: Path) -> None:
    os.environ.update(environment)
    output = os.open(folder / f"printed_{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    torch.set_num_threads(1)
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # no power fails here
    code, ended = 0, Ending(rank)
    try:
        ended = Ending(rank, function(rank, *arguments))
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        code, ended = 1, Ending(rank, error=error)
    torch.save(ended, folder / f"ended_{rank}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # at once, as a process that failed goes: connections break, and the others must notice


def _ending(folder: Path, rank: int, code: int | None) -> Ending:
    path = folder / f"ended_{rank}"
    if not path.exists():
        return Ending(rank, printed=_printed(folder, rank), code=code)
    ended: Ending = torch.load(path, weights_only=False)
    path.unlink()
    return Ending(rank, ended.result, ended.error, _printed(folder, rank), code)


def _printed(folder: Path, rank: int) -> str:
    return (folder / f"printed_{rank}").read_text(encoding="utf-8", errors="replace")
