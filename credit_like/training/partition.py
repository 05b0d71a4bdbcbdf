"""PartitionedBatchSampler: each of several processes gets its share of every batch, and each sample is seen once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, Sampler

from credit_like._partition import even_borders
from credit_like.config import UserError
from credit_like.training.device import environment_rank
from credit_like.training.distribution import Processes, require_alone
from credit_like.training.progress import say


class PartitionedBatchSampler(Sampler[list[int]]):
    """The batches of process ``rank``, as lists of indices, for a map-style dataset: ``DataLoader(data,
    batch_sampler=PartitionedBatchSampler(len(data), 32))``.

    ``batch_size`` counts over all processes, so that a run means the same whatever their number: together their k-th
    batches are the k-th batch that one process would get, and all have as many. Within a batch the shares differ by one
    sample at most. Only a last batch with fewer samples than processes joins the one before. No sample is repeated or
    left out, as torch's DistributedSampler must do to give all processes as many: means over an epoch are exact.

    The order is a pure function of (``seed``, epoch); ``set_epoch``, which the engine calls, chooses the next one.
    ``rank`` and ``num_replicas`` are those of torchrun's environment where they are None. ``state_dict`` is the
    position for a loop that draws from the sampler itself; a DataLoader reads ahead, and the engine winds it instead.

    Raises ValueError for fewer samples, or a smaller batch, than processes.

    >>> list(PartitionedBatchSampler(9, 4, shuffle=False, rank=1, num_replicas=2))
    [[2, 3], [7, 8]]
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        self.rank = environment_rank() if rank is None else rank
        self.num_replicas = int(os.environ.get("WORLD_SIZE", "1")) if num_replicas is None else num_replicas
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"rank must lie in 0 .. {self.num_replicas - 1}; got {self.rank}")
        self.samples, self.shuffle, self.seed, self.epoch = samples, shuffle, seed, 0
        self._borders = even_borders(samples, batch_size, self.num_replicas)
        self._done = self._begin = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration, from its first batch."""
        self.epoch, self._done, self._begin = epoch, 0, 0

    def __len__(self) -> int:
        """Batches of an epoch, as many for every process."""
        return (len(self._borders) - 1) // self.num_replicas

    def __iter__(self) -> Iterator[list[int]]:
        draw = np.random.default_rng([self.seed, self.epoch])
        order = draw.permutation(self.samples) if self.shuffle else np.arange(self.samples)
        begin, self._begin, self._done = self._begin, 0, 0
        for number in range(begin, len(self)):
            share = number * self.num_replicas + self.rank
            self._done = number + 1
            yield order[self._borders[share] : self._borders[share + 1]].tolist()

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the batches of it that were handed out."""
        return {"epoch": self.epoch, "batches": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration behind the batches that ``state`` says were handed out."""
        self.epoch, self._begin = int(state["epoch"]), int(state["batches"])
        self._done = self._begin


def share_of(loader: Any) -> tuple[int, int] | None:
    """``(rank, num_replicas)`` of a loader that gives one of several processes its share; None where it does not say.

    The loader says so itself, or its sampler does: torch's DistributedSampler has the two attributes too.
    """
    batch_sampler = getattr(loader, "batch_sampler", None)
    for part in (loader, batch_sampler, getattr(loader, "sampler", None), getattr(batch_sampler, "sampler", None)):
        replicas = getattr(part, "num_replicas", 1)
        if isinstance(replicas, int) and replicas > 1:
            return int(getattr(part, "rank", 0)), replicas
    return None


def require_share(loader: Any, name: str, together: Processes | None) -> None:
    """Raises UserError where this process would train on what others train on too; a doubt is said aloud.

    ``together`` is None for a run of one process, which must then be the only one that was started.
    """
    if together is None:
        require_alone()
        return
    share, rank, processes = share_of(loader), together.rank, together.size
    if share == (rank, processes) or processes == 1:
        return
    remedy = (
        "give a DataLoader batch_sampler=PartitionedBatchSampler(len(data), batch_size), a PackedLoader rank and "
        "num_replicas, and a loader of your own attributes of these names"
    )
    if share is not None:
        raise UserError(
            f"{name} is the share of process {share[0]} of {share[1]}, but this is process {rank} of {processes}: "
            + remedy
        )
    map_style = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
    if map_style or hasattr(loader, "num_replicas"):
        raise UserError(f"{name} would give each of the {processes} processes the same batches: {remedy}")
    say(f"{name} does not say that each of the {processes} processes gets a share of its own; if so, {remedy}")


def require_as_many(phase: str, ended: Sequence[float], batch: str, remedy: str) -> None:
    """Raises UserError where the loaders of only some processes have ended (``ended``, by rank) before ``batch``."""
    if any(ended) and not all(ended):
        counts = ", ".join(f"process {rank} {'has no more' if e else 'has'}" for rank, e in enumerate(ended))
        raise UserError(
            f"the {phase} loaders differ in length: of batch {batch}, {counts}. Give each process as many batches as "
            f"the others (PartitionedBatchSampler does), or {remedy}"
        )
