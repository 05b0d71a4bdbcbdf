"""The training engine: BaseTrainer and what it is made of."""

from credit_like.training.base_trainer import BaseTrainer
from credit_like.training.callbacks import Callback
from credit_like.training.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from credit_like.training.checkpointing import load_weights
from credit_like.training.ema import EMATracker
from credit_like.training.loggers import Logger, TensorBoardLogger
from credit_like.training.recorder import NonFiniteLossError
from credit_like.training.rng import seed_everything
from credit_like.training.schedulers import SchedulerSettings, build_scheduler
from credit_like.training.settings import TrainerSettings
from credit_like.training.step import StepOutcome, StepState

__all__ = [
    "BaseTrainer",
    "Callback",
    "CheckpointError",
    "EMATracker",
    "Logger",
    "NonFiniteLossError",
    "SchedulerSettings",
    "StepOutcome",
    "StepState",
    "TensorBoardLogger",
    "TrainerSettings",
    "build_scheduler",
    "load_weights",
    "read_checkpoint",
    "seed_everything",
    "write_checkpoint",
]
