"""A run that is interrupted, at whatever moment and however often, ends bit for bit like one that never was."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Subset

from credit_like.training import Callback, LambdaHook, read_checkpoint
from credit_like.training.checkpointing import snapshot
from credit_like.training.dispatch import Dispatcher
from credit_like.training.preflight import peak_of_one_step
from credit_like.training.stopping import Stopped
from tests.training.accidents import (
    BATCHES,
    FATES,
    Accident,
    accident,
    at,
    interrupt_and_resume,
    not_before,
    undisturbed,
)
from tests.training.toys import TRAIN, CursorLoader, Samples, Setup, ToyTrainer, batches_of, frozen, outcome, send

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.mark.parametrize("fate", ["exception", "sigterm"])
@pytest.mark.parametrize("epoch", range(3))
def test_interrupted_after_any_training_batch(fate: str, epoch: int, tmp_path: Path) -> None:
    setup = Setup()
    for batch in range(BATCHES):
        folder = tmp_path / str(batch)
        interrupt_and_resume(setup, folder, [("train", epoch, batch, fate)])
        assert outcome(folder) == undisturbed(setup)


def test_stopped_behind_an_epoch_s_last_batch_the_log_still_has_its_learning_rate(tmp_path: Path) -> None:
    setup = Setup(scheduler="linear-warmup-cosine")  # whose rate is another one when the epoch goes on
    interrupt_and_resume(setup, tmp_path, [("train", 1, BATCHES - 1, "sigterm")])
    assert outcome(tmp_path) == undisturbed(setup)


class Drawing(Setup):
    """A hook draws at an epoch's start, before the loader shuffles."""

    def trainer(self, folder: Path, **settings: Any) -> ToyTrainer:
        trainer = super().trainer(folder, **settings)
        trainer._hooks = Dispatcher([LambdaHook(before_epoch=lambda trainer: torch.rand(3))])
        return trainer


def test_a_hook_that_draws_at_an_epoch_s_start_is_not_heard_again(tmp_path: Path) -> None:
    setup = Drawing()
    interrupt_and_resume(setup, tmp_path, [("train", 1, 2, "sigterm")])
    assert outcome(tmp_path) == undisturbed(setup)


@pytest.mark.parametrize("fate", FATES)
def test_interrupted_in_validation(fate: str, tmp_path: Path) -> None:
    setup = Setup()
    interrupt_and_resume(setup, tmp_path, [("valid", 1, 1, fate)])
    assert outcome(tmp_path) == undisturbed(setup)


SETUPS = {
    "adam": Setup(optimizer="adam"),
    "accumulation": Setup(accumulate=3),
    "accumulation, clipped, per-step schedule": Setup(accumulate=2, clip=0.5, scheduler="linear-warmup-cosine"),
    "schedule per epoch": Setup(scheduler="lambda"),
    "plateau": Setup(scheduler="plateau"),
    "cosine": Setup(scheduler="cosine-annealing"),
    "warm restarts": Setup(scheduler="cosine-annealing-restarts", optimizer="adam"),
    "no averages": Setup(ema=False),
    "saves in mid-epoch": Setup(every_steps=2),
    "saves in mid-epoch, accumulation": Setup(every_steps=1, accumulate=3),
    "loader with a generator": Setup(generator=True),
    "loader with a position": Setup(loader="cursor", every_steps=3),
    "float16 with a scaler": Setup(precision="16", every_steps=2),
    "bfloat16": Setup(precision="bf16"),
    "stops early": Setup(patience=2, epochs=9, every_steps=3),
    "two workers": Setup(workers=2, every_steps=3, epochs=2),
    "two workers, accumulation, generator": Setup(workers=2, accumulate=2, generator=True, epochs=2),
}


