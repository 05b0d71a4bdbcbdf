"""What a run learns from earlier ones: a teacher to imitate, and which of its windows are hard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from applications._data import Data, require_valid
from applications._fusion import is_fusion
from applications._job import Job
from applications._registry import learns_from_benign
from applications._run import BEST, Run, open_run
from applications._scoring import best_checkpoint, restored_trainer, window_scores
from credit_like.config import UserError
from credit_like.training import BaseTrainer
from credit_like.training.checkpointing import load_weights

#: What the certificates of two runs must share, so that neither saw what the other is tested on.
SHARED = ("files", "groups", "intervals", "store")


def open_lessons(job: Job, certificate: dict[str, Any]) -> dict[str, Run]:
    """The runs that ``trainer.teacher`` and ``trainer.curriculum`` name, by these words, where the settings have them.

    Raises UserError where a run is not there or not finished, its split is another one, or it has nothing to teach.
    """
    found = {}
    for name in ("teacher", "curriculum"):
        folder = getattr(job.trainer, name, None)
        if folder is None:
            continue
        run = found[name] = _of_same_split(f"trainer.{name}", folder, certificate)
        if is_fusion(run.trainer):
            raise UserError(
                f"trainer.{name} {folder} mixes the scores of two runs; name one that scores windows itself"
            )
        if name == "teacher" and learns_from_benign(run.trainer):
            raise UserError(
                f"trainer.teacher {folder} was trained by {run.job.trainer.type!r} on benign windows alone: it has no "
                "probabilities of both classes to imitate. Name a run of gat"
            )
        best_checkpoint(run)
    return found


def prepare_lessons(
    trainer: BaseTrainer, job: Job, data: Data, certificate: dict[str, Any], rows: NDArray[np.int64]
) -> Callable[[int, int], float] | None:
    """Give ``trainer`` what the runs of ``open_lessons`` have to teach.

    ``rows`` are the windows of the training loader. Returns the scheduler of ``rollout_probability``, or None.
    Raises UserError as ``open_lessons`` does.
    """
    lessons = open_lessons(job, certificate)
    if "teacher" in lessons:
        run = lessons["teacher"]
        taught = restored_trainer(run)
        load_weights(run.folder / BEST, taught.model, trainer.device)
        trainer.learn_from(taught.model)  # type: ignore[attr-defined]
    if "curriculum" not in lessons:
        return None
    run = lessons["curriculum"]
    scores, _ = window_scores(restored_trainer(run), data.store, rows, job.loader.eval_batch_size)
    trainer.order_by(scores, data.store.windows.label[rows])  # type: ignore[attr-defined]
    rollout: Callable[[int, int], float] = trainer.rollout  # type: ignore[attr-defined]
    return rollout


def _of_same_split(setting: str, folder: Path, certificate: dict[str, Any]) -> Run:
    """The run in ``folder``, once its certificate is known to be valid and about the same windows."""
    run = open_run(folder)
    require_valid(run.certificate)
    different = [name for name in SHARED if run.certificate[name] != certificate[name]]
    if different:
        raise UserError(
            f"{setting} {folder} was trained on another split of the data (its certificate differs in "
            f"{', '.join(different)}), so it may have seen what this run is tested on. Name a run with the same "
            f"data.path, data.window and data.split"
        )
    return run
