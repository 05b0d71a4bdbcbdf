"""Distribution: the processes that train one run together, and what they tell each other.

torchrun's environment is the only source of rank facts. Gradients and shards travel through torch's own wrappers
(``wrapping.py``, ``sharding.py``); everything else goes as small messages over a group of its own on the CPU, so that
a message never meets a gradient. Every process sends each message at the same place of the run, and says which place
that is.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from credit_like.config import ConfigError, UserError
from credit_like.training.rendezvous import meet

T = TypeVar("T")
_FAILURE = "credit-like/failure"
_MOMENT = timedelta(seconds=3)


class OtherProcessError(UserError):
    """Another process of this run failed first; the message is its, said by it already where ``said_elsewhere``."""

    def __init__(self, message: str, said_elsewhere: bool = True) -> None:
        super().__init__(message)
        self.said_elsewhere = said_elsewhere


class Place(IntEnum):
    """Where in a run a process is when it sends something."""

    BATCH = 0
    STEP = 1
    EPOCH = 2
    OUTSIDE_TRAINING = 3
    PARTS = 4
    ROWS = 5
    MAIN = 6


class Processes:
    """The processes of a run, seen from one of them: number ``rank`` of ``size``. By default this process alone.

    Every method must be called by all processes, at the same place; alone, each costs nothing. Raises RuntimeError or
    torch's DistError where another process has gone.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: dist.ProcessGroup | None = None) -> None:
        self.rank, self.size = rank, size
        self._group, self._run, self._failing_together = group, 0, False

    def require_equal(self, settings: Mapping[str, Any], what: str) -> None:
        """Raises ConfigError, the same one everywhere, where flat ``settings`` differ between the processes."""
        everybody = self.gathered(dict(settings))
        known = dict.fromkeys(name for own in everybody for name in own)
        names = [name for name in known if any(_differ(own.get(name), everybody[0].get(name)) for own in everybody)]
        if names:
            values = ", ".join(f"{own.get(names[0])!r} on process {rank}" for rank, own in enumerate(everybody))
            more = f"; and so do {', '.join(names[1:4])}" if names[1:] else ""
            raise ConfigError(
                f"{what} differs between the processes of this run: {names[0]} is {values}{more}. Start all of them "
                "with the same configuration and the same command line"
            )

    def gathered(self, value: T, place: Place = Place.PARTS) -> list[T]:
        """Everybody's value, by rank. Plain data and tensors on the CPU."""
        if self._group is None:
            return [value]
        self.exchange(place)  # objects, and numbers of another place, would be taken for one another
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def main_does(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on rank 0, which does it alone while the others wait; nothing in it may wait for them.

        Where it fails, every process raises: rank 0 its error, the others OtherProcessError.
        """
        if self._group is None:
            return work()
        self.exchange(Place.MAIN)
        failure: BaseException | None = None
        told: list[Any] = [None, ""]
        if self.rank == 0:
            try:
                told[0] = work()
            except BaseException as error:  # noqa: BLE001 - raised again below, when everybody knows
                failure, told = error, [None, self._said(error)]
        dist.broadcast_object_list(told, src=0, group=self._group)
        if failure is not None:
            raise failure
        if told[1]:
            raise OtherProcessError(told[1])
        result: T = told[0]
        return result

    def exchange(self, place: Place, *numbers: float) -> list[list[float]]:
        """Everybody's numbers (as many at every place: four at most), by rank.

        Raises UserError, the same one everywhere, where the processes are not at the same place.
        """
        mine = torch.zeros(5, dtype=torch.float64)
        mine[: len(numbers) + 1] = torch.tensor([place, *numbers], dtype=torch.float64)
        everybody = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(everybody, mine, group=self._group)
        rows = [row.tolist() for row in everybody]
        if any(row[0] != place for row in rows):
            places = ", ".join(f"process {rank} {_PLACES[Place(int(row[0]))]}" for rank, row in enumerate(rows))
            raise UserError(
                f"the processes of this run have parted: {places}. Each must go through as many batches and optimizer "
                "steps as the others: leave a loop over self.batches, and call self.gathered, on all of them or on none"
            )
        return [row[1 : len(numbers) + 1] for row in rows]

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """An exception inside is told to the others, which report it when the connection to this process breaks.

        The first failure of a run is what every process raises, the others as OtherProcessError. Within itself (a
        callback that tests in the middle of a run) it does nothing more.
        """
        if self._failing_together:
            yield
            return
        self._run, self._failing_together = next(_runs), True
        try:
            yield
        except Exception as error:
            first = self._first_failure(error)
            if first is None:
                raise
            raise first from error
        finally:
            self._failing_together = False

    def _first_failure(self, error: Exception) -> OtherProcessError | None:
        """What was told before ``error``, if anything; else ``error`` is told."""
        if self._group is None or isinstance(error, OtherProcessError):
            return None
        lost, place, mine = _is_lost_connection(error), f"{_FAILURE}/{self._run}", self._said(error)
        try:
            store = dist.distributed_c10d._get_default_store()
            if lost and not store.check([place]):
                mine = self._lost(self._silent(store), error)
            first = store.compare_set(place, "", mine).decode()
        except (RuntimeError, ValueError):  # the store went with the process that held it, as a rule rank 0
            first = mine = self._lost([0], error) if lost else mine
        if lost or first != mine:
            return OtherProcessError(first, said_elsewhere=first != mine)
        return None

    def _silent(self, store: dist.Store) -> list[int]:
        """The processes that do not come here within a moment, where all that live come when a connection breaks."""
        here = [f"{_FAILURE}/{self._run}/{rank}" for rank in range(self.size)]
        store.set(here[self.rank], "here")
        silent = []
        for rank in range(self.size):
            try:
                store.wait([here[rank]], _MOMENT)
            except dist.DistError:
                silent.append(rank)
        return silent

    def _lost(self, silent: Sequence[int], error: Exception) -> str:
        who = f"process {', '.join(map(str, silent))} of {self.size}" if silent else "a connection between processes"
        return (
            f"{who} was lost: killed, out of memory, or silent for longer than trainer.process_timeout_s. The others "
            f"have stopped; resume to go on from the last checkpoint ({_first_line(error)})"
        )

    def _said(self, error: BaseException) -> str:
        name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return f"process {self.rank} of {self.size} failed: {name}{error}"


class SharedBatch:
    """What all processes know of the present training batch and of the accumulation group that it belongs to."""

    def __init__(self) -> None:
        self.weight = 0.0  # samples in the batch, of all processes
        self.typical = 1.0  # a process's share of them
        self.asked = (False, False)  # to stop, to save: behind this batch
        self.group_is_known = True  # every loss so far was weighted by its batch's samples
        self._in_group = 0.0

    def take(self, weights: Sequence[float], asked: tuple[bool, bool]) -> None:
        """Another batch begins."""
        self.weight, self.asked = sum(weights), asked
        self.typical = self.weight / len(weights)

    def optimized(self, by_samples: bool) -> None:
        """A loss of the batch joined the group, its first one and weighted by the batch's samples, or another."""
        self.group_is_known &= by_samples and self.weight > 0
        self._in_group += self.weight

    def group_total(self, processes: Processes, own: float) -> float:
        """The group's weight on all processes, ``own`` of it on this one; asked for only where it is not known."""
        known, total = self.group_is_known, self._in_group
        self.group_is_known, self._in_group = True, 0.0
        return total if known else sum(row[0] for row in processes.exchange(Place.STEP, own))


_PLACES = {
    Place.BATCH: "goes on to another batch",
    Place.STEP: "makes an optimizer step",
    Place.EPOCH: "has ended its epoch",
    Place.OUTSIDE_TRAINING: "goes on to a batch that is not for training",
    Place.PARTS: "has something to tell the others, such as an epoch's results",
    Place.ROWS: "calls gathered",
    Place.MAIN: "waits for process 0 to do something, such as a save",
}


def join(mode: str, rank: int, device: torch.device, timeout_s: float) -> Processes:
    """This process among those of its run: alone in mode ``none``, else one of those that torchrun started.

    Who waits for another for ``timeout_s`` gives the run up. torch's default process group is initialised where nobody
    has done so: gloo, and NCCL for tensors on a GPU. Raises UserError where the processes do not find each
    other, ConfigError where mode and environment do not fit, ValueError for a wrong ``rank``.
    """
    if mode == "none":
        if rank and "RANK" not in os.environ:
            raise ValueError(f"rank is {rank}, but this process is alone (trainer.mode is none): pass 0")
        return Processes()
    global _messages, _ours
    timeout = timedelta(seconds=timeout_s)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            raise ConfigError(
                f"trainer.mode is {mode}, but torchrun has not started this process (RANK and WORLD_SIZE are not set). "
                "Start it with `torchrun --nproc-per-node N ...`, or set trainer.mode: none"
            )
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, number, size = meet(timeout)
        dist.init_process_group(backend, timeout=timeout, store=store, rank=number, world_size=size)
        _ours = True
        atexit.register(leave)
    if dist.get_rank() != rank:
        raise ValueError(f"rank is {rank}, but the process group says {dist.get_rank()}; pass int(os.environ['RANK'])")
    if _messages is None:
        _messages = dist.new_group(backend="gloo", timeout=timeout)
    for group in (_messages, *([dist.group.WORLD] if _ours else [])):  # an earlier trainer may have had another
        dist.distributed_c10d._set_pg_timeout(timeout, group)
    return Processes(rank, dist.get_world_size(), _messages)


def require_alone() -> None:
    """Raises ConfigError where torchrun has started several processes, each of which would train the whole run."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:
        raise ConfigError(
            f"torchrun has started {started} processes, but trainer.mode is none: each would train the whole run. "
            "Set trainer.mode: ddp (or fsdp), or start one process"
        )


def leave() -> None:
    """Give the connections to the other processes back; nothing may be exchanged afterwards."""
    global _messages
    _messages = None
    if dist.is_initialized():
        dist.destroy_process_group()


_runs = count()  # each call of fit, on every process alike, has a failure of its own
_messages: dist.ProcessGroup | None = None  # one group for all trainers of this process
_ours = False  # whether torch's default group was made here, and not by who calls


def _differ(one: Any, other: Any) -> bool:
    return bool(one != other) and not (one != one and other != other)  # NaN is unlike itself


def _is_lost_connection(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