@pytest.mark.parametrize("name", SETUPS)
def test_several_accidents_in_a_row(name: str, tmp_path: Path) -> None:
    setup = SETUPS[name]
    draw = random.Random(name)
    for first in sorted(draw.sample(range(2 * BATCHES - 1), 3)):
        act, raised = FATES[draw.choice(["exception", "ctrl-c", "sigterm"])]
        with pytest.raises(raised):
            setup.fit(tmp_path, not_before(*divmod(first, BATCHES), act))
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_an_exception_in_the_loader(tmp_path: Path) -> None:
    class Failing(Samples):
        accesses = 0

        def __getitem__(self, index: int) -> Any:
            self.accesses += 1
            if self.accesses == TRAIN + 11:
                raise Accident
            return super().__getitem__(index)

    class Unlucky(Setup):
        def train_loader(self) -> Any:
            return DataLoader(Failing(TRAIN, 1, noise=True), 4, shuffle=True)

    setup = Setup(every_steps=2)
    with pytest.raises(Accident):
        Unlucky(every_steps=2).fit(tmp_path)
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_a_stop_waits_for_the_open_accumulation_group(tmp_path: Path) -> None:
    setup = Setup(accumulate=3)
    with pytest.raises(Stopped):
        setup.fit(tmp_path, at("train", 0, 0, FATES["sigterm"][0]))
    state = read_checkpoint(tmp_path / "checkpoint.pt")
    assert state["position"]["batches"] == 3
    assert state["step_state"]["optimizer_step"] == 1


def test_a_signal_stops_at_the_very_next_batch(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="SIGTERM"):
        Setup().fit(tmp_path, at("train", 1, 2, FATES["sigterm"][0]))
    state = read_checkpoint(tmp_path / "checkpoint.pt")
    assert (state["epoch"], state["position"]["batches"]) == (1, 3)


def test_stopped_before_the_first_batch(tmp_path: Path) -> None:
    """A loader that has not begun yet must not be asked where it stands: it would tell of the epoch before."""

    class StopAtEpoch(Callback):
        def on_train_epoch_start(self, trainer: Any, model: nn.Module) -> None:
            if trainer._epoch == 1:
                send(signal.SIGTERM)

    setup = Setup(loader="cursor")
    trainer = ToyTrainer(setup.trainer(tmp_path).model, 0, setup.trainer(tmp_path).conf, callbacks=[StopAtEpoch()])
    loader, valid = setup.train_loader(), DataLoader(Samples(12, 2, noise=True), 4, shuffle=True)
    with pytest.raises(Stopped):
        trainer.fit({}, loader, valid, setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_a_validation_loader_with_a_generator_of_its_own(tmp_path: Path) -> None:
    """Its order is a function of (seed, epoch) too, and not of the epochs that this process has seen."""

    def fit(folder: Path, moment: Any) -> None:
        setup = Setup(patience=9)
        trainer = setup.trainer(folder)
        trainer.moment = moment
        own = torch.Generator().manual_seed(4)
        valid = DataLoader(Samples(12, 2), 5, shuffle=True, generator=own)
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), valid, optimizer, nn.MSELoss(), nn.MSELoss())

    fit(tmp_path / "undisturbed", None)
    with pytest.raises(Accident):
        fit(tmp_path / "resumed", at("train", 1, 2, accident))
    fit(tmp_path / "resumed", None)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "undisturbed")


def test_an_epoch_without_a_step_after_a_resume(tmp_path: Path) -> None:
    """While a replay buffer fills, say: the log's learning rate must not depend on what this process has done."""

    class Idle(ToyTrainer):
        def optimize(self, loss: Any, weight: float | None = None) -> Any:
            return super().optimize(loss, weight) if self._epoch == 1 else None

    def fit(folder: Path, **settings: Any) -> None:
        setup = Setup(epochs=3, scheduler="lambda")
        trainer = Idle(setup.trainer(folder).model, 0, setup.trainer(folder, **settings).conf)
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())

    fit(tmp_path / "undisturbed")
    for _ in range(3):
        fit(tmp_path / "resumed", num_epoch=1)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "undisturbed")
    rates = [line.rsplit(",", 1)[1] for line in (tmp_path / "resumed" / "training_log.csv").read_text().splitlines()]
    assert rates[1] == rates[2] == "0.01"  # lambda: the first of two warm-up epochs


