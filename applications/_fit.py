"""Training itself, apart from what a run folder needs besides."""

from __future__ import annotations

import torch

from applications._data import Data
from applications._job import Job
from applications._registry import JobTrainer
from applications._scoring import make_trainer
from credit_like.graphs import ChangeEdges, FeatureScaler, PackedLoader, Vocabulary
from credit_like.graphs.plan import TRAIN, VALIDATION
from credit_like.training import BaseTrainer


def fit(
    job: Job,
    cls: type[JobTrainer],
    data: Data,
    vocabulary: Vocabulary,
    scaler: FeatureScaler,
    *,
    resume: bool = False,
    change_edges: ChangeEdges | None = None,
) -> BaseTrainer:
    """The job's trainer after its last epoch; ``change_edges`` is done to every batch of training and validation."""
    trainer = make_trainer(cls, job, vocabulary, scaler, resume=resume)
    device = str(trainer.device)
    train_rows, valid_rows = data.windows(TRAIN), data.windows(VALIDATION)
    train_loader = PackedLoader(
        data.store,
        train_rows,
        job.loader.batch_size,
        shuffle=True,
        seed=job.trainer.seed,
        device=device,
        change=change_edges,
    )
    valid_loader = PackedLoader(data.store, valid_rows, job.loader.eval_batch_size, device=device, change=change_edges)
    counts = torch.tensor([len(data.windows(TRAIN, label)) for label in (0, 1)])
    loss = cls.build_loss(job.trainer, counts).to(trainer.device)
    trainer.fit(
        conf=trainer.conf,
        train_loader=train_loader,
        valid_loader=valid_loader,
        optimizer=job.optimizer.build(trainer.model),
        train_criterion=loss,
        valid_criterion=loss,
    )
    return trainer
