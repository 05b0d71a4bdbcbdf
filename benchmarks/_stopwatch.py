"""Where the seconds of a training loop go: at every moment exactly one part runs, so that the parts add up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

#: ``gather`` makes a batch, ``forward`` goes from there to the loss, ``step`` clips, steps and zeroes, ``logging``
#: counts and records; ``rest`` is what the loop does besides.
PARTS = ("gather", "forward", "backward", "step", "logging", "rest")


class Stopwatch:
    """Seconds of each part, between ``start`` and ``stop``.

    The clock is that of the wall, or with ``own`` that of the process, which on one thread shows no other's work; on a
    GPU each reading waits for it.
    """

    def __init__(self, device: str = "cpu", own: bool = False) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._clock = time.process_time if own else time.perf_counter
        self._waits = device.startswith("cuda")
        self._part, self._since = "", 0.0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def now(self) -> float:
        if self._waits:
            torch.cuda.synchronize()
        return self._clock()

    def start(self) -> None:
        self._part, self._since = "rest", self.now()

    def stop(self) -> None:
        self.switch("")

    def switch(self, part: str) -> str:
        """Seconds count for ``part`` from now on, if the watch runs; returns the part that they counted for."""
        before = self._part
        if before:
            now = self.now()
            self.seconds[before] += now - self._since
            self._part, self._since = part, now
        return before

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, its time counted for ``part``."""

        def call(*arguments: Any, **named: Any) -> Any:
            with self.during(part):
                return function(*arguments, **named)

        return call

    def shares(self) -> dict[str, float]:
        """Of the total, rounded."""
        return {name: round(value / self.total, 3) for name, value in self.seconds.items()}


class TimedLoader:
    """``loader``, whose making of batches counts for ``gather``, and what follows for ``then``."""

    def __init__(self, loader: Any, watch: Stopwatch, then: str) -> None:
        self.loader, self.watch, self.then = loader, watch, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        with self.watch.during("gather"):
            iterator = iter(self.loader)
        while True:
            with self.watch.during("gather"):
                batch = next(iterator, None)
            if batch is None:
                return
            self.watch.switch(self.then)
            yield batch
