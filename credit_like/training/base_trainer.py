"""BaseTrainer: the training loop. Subclass it, write ``train_one_epoch`` and ``validate``, and get all the rest.

``fit`` reads from top to bottom in the order in which things happen. What has to be right once in each step (mixed
precision, accumulation, clipping, EMA, counters) lives behind ``optimize`` and ``batches``, in ``batch_loop.py``.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from credit_like.config import ConfigError, Document, validate
from credit_like.training import arguments, checkpointing, inference
from credit_like.training.batch_loop import BatchLoop
from credit_like.training.batches import require_repeatable
from credit_like.training.ensemble import dropout_active, mean_and_spread
from credit_like.training.failures import explained
from credit_like.training.guards import engine_steps_only
from credit_like.training.history import History, Patience, Row, saved_columns
from credit_like.training.loggers import Logger
from credit_like.training.partition import require_share
from credit_like.training.position import Position
from credit_like.training.precision import gradient_scaler
from credit_like.training.preflight import preflight
from credit_like.training.progress import epoch_line, say
from credit_like.training.rng import epoch_seed, rng_kept, rng_state, seed_everything, set_epoch
from credit_like.training.run_folder import BEST, LOG, RunFolder, run_folder_path
from credit_like.training.schedulers import build_scheduler, step_after_epoch, steps_each_batch
from credit_like.training.settings import TrainerSettings
from credit_like.training.stopping import Stopped, StopRequest
from credit_like.training.trial import Trial, is_pruned, pruned_error, trial_folder
from credit_like.training.wrapping import require_same_weights, share_buffers, unwrapped


class BaseTrainer(BatchLoop):
    """A training loop around any ``nn.Module``.

    Args:
        model: moved to ``device``; build the optimizer from ``trainer.model`` afterwards.
        rank: this process's rank, 0 for one process; compared with the environment's RANK where that is set.
        conf: ``save_loc`` (the run folder; environment variables are expanded) and a ``trainer`` section, whose keys
            are those of ``Settings``. Each setting becomes an attribute (``train_one_epoch`` becomes
            ``train_one_epoch_mode``). Other keys of ``conf`` are the subclass's own.
        callbacks: Callback or Hook instances, or anything that defines one of their events.
        loggers: see :mod:`credit_like.training.loggers`.

    Raises ConfigError for an unknown or wrong setting, with the closest valid name. Not thread-safe.

    A subclass with settings of its own extends the schema:
    ``class Settings(BaseTrainer.Settings): margin: float = 1.0``.
    """

    class Settings(TrainerSettings):
        """The schema of ``conf["trainer"]``; a trainer with settings of its own extends it."""

    def __init__(
        self,
        model: nn.Module,
        rank: int,
        conf: Mapping[str, Any],
        callbacks: Sequence[Any] = (),
        loggers: Sequence[Logger] = (),
    ) -> None:
        section = arguments.trainer_section(conf, self.Settings.model_fields)
        settings = validate(Document("conf['trainer']", section), self.Settings)
        super().__init__(model, rank, settings, run_folder_path(conf), callbacks, loggers)
        self.conf, self.direction = conf, self.training_metric_direction
        self.training_metric = self.training_metric or ("train_loss" if self.skip_validation else "valid_loss")
        self.patience = Patience(self.training_metric, self.direction, self.stopping_patience)
        self.history = History(self.save_loc / LOG)
        self.valid_criterion, self.metrics, self.rollout_probability = None, None, 0.0
        self._epoch_rng: dict[str, Any] = {}
        self._partial_epoch: dict[str, Any] = {}  # of the checkpoint that is resumed from
        self.best_name, self._metric_asked_by = BEST, ""
        for callback in callbacks:
            if hasattr(callback, "configure"):
                callback.configure(self)

    # What a subclass writes ------------------------------------------------------------------------------------------

    @abstractmethod
    def train_one_epoch(
        self,
        epoch: int,
        trainloader: Any,
        optimizer: Optimizer,
        criterion: Any,
        scaler: Any,
        scheduler: Any,
        metrics: Any,
    ) -> Mapping[str, Any] | None:
        """One pass over ``self.batches(trainloader)``; for each batch ``self.optimize(loss)`` and ``self.record(...)``.

        The model is in training mode. ``optimizer``, ``scaler`` and ``scheduler`` are for reading: stepping them is an
        error. Returns None when everything was recorded, or a dict of floats, or of lists with a value for each batch.
        """

    @abstractmethod
    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> Mapping[str, Any] | None:
        """One pass over ``self.batches(valid_loader, "valid")``, recording metrics.

        The model is in evaluation mode, without gradients, on averaged weights when ``use_ema``. Returns as above.
        """

    def predict_step(self, batch: Any) -> Any:
        """What ``predict`` collects for a batch; by default the model's output for its first element."""
        return self.model(batch[0] if isinstance(batch, tuple | list) else batch)

    def extra_state(self) -> dict[str, Any]:
        """Plain data and tensors of a subclass that a resume needs (a replay buffer, a centre)."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``extra_state`` gave."""

    # The loop --------------------------------------------------------------------------------------------------------

    def fit(
        self,
        conf: Mapping[str, Any],
        train_loader: Any,
        valid_loader: Any = None,
        optimizer: Optimizer | None = None,
        train_criterion: Any = None,
        valid_criterion: Any = None,
        scaler: GradScaler | None = None,
        scheduler: Any = None,
        metrics: Any = None,
        rollout_scheduler: Callable[[int, int], float] | None = None,
        trial: Trial | bool = False,
    ) -> Row:
        """Train; returns the best epoch's row of results (empty when no epoch had a finite ``training_metric``).

        Args:
            conf: kept as ``self.fit_conf`` for what a subclass reads; settings come from the constructor's.
            train_loader, valid_loader: anything that can be iterated anew each epoch.
            optimizer: over the parameters of ``self.model``.
            train_criterion, valid_criterion, metrics: passed to ``train_one_epoch`` and ``validate`` as they are.
            scaler: used in float16 only; one is made when it is None.
            scheduler: torch's, or None for the one that ``trainer.scheduler`` names.
            rollout_scheduler: ``(epoch, epochs) -> float``, sets ``self.rollout_probability`` before each epoch.
            trial: anything with ``report(value, step)`` and ``should_prune()``, such as an Optuna trial.

        Raises UserError when ``save_loc`` holds a run and ``load_weights`` is not set, NonFiniteLossError under
        ``on_nonfinite: raise``, and ``optuna.TrialPruned`` when the trial says so. Ctrl-C raises KeyboardInterrupt;
        SIGTERM, SIGUSR1 and the time limit raise ``Stopped``: both after a checkpoint between two batches.
        """
        pruned = False
        with ExitStack() as cleanup:
            cleanup.enter_context(self.processes.failing_together())
            self.train_criterion, self.valid_criterion, self.metrics = train_criterion, valid_criterion, metrics
            self._take(conf, train_loader, valid_loader, optimizer, scaler, scheduler)
            self._open_run(cleanup, trial)
            if self.preflight:
                preflight(self, train_loader)
            try:
                self._hooks("on_fit_start", self, self.model)
                for epoch in self._epochs():
                    started = time.monotonic()
                    self._begin_epoch(epoch, rollout_scheduler)
                    row = {"epoch": epoch} | self._run_training(epoch) | self._run_validation(epoch)
                    row["lr"] = self._last_lr
                    self._hooks("on_train_epoch_end", self, self.model)
                    improved = self.patience.update(epoch, row)
                    self._step_epoch_scheduler(row)
                    self._log_epoch(row, improved, time.monotonic() - started)
                    self._save_checkpoint(epoch, self.optimizer, self.scheduler, self.scaler)
                    pruned = self._is_pruned(trial, row, epoch)
                    if pruned or self._should_stop(epoch):
                        break
                self._hooks("on_fit_end", self, self.model)
            except (KeyboardInterrupt, Stopped):
                self._hooks("on_cancel", self, self.model)
                raise
            except BaseException as error:
                try:
                    self._hooks("on_exception", self, self.model, error)
                finally:
                    self._keep_failure(error)
                raise
        if pruned:
            raise pruned_error(self._epoch, self.training_metric, row[self.training_metric])
        if self.history.rows and self.patience.best_epoch < 0:
            say(f"no epoch had a finite {self.training_metric}: none is the best, and there is no {self.best_name}")
        return self.history.row_of(self.patience.best_epoch)

    def test(self, loaders: Any, ckpt_path: str | Path | None = None) -> dict[str, float]:
        """``validate`` on test data: ``{"test_loss": ...}``; several loaders (dict or list) prefix their names.

        ``ckpt_path``: a checkpoint whose validated weights (raw or averaged) are loaded first, or ``"best"``.
        """
        return inference.run_test(self, loaders, ckpt_path)

    def predict(self, loaders: Any, ckpt_path: str | Path | None = None) -> list[Any]:
        """Outputs of ``predict_step`` on the CPU, one a batch; a dict or list of loaders gives a list of such lists."""
        return inference.run_predict(self, loaders, ckpt_path)

    def predict_on(self, loader: Any, ckpt_path: str | Path | None = None) -> list[Any]:
        """``predict`` over one loader, which may itself be a list of batches."""
        outputs: list[Any] = inference.run_predict(self, [loader], ckpt_path)[0]
        return outputs

    def watch_metric(self, monitor: str, direction: Literal["min", "max"], asked_by: str) -> None:
        """What is best, as a callback asks it; ``val_x`` means ``valid_x``. Raises ConfigError for a second metric."""
        metric = monitor.replace("val_", "valid_", 1) if monitor.startswith("val_") else monitor
        if self._metric_asked_by and (metric, direction) != (self.training_metric, self.direction):
            raise ConfigError(
                f"{asked_by} monitors {metric} ({direction}), {self._metric_asked_by} {self.training_metric} "
                f"({self.direction}); a run has one metric that decides what is best: give both the same"
            )
        self._metric_asked_by, self.training_metric, self.direction = asked_by, metric, direction
        self.patience.metric, self.patience.direction = metric, direction

    # How it is done --------------------------------------------------------------------------------------------------

    def _take(
        self,
        conf: Mapping[str, Any],
        train_loader: Any,
        valid_loader: Any,
        optimizer: Any,
        scaler: GradScaler | None,
        scheduler: Any,
    ) -> None:
        arguments.require_conf(conf)
        require_repeatable(train_loader, "train_loader")
        require_share(train_loader, "train_loader", self.processes if self.distributed else None)
        if not self.skip_validation:
            if valid_loader is None:
                raise TypeError("fit needs a valid_loader; without one set trainer.skip_validation: true")
            require_repeatable(valid_loader, "valid_loader")
        arguments.require_optimizer(optimizer, self.model)
        arguments.require_scheduler(scheduler)
        self.fit_conf, self.train_loader, self.valid_loader = conf, train_loader, valid_loader
        self.optimizer, self.scaler = optimizer, gradient_scaler(self.device, self.autocast_dtype, scaler)
        if scheduler is None and self.use_scheduler:
            scheduler = build_scheduler(optimizer, self.settings.scheduler, self.epochs, self.direction)
        self.scheduler = scheduler if self.use_scheduler else None
        self._scheduler_is_per_step = steps_each_batch(scheduler, self.settings.scheduler.scheduler_type)

    def _open_run(self, cleanup: ExitStack, trial: Trial | bool) -> None:
        """Lock the folder, resume or refuse, open the loggers; ``cleanup`` undoes it all, whatever happens."""
        self.history.path = self.save_loc / LOG
        self.processes.require_equal(checkpointing.comparable(self.conf), "the configuration")
        number = self.processes.main_does(lambda: None if isinstance(trial, bool) else trial.number)
        if number is not None:
            self.save_loc = trial_folder(run_folder_path(self.conf), number)
            self.history.path = self.save_loc.parent / f"training_log_{number}.csv"
        self._folder = RunFolder(self.save_loc, self.best_name)
        self.processes.main_does(self._folder.acquire)
        cleanup.callback(self._folder.release)
        checkpointing.resume_or_start(self, self._folder)
        cleanup.callback(self._abandon_batches)
        self._stop = cleanup.enter_context(StopRequest(self.time_limit_minutes).listening())
        cleanup.enter_context(engine_steps_only(self.optimizer, self.scaler, self.scheduler, lambda: self._stepping))
        for logger in self._loggers:
            logger.start(int(self.step_state.samples_seen), self.start_epoch)
            cleanup.callback(logger.close)

    def _epochs(self) -> range:
        if self.train_one_epoch_mode:
            return range(self.start_epoch, self.start_epoch + 1)
        ended = not self.skip_validation and self.patience.exhausted(self.start_epoch - 1)
        if ended and self.history.rows and self._resumed is None:
            say("this run has stopped early already; raise trainer.stopping_patience to go on")
            return range(0)
        if self.start_epoch >= self.epochs:
            say(f"all {self.epochs} epochs are done already; raise trainer.epochs to go on")
        cap = self.epochs if self.num_epoch is None else self.start_epoch + self.num_epoch
        return range(self.start_epoch, min(self.epochs, cap))

    def _begin_epoch(self, epoch: int, rollout_scheduler: Callable[[int, int], float] | None) -> None:
        """Everything random in an epoch follows from (seed, epoch), before any iterator is made."""
        self._epoch, self._passes = epoch, 0
        seed_everything(epoch_seed(self.seed, epoch, self.rank))
        set_epoch(self.train_loader, self.seed, epoch)
        if rollout_scheduler is not None:
            self.rollout_probability = float(rollout_scheduler(epoch, self.epochs))
        self._enter_phase("train")
        self._last_lr = float(self.optimizer.param_groups[0]["lr"])  # until there is a step
        if self._resumed is not None:
            checkpointing.reenter_epoch(self)
            return
        self.step_state.epoch, self._stepped_this_epoch = epoch, False
        self.step_state.reset_epoch()
        self._hooks("on_train_epoch_start", self, self.model)
        self._epoch_rng = rng_state()

    def _run_training(self, epoch: int) -> Row:
        self.model.train()
        resumed = self._resumed is not None
        returned = self.train_one_epoch(
            epoch, self.train_loader, self.optimizer, self.train_criterion, self.scaler, self.scheduler, self.metrics
        )
        self._close_batches()
        if self.distributed:
            require_same_weights(self.model, self.processes, epoch)
        if self._group.count:
            self._close_group()
        self._require_finite()
        self._phase = "none"
        if not self.step_state.optimizer_step and not self._skipped_in_a_row:
            say(f"epoch {epoch + 1} made no optimizer step: nothing called optimize(loss)")
        return self._results("train", returned, resumed=resumed)

    def _run_validation(self, epoch: int) -> Row:
        """Validate on averaged weights where there are such; the training's random numbers do not move."""
        if self.skip_validation:
            return {}
        self._hooks("on_validation_start", self, self.model)
        set_epoch(self.valid_loader, self.seed, epoch)
        if self.distributed:
            share_buffers(self.model, *(self.ema.shadow_buffers(self.model) if self.ema is not None else ()))
        self.model.eval()
        with rng_kept(), torch.no_grad():
            with nullcontext() if self.ema is None else self.ema.averaged(self.model):
                row = self._evaluation_row("valid", epoch, self.valid_loader)
            if self.ema is not None and self.validate_raw:
                raw = self._evaluation_row("valid", epoch, self.valid_loader)
                row |= {name.replace("valid_", "valid_raw_", 1): value for name, value in raw.items()}
        self.model.train()
        self._hooks("on_validation_end", self, self.model)
        return row

    def _evaluation_row(self, phase: str, epoch: int, loader: Any) -> Row:
        """One row of ``validate``; with ``ensemble_size`` n > 1 the mean of n passes with dropout active."""
        rows = []
        with dropout_active(self.model, self.ensemble_size > 1):
            for _ in range(self.ensemble_size):
                self._enter_phase(phase)
                returned = self.validate(epoch, loader, self.valid_criterion, self.metrics)
                self._close_batches()
                rows.append(self._results(phase, returned))
        self._phase = "none"
        return mean_and_spread(rows)

    def _step_epoch_scheduler(self, row: Row) -> None:
        if self.scheduler is None or self._scheduler_is_per_step or not self._stepped_this_epoch:
            return
        self._stepping = True
        try:
            step_after_epoch(self.scheduler, row[self.training_metric])
        finally:
            self._stepping = False

    def _log_epoch(self, row: Row, improved: bool, seconds: float) -> None:
        self.history.rows.append(row)
        self.processes.main_does(
            lambda: self.history.write(lambda r: saved_columns(r, self.save_metric_vars, self.display_metrics))
        )
        self.log_epoch({name: value for name, value in row.items() if name != "epoch"})
        say(epoch_line(row, self.epochs, improved, seconds, self.display_metrics))

    def _save_checkpoint(self, epoch: int, optimizer: Optimizer, scheduler: Any, scaler: GradScaler | None) -> None:
        """Write ``checkpoint.pt`` (it holds all of this epoch), the backup before it, and the best one's copy."""
        checkpointing.save(self, epoch)

    def _save_in_epoch(self, position: Position) -> None:
        checkpointing.save_in_epoch(self, position)

    def _keep_failure(self, error: BaseException) -> None:
        """Save under a name that is never resumed from, and raise in place of ``error`` what explains it better."""
        where = f"epoch {self._epoch + 1}, optimizer step {self.step_state.optimizer_step}"
        clearer = explained(error, self._weight, where)
        checkpointing.keep_failure(self)
        if clearer is not None:
            raise clearer from error

    def _is_pruned(self, trial: Trial | bool, row: Row, epoch: int) -> bool:
        """Whether the trial is to be pruned: rank 0 asks and tells all."""
        return self.processes.main_does(lambda: is_pruned(trial, row[self.training_metric], epoch))

    def _should_stop(self, epoch: int) -> bool:
        if not self.skip_validation and self.patience.exhausted(epoch):
            since = f"since epoch {self.patience.best_epoch + 1}" if self.patience.best_epoch >= 0 else "at all"
            say(f"stopping: no better {self.training_metric} {since}")
            return True
        if self._stop.settle(self.processes.gathered(self._stop.reason)):
            raise self._stop.error()
        return self.stop_after_epoch

    @staticmethod
    def _model_state_dict(model: nn.Module) -> dict[str, Any]:
        """The state of the user's own module, whatever wraps it."""
        return dict(unwrapped(model).state_dict())

    @staticmethod
    def _load_model_state_dict(model: nn.Module, state: Mapping[str, Any]) -> None:
        """Load into the user's own module. Raises CheckpointError where names or shapes differ."""
        checkpointing.load_state(model, state, "the checkpoint")
