"""A run that is interrupted, at whatever moment and however often, ends bit for bit like one that never was."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from credit_like.training import Callback, CheckpointError, read_checkpoint
from credit_like.training.checkpointing import snapshot
from credit_like.training.preflight import peak_of_one_step
from credit_like.training.stopping import Stopped
from tests.training.toys import TRAIN, CursorLoader, Samples, Setup, ToyTrainer, batches_of, frozen, outcome, send

pytestmark = pytest.mark.usefixtures("quick_disk")


class Accident(Exception):
    """Something the engine knows nothing of."""


def accident() -> None:
    raise Accident


#: What happens to a run, and what ``fit`` raises then.
FATES: dict[str, tuple[Callable[[], Any], type[BaseException]]] = {
    "exception": (accident, Accident),
    "ctrl-c": (lambda: send(signal.SIGINT), KeyboardInterrupt),
    "sigterm": (lambda: send(signal.SIGTERM), Stopped),
    "sigusr1": (lambda: send(signal.SIGUSR1), Stopped),
}


@cache
def undisturbed(setup: Setup) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        setup.fit(Path(folder))
        return outcome(Path(folder))


def at(phase: str, epoch: int, batch: int, fate: Callable[[], Any]) -> Callable[[str, int, int], None]:
    return lambda *moment: fate() if moment == (phase, epoch, batch) else None


def not_before(epoch: int, batch: int, fate: Callable[[], Any]) -> Callable[[str, int, int], None]:
    return lambda phase, *moment: fate() if phase == "train" and moment >= (epoch, batch) else None


def interrupt_and_resume(setup: Setup, folder: Path, accidents: list[tuple[str, int, int, str]]) -> ToyTrainer:
    for phase, epoch, batch, fate in accidents:
        act, raised = FATES[fate]
        with pytest.raises(raised):
            setup.fit(folder, at(phase, epoch, batch, act))
    return setup.fit(folder)


BATCHES = -(-TRAIN // 4)


@pytest.mark.parametrize("fate", ["exception", "sigterm"])
@pytest.mark.parametrize("epoch", range(3))
def test_interrupted_after_any_training_batch(fate: str, epoch: int, tmp_path: Path) -> None:
    setup = Setup()
    for batch in range(BATCHES):
        folder = tmp_path / str(batch)
        interrupt_and_resume(setup, folder, [("train", epoch, batch, fate)])
        assert outcome(folder) == undisturbed(setup)


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


def test_lists_returned_after_a_resume_in_mid_epoch_are_an_error_that_says_so(tmp_path: Path) -> None:
    class Lists(ToyTrainer):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> Any:
            losses = []
            for x, y in self.batches(trainloader):
                loss = nn.functional.mse_loss(self.model(x), y)
                self.optimize(loss)
                losses.append(float(loss.detach()))
                self._passed("train", epoch)
            return {"loss": losses}

    def fit(moment: Any) -> None:
        setup = Setup()
        trainer = Lists(setup.trainer(tmp_path).model, 0, setup.trainer(tmp_path).conf)
        trainer.moment = moment
        trainer.fit({}, setup.train_loader(), batches_of(), setup.build_optimizer(trainer.model), None, nn.MSELoss())

    with pytest.raises(Stopped):
        fit(at("train", 1, 2, FATES["sigterm"][0]))
    with pytest.raises(ValueError, match=r"train_loss has 4 values for the 7 batches.*resume in mid-epoch.*record"):
        fit(None)


def test_extra_state_and_callback_state_come_back(tmp_path: Path) -> None:
    class Counting(Callback):
        seen = 0

        def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.seen += 1

        def state_dict(self) -> dict[str, Any]:
            return {"seen": self.seen}

        def load_state_dict(self, state: Any) -> None:
            self.seen = state["seen"]

    class Buffered(ToyTrainer):
        buffer = torch.zeros(0)

        def _passed(self, phase: str, epoch: int) -> None:
            if phase == "train":
                self.buffer = torch.cat([self.buffer, torch.rand(1)])
            super()._passed(phase, epoch)

        def extra_state(self) -> dict[str, Any]:
            return {"buffer": self.buffer}

        def load_extra_state(self, state: Any) -> None:
            self.buffer = state["buffer"]

    def fit(folder: Path, moment: Any) -> tuple[Buffered, Counting]:
        setup, counting = Setup(), Counting()
        trainer = Buffered(setup.trainer(folder).model, 0, setup.trainer(folder).conf, callbacks=[counting])
        trainer.moment = moment
        optimizer = setup.build_optimizer(trainer.model)
        trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
        return trainer, counting

    whole, counted = fit(tmp_path / "a", None)
    with pytest.raises(Stopped):
        fit(tmp_path / "b", at("train", 1, 3, FATES["sigterm"][0]))
    resumed, recounted = fit(tmp_path / "b", None)
    assert counted.seen == recounted.seen == 3 * BATCHES
    assert torch.equal(whole.buffer, resumed.buffer)


def test_on_train_epoch_start_does_not_fire_again_in_mid_epoch(tmp_path: Path) -> None:
    class Starts(Callback):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_train_epoch_start(self, trainer: Any, model: nn.Module) -> None:
            self.epochs.append(trainer.step_state.epoch)

    def fit(moment: Any) -> list[int]:
        setup, starts = Setup(), Starts()
        trainer = ToyTrainer(setup.trainer(tmp_path).model, 0, setup.trainer(tmp_path).conf, callbacks=[starts])
        trainer.moment = moment
        optimizer = setup.build_optimizer(trainer.model)
        with suppress(Stopped):
            trainer.fit({}, setup.train_loader(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
        return starts.epochs

    assert fit(at("train", 1, 2, FATES["sigterm"][0])) == [0, 1]
    assert fit(None) == [2]


def test_resumed_from_the_backup_when_the_latest_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup = Setup(every_steps=3)
    with pytest.raises(Accident):
        setup.fit(tmp_path, at("train", 2, 4, accident))
    latest = tmp_path / "checkpoint.pt"
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.unlink()  # another name of the same content must stay whole
    latest.write_bytes(content)
    setup.fit(tmp_path)
    said = capsys.readouterr().err
    assert f"not resumed from: {latest} is damaged" in said
    assert "resuming from backup_checkpoint.pt" in said
    assert outcome(tmp_path) == undisturbed(setup)


def test_the_good_backup_outlives_the_first_save_after_a_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The damaged latest must not become the backup: a kill right then would leave no checkpoint at all."""
    setup = Setup()
    with pytest.raises(Accident):
        setup.fit(tmp_path, at("train", 2, 4, accident))
    latest = tmp_path / "checkpoint.pt"
    latest.unlink()
    latest.write_bytes(b"not a checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr("credit_like.training.run_folder.replace", lambda *_: accident())
        with pytest.raises(Accident):
            setup.fit(tmp_path)
    assert read_checkpoint(tmp_path / "backup_checkpoint.pt")["epoch"] == 0
    setup.fit(tmp_path)
    assert outcome(tmp_path) == undisturbed(setup)


def test_all_checkpoints_damaged_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    setup = Setup(epochs=2)
    setup.fit(tmp_path)
    for path in tmp_path.glob("*.pt"):
        path.unlink()
        path.write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"no checkpoint of this run can be resumed from:\n.*checkpoint\.pt"):
        setup.fit(tmp_path)


