"""What is best, and when a run stops waiting for better."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_like.config import ConfigError
from credit_like.training import read_checkpoint
from credit_like.training.history import History, Patience
from tests.training.toys import epochs_of, fit_scripted

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_best_at_2_and_patience_3_run_epochs_0_to_5(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [3, 2, 1, 5, 4, 3, 0, 0], stopping_patience=3)
    assert epochs_of(trainer) == [0, 1, 2, 3, 4, 5]
    assert trainer.result["epoch"] == 2
    assert trainer.result["valid_loss"] == 1
    assert read_checkpoint(tmp_path / "best_checkpoint.pt")["epoch"] == 2


def test_patience_1_stops_after_the_first_epoch_that_is_not_better(tmp_path: Path) -> None:
    assert epochs_of(fit_scripted(tmp_path, [3, 2, 2, 1], stopping_patience=1)) == [0, 1, 2]


def test_ties_keep_the_earliest(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [2, 1, 1, 1, 1], stopping_patience=2)
    assert trainer.patience.best_epoch == 1
    assert epochs_of(trainer) == [0, 1, 2, 3]


def test_a_nan_in_epoch_0_is_not_best_for_ever(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [math.nan, 3, 2, 2, 2], stopping_patience=2)
    assert trainer.patience.best_epoch == 2
    assert trainer.result["valid_loss"] == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_what_is_not_finite_is_never_best(value: float, direction: str, tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [value, 1.0, value, value], epochs=3, training_metric_direction=direction)
    assert trainer.patience.best_epoch == 1


def test_nothing_finite_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = fit_scripted(tmp_path, [math.nan], stopping_patience=3)
    assert trainer.patience.best_epoch == -1
    assert trainer.result == {}
    assert epochs_of(trainer) == [0, 1, 2]
    assert not (tmp_path / "best_checkpoint.pt").exists()
    assert (
        "no epoch had a finite valid_loss: none is the best, and there is no best_checkpoint.pt"
        in capsys.readouterr().err
    )


def test_direction_max(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [1, 3, 2, 2], stopping_patience=2, training_metric_direction="max")
    assert trainer.patience.best_epoch == 1
    assert epochs_of(trainer) == [0, 1, 2, 3]


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf]), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from(["min", "max"]),
)
def test_patience_against_its_definition(series: list[float], patience: int, direction: Any) -> None:
    judge = Patience("m", direction, patience)
    for epoch, value in enumerate(series):
        improved = judge.update(epoch, {"m": value})
        finite = [(v if direction == "min" else -v, e) for e, v in enumerate(series[: epoch + 1]) if math.isfinite(v)]
        best = min(finite)[1] if finite else -1
        assert judge.best_epoch == best
        assert improved == (best == epoch)
        assert judge.exhausted(epoch) == (epoch - best >= patience)


def test_a_metric_that_no_row_has_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"'valid_los' is in no row of results \(did you mean 'valid_loss'\?\); there are: train_loss, ",
    ):
        fit_scripted(tmp_path, training_metric="valid_los")


def test_without_validation_the_training_loss_decides_and_nothing_stops_early(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, skip_validation=True, epochs=4, stopping_patience=1)
    assert trainer.training_metric == "train_loss"
    assert epochs_of(trainer) == [0, 1, 2, 3]
    assert set(trainer.result) == {"epoch", "train_loss", "lr"}


def test_a_run_that_begins_late_has_not_stopped_early(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [1.0], epochs=7, start_epoch=4, stopping_patience=3)
    assert epochs_of(trainer) == [4, 5, 6]


def test_the_best_epochs_are_finite_and_the_earlier_of_equals() -> None:
    history = History(Path("nowhere"))
    values = [3.0, math.nan, 1.0, -math.inf, 1.0, 2.0]
    history.rows = [{"epoch": epoch, "loss": value} for epoch, value in enumerate(values)] + [{"epoch": 6}]
    assert history.best_epochs("loss", "min", 1) == {2}
    assert history.best_epochs("loss", "min", 3) == {2, 4, 5}
    assert history.best_epochs("loss", "max", 2) == {0, 5}
    assert history.best_epochs("loss", "max", 9) == {0, 2, 4, 5}
