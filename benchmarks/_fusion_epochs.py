"""Epochs of the fusion's two agents over made-up experts: the speed does not depend on what they say."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications._job import load_job
from credit_like.training import Callback, seed_everything
from trainers.expert_table import ExpertLoader, ExpertTable
from trainers.rl_fusion import RLFusionTrainer

AGENTS = ("dqn", "neural_linucb")
WINDOWS, VALIDATION = 20_000, 6_000
EPOCHS = 5


class EpochSeconds(Callback):
    """Seconds of each epoch, by the process's own clock."""

    def __init__(self) -> None:
        self.training: list[float] = []
        self.whole: list[float] = []

    def on_train_epoch_start(self, trainer: Any, model: Any) -> None:
        self._started = time.process_time()

    def on_validation_start(self, trainer: Any, model: Any) -> None:
        self.training.append(time.process_time() - self._started)

    def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
        self.whole.append(time.process_time() - self._started)


def made_up(windows: int, seed: int) -> ExpertTable:
    """Experts of which now one and now the other is right, with the columns that the real ones have."""
    rng = np.random.default_rng(seed)
    label = (rng.random(windows) < 0.3).astype(np.int64)
    shared = ("embedding_mean", "embedding_std", "embedding_norm")
    columns = {"gat": ("confidence", *shared), "anomaly": ("p_value", "distance", "agreement", *shared)}
    right = rng.random(windows) < 0.5
    outputs: dict[str, dict[str, torch.Tensor]] = {}
    for expert, is_right in (("gat", right), ("anomaly", ~right)):
        said = np.where(is_right, label, 1 - label)
        outputs[expert] = {"score": torch.from_numpy(np.clip(0.6 * said + 0.4 * rng.random(windows), 0, 1))}
        outputs[expert] |= {name: torch.from_numpy(rng.standard_normal(windows)) for name in columns[expert]}
    return ExpertTable.join(outputs["gat"], outputs["anomaly"], label)


def fusion_epochs(windows: int = WINDOWS, validation: int = VALIDATION, epochs: int = EPOCHS) -> dict[str, Any]:
    """Of each agent, as ``conf/rl_fusion.yml`` has it: seconds of an epoch on one thread, and windows a second.

    ``seconds_an_epoch`` is training alone; ``with_validation`` adds the raw and the averaged weights' validation.
    """
    train, valid = made_up(windows, 1), made_up(validation, 2)
    found: dict[str, Any] = {"windows": windows, "validation_windows": validation}
    for agent in AGENTS:
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
            changes = (
                f"model.agent={agent}", f"trainer.epochs={epochs}", "trainer.use_tensorboard=false",
                "trainer.device=cpu", f"trainer.stopping_patience={epochs}", "data.path=.",
                "experts.gat=.", "experts.anomaly=.",
            )  # fmt: skip
            job, _ = load_job("rl_fusion", list(changes))
            seed_everything(0)
            model = RLFusionTrainer.build_model(job.model, len(train.names))
            RLFusionTrainer.fit_model(model, job.model, train)
            watch = EpochSeconds()
            conf = {"save_loc": str(Path(folder) / "run"), "trainer": job.trainer.model_dump()}
            trainer = RLFusionTrainer(model, 0, conf, [watch])
            loss = RLFusionTrainer.build_loss(job.trainer, torch.bincount(train.label, minlength=2))
            loaders = ExpertLoader(train, job.loader.batch_size, shuffle=True), ExpertLoader(valid, 512)
            trainer.fit({}, *loaders, job.optimizer.build(trainer.model), loss, loss)
        seconds = statistics.median(watch.training[1:])  # the first epoch fills the buffer
        found[agent] = {
            "seconds_an_epoch": round(seconds, 3),
            "with_validation": round(statistics.median(watch.whole[1:]), 3),
            "windows_per_second": round(windows / seconds),
        }
    return found
