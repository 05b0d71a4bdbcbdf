"""TrainerSettings: the ``trainer`` section of a configuration, by topic. A subclass of BaseTrainer extends it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from credit_like.config import Settings
from credit_like.training.schedulers import SchedulerSettings


class TrainerSettings(Settings):
    """Every setting of the engine, with its default."""

    type: str = Field("", description="registered name of the trainer; read by the applications")

    # How long
    epochs: int = Field(1, ge=0, description="epochs of the whole run")
    start_epoch: int = Field(0, ge=0, description="first epoch; a resume sets it")
    num_epoch: int | None = Field(None, ge=1, description="cap on the epochs run in this call; null for none")
    batches_per_epoch: int = Field(0, ge=0, description="training batches an epoch; 0 for all")
    valid_batches_per_epoch: int = Field(0, ge=0, description="validation batches an epoch; 0 for all")
    stop_after_epoch: bool = Field(False, description="end after the first epoch of this call, checkpoint written")
    train_one_epoch: bool = Field(False, description="run exactly one more epoch, whatever epochs says")

    # What is best, and when to stop
    skip_validation: bool = Field(False, description="train only; no early stopping then")
    training_metric: str = Field(
        "", description='column that decides what is best; "" is valid_loss (train_loss without validation)'
    )
    training_metric_direction: Literal["min", "max"] = "min"
    stopping_patience: int = Field(100, ge=1, description="epochs without a better value before the run stops")

    # The step
    amp: bool = Field(True, description="mixed precision where it helps")
    precision: Literal["auto", "32", "bf16", "16"] = Field(
        "auto", description="auto: bf16 or fp16 on a GPU, float32 on a CPU"
    )
    grad_max_norm: float = Field(0.0, ge=0, description="clip the whole gradient to this 2-norm; 0 for none")
    grad_accum_every: int = Field(1, ge=1, description="micro-batches an optimizer step")
    on_nonfinite: Literal["raise", "skip"] = Field(
        "raise", description="a non-finite loss ends the run, or its step is left out"
    )
    nonfinite_limit: int = Field(20, ge=1, description="skipped steps in a row before the run ends")

    # The model
    compile: bool = Field(
        False, description="torch.compile it in place; its first batches take minutes, and a CPU needs a C++ compiler"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass: less memory, one more forward pass a step"
    )

    # Learning rate
    use_scheduler: bool = True
    scheduler: SchedulerSettings = SchedulerSettings()

    # Averaged weights
    use_ema: bool = Field(False, description="validate, and deploy, an exponential moving average of the weights")
    ema_decay: float = Field(0.9999, ge=0, le=1)
    validate_raw: bool = Field(False, description="with use_ema: the raw weights' metrics too, as valid_raw_*")
    ensemble_size: int = Field(
        1, ge=1, description="stochastic passes, dropout active, that validation and prediction average"
    )

    # Checkpoints and logs
    load_weights: bool = Field(False, description="resume everything from save_loc's newest valid checkpoint")
    save_best_weights: bool = True
    save_backup_weights: bool = True
    save_every_epoch: bool = False
    save_top_k: int = Field(0, ge=0, description="keep the checkpoints of so many best epochs besides; 0: none")
    save_metric_vars: bool | tuple[str, ...] = Field(
        True, description="log columns: all, those with one of the words, or loss only"
    )
    checkpoint_every_steps: int = Field(
        0, ge=0, description="checkpoint in mid-epoch too, each n optimizer steps; 0: never"
    )
    checkpoint_every_minutes: float = Field(
        0, ge=0, description="checkpoint in mid-epoch too, each n minutes; 0: never"
    )
    time_limit_minutes: float = Field(0, ge=0, description="stop, resumable, after so long; 0: no limit")
    use_tensorboard: bool = False
    log_every_n_steps: int = Field(
        50, ge=1, description="steps between batch values; each costs a sync with the device"
    )

    # Before hours are spent
    preflight: bool = Field(True, description="load a batch, estimate memory and, on a GPU, measure a step first")
    dataloader_timeout_s: float = Field(300, ge=0, description="seconds that preflight waits for a batch; 0: for ever")

    # Where
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mode: Literal["none", "ddp", "fsdp"] = Field(
        "none",
        description="all processes that torchrun started train together: ddp, each with the model; fsdp, with a part",
    )
    process_timeout_s: float = Field(
        1800,
        gt=0,
        description="ddp, fsdp: seconds that a process waits for another before the run ends; also saving time",
    )
    seed: int = Field(0, ge=0, lt=2**32)


class SettingAttributes:
    """Every setting as an attribute of the trainer; these are those of the engine.

    Two have other names: ``train_one_epoch`` is a method, so the setting is ``train_one_epoch_mode``, and the section
    ``scheduler`` gives ``scheduler_type``; ``scheduler`` itself is the schedule that runs, None before ``fit``.
    """

    epochs: int
    start_epoch: int
    num_epoch: int | None
    batches_per_epoch: int
    valid_batches_per_epoch: int
    stop_after_epoch: bool
    train_one_epoch_mode: bool
    skip_validation: bool
    training_metric: str
    training_metric_direction: Literal["min", "max"]
    stopping_patience: int
    grad_max_norm: float
    grad_accum_every: int
    on_nonfinite: Literal["raise", "skip"]
    nonfinite_limit: int
    compile: bool
    gradient_checkpointing: bool
    use_scheduler: bool
    scheduler_type: str
    validate_raw: bool
    ensemble_size: int
    load_weights: bool
    save_best_weights: bool
    save_backup_weights: bool
    save_every_epoch: bool
    save_top_k: int
    save_metric_vars: bool | tuple[str, ...]
    checkpoint_every_steps: int
    checkpoint_every_minutes: float
    time_limit_minutes: float
    log_every_n_steps: int
    preflight: bool
    dataloader_timeout_s: float
    seed: int

    def __init__(self, settings: TrainerSettings) -> None:
        self.settings = settings
        for name in type(settings).model_fields.keys() - {"scheduler"}:
            setattr(self, "train_one_epoch_mode" if name == "train_one_epoch" else name, getattr(settings, name))
        self.scheduler_type = settings.scheduler.scheduler_type
