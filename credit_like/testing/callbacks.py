"""CallbackContract: what every callback and hook keeps, so that events reach it and a resume brings its state back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from credit_like.testing.bitwise import differences, raised
from credit_like.training import BaseTrainer, read_checkpoint, seed_everything, write_checkpoint
from credit_like.training.checkpoint import require_plain
from credit_like.training.dispatch import Dispatcher
from credit_like.training.run_folder import LATEST


class CallbackContract:
    """Tests for a callback or hook. Subclass it, write ``make``, and pytest runs the rest.

    ::

        class TestCountSteps(CallbackContract):
            def make(self, folder):
                return CountSteps()

    The callback rides along a small regression of three epochs with validation. ``changes_training = True`` says that
    it is meant to alter what is learnt. Override ``model`` (float[B, 4] -> float[B, 1]) where it looks for something in
    the model.
    """

    changes_training = False

    def make(self, folder: Path) -> Any:
        """A fresh callback; ``folder`` is for files of its own and stays the same over a resume."""
        raise NotImplementedError("a contract needs make(folder)")  # a test class forgot it

    def model(self) -> nn.Module:
        """The model of the run that the callback rides along."""
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def test_it_listens_to_known_events_only(self, tmp_path: Path) -> None:
        """A misspelt event is never called, and nobody would notice."""
        try:
            Dispatcher([self.make(tmp_path)])  # refuses a misspelt event, one under both names, and none at all
        except TypeError as error:
            raise AssertionError(str(error)) from error

    def test_it_rides_along_without_changing_what_is_learnt(self, tmp_path: Path) -> None:
        self._fit(tmp_path / "without", None)
        self._fit(tmp_path / "with", self.make(tmp_path))
        one, other = (read_checkpoint(path) for path in (tmp_path / "without" / LATEST, tmp_path / "with" / LATEST))
        found = differences(one["model"], other["model"]) + differences(one["rng"], other["rng"], "random numbers")
        if not self.changes_training:
            assert not found, f"with the callback another thing is learnt: {found[:5]}; set changes_training = True?"

    def test_its_state_survives_a_checkpoint(self, tmp_path: Path) -> None:
        """Through a file, and through the resume of a run that has nothing left to do."""
        callback = self.make(tmp_path)
        self._fit(tmp_path / "run", callback)
        if not hasattr(callback, "state_dict"):
            return
        state = callback.state_dict()
        require_plain(state, f"{type(callback).__name__}.state_dict()")
        write_checkpoint(tmp_path / "state.pt", {"callback": state})
        fresh = self.make(tmp_path)
        fresh.load_state_dict(read_checkpoint(tmp_path / "state.pt")["callback"])
        found = differences(state, fresh.state_dict())
        assert not found, f"state_dict, load_state_dict, state_dict is not the same again: {found[:5]}"
        saved = read_checkpoint(tmp_path / "run" / LATEST)["callbacks"]
        resumed = self.make(tmp_path)
        self._fit(tmp_path / "run", resumed, load_weights=True)
        found = differences(saved, read_checkpoint(tmp_path / "run" / LATEST)["callbacks"])
        assert not found, f"a resume that had nothing to do has changed the callback's state: {found[:5]}"

    def test_a_resumed_run_takes_it_along(self, tmp_path: Path) -> None:
        self._fit(tmp_path / "run", self.make(tmp_path), epochs=1)
        self._fit(tmp_path / "run", self.make(tmp_path), load_weights=True)
        reached = read_checkpoint(tmp_path / "run" / LATEST)["epoch"]
        assert reached == 2, f"a run of epochs 0 to 2 that was resumed with the callback ended in epoch {reached}"

    def test_it_does_not_hide_why_a_run_ended(self, tmp_path: Path) -> None:
        for end in (ZeroDivisionError("the first error"), KeyboardInterrupt()):
            folder = tmp_path / type(end).__name__
            error = raised(lambda folder=folder, end=end: self._fit(folder, self.make(tmp_path), ends_with=end))  # type: ignore[misc]
            assert error is end, f"a run that ended with {end!r} raised {error!r} with the callback"

    def _fit(
        self, folder: Path, callback: Any, epochs: int = 3, ends_with: BaseException | None = None, **settings: Any
    ) -> BaseTrainer:
        seed_everything(0)
        conf = {"save_loc": str(folder), "trainer": {"epochs": epochs, "log_every_n_steps": 2, **settings}}
        trainer = _Regression(self.model(), 0, conf, callbacks=[] if callback is None else [callback])
        trainer.ends_with = ends_with
        sgd = torch.optim.SGD(trainer.model.parameters(), lr=0.05)
        trainer.fit(conf, _batches(0), _batches(1), sgd)
        return trainer


class _Regression(BaseTrainer):
    """The run that a callback rides along: three batches of four samples an epoch."""

    ends_with: BaseException | None = None

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        for x, y in self.batches(trainloader):
            loss = nn.functional.mse_loss(self.model(x), y)
            self.optimize(loss)
            self.record("loss", loss)
        if self.ends_with is not None:
            raise self.ends_with

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        for x, y in self.batches(valid_loader, "valid"):
            self.record("loss", nn.functional.mse_loss(self.model(x), y))


def _batches(seed: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    xs = torch.randn(3, 4, 4, generator=generator)
    return [(x, x.sum(dim=1, keepdim=True).sin()) for x in xs]
