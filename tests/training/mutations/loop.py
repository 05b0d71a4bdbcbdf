"""Defects of the loop over epochs."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest

from credit_like.training import base_trainer, inference
from credit_like.training.base_trainer import BaseTrainer
from credit_like.training.history import Patience
from credit_like.training.recorder import Recorder
from tests.training import (
    test_fit,
    test_inference,
    test_patience,
    test_refusals,
    test_results,
    test_step,
)
from tests.training.mutations.mutation import Defects

defects = Defects()


@defects.noticed_by(
    lambda folder, _: test_step.test_a_schedule_steps_once_an_epoch_or_once_a_real_step("lambda", 3, folder),
    "the scheduler steps twice an epoch",
)
def scheduler_twice(patch: pytest.MonkeyPatch) -> None:
    once = BaseTrainer._step_epoch_scheduler

    def twice(self: BaseTrainer, row: Any) -> None:
        once(self, row)
        once(self, row)

    patch.setattr(BaseTrainer, "_step_epoch_scheduler", twice)


@defects.noticed_by(
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


@defects.noticed_by(
    lambda folder, _: test_patience.test_a_metric_that_no_row_has_is_an_error_that_lists_those_there_are(folder),
    "a monitor that does not exist silently disables checkpoints",
)
def silent_monitor(patch: pytest.MonkeyPatch) -> None:
    update = Patience.update

    def silent(self: Patience, epoch: int, row: Any) -> bool:
        row.setdefault(self.metric, math.nan)
        return update(self, epoch, row)

    patch.setattr(Patience, "update", silent)


@defects.noticed_by(
    lambda folder, _: test_refusals.test_a_one_shot_generator_is_refused(folder),
    "a one-shot generator is taken as a loader",
)
def one_shot(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(base_trainer, "require_repeatable", lambda loader, name: None)


@defects.noticed_by(
    lambda folder, _: test_fit.test_validation_does_not_move_the_training_s_random_numbers(folder),
    "validation moves the training's random numbers",
)
def validation_moves_rng(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(base_trainer, "rng_kept", nullcontext)


@defects.noticed_by(
    lambda folder, _: test_results.test_epoch_means_are_weighted_by_batch_size_in_a_run(folder),
    "epoch means are not weighted",
)
def unweighted_means(patch: pytest.MonkeyPatch) -> None:
    add = Recorder.add
    patch.setattr(Recorder, "add", lambda self, name, value, weight: add(self, name, value, 1.0))


@defects.noticed_by(
    lambda folder, _: test_inference.test_validation_data_are_not_handed_back_as_test_data(folder),
    "validation data are handed back as test data",
)
def validation_as_test(patch: pytest.MonkeyPatch) -> None:
    named = inference.named_loaders
    run_test = inference.run_test

    def run(trainer: Any, loaders: Any, ckpt_path: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(
                inference, "named_loaders", lambda given: [(name, trainer.valid_loader) for name, _ in named(given)]
            )
            return run_test(trainer, loaders, ckpt_path)

    patch.setattr(inference, "run_test", run)
