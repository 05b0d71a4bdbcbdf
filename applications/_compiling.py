"""Saying that loops are being compiled, so that nobody takes the seconds for slow training."""

from __future__ import annotations

import sys
from functools import cache

from numba.core import event
from numba.core.caching import NullCache

from credit_like.training.device import environment_rank


class _SaysOnce(event.Listener):
    """numba tells it what it compiles; what it finds on disk it does not compile."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: event.Event) -> None:
        dispatcher = event.data["dispatcher"]
        if self.said or environment_rank() or not dispatcher.py_func.__module__.startswith("credit_like."):
            return
        self.said = True
        later = "later runs need not"
        if isinstance(dispatcher._cache, NullCache):
            later = "again in every run, because nothing can be kept on disk; name a folder with NUMBA_CACHE_DIR"
        print(f"note: compiling loops for this machine, which takes seconds here and there; {later}", file=sys.stderr)

    def on_end(self, event: event.Event) -> None:
        """Nothing is said."""


_listener = _SaysOnce()


@cache
def say_when_compiling() -> None:
    """From now on say so, once, when a loop of ``credit_like`` is compiled."""
    event.register("numba:compile", _listener)