@pytest.mark.parametrize("fate", ["exception", "sigterm"])
def test_two_loaders_side_by_side(fate: str, tmp_path: Path) -> None:
    """A position tells of one loader only, so the epoch is trained again from its beginning, or to its end."""

    class Pairs(ToyTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for (x, y), (others, _) in zip(self.batches(trainloader), self.batches(self.others), strict=False):
                loss = nn.functional.mse_loss(self.model(x), y) + self.model(others).square().mean()
                self.optimize(loss)
                self.record("loss", loss)
                self._passed("train", epoch)

    def fit(folder: Path, moment: Any) -> None:
        setup = Setup(every_steps=1, precision="bf16", accumulate=2)
        trainer = Pairs(setup.trainer(folder).model, 0, setup.trainer(folder).conf)
        trainer.others, trainer.moment = DataLoader(Samples(30, 5, noise=True), 3, shuffle=True), moment
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())

    act, raised = FATES[fate]
    fit(tmp_path / "undisturbed", None)
    assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(raised):
        fit(tmp_path / "resumed", lambda *moment: act() if moment[0] == "train" and moment[1:] >= (1, 6) else None)
    assert not torch.is_autocast_enabled("cpu")
    fit(tmp_path / "resumed", None)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "undisturbed")


@pytest.mark.parametrize("within", ["a subset", "a concatenation"])
def test_a_data_set_with_a_generator_of_its_own(within: str, tmp_path: Path) -> None:
    """Its noise is a function of (seed, epoch) too, wherever the loader holds it."""

    class Noisy(Samples):
        def __init__(self) -> None:
            super().__init__(TRAIN, 1)
            self.generator = torch.Generator().manual_seed(8)

        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            return x + 0.3 * torch.randn(5, generator=self.generator), y

    def fit(folder: Path, moment: Any) -> None:
        setup, noisy = Setup(), Noisy()
        trainer = setup.trainer(folder)
        trainer.moment = moment
        data: Any = Subset(noisy, range(20)) if within == "a subset" else ConcatDataset([Samples(8, 3), noisy])
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, DataLoader(data, 4, shuffle=True), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())

    fit(tmp_path / "undisturbed", None)
    with pytest.raises(Stopped):
        fit(tmp_path / "resumed", at("train", 1, 2, FATES["sigterm"][0]))
    fit(tmp_path / "resumed", None)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "undisturbed")


def test_stopped_again_before_the_first_batch_of_a_resume(tmp_path: Path) -> None:
    """A loader that was put back has not begun yet either: what it says then is not where the run stands."""

    class StopAtOnce(Callback):
        def on_fit_start(self, trainer: Any, model: nn.Module) -> None:
            send(signal.SIGTERM)

    setup = Setup(loader="cursor")
    with pytest.raises(Stopped):
        setup.fit(tmp_path, at("train", 1, 4, FATES["sigterm"][0]))
    before = frozen(read_checkpoint(tmp_path / "checkpoint.pt")["position"])
    trainer = ToyTrainer(setup.trainer(tmp_path).model, 0, setup.trainer(tmp_path).conf, callbacks=[StopAtOnce()])
    valid = DataLoader(Samples(12, 2, noise=True), 4, shuffle=True)
    optimizer = setup.build_optimizer(trainer.model)
    with pytest.raises(Stopped):
        trainer.fit({}, setup.train_loader(), valid, optimizer, nn.MSELoss(), nn.MSELoss())
    assert frozen(read_checkpoint(tmp_path / "checkpoint.pt")["position"]) == before
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_a_loader_with_a_position_is_asked_and_not_wound_through(tmp_path: Path) -> None:
    setup = Setup(loader="cursor")
    with pytest.raises(Stopped):
        setup.fit(tmp_path, at("train", 2, 5, FATES["sigterm"][0]))
    trainer, loader = setup.trainer(tmp_path, preflight=False), setup.train_loader()
    valid = batches_of()
    trainer.fit({}, loader, valid, setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())
    assert isinstance(loader, CursorLoader)
    assert loader.fetched == BATCHES - 6


