"""The training engine: BaseTrainer and what it is made of."""

from credit_like.training.base_trainer import BaseTrainer
from credit_like.training.callbacks import (
    Callback,
    EarlyStopping,
    LRMonitor,
    MetricsJSONL,
    MLflowCallback,
    ModelCheckpoint,
    TauNormCallback,
    ThroughputMonitor,
    VRAMDriftCallback,
    apply_tau_norm,
    read_metrics_jsonl,
)
from credit_like.training.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from credit_like.training.checkpointing import load_weights
from credit_like.training.distribution import OtherProcessError
from credit_like.training.ema import EMATracker
from credit_like.training.hooks import Hook, LambdaHook, MainProcessHook
from credit_like.training.loggers import Logger, TensorBoardLogger
from credit_like.training.metric_accumulator import MetricAccumulator
from credit_like.training.partition import PartitionedBatchSampler
from credit_like.training.recorder import NonFiniteLossError
from credit_like.training.rng import seed_everything
from credit_like.training.schedulers import SchedulerSettings, build_scheduler
from credit_like.training.settings import TrainerSettings
from credit_like.training.step import StepOutcome, StepState
from credit_like.training.stopping import Stopped

__all__ = [
    "BaseTrainer",
    "Callback",
    "CheckpointError",
    "EMATracker",
    "EarlyStopping",
    "Hook",
    "LRMonitor",
    "LambdaHook",
    "Logger",
    "MLflowCallback",
    "MainProcessHook",
    "MetricAccumulator",
    "MetricsJSONL",
    "ModelCheckpoint",
    "NonFiniteLossError",
    "OtherProcessError",
    "PartitionedBatchSampler",
    "SchedulerSettings",
    "StepOutcome",
    "StepState",
    "Stopped",
    "TauNormCallback",
    "TensorBoardLogger",
    "ThroughputMonitor",
    "TrainerSettings",
    "VRAMDriftCallback",
    "apply_tau_norm",
    "build_scheduler",
    "load_weights",
    "read_checkpoint",
    "read_metrics_jsonl",
    "seed_everything",
    "write_checkpoint",
]
