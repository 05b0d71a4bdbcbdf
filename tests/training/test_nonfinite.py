"""Losses and gradients that are not finite: the step is left out, or the run ends by name before anything is saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.training import NonFiniteLossError, StepOutcome, read_checkpoint
from tests.training.test_step import StepTrainer, data_of, net_of, optimizer_of, trainer_of
from tests.training.toys import frozen

pytestmark = pytest.mark.usefixtures("quick_disk")


class NaNAt(StepTrainer):
    bad: tuple[int, ...] = ()

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        self.outcomes = getattr(self, "outcomes", [])
        for index, (x, y) in enumerate(self.batches(trainloader)):
            loss = nn.functional.mse_loss(self.model(x).squeeze(-1), y)
            self.outcomes.append(self.optimize(loss * math.nan if index in self.bad else loss))
            self.record("loss", loss)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_non_finite_step_is_skipped_and_nothing_advances(clip: float, tmp_path: Path) -> None:
    batches, ours, theirs = data_of([4] * 6), net_of(), net_of()
    schedule = {"scheduler_type": "cosine-annealing-restarts"}
    trainer = trainer_of(
        ours, tmp_path, NaNAt, on_nonfinite="skip", use_ema=True, scheduler=schedule, grad_max_norm=clip
    )
    trainer.bad = (1, 4)
    trainer.fit({}, batches, optimizer=torch.optim.SGD(trainer.model.parameters(), 0.1))
    good = [batch for index, batch in enumerate(batches) if index not in trainer.bad]
    reference = trainer_of(theirs, tmp_path / "r", use_ema=True, scheduler=schedule, grad_max_norm=clip)
    reference.fit({}, good, optimizer=torch.optim.SGD(reference.model.parameters(), 0.1))
    assert trainer.outcomes.count(StepOutcome.SKIPPED_NONFINITE) == 2
    assert trainer.ema.step == trainer.scheduler.last_epoch == trainer.step_state.optimizer_step == 4
    assert frozen(ours.state_dict()) == frozen(theirs.state_dict())
    assert frozen(trainer.ema.shadow) == frozen(reference.ema.shadow)


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    trainer = trainer_of(net_of(), tmp_path, NaNAt, on_nonfinite="skip", nonfinite_limit=3)
    trainer.bad = tuple(range(2, 99))
    with pytest.raises(
        NonFiniteLossError, match=r"optimizer steps in a row were skipped, non-finite \(step 2, epoch 1"
    ):
        trainer.fit({}, data_of([4] * 20), optimizer=optimizer_of("sgd", trainer.model))
    assert trainer.outcomes.count(StepOutcome.SKIPPED_NONFINITE) <= 4


def test_single_skipped_steps_do_not_add_up(tmp_path: Path) -> None:
    trainer = trainer_of(net_of(), tmp_path, NaNAt, on_nonfinite="skip", nonfinite_limit=1)
    trainer.bad = (1, 3, 5, 7)
    trainer.fit({}, data_of([4] * 9), optimizer=optimizer_of("sgd", trainer.model))
    assert trainer.outcomes.count(StepOutcome.STEPPED) == 5


@pytest.mark.parametrize(("every", "checked"), [(2, "4 to 5"), (50, "0 to 7")])
def test_raise_names_the_step_and_the_range_that_was_checked(every: int, checked: str, tmp_path: Path) -> None:
    trainer = trainer_of(net_of(), tmp_path, NaNAt, log_every_n_steps=every)
    trainer.bad = (5,)
    with pytest.raises(NonFiniteLossError, match=rf"loss is nan at optimizer step 5 \(checked: steps {checked}\)"):
        trainer.fit({}, data_of([4] * 8), optimizer=optimizer_of("sgd", trainer.model))
    assert not (tmp_path / "checkpoint.pt").exists()  # nothing non-finite is saved under a name to resume from


def test_raise_looks_before_a_save_in_mid_epoch(tmp_path: Path) -> None:
    trainer = trainer_of(net_of(), tmp_path, NaNAt, checkpoint_every_steps=2)
    trainer.bad = (3,)
    with pytest.raises(NonFiniteLossError, match="loss is nan at optimizer step 3"):
        trainer.fit({}, data_of([4] * 8), optimizer=optimizer_of("sgd", trainer.model))
    state = read_checkpoint(tmp_path / "checkpoint.pt")
    assert state["position"]["batches"] == 2
    assert all(bool(value.isfinite().all()) for value in state["model"].values())


def test_an_epoch_without_a_step_does_not_move_the_epoch_s_schedule(tmp_path: Path) -> None:
    trainer = trainer_of(
        net_of(), tmp_path, NaNAt, on_nonfinite="skip", scheduler={"scheduler_type": "lambda"}, epochs=2
    )
    trainer.bad = (0, 1)
    trainer.fit({}, data_of([4, 4]), optimizer=optimizer_of("sgd", trainer.model))
    assert trainer.scheduler.last_epoch == 0
