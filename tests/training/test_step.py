"""The one place that steps: accumulation, clipping, skipped steps, mixed precision, counters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from credit_like.training import BaseTrainer, Callback, StepOutcome, StepState
from tests.training.toys import frozen

pytestmark = pytest.mark.usefixtures("quick_disk")
Batch = tuple[Tensor, Tensor]


class StepTrainer(BaseTrainer):
    """Keeps what ``optimize`` said; the loss is a mean over the samples."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        self.outcomes: list[StepOutcome] = getattr(self, "outcomes", [])
        for x, y in self.batches(trainloader):
            loss = nn.functional.mse_loss(self.model(x).squeeze(-1), y)
            self.outcomes.append(self.optimize(loss))
            self.record("loss", loss)

    def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> None:
        raise AssertionError("not asked for")


def trainer_of(model: nn.Module, folder: Path | str, kind: type[BaseTrainer] = StepTrainer, **settings: Any) -> Any:
    conf = {"skip_validation": True, "save_best_weights": False, "save_backup_weights": False, **settings}
    return kind(model, 0, {"save_loc": str(folder), "trainer": conf})


def data_of(sizes: Sequence[int], seed: int = 0) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(n, 3, generator=generator).double(), torch.randn(n, generator=generator).double()) for n in sizes
    ]


def net_of(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def optimizer_of(name: str, model: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(model.parameters(), 0.05)
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)


def bare_loop(model: nn.Module, batches: list[Batch], every: int, name: str, clip: float) -> None:
    """The reference: each group as one big batch, by hand."""
    optimizer = optimizer_of(name, model)
    for start in range(0, len(batches), every):
        group = batches[start : start + every]
        x, y = torch.cat([x for x, _ in group]), torch.cat([y for _, y in group])
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x).squeeze(-1), y).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()


# Accumulation and clipping --------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(1, 5),
    st.sampled_from(["sgd", "adam"]),
    st.sampled_from([0.0, 0.05, 1.0]),
)
def test_accumulation_equals_one_big_batch(sizes: list[int], every: int, name: str, clip: float) -> None:
    batches, ours, theirs = data_of(sizes), net_of(), net_of()
    with TemporaryDirectory() as folder:
        trainer = trainer_of(ours, folder, grad_accum_every=every, grad_max_norm=clip)
        trainer.fit({}, batches, optimizer=optimizer_of(name, trainer.model))
    bare_loop(theirs, batches, every, name, clip)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-11)
    groups = math.ceil(len(sizes) / every)
    assert trainer.step_state.optimizer_step == groups  # the flushed last group is a step like any other
    assert trainer.step_state.batch_idx == len(sizes)
    assert trainer.step_state.samples_seen == sum(sizes)


def test_a_caller_s_weight_goes_before_the_batch_s_size(tmp_path: Path) -> None:
    """A sum over nodes, say, is a mean over something else than the samples."""

    class ByNodes(StepTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for (x, y), nodes in zip(self.batches(trainloader), (30, 10), strict=False):
                self.optimize(nn.functional.mse_loss(self.model(x).squeeze(-1), y), weight=nodes)
                self.record("loss", 0.0)

    batches, ours, theirs = data_of([4, 4]), net_of(), net_of()
    trainer = trainer_of(ours, tmp_path, ByNodes, grad_accum_every=2)
    trainer.fit({}, batches, optimizer=torch.optim.SGD(trainer.model.parameters(), 1.0))
    losses = [nn.functional.mse_loss(theirs(x).squeeze(-1), y) for x, y in batches]
    (0.75 * losses[0] + 0.25 * losses[1]).backward()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference - reference.grad)


@pytest.mark.parametrize("every", [1, 3])
def test_the_gradient_is_clipped_once_as_a_whole_to_the_given_norm(every: int, tmp_path: Path) -> None:
    model = net_of()
    before = [p.detach().clone() for p in model.parameters()]
    trainer = trainer_of(model, tmp_path, grad_accum_every=every, grad_max_norm=1e-3, batches_per_epoch=every)
    trainer.fit({}, data_of([5, 2, 7]), optimizer=torch.optim.SGD(trainer.model.parameters(), 1.0))
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, model.parameters(), strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(1e-3, rel=1e-3)


def test_a_small_gradient_is_not_scaled_up(tmp_path: Path) -> None:
    ours, free = net_of(), net_of()
    for model, norm in ((ours, 1e6), (free, 0.0)):
        trainer = trainer_of(model, tmp_path / str(norm), grad_max_norm=norm)
        trainer.fit({}, data_of([4, 4]), optimizer=torch.optim.SGD(trainer.model.parameters(), 0.1))
    assert frozen(ours.state_dict()) == frozen(free.state_dict())


