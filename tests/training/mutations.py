"""Defects that training loops are known for, each as a patch, and the test that must notice it.

``test_mutations.py`` runs each test twice: on the engine as it is, and with the defect in it, where it has to fail.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.training import (
    EMATracker,
    StepOutcome,
    base_trainer,
    checkpoint,
    checkpointing,
    ema,
    inference,
    preflight,
    run_folder,
    step,
)
from credit_like.training.base_trainer import BaseTrainer
from credit_like.training.history import History, Patience
from credit_like.training.recorder import Recorder
from tests.training import (
    test_checkpoint,
    test_ema,
    test_ema_state,
    test_fit,
    test_inference,
    test_loggers,
    test_patience,
    test_refusals,
    test_results,
    test_resume,
    test_resume_state,
    test_save_accidents,
    test_step,
)

Patch = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[Path, pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutation:
    defect: str
    patch: Patch
    check: Check


MUTATIONS: list[Mutation] = []


def one_big_batch(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Two examples of the law, so that nothing is shrunk when it does not hold."""
    for clip in (0.0, 0.05):
        test_step.test_accumulation_equals_one_big_batch.hypothesis.inner_test([5, 2, 7, 3, 4], 3, "sgd", clip)


def noticed_by(check: Check, defect: str) -> Callable[[Patch], Patch]:
    def register(patch: Patch) -> Patch:
        MUTATIONS.append(Mutation(defect, patch, check))
        return patch

    return register


# The loop -------------------------------------------------------------------------------------------------------------


@noticed_by(
    lambda folder, _: test_step.test_a_schedule_steps_once_an_epoch_or_once_a_real_step("lambda", 3, folder),
    "the scheduler steps twice an epoch",
)
def scheduler_twice(patch: pytest.MonkeyPatch) -> None:
    once = BaseTrainer._step_epoch_scheduler

    def twice(self: BaseTrainer, row: Any) -> None:
        once(self, row)
        once(self, row)

    patch.setattr(BaseTrainer, "_step_epoch_scheduler", twice)


@noticed_by(
    lambda folder, _: test_patience.test_a_nan_in_epoch_0_is_not_best_for_ever(folder),
    "a NaN in epoch 0 stays best for ever",
)
def nan_is_best(patch: pytest.MonkeyPatch) -> None:
    def update(self: Patience, epoch: int, row: Any) -> bool:
        if self.best_epoch < 0 or row[self.metric] < self.best_value:
            self.best_epoch, self.best_value = epoch, row[self.metric]
            return True
        return False

    patch.setattr(Patience, "update", update)


@noticed_by(
    lambda folder, _: test_patience.test_a_metric_that_no_row_has_is_an_error_that_lists_those_there_are(folder),
    "a monitor that does not exist silently disables checkpoints",
)
def silent_monitor(patch: pytest.MonkeyPatch) -> None:
    update = Patience.update

    def silent(self: Patience, epoch: int, row: Any) -> bool:
        row.setdefault(self.metric, math.nan)
        return update(self, epoch, row)

    patch.setattr(Patience, "update", silent)


@noticed_by(
    lambda folder, _: test_refusals.test_a_one_shot_generator_is_refused(folder),
    "a one-shot generator is taken as a loader",
)
def one_shot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(base_trainer, "require_repeatable", lambda loader, name: None)


