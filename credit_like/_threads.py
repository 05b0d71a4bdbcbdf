"""Compiled loops on several cores. They hold no interpreter lock, so plain threads run them side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

#: Rows of a block. What a loop does to a block depends on the block alone, so no result depends on the threads. Loops
#: get it as an argument: code that is kept on disk is not compiled anew when a number changes in another file.
BLOCK = 512

_pool: ThreadPoolExecutor
_lent = threading.local()


def blocks_of(rows: int) -> int:
    """How many blocks ``rows`` make; none at all are one."""
    return max(1, -(-rows // BLOCK))


def spread(loop: Callable[..., Any], blocks: int, *arguments: Any) -> list[Any]:
    """``loop(first, last, *arguments)`` over the blocks ``0..blocks - 1``, a run of them for each of torch's threads.

    Returns what the calls returned, in the order of their blocks. ``loop`` is compiled without the lock, or calls torch
    and such loops, inside ``lent_by_torch``.
    """
    threads = min(getattr(_lent, "threads", 0) or torch.get_num_threads(), blocks)
    borders = [blocks * thread // threads for thread in range(threads + 1)]
    rest = [_pool.submit(loop, first, last, *arguments) for first, last in pairwise(borders[1:])]
    try:
        mine = loop(0, borders[1], *arguments)
    finally:
        for other in rest:  # they read and write memory that the caller may let go
            other.exception()
    return [mine, *(other.result() for other in rest)]


@contextmanager
def lent_by_torch() -> Iterator[None]:
    """Inside, ``spread`` has the threads that torch had, and torch has one. So it is too where ``spread`` runs torch's
    operations, which begin with ``torch.set_num_threads(1)``.

    torch's own threads, when their share of an operation is done, turn in circles for milliseconds, on cores that ours
    need then: with two threads on two cores, a GATv2 layer of 21,000 nodes took 10.0 ms in place of 11.8 with one, for
    18 ms of processor time.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    _lent.threads = threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _lent.threads = 0
        torch.set_num_threads(threads)


def _renew() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="credit-like")


_renew()
os.register_at_fork(after_in_child=_renew)
