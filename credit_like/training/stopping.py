"""Stopping: a signal or a time limit asks, and the engine stops where a resume loses nothing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_RESUMABLE = 75  # EX_TEMPFAIL of sysexits.h: "try again later"


class Stopped(BaseException):
    """Training stopped on request, its checkpoint written. Not an Exception: no ``except Exception`` swallows it."""


class StopRequest:
    """Whether, and why, training is to stop. Signals only set a flag; the loop reads it between batches.

    SIGINT becomes KeyboardInterrupt (a second one at once, without waiting for the batch), SIGTERM, SIGUSR1 and the
    time limit become ``Stopped``. Handlers are put back afterwards, and those that stood there before are called too.
    """

    def __init__(self, time_limit_minutes: float = 0.0) -> None:
        self._deadline = time.monotonic() + 60 * time_limit_minutes if time_limit_minutes else None
        self._time_limit = time_limit_minutes
        self._signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        return self._signal is not None or (self._deadline is not None and time.monotonic() >= self._deadline)

    def error(self) -> BaseException:
        """What the loop raises once its checkpoint is written."""
        if self._signal is signal.SIGINT:
            return KeyboardInterrupt()
        why = f"signal {self._signal.name}" if self._signal else f"the time limit of {self._time_limit:g} minutes"
        return Stopped(f"stopped by {why}; the checkpoint is written, resume to go on")

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Catch the signals inside. Off the main thread python allows no handlers: only the time limit counts."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}

        def handle(number: int, frame: FrameType | None) -> None:
            again = self._signal is signal.SIGINT and number == signal.SIGINT
            self._signal = signal.Signals(number)
            previous: Any = before[signal.Signals(number)]
            if again:
                raise KeyboardInterrupt
            if callable(previous) and previous is not signal.default_int_handler:
                previous(number, frame)

        for number in before:
            signal.signal(number, handle)
        try:
            yield self
        finally:
            for number, previous in before.items():
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)