def test_gradients_from_before_the_run_do_not_count(tmp_path: Path) -> None:
    """A look at the loss by hand, a finder of learning rates: their gradients are not the first batch's."""
    batches, ours, theirs = data_of([4]), net_of(), net_of()
    trainer = trainer_of(ours, tmp_path)
    nn.functional.mse_loss(ours(batches[0][0]).squeeze(-1), batches[0][1]).backward()
    trainer.fit({}, batches, optimizer=torch.optim.SGD(trainer.model.parameters(), 0.1))
    bare = torch.optim.SGD(theirs.parameters(), 0.1)
    nn.functional.mse_loss(theirs(batches[0][0]).squeeze(-1), batches[0][1]).backward()
    bare.step()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("weight", [0, -1.0, math.nan])
def test_a_weight_that_is_no_number_of_samples_is_refused(weight: float, tmp_path: Path) -> None:
    class Weightless(StepTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for x, _ in self.batches(trainloader):
                self.optimize(self.model(x).mean(), weight=weight)

    trainer = trainer_of(net_of(), tmp_path, Weightless)
    with pytest.raises(ValueError, match="weight must be a positive number of samples; got"):
        trainer.fit({}, data_of([4]), optimizer=optimizer_of("sgd", trainer.model))


def test_the_seams_are_asked(tmp_path: Path) -> None:
    class Seams(StepTrainer):
        called: tuple[str, ...] = ()

        def do_backward(self) -> None:
            self.called += ("backward",)
            super().do_backward()

        def do_opt_step(self) -> bool:
            self.called += ("step",)
            return super().do_opt_step()

        def do_zero_grad(self) -> None:
            self.called += ("zero",)
            super().do_zero_grad()

    trainer = trainer_of(net_of(), tmp_path, Seams, grad_accum_every=2)
    trainer.fit({}, data_of([4, 4, 4]), optimizer=optimizer_of("sgd", trainer.model))
    steps = ("backward", "backward", "step", "zero", "backward", "step", "zero")
    assert "".join(steps) in "".join(trainer.called)
    assert trainer.called.count("step") == 2


# Steps that were not made ---------------------------------------------------------------------------------------------


class Outcomes(Callback):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(outputs)


def test_outcomes_with_accumulation(tmp_path: Path) -> None:
    outcomes = Outcomes()
    trainer = StepTrainer(
        net_of(),
        0,
        {"save_loc": str(tmp_path), "trainer": {"skip_validation": True, "grad_accum_every": 2}},
        callbacks=[outcomes],
    )
    trainer.fit({}, data_of([4, 4, 4]), optimizer=optimizer_of("sgd", trainer.model))
    a, s = StepOutcome.ACCUMULATED, StepOutcome.STEPPED
    assert trainer.outcomes == outcomes.seen == [a, s, a]


def test_nothing_advances_on_a_step_that_the_scaler_skipped(tmp_path: Path) -> None:
    """float16 on the CPU with a scale that overflows: halved at each skip until it fits."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    batches = [(x.float(), y.float()) for x, y in data_of([4] * 12)]
    trainer = trainer_of(
        model, tmp_path, precision="16", use_ema=True, scheduler={"scheduler_type": "linear-warmup-cosine", "total": 99}
    )
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
    before = frozen(model.state_dict())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    trainer.fit({}, batches, optimizer=optimizer, scaler=scaler)
    skipped = trainer.outcomes.count(StepOutcome.SKIPPED_BY_SCALER)
    stepped = trainer.outcomes.count(StepOutcome.STEPPED)
    assert 0 < skipped < 12
    assert skipped + stepped == 12
    assert trainer.outcomes[0] is StepOutcome.SKIPPED_BY_SCALER
    assert scaler.get_scale() == 2.0 ** (20 - skipped)
    assert trainer.ema.step == trainer.step_state.optimizer_step == trainer.scheduler.last_epoch == stepped
    assert trainer.step_state.samples_seen == 48
    assert frozen(model.state_dict()) != before


# Schedules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [("lambda", 3), ("cosine-annealing", 3), ("cosine-annealing-restarts", 12), ("linear-warmup-cosine", 12)],
)
def test_a_schedule_steps_once_an_epoch_or_once_a_real_step(name: str, expected: int, tmp_path: Path) -> None:
    trainer = trainer_of(
        net_of(), tmp_path, epochs=3, grad_accum_every=2, scheduler={"scheduler_type": name, "total": 20}
    )
    trainer.fit({}, data_of([4] * 7), optimizer=optimizer_of("sgd", trainer.model))
    assert trainer.scheduler.last_epoch == expected


def test_a_cosine_that_is_over_stays_at_its_end(tmp_path: Path) -> None:
    trainer = trainer_of(net_of(), tmp_path, epochs=5, scheduler={"scheduler_type": "cosine-annealing", "total": 2})
    trainer.fit({}, data_of([4]), optimizer=torch.optim.SGD(trainer.model.parameters(), 0.1))
    assert [row["lr"] for row in trainer.history.rows] == pytest.approx([0.1, 0.05, 0, 0, 0])


# Mixed precision ------------------------------------------------------------------------------------------------------


class Watching(StepTrainer):
    """Notes dtypes and whether autocast is on, at each place where it matters."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        self.seen: dict[str, Any] = {}
        for x, y in self.batches(trainloader):
            output = self.model(x)
            self.seen["forward"] = (torch.is_autocast_enabled("cpu"), output.dtype)
            output.register_hook(lambda _: self.seen.update(backward=torch.is_autocast_enabled("cpu")))
            before = output.detach().clone()
            self.optimize(nn.functional.mse_loss(output.squeeze(-1).float(), y))
            with torch.no_grad():
                after = self.model(x)
            self.seen["moved"] = not torch.equal(before, after)
            self.record("loss", 0.0)
        self.seen["between"] = torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("16", torch.float16)])
