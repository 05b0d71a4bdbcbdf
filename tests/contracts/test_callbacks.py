"""Every callback, hook and logger of ours keeps its contract; and the contracts notice those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import credit_like.training as menu
from credit_like.testing import CallbackContract, LoggerContract
from credit_like.training import (
    Callback,
    EarlyStopping,
    Hook,
    LambdaHook,
    LRMonitor,
    MainProcessHook,
    MetricsJSONL,
    MLflowCallback,
    ModelCheckpoint,
    TauNormCallback,
    TensorBoardLogger,
    ThroughputMonitor,
    VRAMDriftCallback,
    read_metrics_jsonl,
)

pytestmark = pytest.mark.usefixtures("quick_runs")


class TestEarlyStopping(CallbackContract):
    def make(self, folder: Path) -> Any:
        return EarlyStopping("val_loss", patience=9)


class TestModelCheckpoint(CallbackContract):
    def make(self, folder: Path) -> Any:
        return ModelCheckpoint("val_loss", save_top_k=2)


class TestLRMonitor(CallbackContract):
    def make(self, folder: Path) -> Any:
        return LRMonitor()


class TestThroughputMonitor(CallbackContract):
    def make(self, folder: Path) -> Any:
        return ThroughputMonitor()


class TestVRAMDriftCallback(CallbackContract):
    def make(self, folder: Path) -> Any:
        return VRAMDriftCallback()


class TestTauNormCallback(CallbackContract):
    def make(self, folder: Path) -> Any:
        return TauNormCallback(0.5)

    def model(self) -> nn.Module:
        class Classifier(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc_layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 1)])

            def forward(self, x: Tensor) -> Tensor:
                return self.fc_layers[1](self.fc_layers[0](x).tanh())  # type: ignore[no-any-return]

        return Classifier()


class TestMetricsJSONL(CallbackContract):
    def make(self, folder: Path) -> Any:
        return MetricsJSONL(folder / "metrics.jsonl")


class TestMLflowCallback(CallbackContract):
    """On a folder of files: making a SQLite store takes seconds, and one other test does it."""

    @pytest.fixture(autouse=True)
    def _store_of_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("mlflow.tracking", reason="the mlflow extra is not installed")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def make(self, folder: Path) -> Any:
        return MLflowCallback("contract", (folder / "mlflow").as_uri())


class CountSteps(Hook):
    """The hook of the documentation: what it stores travels in the checkpoint."""

    def after_step(self, trainer: Any) -> None:
        if trainer.training:
            self.store("steps", self.get("steps", 0) + 1)


class TestHook(CallbackContract):
    def make(self, folder: Path) -> Any:
        return CountSteps()


class TestMainProcessHook(CallbackContract):
    def make(self, folder: Path) -> Any:
        class OnMain(MainProcessHook, CountSteps): ...

        return OnMain()


class TestLambdaHook(CallbackContract):
    def make(self, folder: Path) -> Any:
        return LambdaHook(after_epoch=lambda trainer: None, on_cancel=lambda trainer, model: None)


def test_no_shipped_callback_is_left_out() -> None:
    shipped = {
        n for n in menu.__all__ if isinstance(kind := getattr(menu, n), type) and issubclass(kind, Callback | Hook)
    }
    swept = {name.removeprefix("Test") for name in globals() if name.startswith("Test")}
    assert shipped - {"Callback"} <= swept


class TestMetricsJSONLAsLogger(LoggerContract):
    def make(self, folder: Path) -> Any:
        return MetricsJSONL(folder / "metrics.jsonl")

    def epochs_logged(self, folder: Path) -> Any:
        points: dict[str, list[tuple[int, float]]] = {}
        for row in read_metrics_jsonl(folder / "metrics.jsonl"):
            for name in row.keys() - {"epoch"}:
                points.setdefault(name, []).append((int(row["epoch"]), row[name]))
        return points


class TestTensorBoardLogger(LoggerContract):
    def make(self, folder: Path) -> Any:
        return TensorBoardLogger(folder)

    def epochs_logged(self, folder: Path) -> Any:
        events = EventAccumulator(str(folder / "epochs"))
        events.Reload()
        named = {f"{tag.split('/')[1]}_{tag.split('/')[0]}": tag for tag in events.Tags()["scalars"]}
        return {name: [(event.step, event.value) for event in events.Scalars(tag)] for name, tag in named.items()}


# What the contracts are for: callbacks that break one of their rules -------------------------------------------------


class Misspelt(Callback):
    def on_train_epoch_ended(self, trainer: Any, model: nn.Module) -> None: ...


class Draws(Callback):
    def on_train_epoch_start(self, trainer: Any, model: nn.Module) -> None:
        torch.rand(3)


class Writes(Callback):
    def on_validation_start(self, trainer: Any, model: nn.Module) -> None:
        with torch.no_grad():
            next(model.parameters()).zero_()


class KeepsHalf(Callback):
    """Saves its count and does not take it back."""

    count = 0

    def on_train_epoch_end(self, trainer: Any, model: nn.Module) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}


class CountsStarts(KeepsHalf):
    """Takes its count back, and changes it before anything has happened."""

    def on_fit_start(self, trainer: Any, model: nn.Module) -> None:
        self.count += 1

    def on_fit_end(self, trainer: Any, model: nn.Module) -> None:
        trainer._save_checkpoint(2, trainer.optimizer, trainer.scheduler, trainer.scaler)

    def load_state_dict(self, state: Any) -> None:
        self.count = state["count"]


class FailsLate(Callback):
    def on_exception(self, trainer: Any, model: nn.Module, exc: BaseException) -> None:
        raise OSError("no connection")


class NotPlain(KeepsHalf):
    def state_dict(self) -> dict[str, Any]:
        return {"path": Path("a")}


class StaysBehind(KeepsHalf):
    def load_state_dict(self, state: Any) -> None:
        raise ValueError("of another version")


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (StaysBehind, "a_resumed_run_takes_it_along", "of another version"),
        (
            Misspelt,
            "it_listens_to_known_events_only",
            r"on_train_epoch_ended.*\(did you mean 'on_train_epoch_end'\?\)",
        ),
        (Draws, "it_rides_along_without_changing_what_is_learnt", "another thing is learnt"),
        (Writes, "it_rides_along_without_changing_what_is_learnt", r"another thing is learnt: \['it\.0\.weight"),
        (KeepsHalf, "its_state_survives_a_checkpoint", "is not the same again: .*it.count: 3 and 0"),
        (NotPlain, "its_state_survives_a_checkpoint", "PosixPath"),
        (CountsStarts, "its_state_survives_a_checkpoint", "a resume that had nothing to do has changed"),
        (FailsLate, "it_does_not_hide_why_a_run_ended", r"ended with ZeroDivisionError.* raised OSError"),
    ],
)
def test_the_contract_notices(kind: type[Callback], test: str, message: str, tmp_path: Path) -> None:
    class Broken(CallbackContract):
        def make(self, folder: Path) -> Any:
            return kind()

    with pytest.raises((AssertionError, TypeError, ValueError), match=message):
        getattr(Broken(), f"test_{test}")(tmp_path)


class Appends(MetricsJSONL):
    def start(self, samples: int, epoch: int) -> None: ...


class Loses(MetricsJSONL):
    def log_epoch(self, row: Any, epoch: int) -> None:
        if epoch != 1:
            super().log_epoch(row, epoch)


class Strict(MetricsJSONL):
    def log_epoch(self, row: Any, epoch: int) -> None:
        assert all(value == value for value in row.values()), "a NaN"
        super().log_epoch(row, epoch)


class NeverClosed:
    def __init__(self, path: Path) -> None: ...

    start = log_batch = log_epoch = Appends.start


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (Appends, "a_resume_replaces_what_was_logged_at_or_beyond", r"\(1, 1.0\), \(2, 2.0\), \(1, 11.0\)"),
        (Loses, "what_was_logged_can_be_read_back", r"a reader sees .*\(0, 0.0\), \(2, 2.0\)"),
        (Strict, "non_finite_values_do_not_stop_it", "a NaN"),
        (NeverClosed, "it_is_a_logger", "a logger has start, log_batch, log_epoch and close"),
    ],
)
def test_the_contract_notices_a_logger(kind: Any, test: str, message: str, tmp_path: Path) -> None:
    class Broken(TestMetricsJSONLAsLogger):
        def make(self, folder: Path) -> Any:
            return kind(folder / "metrics.jsonl")

    with pytest.raises(AssertionError, match=message):
        getattr(Broken(), f"test_{test}")(tmp_path)
