"""The benchmark of models: the peers are the same models, the parts of a step add up, and figures become tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from applications._job import load_job
from benchmarks import _models_page, models
from benchmarks._fusion_epochs import AGENTS, fusion_epochs
from benchmarks._our_runs import fitted
from benchmarks._plain_pyg import PlainGAT, plain_anomaly_detector, scaled_graphs
from benchmarks._stopwatch import PARTS, Stopwatch, TimedLoader
from credit_like.graphs import FeatureScaler, GraphStore, PackedLoader, ScalerSettings, Vocabulary
from tests.graphs.conftest import SETTINGS, three_way_plan, two_captures


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("models") / "store"
    store = GraphStore.build(folder, two_captures(), three_way_plan(), SETTINGS, progress=False)
    benign = store.select("train", label=0)
    vocabulary = Vocabulary.fit(store, benign)
    return store, vocabulary, FeatureScaler.fit(store, benign, vocabulary, ScalerSettings())


def built(name: str, inputs: Any) -> tuple[Any, Any, Any]:
    conf, changes = models.MODELS[name]
    job, cls = load_job(conf, ["data.path=.", "trainer.use_tensorboard=false", "trainer.epochs=1", *changes])
    torch.manual_seed(0)
    return job, cls, cls.build_model(job.model, *inputs[1:])


@pytest.mark.parametrize("name", models.MODELS)
def test_a_model_of_pygs_parts_is_the_same_model(name: str, inputs: Any) -> None:
    detector = built(name, inputs)[2].eval()
    rows = np.arange(12)
    raw = next(iter(PackedLoader(inputs[0], rows, 12)))
    scaled = Batch.from_data_list(scaled_graphs(inputs[0], rows, detector))
    if name == "dgi_ocgin":
        detector.fit_own_traffic([raw])
        plain = plain_anomaly_detector(detector).eval()
        pairs = zip(plain.readout(scaled), detector.readout(raw), strict=True)
        seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
        contrasts = zip(plain.contrast(scaled, seeds[0]), detector.contrast(raw, seeds[1]), strict=True)
        for theirs, ours in (*pairs, *contrasts):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(PlainGAT(detector).eval()(scaled), detector(raw), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [models.DEFAULT, "dgi_ocgin"])
def test_the_parts_of_a_step_add_up(name: str, inputs: Any) -> None:
    job, cls, detector = built(name, inputs)
    rows = inputs[0].select("train", label=0) if name == "dgi_ocgin" else inputs[0].select("train")
    loaders = PackedLoader(inputs[0], rows, 8), PackedLoader(inputs[0], rows, 8)
    trainer, watch = fitted(cls, job, detector, loaders, torch.tensor([1, 1]), seed=3)
    assert len(trainer.history.rows) == 1
    assert trainer.seed == 3
    assert all(watch.seconds[part] > 0 for part in PARTS)
    assert sum(watch.shares().values()) == pytest.approx(1.0, abs=0.01)


def test_a_watch_counts_for_one_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, ticks = Stopwatch(), iter(range(100))
    monkeypatch.setattr(watch, "_clock", lambda: next(ticks))
    watch.switch("forward")  # it does not run yet
    watch.start()
    with watch.during("step"), watch.during("logging"):
        pass
    for _ in TimedLoader([1], watch, then="forward"):
        watch.switch("backward")
    watch.stop()
    watch.switch("step")
    assert watch.total == next(ticks) - 1
    assert watch.seconds == {"gather": 3, "forward": 1, "backward": 2, "step": 2, "logging": 1, "rest": 4}


def test_the_fusions_epochs_are_timed() -> None:
    found = fusion_epochs(windows=600, validation=200, epochs=2)
    assert found["windows"] == 600
    for agent in AGENTS:
        assert 0 < found[agent]["seconds_an_epoch"] < found[agent]["with_validation"]


def figures(training: float, inference: float, auroc: float) -> dict[str, Any]:
    shares = dict.fromkeys(PARTS, 0.1)
    return {
        "training": training, "inference": inference, "auroc": auroc, "milliseconds_a_step": 4.0, "shares": shares
    }  # fmt: skip


def test_ratios_are_those_of_the_rounds() -> None:
    rounds = {
        "ours": [figures(300, 900, 0.98), figures(100, 800, 0.96), figures(200, 400, 0.97)],
        "pyg_lightning": [figures(100, 100, 0.97), figures(100, 400, 0.97), figures(100, 100, 0.97)],
    }
    found = models.summary(rounds)
    assert found["ratios"] == {"training": 2.0, "inference": 4.0}
    assert found["training_graphs_per_second"] == {"ours": 200, "pyg_lightning": 100}
    assert found["auroc_difference"] == 0.0
    report = {
        "machine": {"cores": 2, "torch_threads": 2, "load_average_before": 0.1},
        "targets": models.TARGETS, "device": "cpu", "lightning": "2.6.6",
        "models": {models.DEFAULT: found, "alone": models.summary({"ours": rounds["ours"]})},
        "fusion": {"windows": 600, "validation_windows": 200, "dqn": {"seconds_an_epoch": 0.5, "with_validation": 0.8}},
        "windows": {"training": 4000, "scored": 9000, "nodes_each": 37.4, "edges_each": 58.2},
    }  # fmt: skip
    text = _models_page.shown(report)
    assert "gatv2, cat" in text
    assert "2.00" in text
    assert "an epoch over 600 windows takes 0.5 s of one thread (at most 2.0)" in text
    assert all(len(line) < 110 for line in text.splitlines())
    page = _models_page.with_tables(models.PAGE.read_text(), report)
    assert "| gatv2, cat | 200 | 100 | 2.00 | 800 | 100 | 4.00 | 0.9700 | 0.9700 |" in page
    assert "| alone | 200 |  |  | 800 |" in page
    assert "| dqn | 0.50 s | 0.80 s |" in page
    assert _models_page.with_tables(page, report) == page


@pytest.mark.skipif(not models.RESULTS.is_file(), reason="python -m benchmarks.models has not been run")
def test_the_page_shows_the_results() -> None:
    page = models.PAGE.read_text()
    assert _models_page.with_tables(page, json.loads(models.RESULTS.read_text())) == page


def test_results_of_another_device_have_a_file_of_their_own() -> None:
    assert models.place_of("cpu") == models.RESULTS
    assert models.place_of("cuda") == Path(models.RESULTS.parent / "models_cuda.json")
