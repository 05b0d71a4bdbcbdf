"""Training itself, apart from what a run folder needs besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from applications._data import Data, learning_windows
from applications._job import Job
from applications._registry import JobTrainer, learns_from_benign
from applications._scoring import make_trainer
from applications._teaching import prepare_lessons
from credit_like.graphs import ChangeEdges, FeatureScaler, PackedLoader, Vocabulary
from credit_like.graphs.plan import TRAIN
from credit_like.training import BaseTrainer


def fit(
    job: Job,
    cls: type[JobTrainer],
    data: Data,
    vocabulary: Vocabulary,
    scaler: FeatureScaler,
    certificate: dict[str, Any],
    *,
    resume: bool = False,
    together: bool = False,
    change_edges: ChangeEdges | None = None,
) -> BaseTrainer:
    """The job's trainer after its last epoch; ``change_edges`` is done to every batch of training and validation.

    ``together`` shares the work with the other processes that torchrun started, as ``trainer.mode`` says.
    """
    trainer = make_trainer(cls, job, vocabulary, scaler, resume=resume, together=together)
    rank, processes = trainer.rank, trainer.processes.size
    device = str(trainer.device)
    train_rows, valid_rows = learning_windows(data, benign_only=learns_from_benign(cls))
    train_loader = PackedLoader(
        data.store,
        train_rows,
        job.loader.batch_size,
        shuffle=True,
        seed=job.trainer.seed,
        device=device,
        change=change_edges,
        rank=rank,
        num_replicas=processes,
    )
    valid_loader = PackedLoader(
        data.store,
        valid_rows,
        job.loader.eval_batch_size,
        device=device,
        change=change_edges,
        rank=rank,
        num_replicas=processes,
    )
    counts = torch.tensor([len(data.windows(TRAIN, label)) for label in (0, 1)])
    rollout = prepare_lessons(trainer, job, data, certificate, train_rows)
    fit_loaders(trainer, job, train_loader, valid_loader, cls.build_loss(job.trainer, counts), rollout)
    return trainer


def fit_loaders(
    trainer: BaseTrainer,
    job: Job,
    train_loader: Any,
    valid_loader: Any,
    loss: nn.Module,
    rollout: Callable[[int, int], float] | None = None,
) -> None:
    """The trainer's ``fit`` with the job's optimizer; ``loss`` is the criterion of both phases."""
    loss = loss.to(trainer.device)
    trainer.fit(
        conf=trainer.conf,
        train_loader=train_loader,
        valid_loader=valid_loader,
        optimizer=job.optimizer.build(trainer.model),
        train_criterion=loss,
        valid_criterion=loss,
        rollout_scheduler=rollout,
    )
