"""Accidents that befall a training run, and the run that none befell."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from credit_like.training.stopping import Stopped
from tests.training.toys import TRAIN, Setup, ToyTrainer, outcome, send

BATCHES = -(-TRAIN // 4)  # in an epoch of Setup


class Accident(Exception):
    """Something the engine knows nothing of."""


def accident() -> None:
    raise Accident


#: What happens to a run, and what ``fit`` raises then.
FATES: dict[str, tuple[Callable[[], Any], type[BaseException]]] = {
    "exception": (accident, Accident),
    "ctrl-c": (lambda: send(signal.SIGINT), KeyboardInterrupt),
    "sigterm": (lambda: send(signal.SIGTERM), Stopped),
    "sigusr1": (lambda: send(signal.SIGUSR1), Stopped),
}


@cache
def undisturbed(setup: Setup) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        setup.fit(Path(folder))
        return outcome(Path(folder))


def at(phase: str, epoch: int, batch: int, fate: Callable[[], Any]) -> Callable[[str, int, int], None]:
    return lambda *moment: fate() if moment == (phase, epoch, batch) else None


def not_before(epoch: int, batch: int, fate: Callable[[], Any]) -> Callable[[str, int, int], None]:
    return lambda phase, *moment: fate() if phase == "train" and moment >= (epoch, batch) else None


def interrupt_and_resume(setup: Setup, folder: Path, accidents: list[tuple[str, int, int, str]]) -> ToyTrainer:
    for phase, epoch, batch, fate in accidents:
        act, raised = FATES[fate]
        with pytest.raises(raised):
            setup.fit(folder, at(phase, epoch, batch, act))
    return setup.fit(folder)
