"""A detector trained by its own trainer, through ``fit``, with a watch at the engine's seams."""

from __future__ import annotations

import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks._stopwatch import Stopwatch, TimedLoader
from credit_like.graphs import PackedLoader


def timed_class(cls: type[Any], watch: Stopwatch) -> type[Any]:
    """``cls`` with its training epochs under ``watch``; what the loop does from batch to backward counts as forward."""

    class Timed(cls):
        def train_one_epoch(self, epoch: int, trainloader: Any, *others: Any) -> None:
            watch.start()
            super().train_one_epoch(epoch, TimedLoader(trainloader, watch, then="forward"), *others)
            watch.stop()

        def do_backward(self) -> None:
            watch.switch("backward")
            super().do_backward()
            watch.switch("rest")

        def do_opt_step(self) -> bool:
            with watch.during("step"):
                return super().do_opt_step()

        def do_zero_grad(self) -> None:
            with watch.during("step"):
                super().do_zero_grad()

        def record(self, *arguments: Any, **named: Any) -> None:
            with watch.during("logging"):
                super().record(*arguments, **named)

        def _count_batch(self, *arguments: Any) -> None:
            with watch.during("logging"):
                super()._count_batch(*arguments)

    Timed.__name__ = cls.__name__
    return Timed


def fitted(
    cls: type[Any],
    job: Any,
    model: nn.Module,
    loaders: tuple[PackedLoader, PackedLoader],
    counts: torch.Tensor,
    seed: int,
) -> tuple[Any, Stopwatch]:
    """The trainer after the job's last epoch, and the seconds of its training epochs. The run folder is gone then."""
    watch = Stopwatch(job.trainer.device, own=torch.get_num_threads() == 1)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        settings = {**job.trainer.model_dump(), "seed": seed}
        trainer = timed_class(cls, watch)(model, 0, {"save_loc": str(Path(folder) / "run"), "trainer": settings})
        loss = cls.build_loss(job.trainer, counts).to(trainer.device)
        trainer.fit({}, *loaders, job.optimizer.build(trainer.model), loss, loss)
    return trainer, watch
