"""Results: what a phase recorded or returned, how it is averaged, and what stands in training_log.csv."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from credit_like.training.history import ordered_columns, phase_results, saved_columns
from credit_like.training.recorder import FiniteWatch, NonFiniteLossError, Recorder
from tests.training.toys import Net, Scripted, ToyTrainer, batches_of, fit_scripted

pytestmark = pytest.mark.usefixtures("quick_disk")
finite = st.floats(-1e6, 1e6)
samples = st.integers(1, 64)


# The recorder ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(finite, samples), min_size=1, max_size=40))
def test_means_are_weighted_by_samples(values: list[tuple[float, int]]) -> None:
    recorder = Recorder()
    for value, weight in values:
        recorder.add("loss", torch.tensor(value, dtype=torch.float64), weight)
    expected = math.fsum(v * w for v, w in values) / sum(w for _, w in values)
    assert recorder.means()["loss"] == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from("ab"), finite, samples, st.booleans()), min_size=1, max_size=30))
def test_when_means_are_read_does_not_change_them(values: list[tuple[str, float, int, bool]]) -> None:
    """Bit for bit: a run that logged more often, or was resumed, has the same epoch means."""
    often, once, resumed = Recorder(), Recorder(), Recorder()
    for name, value, weight, read in values:
        for recorder in (often, once, resumed):
            recorder.add(name, torch.tensor(value), weight)
        if read:
            often.means()
            again = Recorder()
            again.load_state_dict(resumed.state_dict())
            resumed = again
    assert often.means() == once.means() == resumed.means()


def test_a_value_that_is_changed_in_place_afterwards_was_recorded_as_it_was() -> None:
    recorder, running = Recorder(), torch.zeros(1)
    for _ in range(4):
        running.add_(1.0)
        recorder.add("running", running, 1)
    assert recorder.means() == {"running": 2.5}


def test_numbers_tensors_and_dtypes_mix() -> None:
    recorder = Recorder()
    mixed: list[Any] = [1, 2.0, torch.tensor(3), torch.tensor([4.0], dtype=torch.bfloat16), torch.tensor([[5.0]])]
    for value in mixed:
        recorder.add("x", value, 1)
    assert recorder.means() == {"x": 3.0}
    assert recorder.latest == {"x": 5.0}


def test_only_scalars_are_recorded() -> None:
    with pytest.raises(ValueError, match=r"record\('loss'\): needs a scalar, got a tensor of shape \(2,\)"):
        Recorder().add("loss", torch.zeros(2), 1)


def test_recording_keeps_no_graph_alive() -> None:
    recorder, weight = Recorder(), torch.ones(1, requires_grad=True)
    recorder.add("loss", (weight * 2).sum(), 1)
    ((_, kept, _),) = recorder._unread
    assert not getattr(kept, "requires_grad", False)  # a number on the CPU, a detached copy elsewhere


def test_the_finite_watch_reads_in_bunches() -> None:
    watch = FiniteWatch()
    for step in range(511):
        watch.add(step, torch.tensor(math.inf if step == 3 else 1.0))
    with pytest.raises(NonFiniteLossError, match=r"loss is inf at optimizer step 3 \(checked: steps 0 to 511\)"):
        watch.add(511, torch.tensor(1.0))


# Rows -----------------------------------------------------------------------------------------------------------------


def test_floats_lists_and_recorded_values_become_columns() -> None:
    row = phase_results(
        "train", {"loss": 1.0}, {"acc": 0.5, "mae": [1.0, 4.0], "train_x": 2}, [2.0, 1.0], resumed=False
    )
    assert row == {"train_loss": 1.0, "train_acc": 0.5, "train_mae": 2.0, "train_x": 2.0}


def test_tensors_may_be_returned() -> None:
    row = phase_results(
        "valid", {}, {"a": torch.tensor(1.5), "b": [torch.tensor(1.0), torch.tensor(2.0)]}, [1, 1], resumed=False
    )
    assert row == {"valid_a": 1.5, "valid_b": 1.5}


def test_nothing_returned_is_nothing_added() -> None:
    assert phase_results("valid", {"loss": 1.0}, None, [1.0], resumed=False) == {"valid_loss": 1.0}


def test_a_list_that_has_not_a_value_for_each_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="valid_loss has 2 values for the 3 batches of the epoch"):
        phase_results("valid", {}, {"loss": [1.0, 2.0]}, [1.0, 1.0, 1.0], resumed=False)


def test_recorded_and_returned_at_once_is_an_error() -> None:
    with pytest.raises(ValueError, match="train_loss was recorded and also returned; do one of the two"):
        phase_results("train", {"loss": 1.0}, {"loss": 1.0}, [1.0], resumed=False)


def test_epoch_means_are_weighted_by_batch_size_in_a_run(tmp_path: Path) -> None:
    class Returns(Scripted):
        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> Any:
            sizes = []
            for x, _ in self.batches(valid_loader, "valid"):
                self.record("recorded", float(len(x)))
                self.record("by_hand", float(len(x)), weight=1)
                sizes.append(float(len(x)))
            return {"loss": 0.0, "listed": sizes}

    trainer = Returns(Net(), 0, {"save_loc": str(tmp_path), "trainer": {}})
    valid = [*batches_of(8), *batches_of(2, 2)]
    row = trainer.fit({}, batches_of(), valid, torch.optim.SGD(trainer.model.parameters(), 0.01))
    assert row["valid_recorded"] == row["valid_listed"] == pytest.approx((4 * 4 + 4 * 4 + 2 * 2) / 10)
    assert row["valid_by_hand"] == pytest.approx(10 / 3)


def test_a_subclass_that_drives_its_own_loop(tmp_path: Path) -> None:
    class Own(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> Any:
            losses = []
            for x, y in trainloader:
                loss = nn.functional.mse_loss(self.model(x), y)
                self.optimize(loss, weight=len(x))
                losses.append(loss.item())
            return {"loss": losses}

    trainer = fit_scripted(tmp_path, kind=Own, epochs=2, use_ema=True)
    assert len(trainer.history.rows) == 2
    assert trainer.ema.step == trainer.step_state.optimizer_step == 6


def test_what_is_recorded_behind_the_loop_counts_once(tmp_path: Path) -> None:
    """It is of no batch. A loop over the bare loader has no batches at all, and each of its values counts alike."""

    class Behind(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            total = torch.zeros(())
            for x, y in self.batches(trainloader):
                total = total + nn.functional.mse_loss(self.model(x), y)
            self.optimize(total)
            self.record("total", total)

        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> None:
            for number, _ in enumerate(valid_loader):
                self.record("loss", float(number))

    class Counted(Scripted):
        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> None:
            for x, _ in self.batches(valid_loader, "valid"):
                self.record("loss", self.model(x).mean())
            self.record("count", 3)
            self.record("count", 5)

    trainer = fit_scripted(tmp_path / "behind", kind=Behind, epochs=2)
    assert [row["valid_loss"] for row in trainer.history.rows] == 2 * [0.5]
    assert all(math.isfinite(row["train_total"]) for row in trainer.history.rows)
    assert trainer.step_state.optimizer_step == 2
    for limit in (0, 1):
        counted = fit_scripted(tmp_path / f"{limit}", kind=Counted, valid_batches_per_epoch=limit)
        assert {row["valid_count"] for row in counted.history.rows} == {4.0}


def test_a_pass_within_a_batch_leaves_the_batch_its_weight(tmp_path: Path) -> None:
    class Nested(Scripted):
        def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
            for x, y in self.batches(trainloader):
                for inner, _ in self.batches([(torch.randn(3, 5), torch.zeros(3))]):
                    self.model(inner)
                self.optimize(nn.functional.mse_loss(self.model(x), y))
                self.record("size", float(len(x)))

    trainer = Nested(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"skip_validation": True}})
    trainer.training_metric = trainer.patience.metric = "train_size"
    row = trainer.fit({}, batches_of(10), None, torch.optim.SGD(trainer.model.parameters(), 0.01))
    assert row["train_size"] == pytest.approx((4 * 4 + 4 * 4 + 2 * 2) / 10)


# training_log.csv -----------------------------------------------------------------------------------------------------


def log_of(folder: Path) -> list[list[str]]:
    with open(folder / "training_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


class Measured(ToyTrainer):
    display_metrics = ("auroc",)

    def validate(self, epoch: int, *rest: Any) -> Any:
        super().validate(epoch, *rest)
        self.record("auroc", 0.5, weight=1)
        self.record("f1", 0.25, weight=1)


def columns_of(tmp_path: Path, **settings: Any) -> list[str]:
    trainer = Measured(Net(), 0, {"save_loc": str(tmp_path), "trainer": {"epochs": 2, **settings}})
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    trainer.fit({}, batches_of(), batches_of(), optimizer, nn.MSELoss(), nn.MSELoss())
    return log_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [
        (True, ["epoch", "train_loss", "valid_loss", "valid_mae", "valid_auroc", "valid_f1", "lr"]),
        (False, ["epoch", "train_loss", "valid_loss", "valid_auroc", "lr"]),
        (["f", "mae"], ["epoch", "train_loss", "valid_loss", "valid_mae", "valid_f1", "lr"]),
        ([], ["epoch", "train_loss", "valid_loss", "lr"]),
    ],
)
def test_columns_of_the_log(wanted: Any, columns: list[str], tmp_path: Path) -> None:
    assert columns_of(tmp_path, save_metric_vars=wanted) == columns


def test_pairs_stand_side_by_side_and_lr_last() -> None:
    names = ["lr", "train_loss", "train_acc", "epoch", "other", "valid_acc", "valid_loss", "valid_std"]
    assert ordered_columns(names) == [
        "epoch", "train_loss", "valid_loss", "train_acc", "valid_acc", "valid_std", "other", "lr",
    ]  # fmt: skip


@given(st.lists(st.sampled_from(["train_a", "valid_a", "train_b", "valid_b", "x", "lr", "epoch", "valid_c"])))
def test_ordering_columns_loses_and_doubles_none(names: list[str]) -> None:
    assert sorted(ordered_columns(names)) == sorted(set(names))


def test_a_column_that_comes_later_leaves_older_rows_empty(tmp_path: Path) -> None:
    class Later(Scripted):
        def validate(self, epoch: int, *rest: Any) -> Any:
            return {"loss": 1.0, **({"late": 2.0} if epoch else {})}

    fit_scripted(tmp_path, kind=Later, epochs=2)
    header, first, second = log_of(tmp_path)
    place = header.index("valid_late")
    assert (first[place], second[place]) == ("", "2.0")


def test_values_in_the_log_are_exact(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, [1 / 3, math.nan], epochs=2)
    header, *rows = log_of(tmp_path)
    for row, kept in zip(rows, trainer.history.rows, strict=True):
        for name, text in zip(header, row, strict=True):
            assert float(text) == kept[name] or (text == "nan" and math.isnan(kept[name]))
    assert [row[0] for row in rows] == ["0", "1"]


def test_saved_columns_keep_epoch_and_lr() -> None:
    row = {"epoch": 0.0, "train_loss": 1.0, "valid_x": 2.0, "lr": 0.1}
    assert saved_columns(row, ["nothing"], ()) == {"epoch": 0.0, "train_loss": 1.0, "lr": 0.1}