def test_autocast_is_on_in_the_forward_pass_only(precision: str, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    batches = [(x.float(), y.float()) for x, y in data_of([4] * 3)]
    trainer = trainer_of(model, tmp_path, Watching, precision=precision)
    trainer.fit({}, batches, optimizer=torch.optim.SGD(trainer.model.parameters(), 0.5))
    assert trainer.seen["forward"] == (True, dtype)
    assert trainer.seen["backward"] is False
    assert trainer.seen["between"] is False
    assert trainer.seen["moved"]  # the second forward pass saw the weights after the step, not a cached cast
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (trainer.scaler is not None) == (precision == "16")


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({}, None),
        ({"precision": "32"}, None),
        ({"precision": "bf16", "amp": False}, None),
        ({"precision": "bf16"}, torch.bfloat16),
    ],
)
def test_precision_on_a_cpu(settings: dict[str, Any], dtype: torch.dtype | None, tmp_path: Path) -> None:
    assert trainer_of(net_of(), tmp_path, device="cpu", **settings).autocast_dtype is dtype


def test_no_autocast_is_left_on_after_an_exception(tmp_path: Path) -> None:
    class Failing(StepTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for _ in self.batches(trainloader):
                raise ZeroDivisionError

    trainer = trainer_of(nn.Linear(3, 1), tmp_path, Failing, precision="bf16")
    with pytest.raises(ZeroDivisionError):
        trainer.fit({}, [(torch.randn(4, 3), torch.randn(4))], optimizer=optimizer_of("sgd", trainer.model))
    assert not torch.is_autocast_enabled("cpu")


def test_the_learning_rate_column_is_that_of_the_last_step(tmp_path: Path) -> None:
    trainer = trainer_of(
        net_of(), tmp_path, scheduler={"scheduler_type": "linear-warmup-cosine", "warmup": 3, "total": 9}
    )
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.8)
    trainer.fit({}, data_of([4, 4]), optimizer=optimizer)
    assert trainer.history.rows[0]["lr"] == pytest.approx(0.8 * 2 / 4)


# Counters -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans(), st.booleans()), max_size=40), st.integers(1, 4))
def test_step_state_counts(batches: list[tuple[int, bool, bool]], processes: int) -> None:
    state = StepState(num_processes=processes)
    for size, training, stepped in batches:
        state.increment_batch(size, training, stepped)
    assert state.batch_idx == len(batches)
    assert state.samples_seen == processes * sum(size for size, training, _ in batches if training)
    assert state.optimizer_step == sum(training and stepped for _, training, stepped in batches)
    state.reset_epoch()
    assert state.batch_idx == 0
    assert state.samples_seen == processes * sum(size for size, training, _ in batches if training)


@given(st.integers(1, 7), st.integers(0, 30))
def test_step_state_boundaries(every: int, batch: int) -> None:
    state = StepState(batch_idx=batch, grad_accum_steps=every)
    assert state.is_grad_accum_boundary(is_last_batch=False) == ((batch + 1) % every == 0)
    assert state.is_grad_accum_boundary(is_last_batch=True)
