"""ModelCheckpoint: settings of the engine's one checkpoint writer, in the form of a callback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from credit_like.training.callbacks.base import Callback

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


class ModelCheckpoint(Callback):
    """Which checkpoints are kept, by which metric.

    Args:
        monitor, mode: what is best; the same as that of an EarlyStopping beside it.
        save_top_k: 0 keeps no best checkpoint, 1 the best one, k > 1 also the epochs of the k best.
        save_last: must be true; the latest checkpoint is what a resume needs, so it is always kept.
        filename: name of the best checkpoint, without ``.pt``.
        dirpath: a folder of its own; "" is the trainer's (``{default_root_dir}/checkpoints`` for a ModuleTrainer).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        save_top_k: int = 1,
        save_last: bool = True,
        filename: str = "best_model",
        dirpath: str | Path = "",
    ) -> None:
        if not save_last:
            raise ValueError("ModelCheckpoint(save_last=False) is not supported: without the latest there is no resume")
        if save_top_k < 0 or not filename or Path(filename).name != filename:
            raise ValueError(f"ModelCheckpoint: save_top_k >= 0 and a bare filename; got {save_top_k}, {filename!r}")
        self.monitor, self.mode, self.save_top_k = monitor, mode, save_top_k
        self.filename, self.dirpath = filename.removesuffix(".pt"), dirpath
        self._trainer: BaseTrainer | None = None

    @property
    def best_model_path(self) -> str:
        """The best checkpoint's path; "" before there is one."""
        path = None if self._trainer is None else self._trainer.save_loc / self._trainer.best_name
        return str(path) if path is not None and path.exists() else ""

    def configure(self, trainer: BaseTrainer) -> None:
        trainer.watch_metric(self.monitor, self.mode, type(self).__name__)
        trainer.save_best_weights = self.save_top_k > 0
        trainer.save_top_k = self.save_top_k if self.save_top_k > 1 else 0
        trainer.best_name = f"{self.filename}.pt"
        if self.dirpath:
            trainer.save_loc = Path(self.dirpath)
        self._trainer = trainer
