"""Callbacks: the base class, and those that are shipped."""

from credit_like.training.callbacks.base import Callback
from credit_like.training.callbacks.early_stopping import EarlyStopping
from credit_like.training.callbacks.metrics_jsonl import MetricsJSONL, read_metrics_jsonl
from credit_like.training.callbacks.mlflow import MLflowCallback
from credit_like.training.callbacks.model_checkpoint import ModelCheckpoint
from credit_like.training.callbacks.monitors import LRMonitor, ThroughputMonitor, VRAMDriftCallback
from credit_like.training.callbacks.tau_norm import TauNormCallback, apply_tau_norm

__all__ = [
    "Callback",
    "EarlyStopping",
    "LRMonitor",
    "MLflowCallback",
    "MetricsJSONL",
    "ModelCheckpoint",
    "TauNormCallback",
    "ThroughputMonitor",
    "VRAMDriftCallback",
    "apply_tau_norm",
    "read_metrics_jsonl",
]
