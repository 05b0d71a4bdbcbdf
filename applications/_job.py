"""A job: the whole of a configuration, its schema, and the folder that a run of it fills."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, create_model
from torch import nn

from applications._folder import CONFIG
from applications._registry import JobTrainer, imported_trainer, registered_trainer
from credit_like.can import ReadSettings
from credit_like.config import (
    ConfigError,
    Document,
    ExpandedPath,
    Settings,
    read_config,
    validate,
)
from credit_like.evaluation import EvaluationSettings
from credit_like.graphs import ScalerSettings, SplitSettings, WindowSettings
from credit_like.hpo import SearchSettings


class _LogSettings(Settings):
    path: ExpandedPath = Field(description="a log, or a folder of logs in any known format and layout")


class DataSettings(ReadSettings, _LogSettings):
    """Which logs, how they are read, and how they become graphs."""

    store: ExpandedPath = Field(Path(".cache/stores"), description="folder of the graph stores; rebuilt where missing")
    window: WindowSettings = WindowSettings()
    split: SplitSettings = SplitSettings()
    scaler: ScalerSettings = ScalerSettings()


class OptimizerSettings(Settings):
    """AdamW (Loshchilov & Hutter 2019)."""

    lr: float = Field(4e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled; of matrices, not of biases and norms")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW over the parameters of ``model``."""
        matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.lr, fused=True)  # one loop for all; torch's default is one by one


class LoaderSettings(Settings):
    """Sizes of batches, in windows."""

    batch_size: int = Field(128, ge=1, description="training windows a step")
    eval_batch_size: int = Field(1024, ge=1, description="windows at a time where no gradient is needed")


class Job(Settings):
    """The sections that every job has; ``trainer`` and ``model`` get their schema from the trainer's class."""

    save_loc: ExpandedPath = Field(description="run folder; must not hold another run")
    data: DataSettings
    trainer: Any
    model: Any
    optimizer: OptimizerSettings = OptimizerSettings()
    loader: LoaderSettings = LoaderSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    hpo: SearchSettings = SearchSettings()


def job_schema(trainer: type[JobTrainer]) -> type[Job]:
    """The schema of a job for one class of trainer; ``experts`` is a section of those that learn from other runs."""
    model = trainer.ModelSettings
    sections: dict[str, Any] = {"trainer": (trainer.Settings, ...), "model": (model, Field(default_factory=model))}
    if hasattr(trainer, "ExpertSettings"):
        sections["experts"] = (trainer.ExpertSettings, ...)
    return create_model("Job", __base__=Job, **sections)


def load_job(
    source: str | Path, overrides: list[str] | None = None, trainer: str | None = None
) -> tuple[Job, type[JobTrainer]]:
    """The job that a configuration describes, and the class that runs it.

    ``trainer`` is the ``module:Class`` of the command line; it takes the place of ``trainer.type``. Raises ConfigError.
    """
    changes = [*(overrides or []), *([f"trainer.type={trainer}"] if trainer else [])]
    document = read_config(source, changes)
    name = document.get("trainer", "type")
    where = str(document.place(("trainer", "type")))
    if trainer:
        cls = imported_trainer(trainer)
    elif not isinstance(name, str):
        raise ConfigError(f"{where}: trainer.type must name a registered trainer, for example gat; got {name!r}")
    elif ":" in name:
        raise ConfigError(
            f"{where}: trainer.type {name!r} is not a registered name. A configuration cannot import code; "
            f"say --trainer {name} on the command line, or register the class under the entry-point group."
        )
    else:
        cls = registered_trainer(name, where)
    if hasattr(cls, "ExpertSettings"):
        _take_data_of_expert(document)
    return validate(document, job_schema(cls)), cls


def _take_data_of_expert(document: Document) -> None:
    """Put the ``data`` section of the GAT that is to be fused beneath the document's own: a fusion sees the windows of
    its experts. Where that run is not there, the section is that of the shipped ``gat``."""
    folder, own = document.get("experts", "gat"), document.get("data")
    if isinstance(own, dict | None) and isinstance(folder, str):
        theirs = Path(os.path.expandvars(folder)).expanduser() / CONFIG
        document.data["data"] = _over(read_config(theirs if theirs.is_file() else "gat").get("data"), own or {})


def _over(below: Any, above: Any) -> Any:
    """``above``, with what only ``below`` has."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {name: _over(below.get(name), value) for name, value in above.items()}
