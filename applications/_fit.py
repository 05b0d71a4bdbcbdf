"""Training itself, apart from what a run folder needs besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from applications._data import Data, learning_windows
from applications._fusion import FusionData, untrained_fusion
from applications._job import Job
from applications._registry import JobTrainer, learns_from_benign
from applications._scoring import trainer_around
from applications._teaching import prepare_lessons
from credit_like.graphs import ChangeEdges, FeatureScaler, PackedLoader, Vocabulary
from credit_like.graphs.plan import FUSION, TRAIN, VALIDATION
from credit_like.training import BaseTrainer
from credit_like.training.trial import Trial
from trainers.expert_table import ExpertLoader


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
    trial: Trial | bool = False,
) -> BaseTrainer:
    """The job's trainer after its last epoch; ``change_edges`` is done to every batch of training and validation.

    ``trial`` is that of a search, which may prune it; ``together`` shares the work with the other processes that
    torchrun started, as ``trainer.mode`` says.
    """

    def build() -> nn.Module:
        model = cls.build_model(job.model, vocabulary, scaler)
        fit_on_benign: Any = getattr(model, "fit_on_benign", None)
        if fit_on_benign is not None:
            rows = data.windows(TRAIN, label=0)
            fit_on_benign(PackedLoader(data.store, rows, job.loader.eval_batch_size, change=change_edges))
        return model

    trainer = trainer_around(cls, job, build, resume=resume, together=together)
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
    fit_loaders(trainer, job, train_loader, valid_loader, cls.build_loss(job.trainer, counts), rollout, trial)
    return trainer


def fit_fusion(
    job: Job, cls: type[JobTrainer], fused: FusionData, *, resume: bool = False, trial: Trial | bool = False
) -> BaseTrainer:
    """As ``fit``, of a trainer that learns from what two experts say of the windows of the fusion split."""
    train_table, valid_table = fused.of(fused.windows(FUSION)), fused.of(fused.windows(VALIDATION))
    trainer = untrained_fusion(cls, job, train_table, resume=resume)
    train_loader = ExpertLoader(
        train_table,
        job.loader.batch_size,
        shuffle=True,
        seed=job.trainer.seed,
        follow=job.trainer.discount > 0,
    )
    valid_loader = ExpertLoader(valid_table, job.loader.eval_batch_size)
    loss = cls.build_loss(job.trainer, torch.bincount(train_table.label, minlength=2))
    fit_loaders(trainer, job, train_loader, valid_loader, loss, trial=trial)
    return trainer


def fit_loaders(
    trainer: BaseTrainer,
    job: Job,
    train_loader: Any,
    valid_loader: Any,
    loss: nn.Module,
    rollout: Callable[[int, int], float] | None = None,
    trial: Trial | bool = False,
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
        trial=trial,
    )


def fit_head_anew(trainer: BaseTrainer, data: Data, batch_size: int) -> None:
    """Where the trainer has a head beside its weights (``fit_head``), fit it to those that it holds now, on the windows
    that training fits it on."""
    if hasattr(trainer, "fit_head"):
        rows, device = learning_windows(data, benign_only=True), str(trainer.device)
        trainer.fit_head(*(PackedLoader(data.store, part, batch_size, device=device) for part in rows))
