"""BatchLoop: what happens inside an epoch. Batches go out, losses come in, and one place steps the optimizer.

BaseTrainer builds the epochs on it. Everything that has to be right once stands here: mixed precision, accumulation,
clipping, non-finite losses, the per-step schedule, EMA, counters, batch hooks and batch logging.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from credit_like.config import UserError
from credit_like.training import arguments
from credit_like.training.batches import length_of, samples_in, to_device
from credit_like.training.device import checked_rank, choose_device
from credit_like.training.dispatch import Dispatcher
from credit_like.training.distribution import Place, SharedBatch, join
from credit_like.training.ema import EMATracker
from credit_like.training.history import Row, over_processes, phase_results, prefixed
from credit_like.training.loggers import Logger, TensorBoardLogger
from credit_like.training.partition import require_as_many, share_of
from credit_like.training.position import Position
from credit_like.training.precision import autocast, autocast_dtype
from credit_like.training.preparation import prepared
from credit_like.training.progress import described, progress_bar
from credit_like.training.recorder import FiniteWatch, NonFiniteLossError, Recorder, read, require_finite_weights
from credit_like.training.settings import SettingAttributes, TrainerSettings
from credit_like.training.sharding import fully_sharded
from credit_like.training.step import AccumulationGroup, StepOutcome, StepState, step_optimizer
from credit_like.training.stopping import StopRequest
from credit_like.training.wrapping import (
    distributed_data_parallel,
    require_all_used,
    share_kept_gradients,
    share_next_gradients,
)

H = TypeVar("H")
_END = object()


class BatchLoop(SettingAttributes, ABC):
    """The half of a trainer that knows batches and optimizer steps, and nothing of epochs."""

    #: Metrics that the progress bar and an epoch's line show, and that ``save_metric_vars: false`` keeps; empty: all
    #: recorded ones.
    display_metrics: ClassVar[tuple[str, ...]] = ()

    #: What an error says of a ``save_loc`` that holds a run.
    going_on: ClassVar[str] = "resume it (trainer.load_weights: true) or name another save_loc"

    optimizer: Optimizer
    scaler: GradScaler | None
    scheduler: Any = None
    _scheduler_is_per_step: bool

    def __init__(
        self,
        model: nn.Module,
        rank: int,
        settings: TrainerSettings,
        save_loc: Path,
        callbacks: Sequence[Any],
        loggers: Sequence[Logger],
    ) -> None:
        super().__init__(settings)
        arguments.require_parts(model, callbacks, loggers)
        self.save_loc, self.rank = save_loc, checked_rank(rank)
        self.distributed, self.sharded = settings.mode != "none", settings.mode == "fsdp"
        self.device = choose_device(settings.device)
        self.processes = join(settings.mode, self.rank, self.device, settings.process_timeout_s)
        self.model = prepared(model.to(self.device), settings)
        if settings.mode == "ddp":
            self.model = distributed_data_parallel(self.model, self.device)
        elif self.sharded:
            self.model = fully_sharded(self.model, self.device)
        self.ema = EMATracker(self.model, settings.ema_decay) if settings.use_ema else None
        self.autocast_dtype = autocast_dtype(self.device, settings.amp, settings.precision)
        self.step_state = StepState(grad_accum_steps=self.grad_accum_every, num_processes=self.processes.size)
        self._hooks = Dispatcher(callbacks, rank)
        also = [c for c in callbacks if isinstance(c, Logger) and not any(c is logger for logger in loggers)]
        self._loggers = [*loggers, *also] if rank == 0 else []
        if settings.use_tensorboard and rank == 0:
            self._loggers.append(TensorBoardLogger(save_loc / "tensorboard"))
        self._recorder, self._finite = Recorder(), FiniteWatch()
        self._group = AccumulationGroup(self.grad_accum_every, self.processes.size)
        self._shared = SharedBatch()  # what all processes know of the present batch
        self._phase, self._epoch = "none", 0
        self.batch: Any = None  # the present one
        self.predicting = 0  # index of the batch that predict_step is given
        self._weight = 1.0  # samples in the present batch
        self._weights: list[float] = []  # of every batch of the phase so far
        self._outcome: StepOutcome | None = None  # of the present batch's last optimize
        self._open_batches: list[Any] = []
        self._loader_is_a_share = False  # of the present phase, for one of several processes
        self._passes = 0  # over the training loader in this epoch
        self.resume_from: Path | None = None  # with load_weights: this checkpoint before any other
        self._resumed: Position | None = None  # where in the epoch to go on
        self._saved_at = (0, time.monotonic())
        self._stop = StopRequest()
        self._stepping = self._stepped_this_epoch = False
        self._skipped_in_a_row = 0
        self._last_lr = 0.0

    def batch_size(self, batch: Any) -> float:
        """Samples in a batch: graphs for graph batches, else the first dimension of its first tensor."""
        return samples_in(batch)

    # What a subclass calls -------------------------------------------------------------------------------------------

    def batches(self, loader: Any, phase: str = "train") -> Iterator[Any]:
        """The loader's batches on the device, inside autocast, counted, with progress; as many as configured.

        An epoch may pass over several loaders, or one several times. What a checkpoint in mid-epoch can tell is how far
        the first pass came, so that once another has begun, saves and stops wait for the epoch's end.
        """
        if not self._open_batches:
            self._autocast_outside = torch.is_autocast_enabled(self.device.type)
        iterator = self._batches(loader, phase)
        self._open_batches.append(iterator)
        return iterator

    def optimize(self, loss: Tensor, weight: float | None = None) -> StepOutcome:
        """Backward, and a step when the accumulation group is full: the only place that steps.

        ``loss`` is a mean over the batch's samples; ``weight`` is how many they are (default: ``batch_size``).
        """
        if self._phase != "train":
            raise RuntimeError(f"optimize was called during {self._phase!r}; it belongs in train_one_epoch")
        arguments.require_loss(loss)
        if self.distributed:
            self._shared.optimized(by_samples=weight is None and self._outcome is None)
        typical = self._shared.typical if self.distributed else 0.0
        scale = self._group.add(self._weight if weight is None else weight, typical)
        self.loss_t = loss if scale == 1.0 else loss * scale
        self._backward(loss)
        full = self._group.count >= self.grad_accum_every
        self._outcome = self._close_group() if full else StepOutcome.ACCUMULATED
        if self.distributed:
            share_next_gradients(self.model, self._group.count + 1 >= self.grad_accum_every)
        return self._outcome

    def record(self, name: str, value: Tensor | float, weight: float | None = None) -> None:
        """Take ``value`` into the phase's weighted mean of ``name``, without a sync; weight: the batch's samples."""
        self._recorder.add(name, value, self._weight if weight is None else weight)

    def gathered(self, rows: Tensor) -> Tensor:
        """``rows`` of all processes, one behind the other, for a metric of the whole set and not of a batch.

        Where the phase's loader gives every process everything (or there is one process), ``rows`` itself. To be called
        on every process, after the loop over ``batches``.
        """
        if self.processes.size == 1 or not self._loader_is_a_share:
            return rows
        return torch.cat([part.to(rows.device) for part in self.processes.gathered(rows.detach().cpu(), Place.ROWS)])

    def log_batch(self, values: Mapping[str, float]) -> None:
        """Send values of this moment to the loggers, at the number of samples seen."""
        for logger in self._loggers:
            logger.log_batch(values, int(self.step_state.samples_seen))

    def log_epoch(self, values: Mapping[str, float]) -> None:
        """Send values of this epoch to the loggers; they do not enter training_log.csv."""
        for logger in self._loggers:
            logger.log_epoch(values, self._epoch)

    @property
    def training(self) -> bool:
        """Whether the present phase is training, and not validation, test or prediction."""
        return self._phase == "train"

    def do_backward(self) -> None:
        """Seam: backward through ``self.loss_t``."""
        arguments.require_gradient(self.loss_t)
        loss = self.loss_t if self.scaler is None else self.scaler.scale(self.loss_t)
        torch.autograd.backward(loss)

    def do_opt_step(self) -> bool:
        """Seam: unscale, correct, clip, step; whether the weights moved."""
        skip = self.on_nonfinite == "skip"
        self._step_result = step_optimizer(
            self.optimizer, self.scaler, self._group.correction, self.grad_max_norm, skip_nonfinite=skip
        )
        return self._step_result is StepOutcome.STEPPED

    def do_zero_grad(self) -> None:
        """Seam: forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def describe_hooks(self) -> str:
        """Print, and return, a Markdown table of which callback or hook runs when, and in what order."""
        table = self._hooks.describe()
        print(table)
        return table

    def get_hook(self, cls: type[H], default: Any = ...) -> H:
        """The first callback or hook of class ``cls``. Raises KeyError where there is none and no default is given."""
        return self._hooks.get(cls) if default is ... else self._hooks.get(cls, default)

    # How it is done --------------------------------------------------------------------------------------------------

    def _backward(self, loss: Tensor) -> None:
        """Backward through ``self.loss_t``, outside autocast; ``loss`` is the same before it was weighted."""
        if self.on_nonfinite == "raise" and self.scaler is None:
            self._finite.add(self.step_state.optimizer_step, loss)
        with nullcontext() if self.autocast_dtype is None else torch.autocast(self.device.type, enabled=False):
            self.do_backward()
        require_all_used(self.model)
        self._hooks("on_after_backward", self, self.model)

    def _batches(self, loader: Any, phase: str) -> Iterator[Any]:
        training = phase == "train"
        limit = self.batches_per_epoch if training else self.valid_batches_per_epoch * (self._phase == "valid")
        total = length_of(loader, limit)
        self._loader_is_a_share = share_of(loader) is not None
        first_pass = training and not self._passes
        self._passes += training
        resumed, self._resumed = (self._resumed, None) if first_pass else (None, self._resumed)
        outside = (
            self._weight,
            self._shared.weight,
            self._shared.typical,
        )  # of no batch, or of one that this pass is within
        iterator, done = (iter(loader), 0) if resumed is None else (resumed.rewind(loader), resumed.batches)
        with progress_bar(total, phase, self._epoch, self.epochs, done, enabled=self.rank == 0) as bar:
            for index in range(done, limit or sys.maxsize):
                if first_pass and self._passes == 1 and not self._group.count:
                    # A loader that was just put back may not know its position before its first batch.
                    self._between_batches(index, loader, resumed if index == done else None)
                batch = to_device(next(iterator, _END), self.device)
                self._weight, self._outcome = 0.0 if batch is _END else float(self.batch_size(batch)), None
                if training and self.distributed:
                    self._meet(index, batch is _END)
                elif self.sharded:
                    self._meet_outside_training(index, batch is _END, phase)
                if batch is _END:
                    break
                self.batch = batch
                if training:
                    self._hooks("on_train_batch_start", self, self.model, batch, index)
                self._hooks("before_step", self, self.model)
                try:
                    with autocast(self.device, self.autocast_dtype):
                        yield batch
                except GeneratorExit:  # the loop was left: its last batch counts when it was optimized
                    if self._outcome is not None:
                        self._count_batch(batch, index, training, bar, phase)
                    raise
                self._count_batch(batch, index, training, bar, phase)
        if training and self._group.count:
            self._close_group()
        self._weight, self._shared.weight, self._shared.typical = outside
        if not self._weights:
            raise UserError(f"the {phase} loader gave no batch in epoch {self._epoch + 1}; is the data set empty?")

    def _between_batches(self, done: int, loader: Any, known: Position | None) -> None:
        """Save and stop here, where the subclass's code after ``optimize`` has run and no group is open."""
        stop, save = self._shared.asked if self.distributed else (self._stop.requested, self._checkpoint_is_due())
        if stop or save:
            self._require_finite()
            self._save_in_epoch(known or Position.of(done, loader))
            self._note_save()
        if stop:
            raise self._stop.error()

    def _meet(self, index: int, ended: bool) -> None:
        """Before a batch the processes tell each other its size, and whether to save or stop behind it."""
        told = self.processes.exchange(
            Place.BATCH, ended, self._weight, self._stop.reason, not ended and self._checkpoint_is_due()
        )
        limit = "set trainer.batches_per_epoch to at most the shortest"
        require_as_many("training", [row[0] for row in told], f"{index + 1} of epoch {self._epoch + 1}", limit)
        stop = self._stop.settle([int(row[2]) for row in told])
        self._shared.take([row[1] for row in told], (stop, any(row[3] for row in told)))

    def _meet_outside_training(self, index: int, ended: bool, phase: str) -> None:
        """Before a batch of sharded weights' other phases, whose every forward pass is made by all processes."""
        told = self.processes.exchange(Place.OUTSIDE_TRAINING, ended)
        where = f"{index + 1} of epoch {self._epoch + 1}"
        require_as_many(phase, [row[0] for row in told], where, "set trainer.mode: ddp")

    def _require_finite(self) -> None:
        """Before validation and saving: no loss was non-finite, and no gradient made the weights so."""
        self._finite.check()
        if self.on_nonfinite == "raise":
            require_finite_weights(self.model, self.step_state.optimizer_step)

    def _note_save(self) -> None:
        self._saved_at = (self.step_state.optimizer_step, time.monotonic())

    def _checkpoint_is_due(self) -> bool:
        steps, moment = self._saved_at
        if self.checkpoint_every_steps and self.step_state.optimizer_step - steps >= self.checkpoint_every_steps:
            return True
        return bool(self.checkpoint_every_minutes) and time.monotonic() - moment >= 60 * self.checkpoint_every_minutes

    @abstractmethod
    def _save_in_epoch(self, position: Position) -> None:
        """BaseTrainer writes the checkpoint; it alone knows what is in one."""

    def _count_batch(self, batch: Any, index: int, training: bool, bar: Any, phase: str) -> None:
        self._weights.append(self._weight)
        bar.update()
        self._hooks("after_step", self, self.model)
        if not training:
            return
        stepped = self._outcome is StepOutcome.STEPPED
        self.step_state.increment_batch(self._weight, True, False)  # the step was counted where it was made
        if self.distributed:  # batches differ in size between processes
            self.step_state.samples_seen += self._shared.weight - self._weight * self.step_state.num_processes
        self._hooks("on_train_batch_end", self, self.model, self._outcome, batch, index)
        if stepped and self.step_state.optimizer_step % self.log_every_n_steps == 0:
            read(self._finite, self._recorder)
            self._log_batch_progress(self._epoch, self._recorder.means(), self.optimizer, bar, phase)
            self.log_batch({f"train_{name}": value for name, value in self._recorder.latest.items()})

    def _close_group(self) -> StepOutcome:
        """The accumulation group is complete: step, and let scheduler, EMA and counters follow a step that was real."""
        if self.distributed:
            if self._group.count < self.grad_accum_every:
                share_kept_gradients(self.model)
            self._group.total = self._shared.group_total(self.processes, self._group.total)
        self._stepping, self._step_result = True, StepOutcome.SKIPPED_NONFINITE
        try:
            outcome = StepOutcome.STEPPED if self.do_opt_step() else self._step_result
            self._last_lr = float(self.optimizer.param_groups[0]["lr"])
            if outcome is StepOutcome.STEPPED and self._scheduler_is_per_step and self.scheduler is not None:
                self.scheduler.step()
        finally:
            self._stepping = False
        self.do_zero_grad()
        self._group.close()
        if outcome is not StepOutcome.STEPPED:
            self._skipped_in_a_row += 1
            if self._skipped_in_a_row > self.nonfinite_limit:
                raise NonFiniteLossError(
                    f"{self._skipped_in_a_row} optimizer steps in a row were {outcome.value} (step "
                    f"{self.step_state.optimizer_step}, epoch {self._epoch + 1}); lower the learning rate or set "
                    "trainer.precision: 32"
                )
            return outcome
        self._skipped_in_a_row = 0
        self._stepped_this_epoch = True
        self.step_state.optimizer_step += 1
        if self.autocast_dtype is not None:
            torch.clear_autocast_cache()  # a second forward in this batch must not see the weights of before the step
        if self.ema is not None:
            self.ema.update(self.model)
        return outcome

    def _log_batch_progress(
        self, epoch: int, results_dict: Mapping[str, float], optimizer: Optimizer, pbar: Any, phase: str
    ) -> None:
        """Describe the phase on its bar: running means (``display_metrics`` where there are such), then the rate."""
        shown = {n: v for n, v in results_dict.items() if not self.display_metrics or n in self.display_metrics}
        pbar.set_description(
            described(phase, epoch, self.epochs, shown, optimizer.param_groups[0]["lr"]), refresh=False
        )

    def _enter_phase(self, phase: str) -> None:
        self._phase = phase
        self._recorder, self._weights = Recorder(), []
        self._weight, self._shared = 1.0, SharedBatch()  # what is recorded outside of any batch counts once
        if phase == "train":
            self.do_zero_grad()  # what an interrupted batch or the caller's own backward left is not this epoch's
            share_next_gradients(self.model, self.grad_accum_every == 1)

    def _results(self, phase: str, returned: Mapping[str, Any] | None, resumed: bool = False) -> Row:
        """One phase's results on all processes, each metric's mean weighted by what stands behind it on each."""
        arguments.require_results(returned, "train_one_epoch" if phase == "train" else "validate")
        row = phase_results(phase, self._recorder.means(), returned, self._weights, resumed=resumed)
        if not self.distributed:
            return row
        weights = dict.fromkeys(row, sum(self._weights) or 1.0) | prefixed(phase, self._recorder.weights())
        return over_processes(*zip(*self.processes.gathered((row, weights)), strict=True))

    def _close_batches(self) -> None:
        """Close iterators that a ``break`` left open: autocast, the bar and the loader's workers go with them."""
        if self._open_batches:
            while self._open_batches:
                self._open_batches.pop().close()
            # Two that were open side by side (`zip`) have left autocast in another order than they entered it.
            torch.set_autocast_enabled(self.device.type, self._autocast_outside)

    def _abandon_batches(self) -> None:
        """Leave nothing behind of a batch that was interrupted: no open autocast, no half accumulation group."""
        self._outcome, self._resumed = None, None
        self._close_batches()
        self._group.close()
        self._finite = FiniteWatch()
