"""The callbacks that are shipped."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.config import ConfigError, UserError
from credit_like.testing import differences
from credit_like.training import (
    BaseTrainer,
    CheckpointError,
    EarlyStopping,
    LRMonitor,
    MetricAccumulator,
    MetricsJSONL,
    MLflowCallback,
    ModelCheckpoint,
    StepOutcome,
    TauNormCallback,
    ThroughputMonitor,
    VRAMDriftCallback,
    apply_tau_norm,
    read_checkpoint,
    read_metrics_jsonl,
)
from tests.training.toys import batches_of


class Scripted(BaseTrainer):
    """Validation returns what the test wrote down, one value an epoch; the model has an ``fc_layers`` list."""

    script: tuple[float, ...] = (3.0, 1.0, 2.0, 1.5)

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        for x, y in self.batches(trainloader):
            loss = nn.functional.mse_loss(self.model(x).mean(1), y)
            self.optimize(loss)
            self.record("loss", loss)

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> dict[str, float]:
        return {"loss": self.script[epoch], "auc": -self.script[epoch]}


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc_layers = nn.ModuleList([nn.Linear(5, 8), nn.Linear(8, 2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc_layers[1](torch.relu(self.fc_layers[0](x)))  # type: ignore[no-any-return]


def run(folder: Path, callbacks: list[Any], epochs: int = 4, **settings: Any) -> Scripted:
    torch.manual_seed(0)
    conf = {"save_loc": str(folder), "trainer": {"epochs": epochs, "log_every_n_steps": 1, **settings}}
    trainer = Scripted(Classifier(), 0, conf, callbacks=callbacks)
    trainer.fit(conf, batches_of(12), batches_of(4), torch.optim.SGD(trainer.model.parameters(), 0.1))
    return trainer


class Memory:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.epochs: list[Any] = []

    def start(self, samples: int, epoch: int) -> None: ...

    def log_batch(self, values: Any, samples: int) -> None:
        self.batches.append((samples, dict(values)))

    def log_epoch(self, row: Any, epoch: int) -> None:
        self.epochs.append((epoch, dict(row)))

    def close(self) -> None: ...


def test_checkpoint_and_stopping_configure_the_one_writer_and_the_one_patience(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint("val_auc", "max", filename="best_model")
    trainer = run(tmp_path, [checkpoint, EarlyStopping("val_auc", "max", patience=2)])
    assert trainer.patience.best_epoch == 1
    assert [row["epoch"] for row in trainer.history.rows] == [0, 1, 2, 3]
    assert checkpoint.best_model_path == str(tmp_path / "best_model.pt")
    assert read_checkpoint(tmp_path / "best_model.pt")["epoch"] == 1
    assert not (tmp_path / "best_checkpoint.pt").exists()


def test_min_delta(tmp_path: Path) -> None:
    trainer = run(tmp_path, [EarlyStopping("val_loss", patience=3, min_delta=2.5)])
    assert trainer.patience.best_epoch == 0
    assert len(trainer.history.rows) == 4


def test_top_k_keeps_the_best_epochs_and_their_digests(tmp_path: Path) -> None:
    run(tmp_path, [ModelCheckpoint(save_top_k=2)])
    kept = sorted(path.name for path in tmp_path.glob("checkpoint_epoch_*"))
    names = ["checkpoint_epoch_0001.pt", "checkpoint_epoch_0003.pt"]
    assert kept == sorted(names + [name + ".sha256" for name in names])


def test_a_folder_of_its_own(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path / "elsewhere")
    run(tmp_path / "run", [checkpoint])
    assert checkpoint.best_model_path == str(tmp_path / "elsewhere" / "best_model.pt")


def test_monitors_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'valid_f1' is in no row of results.*valid_loss, valid_auc"):
        run(tmp_path / "a", [ModelCheckpoint("val_f1")])
    with pytest.raises(
        ConfigError, match=r"EarlyStopping monitors valid_auc \(max\), ModelCheckpoint valid_loss \(min\)"
    ):
        run(tmp_path / "b", [ModelCheckpoint(), EarlyStopping("val_auc", "max")])
    with pytest.raises(ValueError, match="without the latest there is no resume"):
        ModelCheckpoint(save_last=False)


def test_learning_rates_and_throughput_reach_the_loggers_and_not_the_log(tmp_path: Path) -> None:
    memory: Any = Memory()
    run(tmp_path, [memory_callback(memory), LRMonitor(), ThroughputMonitor()], epochs=2)
    assert (4, {"lr_0": 0.1}) in memory.batches
    timings = [row for _, row in memory.epochs if "samples_per_second" in row]
    assert len(timings) == 2
    assert all(row["samples_per_second"] > 0 and 0 <= row["data_wait_share"] <= 1 for row in timings)
    assert "samples_per_second" not in (tmp_path / "training_log.csv").read_text()


def test_the_share_of_time_spent_waiting_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, rows = 0.0, list[Any]()
    clock = SimpleNamespace(perf_counter=lambda: seconds)
    monkeypatch.setattr("credit_like.training.callbacks.monitors.time", clock)
    monitor, trainer = ThroughputMonitor(), SimpleNamespace(batch_size=len, log_epoch=rows.append)
    monitor.on_train_epoch_start(trainer, nn.Identity())  # type: ignore[arg-type]
    for waits, works in ((3.0, 1.0), (1.0, 3.0)):
        seconds += waits
        monitor.on_train_batch_start(trainer, nn.Identity(), "1234", 0)  # type: ignore[arg-type]
        seconds += works
        monitor.on_train_batch_end(trainer, nn.Identity(), None, "1234", 0)  # type: ignore[arg-type]
    monitor.on_validation_start(trainer, nn.Identity())  # type: ignore[arg-type]
    monitor.on_train_epoch_end(trainer, nn.Identity())  # type: ignore[arg-type]
    assert rows == [{"samples_per_second": 1.0, "data_wait_share": 0.5}]


def test_the_rate_of_every_group_is_logged() -> None:
    rows: list[Any] = []
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.5, 0.25)]
    state = SimpleNamespace(optimizer_step=4)
    trainer: Any = SimpleNamespace(optimizer=torch.optim.SGD(groups), step_state=state, log_every_n_steps=2)
    trainer.log_batch = rows.append
    for step, outcome in ((3, StepOutcome.STEPPED), (4, StepOutcome.ACCUMULATED), (4, StepOutcome.STEPPED)):
        state.optimizer_step = step
        LRMonitor().on_train_batch_end(trainer, nn.Identity(), outcome, None, 0)
    assert rows == [{"lr_0": 0.5, "lr_1": 0.25}]


def memory_callback(memory: Memory) -> Any:
    """A callback that is a logger too, as MetricsJSONL and MLflowCallback are."""
    from credit_like.training import Callback

    return type(
        "Remembers", (Callback,), {n: getattr(memory, n) for n in ("start", "log_batch", "log_epoch", "close")}
    )()


def test_vram_drift_warns_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Falling(VRAMDriftCallback):
        free = 10 * 2**30

        def free_bytes(self, trainer: BaseTrainer) -> int:
            self.free -= 2**30
            return self.free

    run(tmp_path, [Falling(threshold=0.2)])
    said = capfd.readouterr().err
    assert "GPU memory: 7.0 GiB free, 9.0 when training began" in said
    assert said.count("GPU memory:") == 1


def test_json_lines_survive_a_resume_and_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    run(tmp_path / "run", [MetricsJSONL(path)], epochs=2)
    with path.open("a") as file:
        file.write('{"epoch": 2, "val')
    with pytest.raises(UserError, match=r"metrics\.jsonl:3 is no line of metrics"):
        read_metrics_jsonl(path)
    run(tmp_path / "run", [MetricsJSONL(path)], epochs=3, load_weights=True)
    rows = read_metrics_jsonl(path)
    assert [(row["epoch"], row["valid_loss"]) for row in rows] == [(0, 3.0), (1, 1.0), (2, 2.0)]


def test_json_lines_have_no_nan(tmp_path: Path) -> None:
    logger = MetricsJSONL(tmp_path / "m.jsonl")
    logger.start(0, 0)
    logger.log_epoch({"valid_loss": math.nan}, 0)
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"epoch": 0, "valid_loss": None}
    assert math.isnan(read_metrics_jsonl(tmp_path / "m.jsonl")[0]["valid_loss"])


def test_mlflow_keeps_one_run_over_a_resume(tmp_path: Path) -> None:
    client = pytest.importorskip("mlflow.tracking", reason="the mlflow extra is not installed").MlflowClient
    pytest.importorskip("sqlalchemy", reason="a local SQLite store needs sqlalchemy")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run(tmp_path / "run", [MLflowCallback("detector", uri)], epochs=2)
    second = MLflowCallback("detector", uri)
    run(tmp_path / "run", [second], epochs=3, load_weights=True)
    store = client(uri)
    runs = store.search_runs([store.get_experiment_by_name("detector").experiment_id])
    assert [(r.info.run_id, r.info.status, r.data.params["trainer.epochs"]) for r in runs] == [
        (second.run_id, "FINISHED", "2")
    ]
    history = store.get_metric_history(second.run_id, "valid_loss")
    assert [(point.step, point.value) for point in history] == [(0, 3.0), (1, 1.0), (2, 2.0)]


def test_mlflow_gets_values_together_and_before_the_checkpoint_that_is_ahead_of_them() -> None:
    pytest.importorskip("mlflow.tracking", reason="the mlflow extra is not installed")

    class Store:
        calls: list[list[Any]] = []  # noqa: RUF012

        def log_batch(self, run_id: str, metrics: list[Any]) -> None:
            self.calls.append([(run_id, metric.key, metric.value, metric.step) for metric in metrics])

    patient, eager = MLflowCallback(send_every_s=1e9), MLflowCallback(send_every_s=0)
    for callback in (patient, eager):
        callback.run_id, callback._client = "r", Store()
    patient.log_batch({"train_loss": 1.0, "train_bad": math.nan}, 4)
    patient.log_batch({"train_loss": 2.0}, 8)
    assert Store.calls == []
    assert patient.state_dict() == {"run_id": "r"}
    assert Store.calls == [[("r", "batch/train_loss", 1.0, 4), ("r", "batch/train_loss", 2.0, 8)]]
    patient.log_epoch({"valid_loss": 3.0}, 0)
    eager.log_batch({"train_loss": 4.0}, 12)
    assert Store.calls[1:] == [[("r", "valid_loss", 3.0, 0)], [("r", "batch/train_loss", 4.0, 12)]]


def test_tau_norm_of_a_matrix() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert torch.equal(apply_tau_norm(weight.clone(), 0.0), weight)
    assert torch.allclose(apply_tau_norm(weight.clone(), 1.0), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert torch.allclose(apply_tau_norm(weight.clone(), 0.5)[0], torch.tensor([3.0, 4.0]) / 5**0.5)
    with pytest.raises(ValueError, match="needs a matrix"):
        apply_tau_norm(torch.ones(3), 0.5)


@pytest.mark.parametrize("ema", [False, True])
def test_tau_norm_rewrites_the_best_checkpoint_once(tmp_path: Path, ema: bool) -> None:
    run(tmp_path / "plain", [], use_ema=ema)
    run(tmp_path / "tau", [TauNormCallback(0.5)], use_ema=ema)
    before, after = (read_checkpoint(tmp_path / name / "best_checkpoint.pt") for name in ("plain", "tau"))
    for part in ("model", *(["ema"] if ema else [])):
        old = before[part]["shadow"] if part == "ema" else before[part]
        new = after[part]["shadow"] if part == "ema" else after[part]
        assert torch.equal(old["fc_layers.0.weight"], new["fc_layers.0.weight"])
        norms = [weights["fc_layers.1.weight"].norm(dim=1) for weights in (old, new)]
        assert torch.allclose(norms[1], norms[0].sqrt())
    assert after["tau_norm"] == 0.5
    run(tmp_path / "tau", [TauNormCallback(0.5)], use_ema=ema, load_weights=True)
    assert differences(after, read_checkpoint(tmp_path / "tau" / "best_checkpoint.pt")) == []


def test_no_run_is_resumed_from_normalised_weights(tmp_path: Path) -> None:
    run(tmp_path, [TauNormCallback(1.0)])
    for name in ("checkpoint.pt", "backup_checkpoint.pt"):
        (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=r"best_checkpoint\.pt holds weights that TauNormCallback altered"):
        run(tmp_path, [TauNormCallback(1.0)], epochs=9, load_weights=True)


def test_tau_norm_needs_a_classifier(tmp_path: Path) -> None:
    conf = {"save_loc": str(tmp_path), "trainer": {"epochs": 1}}
    trainer = Scripted(nn.Linear(5, 2), 0, conf, callbacks=[TauNormCallback()])
    with pytest.raises(KeyError, match=r"no fc_layers\.N\.weight"):
        trainer.fit(conf, batches_of(4), batches_of(4), torch.optim.SGD(trainer.model.parameters(), 0.1))


def test_accumulator() -> None:
    means = MetricAccumulator()
    means.update("test/precision@0.95recall", torch.tensor(0.5), weight=2)  # type: ignore[arg-type]
    means.update("test/precision@0.95recall", 1.0, weight=6)
    assert means.compute() == {"test/precision@0.95recall": 0.875}
    with pytest.raises(ValueError, match="metric 'f1' is NaN"):
        means.update("f1", math.nan)
    lenient = MetricAccumulator("ignore")
    lenient.update("f1", math.nan)
    lenient.update("f1", 1.0)
    assert lenient.compute() == {"f1": 1.0}
    lenient.reset()
    assert lenient.compute() == {}