@noticed_by(
    lambda folder, _: test_fit.test_validation_does_not_move_the_training_s_random_numbers(folder),
    "validation moves the training's random numbers",
)
def validation_moves_rng(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(base_trainer, "rng_kept", nullcontext)


@noticed_by(
    lambda folder, _: test_results.test_epoch_means_are_weighted_by_batch_size_in_a_run(folder),
    "epoch means are not weighted",
)
def unweighted_means(patch: pytest.MonkeyPatch) -> None:
    add = Recorder.add
    patch.setattr(Recorder, "add", lambda self, name, value, weight: add(self, name, value, 1.0))


@noticed_by(
    lambda folder, _: test_inference.test_validation_data_are_not_handed_back_as_test_data(folder),
    "validation data are handed back as test data",
)
def validation_as_test(patch: pytest.MonkeyPatch) -> None:
    named = inference._named
    run_test = inference.run_test

    def run(trainer: Any, loaders: Any, ckpt_path: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(inference, "_named", lambda given: [(name, trainer.valid_loader) for name, _ in named(given)])
            return run_test(trainer, loaders, ckpt_path)

    patch.setattr(inference, "run_test", run)


# The step -------------------------------------------------------------------------------------------------------------


@noticed_by(
    lambda folder, _: test_step.test_nothing_advances_on_a_step_that_the_scaler_skipped(folder),
    "averages advance on skipped steps",
)
def skipped_counts(patch: pytest.MonkeyPatch) -> None:
    close = BaseTrainer._close_group

    def careless(self: BaseTrainer) -> StepOutcome:
        outcome = close(self)
        if outcome is not StepOutcome.STEPPED and self.ema is not None:
            self.ema.update(self.model)
        return outcome

    patch.setattr(BaseTrainer, "_close_group", careless)


@noticed_by(
    lambda folder, _: test_step.test_nothing_advances_on_a_step_that_the_scaler_skipped(folder),
    "the schedule advances on skipped steps",
)
def skipped_schedule(patch: pytest.MonkeyPatch) -> None:
    close = BaseTrainer._close_group

    def careless(self: BaseTrainer) -> StepOutcome:
        outcome = close(self)
        if outcome is not StepOutcome.STEPPED:
            self._stepping = True
            self.scheduler.step()
            self._stepping = False
        return outcome

    patch.setattr(BaseTrainer, "_close_group", careless)


@noticed_by(one_big_batch, "clipping for each micro-batch")
def clipped_each(patch: pytest.MonkeyPatch) -> None:
    backward = BaseTrainer.do_backward

    def clipping(self: BaseTrainer) -> None:
        backward(self)
        if self.grad_max_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_max_norm)

    patch.setattr(BaseTrainer, "do_backward", clipping)


@noticed_by(one_big_batch, "the last short group is scaled as a full one")
def short_group(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step.AccumulationGroup, "correction", 1.0)


@noticed_by(one_big_batch, "the flushed last group is not counted")
def flush_uncounted(patch: pytest.MonkeyPatch) -> None:
    close = BaseTrainer._close_group

    def forgetful(self: BaseTrainer) -> StepOutcome:
        short = self._group.count < self.grad_accum_every
        outcome = close(self)
        self.step_state.optimizer_step -= short
        return outcome

    patch.setattr(BaseTrainer, "_close_group", forgetful)


@noticed_by(
    lambda folder, _: test_step.test_the_gradient_is_clipped_once_as_a_whole_to_the_given_norm(1, folder),
    "the gradient is clipped at its own norm",
)
def own_norm(patch: pytest.MonkeyPatch) -> None:
    clip = torch.nn.utils.clip_grads_with_norm_
    patch.setattr(torch.nn.utils, "clip_grads_with_norm_", lambda p, max_norm, norm: clip(p, float(norm), norm))


@noticed_by(
    lambda folder, _: test_step.test_autocast_is_on_in_the_forward_pass_only("bf16", torch.bfloat16, folder),
    "a second forward pass in a batch runs on cached, stale weights",
)
def stale_casts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "clear_autocast_cache", lambda: None)


# Averages -------------------------------------------------------------------------------------------------------------


@noticed_by(
    lambda folder, _: test_fit.test_raw_weights_are_back_after_an_exception_in_validation(folder),
    "averaged weights stay in the model after an exception in validation",
)
def averages_stay(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def averaged(self: EMATracker, model: nn.Module) -> Iterator[None]:
        self.swap(model)
        yield
        self.swap(model)

    patch.setattr(EMATracker, "averaged", averaged)


@noticed_by(
    lambda folder, _: test_ema.test_each_tensor_is_averaged_in_its_own_precision(),
    "mixed dtypes are averaged in the first tensor's",
)
def first_dtype(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ema, "_full_precision", lambda dtype: dtype if dtype.is_complex else torch.float32)


@noticed_by(lambda folder, _: test_ema.test_integer_and_bool_buffers_are_copied(), "integer buffers are averaged")
def integers_averaged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EMATracker, "_averages", lambda self, value: True)
    patch.setattr(ema, "_full_precision", lambda dtype: dtype if dtype.is_complex else torch.float64)


