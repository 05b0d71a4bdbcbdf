"""The loop: what happens in an epoch and in which order, when it ends, and what it refuses."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from credit_like.training import Callback, LambdaHook, NonFiniteLossError, read_checkpoint
from credit_like.training.rng import rng_state
from tests.training.toys import Net, Samples, Scripted, Setup, ToyTrainer, batches_of, epochs_of, fit_scripted, frozen

pytestmark = pytest.mark.usefixtures("quick_disk")


# Which epochs ---------------------------------------------------------------------------------------------------------


def test_num_epoch_caps_a_call(tmp_path: Path) -> None:
    assert epochs_of(fit_scripted(tmp_path, epochs=5, num_epoch=2)) == [0, 1]
    assert epochs_of(fit_scripted(tmp_path, epochs=5, num_epoch=2, load_weights=True)) == [0, 1, 2, 3]
    assert epochs_of(fit_scripted(tmp_path, epochs=5, num_epoch=2, load_weights=True)) == [0, 1, 2, 3, 4]


def test_one_epoch_a_call_runs_exactly_one_more_whatever_epochs_says(tmp_path: Path) -> None:
    for done in range(3):
        trainer = fit_scripted(tmp_path, epochs=2, train_one_epoch=True, load_weights=True)
        assert epochs_of(trainer) == list(range(done + 1))


def test_stop_after_epoch_ends_after_the_first_one_its_checkpoint_written(tmp_path: Path) -> None:
    assert epochs_of(fit_scripted(tmp_path, epochs=5, stop_after_epoch=True)) == [0]
    assert read_checkpoint(tmp_path / "checkpoint.pt")["epoch"] == 0
    assert epochs_of(fit_scripted(tmp_path, epochs=5, stop_after_epoch=True, load_weights=True)) == [0, 1]


def test_start_epoch(tmp_path: Path) -> None:
    assert epochs_of(fit_scripted(tmp_path, epochs=5, start_epoch=3)) == [3, 4]


def test_zero_epochs_do_nothing(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, epochs=0)
    assert trainer.result == {}
    assert not (tmp_path / "checkpoint.pt").exists()


def test_batches_per_epoch(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, epochs=2, batches_per_epoch=2)
    assert trainer.step_state.optimizer_step == 4


def test_rollout_probability_is_set_before_each_epoch(tmp_path: Path) -> None:
    class Rollout(Scripted):
        seen: tuple[float, ...] = ()

        def train_one_epoch(self, epoch: int, *rest: Any) -> None:
            self.seen += (self.rollout_probability,)
            super().train_one_epoch(epoch, *rest)

    trainer = fit_scripted(
        tmp_path, kind=Rollout, epochs=3, fit={"rollout_scheduler": lambda epoch, epochs: epoch / epochs}
    )
    assert trainer.seen == (0.0, 1 / 3, 2 / 3)


# The order in an epoch ------------------------------------------------------------------------------------------------


def test_the_order_inside_an_epoch(tmp_path: Path) -> None:
    story: list[str] = []

    class Told(Scripted):
        def train_one_epoch(self, epoch: int, *rest: Any) -> None:
            assert self.model.training
            assert torch.is_grad_enabled()
            story.append("train")
            super().train_one_epoch(epoch, *rest)

        def validate(self, epoch: int, *rest: Any) -> Any:
            assert not self.model.training
            assert not torch.is_grad_enabled()
            assert self.ema is not None
            assert self.ema.swapped
            story.append("validate")
            return super().validate(epoch, *rest)

        def _save_checkpoint(self, *arguments: Any) -> None:
            rows = (tmp_path / "training_log.csv").read_text().splitlines()
            story.append(f"checkpoint after {len(rows) - 1} rows, best {self.patience.best_epoch}")
            story.append(f"schedule {self.scheduler.last_epoch}")
            super()._save_checkpoint(*arguments)

    class Loader(list[Any]):
        def set_epoch(self, epoch: int) -> None:
            story.append(f"set_epoch {epoch}")

        def __iter__(self) -> Any:
            story.append("iterate")
            return super().__iter__()

    class Listening(Callback):
        def on_fit_start(self, trainer: Any, model: nn.Module) -> None:
            story.append("fit start")

        def on_train_epoch_start(self, trainer: Any, model: nn.Module) -> None:
            story.append("epoch start")

        def on_validation_start(self, trainer: Any, model: nn.Module) -> None:
            story.append("validation start")

        def on_validation_end(self, trainer: Any, model: nn.Module) -> None:
            story.append("validation end")
            assert not trainer.ema.swapped

        def on_train_epoch_end(self, trainer: Any, model: nn.Module) -> None:
            story.append("epoch end")

        def on_fit_end(self, trainer: Any, model: nn.Module) -> None:
            story.append("fit end")

    conf = {"epochs": 1, "use_ema": True, "preflight": False, "scheduler": {"scheduler_type": "lambda"}}
    trainer = Told(Net(0.0), 0, {"save_loc": str(tmp_path), "trainer": conf}, callbacks=[Listening()])
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    trainer.fit({}, Loader(batches_of()), batches_of(8), optimizer)
    assert story == [
        "fit start", "set_epoch 0", "epoch start", "train", "iterate", "validation start", "validate", "validation end",
        "epoch end", "checkpoint after 1 rows, best 0", "schedule 1", "fit end",
    ]  # fmt: skip


def test_batch_hooks_get_batch_index_and_outcome(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Batches(Callback):
        def on_train_batch_start(self, trainer: Any, model: nn.Module, batch: Any, batch_idx: int) -> None:
            seen.append(("start", batch_idx, len(batch[0])))

        def on_after_backward(self, trainer: Any, model: nn.Module) -> None:
            seen.append("backward")
            assert all(p.grad is not None for p in model.parameters())

        def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(("end", batch_idx, outputs.value))

    trainer = Scripted(Net(), 0, {"save_loc": str(tmp_path), "trainer": {}}, callbacks=[Batches()])
    trainer.fit({}, batches_of(8), batches_of(), torch.optim.SGD(trainer.model.parameters(), 0.01))
    assert seen == [
        ("start", 0, 4), "backward", ("end", 0, "stepped"), ("start", 1, 4), "backward", ("end", 1, "stepped"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raised", "event"), [(KeyboardInterrupt(), "on_cancel"), (ZeroDivisionError("mine"), "on_exception")]
)
def test_hooks_at_a_bad_end(raised: BaseException, event: str, tmp_path: Path) -> None:
    seen: list[Any] = []

    class Ends(Callback):
        def on_cancel(self, trainer: Any, model: nn.Module) -> None:
            seen.append("on_cancel")

        def on_exception(self, trainer: Any, model: nn.Module, exc: BaseException) -> None:
            seen.append("on_exception")
            assert exc is raised

        def on_fit_end(self, trainer: Any, model: nn.Module) -> None:
            seen.append("on_fit_end")

    class Failing(Scripted):
        def validate(self, *rest: Any) -> Any:
            raise raised

    trainer = Failing(Net(), 0, {"save_loc": str(tmp_path), "trainer": {}}, callbacks=[Ends()])
    with pytest.raises(type(raised)):
        trainer.fit({}, batches_of(), batches_of(), torch.optim.SGD(trainer.model.parameters(), 0.01))
    assert seen == [event]


def test_the_best_epoch_s_schedule_is_fed_the_training_metric(tmp_path: Path) -> None:
    trainer = fit_scripted(
        tmp_path, [1, 1, 1, 1, 1], epochs=4, scheduler={"scheduler_type": "plateau", "patience": 0, "factor": 0.5}
    )
    assert [row["lr"] for row in trainer.history.rows] == [0.01, 0.01, 0.005, 0.0025]


# Validation and the rest of the run -----------------------------------------------------------------------------------


def test_validation_does_not_move_the_training_s_random_numbers(tmp_path: Path) -> None:
    class Greedy(ToyTrainer):
        draws = 0

        def validate(self, *rest: Any) -> None:
            before = frozen(rng_state())
            super().validate(*rest)
            torch.rand(self.draws), np.random.rand(self.draws)  # noqa: NPY002
            [random.random() for _ in range(self.draws)]
            assert self.draws == 0 or frozen(rng_state()) != before

    ends = []
    for draws in (0, 7):
        torch.manual_seed(0)
        trainer = Greedy(Net(0.5), 0, {"save_loc": str(tmp_path / str(draws)), "trainer": {"epochs": 2}})
        trainer.draws = draws
        loader = DataLoader(Samples(12, 0, noise=True), 4, shuffle=True)
        after: list[Any] = []

        class After(Callback):
            def on_validation_end(self, trainer: Any, model: nn.Module, after: list[Any] = after) -> None:
                after.append(frozen(rng_state()))

        trainer._hooks = type(trainer._hooks)([After()])
        optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
        trainer.fit({}, loader, batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
        ends.append((frozen(trainer.model.state_dict()), after))
    assert ends[0] == ends[1]


def test_raw_weights_are_back_after_an_exception_in_validation(tmp_path: Path) -> None:
    class Failing(Scripted):
        def validate(self, *rest: Any) -> Any:
            self.inside = frozen(self.model.state_dict())
            raise ZeroDivisionError

    class Before(Callback):
        def on_validation_start(self, trainer: Any, model: nn.Module) -> None:
            trainer.raw = frozen(model.state_dict())

    conf = {"save_loc": str(tmp_path), "trainer": {"use_ema": True, "ema_decay": 0.9}}
    trainer: Any = Failing(Net(), 0, conf, callbacks=[Before()])
    with pytest.raises(ZeroDivisionError):
        trainer.fit({}, batches_of(), batches_of(), torch.optim.SGD(trainer.model.parameters(), 0.1))
    assert frozen(trainer.model.state_dict()) == trainer.raw != trainer.inside


@pytest.mark.parametrize("own", [False, True])
def test_the_order_of_an_epoch_follows_from_seed_and_epoch_alone(own: bool, tmp_path: Path) -> None:
    class Noting(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            self.order = tuple(float(value) for x, _ in self.batches(trainloader) for value in x[:, 0])
            self.record("loss", 0.0)

    def orders(run: str, seed: int) -> list[Any]:
        seen: list[Any] = []
        conf = {"save_loc": str(tmp_path / run), "trainer": {"epochs": 2, "seed": seed, "skip_validation": True}}
        note = LambdaHook(after_epoch=lambda trainer: seen.append(trainer.order))
        trainer = Noting(Net(), 0, conf, callbacks=[note])
        loader = DataLoader(Samples(12, 1), 4, shuffle=True, generator=torch.Generator() if own else None)
        trainer.fit({}, loader, None, torch.optim.SGD(trainer.model.parameters(), 0.01))
        return seen

    first, other = orders("a", 0), orders("b", 1)
    assert orders("c", 0) == first
    assert len({*first, *other}) == 4
    assert len({tuple(sorted(order)) for order in (*first, *other)}) == 1


def test_averaged_weights_are_not_saved_as_raw_ones(tmp_path: Path) -> None:
    class Saves(Scripted):
        def validate(self, epoch: int, *rest: Any) -> Any:
            self._save_checkpoint(epoch, self.optimizer, None, None)
            return super().validate(epoch, *rest)

    with pytest.raises(RuntimeError, match="the averaged weights are in the model now; swap them back first"):
        fit_scripted(tmp_path, kind=Saves, use_ema=True)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_validation_is_on_averaged_weights_and_raw_ones_on_request(tmp_path: Path) -> None:
    class Weighed(Scripted):
        def validate(self, *rest: Any) -> dict[str, float]:
            return {"loss": self.model.last.bias.item()}

    trainer = fit_scripted(tmp_path, kind=Weighed, epochs=2, use_ema=True, ema_decay=0.9, validate_raw=True)
    row = trainer.history.rows[-1]
    assert row["valid_loss"] == trainer.ema.shadow["last.bias"].item()
    assert row["valid_raw_loss"] == trainer.model.last.bias.item() != row["valid_loss"]


def test_each_phase_finds_the_model_in_its_mode_and_training_goes_on_in_training_mode(tmp_path: Path) -> None:
    modes: dict[str, set[bool]] = {}

    def note(name: str) -> Any:
        return lambda trainer, *_: modes.setdefault(name, set()).add(trainer.model.training)

    class Noting(Scripted):
        def validate(self, *rest: Any) -> Any:
            note("validate")(self)
            return super().validate(*rest)

    names = ("on_train_batch_start", "on_validation_end", "on_fit_end")
    hook = LambdaHook(**{name: note(name) for name in names})
    trainer = Noting(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"epochs": 2}}, callbacks=[hook])
    trainer.fit({}, batches_of(), batches_of(8), torch.optim.SGD(trainer.model.parameters(), 0.01))
    assert modes == {**{name: {True} for name in names}, "validate": {False}}


def test_ensemble_means_and_spread(tmp_path: Path) -> None:
    class Passes(Scripted):
        calls = 0

        def validate(self, *rest: Any) -> dict[str, float]:
            assert self.model.dropout.training
            assert not self.model.norm.training
            self.calls += 1
            return {"loss": float(self.calls), "mae": 1.0}

    trainer = fit_scripted(tmp_path, kind=Passes, epochs=1, ensemble_size=3)
    assert trainer.result["valid_loss"] == 2.0
    assert trainer.result["valid_std"] == pytest.approx(math.sqrt(2 / 3))
    assert not trainer.model.eval().dropout.training


def test_optimize_in_validation_is_refused(tmp_path: Path) -> None:
    class Wrong(Scripted):
        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> Any:
            for x, _ in self.batches(valid_loader, "valid"):
                self.optimize(self.model(x).mean())

    with pytest.raises(RuntimeError, match="optimize was called during 'valid'; it belongs in train_one_epoch"):
        fit_scripted(tmp_path, kind=Wrong)


@pytest.mark.parametrize("optimized", [True, False])
def test_breaking_out_of_the_batches_is_allowed(optimized: bool, tmp_path: Path) -> None:
    class Breaking(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for index, (x, y) in enumerate(self.batches(trainloader)):
                loss = nn.functional.mse_loss(self.model(x), y)
                self.record("loss", loss)
                if index == 1 and not optimized:
                    break
                self.optimize(loss)
                if index == 1:
                    break

    trainer = fit_scripted(tmp_path, kind=Breaking, epochs=2, grad_accum_every=4, precision="bf16", use_ema=True)
    assert trainer.step_state.optimizer_step == trainer.ema.step == 2  # the open group is stepped at the epoch's end
    assert trainer.step_state.samples_seen == (16 if optimized else 8)
    assert not torch.is_autocast_enabled("cpu")


def test_a_gradient_that_overflows_under_finite_losses_is_found_before_anything_is_saved(tmp_path: Path) -> None:
    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
            return gradients[0] * float("inf")

    class Bad(ToyTrainer):
        def do_backward(self) -> None:
            self.loss_t = Overflow.apply(self.loss_t)
            super().do_backward()

    setup = Setup(epochs=1)
    trainer = Bad(Net(), 0, setup.trainer(tmp_path, batches_per_epoch=1).conf)
    with pytest.raises(NonFiniteLossError, match="the weights are not finite after optimizer step 1, though"):
        trainer.fit({}, batches_of(4), batches_of(4), setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())
    assert not (tmp_path / "checkpoint.pt").exists()
