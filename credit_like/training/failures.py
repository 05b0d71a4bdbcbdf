"""Failures that have a remedy: what the engine says in place of a bare traceback."""

from __future__ import annotations

import torch

from credit_like.config import UserError

_CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"
_BACKWARD_TWICE = "Trying to backward through the graph a second time"
_NO_COMPILER = "InvalidCxxCompiler"


class BatchOutOfMemoryError(UserError):
    """A batch did not fit into memory."""


def explained(error: BaseException, samples: float, where: str) -> UserError | None:
    """The error to raise in place of ``error``, or None where it speaks for itself.

    Running out of memory is never skipped: a run that leaves out its largest batches trains on other data.
    """
    if isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)):
        return BatchOutOfMemoryError(
            f"out of memory on a batch of {samples:g} samples, {where}: lower the loader's batch size (and raise "
            "trainer.grad_accum_every by as much, for the same steps), or make the model smaller"
        )
    if isinstance(error, RuntimeError) and _BACKWARD_TWICE in str(error):
        return UserError(
            f"a graph was gone through backward twice, {where}: self.optimize(loss) makes the backward pass itself, so "
            "leave loss.backward() out; and a part of a loss that comes from an earlier batch must be detached"
        )
    if isinstance(error, RuntimeError) and _NO_COMPILER in str(error):
        return UserError(
            "trainer.compile is true, which needs a C++ compiler where the training runs, and torch finds none: "
            "install one (g++, or name it in the environment variable CXX), or set trainer.compile: false"
        )
    return None
