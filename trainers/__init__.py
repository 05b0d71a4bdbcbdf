"""The learning rules, one file each; imported when first asked for, so that a plain engine user pays for none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.dgi_ocgin import DGIOCGINTrainer
    from trainers.gat import GATTrainer
    from trainers.module import ModuleTrainer, TrainerConfig
    from trainers.rl_fusion import RLFusionTrainer
    from trainers.step import StepTrainer

__all__ = ["DGIOCGINTrainer", "GATTrainer", "ModuleTrainer", "RLFusionTrainer", "StepTrainer", "TrainerConfig"]

_HOMES = {
    "DGIOCGINTrainer": "trainers.dgi_ocgin",
    "GATTrainer": "trainers.gat",
    "ModuleTrainer": "trainers.module",
    "RLFusionTrainer": "trainers.rl_fusion",
    "StepTrainer": "trainers.step",
    "TrainerConfig": "trainers.module",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
