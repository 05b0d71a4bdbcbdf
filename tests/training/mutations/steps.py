"""Defects of the optimizer step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from credit_like.training import StepOutcome, step
from credit_like.training.base_trainer import BaseTrainer
from tests.training import test_step
from tests.training.mutations.mutation import Defects

defects = Defects()


def one_big_batch(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Two examples of the law, so that nothing is shrunk when it does not hold."""
    for clip in (0.0, 0.05):
        test_step.test_accumulation_equals_one_big_batch.hypothesis.inner_test([5, 2, 7, 3, 4], 3, "sgd", clip)


@defects.noticed_by(
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


@defects.noticed_by(
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


@defects.noticed_by(one_big_batch, "clipping for each micro-batch")
def clipped_each(patch: pytest.MonkeyPatch) -> None:
    backward = BaseTrainer.do_backward

    def clipping(self: BaseTrainer) -> None:
        backward(self)
        if self.grad_max_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_max_norm)

    patch.setattr(BaseTrainer, "do_backward", clipping)


@defects.noticed_by(one_big_batch, "the last short group is scaled as a full one")
def short_group(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step.AccumulationGroup, "correction", 1.0)


@defects.noticed_by(one_big_batch, "the flushed last group is not counted")
def flush_uncounted(patch: pytest.MonkeyPatch) -> None:
    close = BaseTrainer._close_group

    def forgetful(self: BaseTrainer) -> StepOutcome:
        short = self._group.count < self.grad_accum_every
        outcome = close(self)
        self.step_state.optimizer_step -= short
        return outcome

    patch.setattr(BaseTrainer, "_close_group", forgetful)


@defects.noticed_by(
    lambda folder, _: test_step.test_the_gradient_is_clipped_once_as_a_whole_to_the_given_norm(1, folder),
    "the gradient is clipped at its own norm",
)
def own_norm(patch: pytest.MonkeyPatch) -> None:
    clip = torch.nn.utils.clip_grads_with_norm_
    patch.setattr(torch.nn.utils, "clip_grads_with_norm_", lambda p, max_norm, norm: clip(p, float(norm), norm))


@defects.noticed_by(
    lambda folder, _: test_step.test_autocast_is_on_in_the_forward_pass_only("bf16", torch.bfloat16, folder),
    "a second forward pass in a batch runs on cached, stale weights",
)
def stale_casts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch, "clear_autocast_cache", lambda: None)
