"""Stopping: a signal or a time limit asks, and the engine stops where a resume loses nothing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

_TIME_LIMIT = -1  # no signal has this number
_RESUME = "the checkpoint is written, resume to go on"
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
        self._settled = 0

    @property
    def requested(self) -> bool:
        return self.reason != 0

    @property
    def reason(self) -> int:
        """0 for none, a signal's number, or that of the time limit."""
        if self._signal is not None:
            return int(self._signal)
        return _TIME_LIMIT if self._deadline is not None and time.monotonic() >= self._deadline else 0

    def settle(self, reasons: Sequence[int]) -> bool:
        """Whether to stop, decided alike by all that are told the ``reason`` of each; ``error`` says for which."""
        self._settled = next((reason for reason in reasons if reason), 0)
        return self._settled != 0

    def error(self) -> BaseException:
        """What the loop raises once its checkpoint is written."""
        reason = self._settled or self.reason
        if reason == signal.SIGINT:
            return KeyboardInterrupt(_RESUME)
        limit = f"the time limit of {self._time_limit:g} minutes"
        why = limit if reason == _TIME_LIMIT else f"signal {signal.Signals(reason).name}"
        return Stopped(f"stopped by {why}; {_RESUME}")

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
