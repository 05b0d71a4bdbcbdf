"""TrainerContract: what every trainer keeps, so that resume, averaged weights and settings work with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest

from credit_like.config import ConfigError
from credit_like.testing.bitwise import differences, raised
from credit_like.training import BaseTrainer, read_checkpoint, seed_everything
from credit_like.training.rng import rng_state
from credit_like.training.run_folder import LATEST


class Interrupted(Exception):
    """What the contract interrupts a run with."""


class TrainerContract:
    """Tests for a trainer. Subclass it, write ``make``, and pytest runs the rest.

    ::

        class TestRanking(TrainerContract):
            def make(self, folder, **settings):
                trainer = Ranking(Net(), 0, {"save_loc": str(folder), "trainer": settings})
                sgd = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
                return trainer, {"train_loader": train, "valid_loader": valid, "optimizer": sgd}

    ``make`` is called before each life of a run, as a fresh process would: it must build model, loaders and optimizer
    anew. torch, numpy and python are seeded before it. Data of a few batches is enough; each test trains two epochs.
    """

    def make(self, folder: Path, **settings: Any) -> tuple[BaseTrainer, dict[str, Any]]:
        """The trainer, with ``settings`` in its ``conf["trainer"]`` and ``folder`` as ``save_loc``, and what to pass to
        its ``fit`` besides ``conf``."""
        raise NotImplementedError("a contract needs make(folder, **settings)")  # a test class forgot it

    def test_two_epochs_train_and_leave_log_and_checkpoint(self, tmp_path: Path) -> None:
        trainer, arguments = self._made(tmp_path)
        before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        best = trainer.fit(trainer.conf, **arguments)
        rows = trainer.history.rows
        assert [row["epoch"] for row in rows] == [0, 1], f"two epochs were asked for; there are rows {rows}"
        assert math.isfinite(best.get(trainer.training_metric, math.nan)), (
            f"{trainer.training_metric} decides what is best, and no epoch has a finite one: {rows}"
        )
        assert trainer.history.path.read_text().count("\n") == 3, "the log has a header and a line an epoch"
        assert read_checkpoint(trainer.save_loc / LATEST)["epoch"] == 1, (
            "the latest checkpoint is not of the last epoch"
        )
        assert differences(before, dict(trainer.model.state_dict())), "two epochs have not changed one weight"

    def test_interrupted_and_resumed_it_ends_as_if_nothing_had_happened(self, tmp_path: Path) -> None:
        """Three failures between two batches, a checkpoint at each step: the last bit is the same."""
        expected, steps = self._undisturbed(tmp_path / "undisturbed")
        for life, position in enumerate((0.1, 0.3, 0.4)):  # of each life's own steps; together less than the run
            self._fail(tmp_path / "run", max(1, round(position * steps)), life, checkpoint_every_steps=1)
        self._end_as(expected, tmp_path / "run", checkpoint_every_steps=1)

    def test_interrupted_and_resumed_by_epoch(self, tmp_path: Path) -> None:
        """The second epoch fails, and is trained again from its beginning."""
        expected, steps = self._undisturbed(tmp_path / "undisturbed")
        self._fail(tmp_path / "run", steps // 2 + 1, 0)
        self._end_as(expected, tmp_path / "run")

    def test_only_the_seed_decides(self, tmp_path: Path) -> None:
        """What was drawn before ``fit`` must not show in its outcome."""
        ends = []
        for drawn in (1, 2):
            trainer, arguments = self._made(tmp_path / str(drawn))
            seed_everything(drawn)
            trainer.fit(trainer.conf, **arguments)
            ends.append(_outcome(trainer))
        found = differences(ends[0], ends[1])
        assert not found, f"two runs of the same seed differ: {found[:5]}"

    def test_raw_weights_are_back_after_an_exception_in_validation(self, tmp_path: Path) -> None:
        trainer, arguments = self._made(tmp_path, use_ema=True, ema_decay=0.5)
        ema, raw, validate = trainer.ema, dict[str, Any](), trainer.validate
        assert ema is not None, "use_ema: true made no averaged weights"
        if trainer.skip_validation:
            raise SkipTest("this trainer does not validate")

        def failing(*arguments: Any) -> Any:
            raw.update({name: shadow.clone() for name, shadow in ema.shadow.items()})  # swapped: the raw ones
            validate(*arguments)
            raise Interrupted

        trainer.validate = failing  # type: ignore[method-assign,assignment]
        error = raised(lambda: trainer.fit(trainer.conf, **arguments))
        assert isinstance(error, Interrupted), f"the exception in validate became {error!r}"
        assert raw, "validate was not called"
        state = trainer.model.state_dict()
        found = differences(raw, {name: state[name] for name in raw})
        assert not found, f"after an exception in validate the model does not hold its own weights: {found[:5]}"

    def test_testing_changes_neither_weights_nor_random_numbers(self, tmp_path: Path) -> None:
        trainer, arguments = self._made(tmp_path)
        if trainer.skip_validation:
            raise SkipTest("this trainer does not validate")
        trainer.fit(trainer.conf, **arguments)
        before = (rng_state(), {name: value.clone() for name, value in trainer.model.state_dict().items()})
        results = trainer.test({"": arguments["valid_loader"]})  # a bare list would be several loaders
        assert results, "test gave no metric"
        assert all(name.startswith("test_") for name in results), f"metrics of test begin with test_: {results}"
        found = differences(before, (rng_state(), dict(trainer.model.state_dict())))
        assert not found, f"test has moved {found[:5]}"

    def test_an_unknown_setting_is_refused(self, tmp_path: Path) -> None:
        error = raised(lambda: self.make(tmp_path, epochs=1, epochz=2))
        assert isinstance(error, ConfigError), f"epochz is no setting; a ConfigError was due, not {error!r}"
        assert "epochz" in str(error), f"the error does not name the unknown setting epochz: {error}"

    # How it is done

    def _made(self, folder: Path, **settings: Any) -> tuple[BaseTrainer, dict[str, Any]]:
        seed_everything(0)
        return self.make(folder, **{"epochs": 2, "load_weights": True, **settings})

    def _undisturbed(self, folder: Path) -> tuple[dict[str, Any], int]:
        """What an undisturbed run leaves, and how often it called ``optimize``."""
        trainer, arguments = self._made(folder)
        steps = _watch_optimize(trainer, lambda count: None)
        trainer.fit(trainer.conf, **arguments)
        if not steps():
            raise SkipTest("this trainer never calls optimize, so there is no step to interrupt it at")
        return _outcome(trainer), steps()

    def _fail(self, folder: Path, at: int, life: int, **settings: Any) -> None:
        """A life of the run in ``folder`` that ends with its step number ``at``."""

        def fail(count: int) -> None:
            if count == at:
                raise Interrupted

        trainer, arguments = self._made(folder, **settings)
        _watch_optimize(trainer, fail)
        error = raised(lambda: trainer.fit(trainer.conf, **arguments))
        assert isinstance(error, Interrupted), f"life {life}: an exception at step {at} became {error!r}"

    def _end_as(self, expected: dict[str, Any], folder: Path, **settings: Any) -> None:
        trainer, arguments = self._made(folder, **settings)
        trainer.fit(trainer.conf, **arguments)
        found = differences(expected, _outcome(trainer))
        assert not found, f"a resumed run differs from one that was never interrupted in {len(found)}: {found[:5]}"


def _watch_optimize(trainer: BaseTrainer, after: Callable[[int], None]) -> Callable[[], int]:
    """Call ``after(n)`` when ``optimize`` has run the n-th time; returns what tells the count."""
    optimize, count = trainer.optimize, 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        outcome = optimize(*arguments, **named)
        count += 1
        after(count)
        return outcome

    trainer.optimize = counted  # type: ignore[method-assign]
    return lambda: count


def _outcome(trainer: BaseTrainer) -> dict[str, Any]:
    """All that a finished run leaves; not its configuration, which may name the folder."""
    found: dict[str, Any] = {"log": trainer.history.path.read_text()}
    for name in (LATEST, trainer.best_name):
        if (trainer.save_loc / name).exists():
            state = read_checkpoint(trainer.save_loc / name)
            found[name] = {part: value for part, value in state.items() if not part.startswith("config")}
    return found
