"""Inference: what a trainer does with a trained model: test, predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from credit_like.training.batches import to_device
from credit_like.training.checkpointing import load_weights
from credit_like.training.ensemble import dropout_active, mean_outputs
from credit_like.training.precision import autocast
from credit_like.training.rng import rng_kept
from credit_like.training.wrapping import evaluate_alone

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


_END = object()


def run_test(trainer: BaseTrainer, loaders: Any, ckpt_path: str | Path | None) -> dict[str, float]:
    """``BaseTrainer.test``: ``validate`` over each loader, its names turned into ``test_*``."""
    results: dict[str, float] = {}
    with trainer.processes.failing_together(), _deployed(trainer, ckpt_path):
        for name, loader in named_loaders(loaders):
            row = trainer._evaluation_row("test", trainer.step_state.epoch, loader)
            for column, value in row.items():
                column = column.replace("valid_", "test_", 1) if column.startswith("valid_") else column
                results[f"{name}/{column}" if name else column] = value
    return results


def run_predict(
    trainer: BaseTrainer, loaders: Any, ckpt_path: str | Path | None, step: str = "predict_step"
) -> list[Any]:
    """``BaseTrainer.predict``: the outputs of ``predict_step`` (or another method), one a batch, on the CPU."""
    # Whole weights need no other process: one of them may predict alone.
    with trainer.processes.failing_together() if trainer.sharded else nullcontext(), _deployed(trainer, ckpt_path):
        collected = [_outputs(trainer, loader, getattr(trainer, step)) for _, loader in named_loaders(loaders)]
    return collected if _several(loaders) else collected[0]


def _outputs(trainer: BaseTrainer, loader: Any, step: Callable[[Any], Any]) -> list[Any]:
    outputs = []
    with dropout_active(trainer.model, trainer.ensemble_size > 1):
        batches = enumerate(_batches(trainer, loader))
        for trainer.predicting, batch in batches:
            with autocast(trainer.device, trainer.autocast_dtype):
                passes = [step(batch) for _ in range(trainer.ensemble_size)]
            outputs.append(to_device(mean_outputs(passes), torch.device("cpu")))
    return outputs


def _batches(trainer: BaseTrainer, loader: Any) -> Iterator[Any]:
    iterator = iter(loader)
    for index in count():
        batch = next(iterator, _END)
        if trainer.sharded:
            trainer._meet_outside_training(index, batch is _END, "prediction")
        if batch is _END:
            return
        yield to_device(batch, trainer.device)


@contextmanager
def _deployed(trainer: BaseTrainer, ckpt_path: str | Path | None) -> Iterator[None]:
    """Evaluation mode on the weights to deploy: a checkpoint's validated ones, or the present (averaged) ones."""
    averaged = trainer.ema.averaged(trainer.model) if trainer.ema is not None and ckpt_path is None else nullcontext()
    if ckpt_path is not None:
        path = trainer.save_loc / trainer.best_name if ckpt_path == "best" else Path(ckpt_path)
        load_weights(path, trainer.model, trainer.device)
    evaluate_alone(trainer.model)
    was_training = trainer.model.training
    present = {name: getattr(trainer, name) for name in _OF_A_PHASE}  # a callback may test in the middle of an epoch
    trainer._open_batches = []
    trainer.model.eval()
    try:
        with rng_kept(), torch.no_grad(), averaged:
            yield
    finally:
        trainer._close_batches()  # an exception may have left one open, and autocast with it
        trainer.model.train(was_training)
        for name, value in present.items():
            setattr(trainer, name, value)


#: What a trainer knows of the phase that it is in, and of its present batch.
_OF_A_PHASE = ("_phase", "_recorder", "_weights", "_weight", "_outcome", "_open_batches", "_loader_is_a_share", "batch")


def _several(loaders: Any) -> bool:
    return isinstance(loaders, Mapping | list | tuple)


def named_loaders(loaders: Any) -> list[tuple[str, Any]]:
    """Each loader with its name: a mapping's own, a number for those of a list or tuple, and "" for a single one.

    Raises TypeError for a list of batches, which would be taken for several loaders.
    """
    if isinstance(loaders, Mapping):
        return list(loaders.items())
    if not isinstance(loaders, list | tuple):
        return [("", loaders)]
    if any(
        isinstance(part, Tensor) or (isinstance(part, tuple) and isinstance(next(iter(part), 0), Tensor))
        for part in loaders
    ):
        raise TypeError(
            f"a {type(loaders).__name__} is several loaders here, and this one holds batches: give it a name, as in "
            "{'': loader}, or give a DataLoader"
        )
    return [(str(index), loader) for index, loader in enumerate(loaders)]