@pytest.mark.parametrize("again", [False, True])
def test_one_trainer_object_can_fit_again(again: bool, tmp_path: Path) -> None:
    """A notebook keeps the trainer: neither a half accumulation group nor its gradients may leak into the resume."""
    setup = Setup(accumulate=3, every_steps=1)
    trainer = setup.trainer(tmp_path)
    valid = DataLoader(Samples(12, 2, noise=True), 4, shuffle=True)
    optimizer = setup.build_optimizer(trainer.model)
    trainer.moment = at("train", 1, 4, accident)
    arguments = (valid, optimizer, nn.MSELoss(), nn.MSELoss())
    with pytest.raises(Accident):
        trainer.fit({}, setup.train_loader(), *arguments)
    trainer.moment = None
    trainer.fit({}, setup.train_loader(), *arguments)
    if again:
        trainer.fit({}, setup.train_loader(), *arguments)  # nothing is left to do
    assert outcome(tmp_path) == undisturbed(setup)


def test_a_loader_that_knows_its_position_can_be_fitted_again(tmp_path: Path) -> None:
    """It still stands where the interrupted epoch left it; looking ahead must not make it go on from there."""
    setup = Setup(loader="cursor")
    trainer, loader = setup.trainer(tmp_path), setup.train_loader()
    valid = DataLoader(Samples(12, 2, noise=True), 4, shuffle=True)
    trainer.moment = at("train", 1, 4, accident)
    arguments = (loader, valid, setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())
    with pytest.raises(Accident):
        trainer.fit({}, *arguments)
    trainer.moment = None
    trainer.fit({}, *arguments)
    assert outcome(tmp_path) == undisturbed(setup)


def test_a_measured_step_before_the_run_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What preflight does on a GPU: train on one batch, and undo it; on a resume in mid-epoch, too."""

    def measure(trainer: Any, loader: Any) -> None:
        before = frozen(snapshot(trainer, 0))
        peak_of_one_step(trainer, next(iter(batches_of())))
        assert frozen(snapshot(trainer, 0)) == before

    setup = Setup(every_steps=1, accumulate=2, scheduler="linear-warmup-cosine", optimizer="adam", precision="16")
    expected = undisturbed(setup)
    monkeypatch.setattr("credit_like.training.base_trainer.preflight", measure)
    for name in ("reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    interrupt_and_resume(setup, tmp_path, [("train", 0, 2, "sigterm"), ("train", 1, 3, "exception")])
    assert outcome(tmp_path) == expected


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    setup = Setup()

    def twice() -> None:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setup.fit(tmp_path, at("train", 1, 2, twice))
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_signal_handlers_are_chained_and_put_back(tmp_path: Path) -> None:
    heard: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    mine = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(Stopped):
            Setup().fit(tmp_path, at("train", 0, 0, FATES["sigterm"][0]))
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])


def test_the_time_limit_stops_between_two_batches(tmp_path: Path) -> None:
    setup = Setup(epochs=10_000)
    with pytest.raises(Stopped, match=r"time limit of 0\.001 minutes"):
        setup.fit(tmp_path, time_limit_minutes=0.001)
    assert (tmp_path / "checkpoint.pt").exists()


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    setup = Setup()
    best = setup.fit(tmp_path).result
    assert setup.fit(tmp_path).result == best
    assert outcome(tmp_path) == undisturbed(setup)


def test_resuming_a_run_that_stopped_early_does_not_train_on(tmp_path: Path) -> None:
    setup = Setup(patience=1, epochs=9)
    setup.fit(tmp_path)
    before = outcome(tmp_path)
    assert before["log"].count(b"\n") < 1 + 9
    setup.fit(tmp_path)
    assert outcome(tmp_path) == before


def test_more_epochs_continue_as_if_they_had_been_asked_for_at_once(tmp_path: Path) -> None:
    Setup(epochs=2).fit(tmp_path)
    Setup(epochs=3).fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(Setup(epochs=3))
