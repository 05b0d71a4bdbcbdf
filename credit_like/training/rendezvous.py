"""Rendezvous: how the processes of a run find each other, through the store that torchrun's agent holds.

``torchrun --max-restarts`` starts all processes again when one has died, and the store outlives them. It keeps the
addresses of the dead, to which torch 2.13 connects in about every second restart. So each life of the processes gets a
name that stands before all that it writes. TORCHELASTIC_RESTART_COUNT would be none: agents of several machines count
apart.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from credit_like.config import UserError

_HERE, _WORDS = "credit-like/here", "credit-like/words"
_PAUSE = 0.01  # seconds between two looks at who has come

_store: dist.Store | None = None  # what all lives write in, where this process is one of several


def meet(timeout: timedelta) -> tuple[dist.Store, int, int]:
    """(a store that is empty in this life, rank, number of processes), as torchrun's environment says.

    Every process must call it, and returns when all have. Raises UserError where that takes longer than ``timeout``.
    """
    global _store
    store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    _store = store
    try:
        life = _named(store, size, timeout) if rank == 0 else _told(store, rank)
    except dist.DistStoreError as error:
        raise UserError(
            f"the {size} processes of this run have not found each other in trainer.process_timeout_s, "
            f"{timeout.total_seconds():g} s; see that torchrun runs on every machine, and reaches the first one"
        ) from error
    return dist.PrefixStore(life, store), rank, size


def remember(word: str) -> None:
    """Tell later lives of these processes; nobody, where torchrun has not started them."""
    if _store is not None:
        with suppress(dist.DistError):  # the store went with torchrun, so that there will be no later life
            _store.set(f"{_WORDS}/{word}", "said")


def remembered(word: str) -> bool:
    """Whether this life or an earlier one of these processes has said ``word``."""
    return _store is not None and _store.check([f"{_WORDS}/{word}"])


def _named(store: dist.Store, size: int, timeout: timedelta) -> str:
    """Rank 0 names the life. What it finds may be of a dead process: whoever lives says that it has heard the name."""
    life, deadline = uuid.uuid4().hex, time.monotonic() + timeout.total_seconds()
    while store.add(f"{life}/heard", 0) < size - 1:
        if time.monotonic() > deadline:
            raise dist.DistStoreError("not all processes have come")
        for rank in range(1, size):
            if store.check([f"{_HERE}/{rank}"]):
                store.set(f"{_HERE}/{store.get(f'{_HERE}/{rank}').decode()}", life)
        time.sleep(_PAUSE)
    return life


def _told(store: dist.Store, rank: int) -> str:
    own = uuid.uuid4().hex
    store.set(f"{_HERE}/{rank}", own)
    life = store.get(f"{_HERE}/{own}").decode()
    store.add(f"{life}/heard", 1)
    return life