def test_nothing_to_resume_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Setup(epochs=1).fit(tmp_path)
    assert f"nothing to resume from in {tmp_path}: a fresh start" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "part"),
    [({"ema": False}, "ema"), ({"scheduler": "lambda"}, "scheduler"), ({"precision": "16"}, "scaler")],
)
def test_another_setup_is_refused_by_the_part_that_differs(change: dict[str, Any], part: str, tmp_path: Path) -> None:
    setup = Setup(epochs=1)
    setup.fit(tmp_path)
    with pytest.raises(CheckpointError, match=f"checkpoint.pt.* {part} "):
        replace(setup, epochs=2, **change).fit(tmp_path)


def test_a_shorter_loader_is_refused(tmp_path: Path) -> None:
    setup = Setup()
    with pytest.raises(Stopped):
        setup.fit(tmp_path, at("train", 0, 5, FATES["sigterm"][0]))
    trainer = setup.trainer(tmp_path)
    with pytest.raises(CheckpointError, match="after 6 batches of its epoch, but the loader has only 3"):
        trainer.fit({}, batches_of(12), batches_of(), setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())


def test_the_amp_scale_survives(tmp_path: Path) -> None:
    class OddScale(Setup):
        def fit(self, folder: Path, moment: Any = None, **settings: Any) -> ToyTrainer:
            trainer = self.trainer(folder, **settings)
            trainer.moment = moment
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**5, growth_interval=3)
            optimizer = self.build_optimizer(trainer.model)
            loaders = (self.train_loader(), batches_of())
            trainer.result = trainer.fit({}, *loaders, optimizer, nn.MSELoss(), nn.MSELoss(), scaler=scaler)
            return trainer

    setup = OddScale(precision="16")
    whole = setup.fit(tmp_path / "a")
    with pytest.raises(Stopped):
        setup.fit(tmp_path / "b", at("train", 1, 3, FATES["sigterm"][0]))
    resumed = setup.fit(tmp_path / "b")
    assert whole.scaler is not None
    assert resumed.scaler is not None
    assert whole.scaler.get_scale() == resumed.scaler.get_scale() == 2.0**12
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