@noticed_by(
    lambda folder, _: test_ema_state.test_a_state_dict_does_not_alias_the_shadow(),
    "a state dict aliases the live shadow",
)
def aliasing_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        EMATracker, "state_dict", lambda self: {"shadow": self.shadow, "decay": self.decay, "step": self.step}
    )


# Checkpoints and resume -----------------------------------------------------------------------------------------------


@noticed_by(
    lambda folder, patch: test_save_accidents.test_a_run_whose_disk_filled_can_be_resumed(folder),
    "a resume doubles rows of the log",
)
def appended_log(patch: pytest.MonkeyPatch) -> None:
    def write(self: History, shown: Any) -> None:
        row = shown(self.rows[-1])
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, list(row)).writerow(row)

    patch.setattr(History, "write", write)


@noticed_by(
    lambda folder, patch: test_resume.test_a_measured_step_before_the_run_changes_nothing(folder, patch),
    "preflight changes the weights",
)
def preflight_trains(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def kept(trainer: Any) -> Iterator[None]:
        trainer._enter_phase("train")
        trainer._passes = 1
        yield
        trainer._passes = 0

    patch.setattr(preflight, "undone", kept)


@noticed_by(
    lambda folder, _: test_save_accidents.test_a_kill_at_any_system_call_of_a_write_leaves_the_old_or_the_new(folder),
    "checkpoint files are torn",
)
def torn_files(patch: pytest.MonkeyPatch) -> None:
    def stage(path: Path, state: Any) -> tuple[Path, str]:
        with open(path, "wb") as file:
            torch.save({"format_version": 1, **state}, file)
            os.fsync(file.fileno())
        return path, checkpoint.file_digest(path)

    patch.setattr(checkpoint, "stage", stage)


@noticed_by(
    lambda folder, _: test_resume.test_several_accidents_in_a_row("stops early", folder), "patience is lost on resume"
)
def patience_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Patience, "load_state_dict", lambda self, state: None)


@noticed_by(lambda folder, _: test_resume_state.test_the_amp_scale_survives(folder), "the AMP scale is lost on resume")
def scale_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.amp.GradScaler, "load_state_dict", lambda self, state: None)


@noticed_by(
    lambda folder, _: test_resume.test_interrupted_in_validation("exception", folder), "a resume restarts at epoch 0"
)
def restart(patch: pytest.MonkeyPatch) -> None:
    restore = checkpointing.restore

    def forgetful(trainer: Any, state: Any, path: Path) -> None:
        restore(trainer, state, path)
        trainer.start_epoch = 0

    patch.setattr(checkpointing, "restore", forgetful)


@noticed_by(
    lambda folder, _: test_resume.test_several_accidents_in_a_row("loader with a generator", folder),
    "a resume goes on with the random numbers of a fresh process",
)
def numbers_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("credit_like.training.position.set_rng_state", lambda state: None)


@noticed_by(
    lambda folder, _: test_save_accidents.test_a_damaged_latest_never_becomes_the_backup(folder),
    "a damaged checkpoint displaces the good backup",
)
def damaged_backup(patch: pytest.MonkeyPatch) -> None:
    newest_valid = run_folder.RunFolder.newest_valid

    def trusting(self: run_folder.RunFolder) -> Any:
        found = newest_valid(self)
        self._latest_digest = checkpoint.file_digest(self.path / run_folder.LATEST)
        return found

    patch.setattr(run_folder.RunFolder, "newest_valid", trusting)


@noticed_by(
    lambda folder, patch: test_checkpoint.test_nothing_is_parsed_before_the_digest_is_right(folder, patch),
    "a file is parsed before it is verified",
)
def parsed_first(patch: pytest.MonkeyPatch) -> None:
    read = checkpoint.read_checkpoint

    def eager(path: Path, *rest: Any) -> Any:
        torch.load(path, weights_only=True)
        return read(path, *rest)

    patch.setattr(test_checkpoint, "read_checkpoint", eager)


@noticed_by(
    lambda folder, patch: test_loggers.test_after_a_resume_no_point_is_doubled_or_lost("exception", folder),
    "a resume doubles points in TensorBoard",
)
def no_purge(patch: pytest.MonkeyPatch) -> None:
    from torch.utils import tensorboard

    writer = tensorboard.SummaryWriter
    patch.setattr(tensorboard, "SummaryWriter", lambda folder, purge_step=None: writer(folder))
