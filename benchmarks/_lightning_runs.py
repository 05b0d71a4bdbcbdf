"""A model of PyG's parts trained and asked under Lightning's Trainer; importable where Lightning is.

The Trainer has no logger, checkpoint, bar, summary or sanity check. The loss is logged for its mean over the epoch, as
the engine's ``record`` does; loader, optimizer, schedule and clipping are those of our run, AdamW as torch has it by
default.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from benchmarks._stopwatch import Stopwatch, TimedLoader
from credit_like.training.schedulers import build_scheduler

Step = Callable[[nn.Module, Any], Tensor]


class Module(lightning.LightningModule):
    """``loss`` and ``predict`` map the model and a batch to a scalar, and to what is collected of the batch."""

    def __init__(self, model: nn.Module, loss: Step, predict: Step, job: Any, watch: Stopwatch) -> None:
        super().__init__()
        self.model, self.loss_of, self.predict_of, self.job, self.watch = model, loss, predict, job, watch

    def configure_optimizers(self) -> Any:
        chosen = self.job.optimizer.build(self.model).param_groups
        groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in chosen]
        optimizer = torch.optim.AdamW(groups, lr=self.job.optimizer.lr)
        schedule = build_scheduler(optimizer, self.job.trainer.scheduler, self.job.trainer.epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_start(self) -> None:
        self.watch.start()

    def on_train_epoch_end(self) -> None:
        self.watch.stop()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with self.watch.during("forward"):
            loss = self.loss_of(self.model, batch)
        with self.watch.during("logging"):
            self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=batch.num_graphs)
        return loss

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        with self.watch.during("backward"):
            super().backward(loss, *arguments, **named)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        closure = self.watch.timed("rest", optimizer_closure)
        with self.watch.during("step"):
            super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        with self.watch.during("step"):
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def configure_gradient_clipping(self, *arguments: Any, **named: Any) -> None:
        with self.watch.during("step"):
            super().configure_gradient_clipping(*arguments, **named)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.predict_of(self.model, batch)


def train(module: Module, loader: Any) -> None:
    """All epochs of the job; the watch runs in each, from its first batch to its last."""
    with _quiet():
        made = _trainer(
            module, max_epochs=module.job.trainer.epochs, gradient_clip_val=module.job.trainer.grad_max_norm
        )
        made.fit(module, TimedLoader(loader, module.watch, then="rest"))


def predict(module: Module, loader: Any) -> list[Tensor]:
    """What ``predict`` makes of each batch."""
    with _quiet():
        return _trainer(module).predict(module, loader)


def _trainer(module: Module, **settings: Any) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu" if module.job.trainer.device == "cpu" else "gpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its remarks, and the advice to use worker processes: with few cores they get in the model's way."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
