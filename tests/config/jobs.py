"""A small schema with every kind of setting that the messages speak of."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from credit_like.config import ExpandedPath, Settings


class Trainer(Settings):
    epochs: int = Field(1, ge=1)
    lr: float = Field(1e-3, gt=0)
    amp: bool = True
    columns: bool | list[str] = True
    betas: tuple[float, float] = (0.9, 0.999)
    mode: Literal["none", "ddp", "fsdp"] = "none"
    patience: int | None = None


class Data(Settings):
    path: ExpandedPath
    cache: Path = Path("cache")
    first: int = 0
    last: int = 10

    @model_validator(mode="after")
    def _ordered(self) -> Data:
        if self.first > self.last:
            raise ValueError(f"first ({self.first}) lies behind last ({self.last})")
        return self


class Job(Settings):
    name: str = "job"
    data: Data
    trainer: Trainer = Trainer()
    weights: dict[str, float] = Field(default_factory=dict)
