"""A run that never happened: windows of a simulated detector, with attacks, controls and everything a report shows."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from credit_like.can.captures import AttackInterval
from credit_like.evaluation import Comparison, EvaluationSettings, JudgedRun, compare, evaluate, write_report
from credit_like.evaluation.controls import CONTROLS
from credit_like.evaluation.scores import COLUMNS, Scores, with_controls

#: How well the simulated detector sees each family: mean of the logit of an attack window (benign ones have -4).
SKILL = {"dos": 8.0, "fuzzing": 4.0, "spoofing": 2.0, "masquerade": -1.0}
WINDOW_SECONDS, ROWS = 0.06, 100
TWO_TESTS = ("test/known_vehicle_known_attack", "test/unknown_vehicle_known_attack")


def rows_of(split: str, capture: str, windows: int, **columns: Any) -> pl.DataFrame:
    """``windows`` adjoining benign windows with score 0; ``columns`` replace what they name."""
    start = np.arange(windows)
    frame: dict[str, Any] = {
        "split": [split] * windows,
        "capture": [capture] * windows,
        "vehicle": ["sedan"] * windows,
        "family": [""] * windows,
        "label": np.zeros(windows, np.int8),
        "in_interval": np.zeros(windows, np.bool_),
        "bus": np.zeros(windows, np.uint8),
        "row_start": start * ROWS,
        "row_stop": (start + 1) * ROWS,
        "t_start": start * WINDOW_SECONDS,
        "t_end": start * WINDOW_SECONDS + 0.99 * WINDOW_SECONDS,
        "score": np.zeros(windows),
    }
    return pl.DataFrame(frame | columns, schema=COLUMNS)


def simulated(
    seed: int = 0, windows: int = 600, tests: tuple[str, ...] = ("test",), shift: float = 0.0, controls: bool = True
) -> Scores:
    """Scores of a detector of ``SKILL`` (plus ``shift``) on one validation and four attack captures a test set."""
    rng = np.random.default_rng(seed)
    parts = [rows_of("validation", "drive/clean", 2 * windows, score=_chance(rng, np.full(2 * windows, -4.0)))]
    intervals: dict[str, tuple[AttackInterval, ...]] = {}
    for test in tests:
        for family, skill in SKILL.items():
            capture = f"{test}/{family}"
            benign = rows_of(test, capture, windows)
            times, label, known = benign["t_start"].to_numpy(), np.zeros(windows, np.int8), []
            for begin in rng.uniform(0.1, 0.85, 4) * times[-1]:
                stop = begin + rng.uniform(0.5, 2.0)
                hit = (times <= stop) & (benign["t_end"].to_numpy() >= begin)
                label[hit] = rng.random(hit.sum()) < 0.9
                known.append(AttackInterval(family, float(begin), float(stop)))
            inside = np.zeros(windows, np.bool_)
            for x in known:
                inside |= (times <= x.stop) & (benign["t_end"].to_numpy() >= x.start)
            mean = np.where(label == 1, skill + shift, np.where(inside, skill - 2, -4.0))
            names = np.where(label == 1, family, "")
            columns = {"label": label, "in_interval": inside, "family": names, "score": _chance(rng, mean)}
            parts.append(rows_of(test, capture, windows, **columns))
            intervals[capture] = tuple(known)
    frame = pl.concat(parts)
    if controls:
        attack = frame["label"].to_numpy() == 1
        known = {name: _chance(rng, np.where(attack, i - 1.5, -3.0)) for i, name in enumerate(CONTROLS)}
        frame = with_controls(frame, known)
    return Scores(frame, intervals)


def _chance(rng: np.random.Generator, logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-rng.normal(logit, 1.8)))


@pytest.fixture(scope="session")
def simulate_run() -> Callable[..., Scores]:
    return simulated


@pytest.fixture(scope="session")
def windows_of() -> Callable[..., pl.DataFrame]:
    return rows_of


@pytest.fixture(scope="session")
def run() -> Scores:
    return simulated()


LOG = """epoch,train_loss,valid_loss,train_accuracy,valid_accuracy,lr
0,0.9,1.0,0.6,0.5,0.002
1,0.5,0.6,0.8,0.7,0.001
2,0.4,0.7,0.9,,0.0001
"""


@pytest.fixture(scope="session")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the report of some scores; every argument of ``write_report`` can be replaced."""

    def write(scores: Scores, **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("report")
        log = folder / "training_log.csv"
        log.write_text(LOG)
        given: dict[str, Any] = {
            "title": "demo: gat on a simulated sedan",
            "metrics": evaluate(scores, EvaluationSettings(bootstrap_rounds=100)),
            "scores": scores,
            "certificate": {
                "version": 1,
                "policy": "time_blocks",
                "files": [{"path": "a.log", "sha256": "ab" * 32}] * 20,
            },
            "problems": [],
            "config_text": "seed: 0\ntrainer:\n  type: gat\n",
            "training_log": log,
            "environment": {"python": "3.11", "torch": "2.13.0"},
            "throughput": {"training windows a second": 5210.4},
        }
        return write_report(folder / "report.html", **(given | changes))

    return write


@pytest.fixture(scope="session")
def judge() -> Callable[..., JudgedRun]:
    """A finished run of some scores, with a certificate of as many fields as a comparison reads."""

    def judged(name: str, scores: Scores, **changes: Any) -> JudgedRun:
        captures = sorted(scores.frame["capture"].unique())
        certificate = {
            "policy": "groups",
            "files": [{"capture": x, "sha256": sha256(x.encode()).hexdigest()} for x in captures],
            "intervals": [{"capture": "a", "split": "train", "row_start": 0, "row_stop": 6000, "windows": 60}],
            "store": {"digest": "ab" * 32},
            "digest": "cd" * 32,
        }
        given: dict[str, Any] = {
            "trainer": "gat",
            "settings": {},
            "metrics": evaluate(scores, EvaluationSettings(bootstrap_rounds=100)),
            "certificate": certificate,
        }
        return JudgedRun(name, scores=scores, **(given | changes))

    return judged


@pytest.fixture(scope="session")
def runs(simulate_run: Callable[..., Scores], judge: Callable[..., JudgedRun]) -> list[JudgedRun]:
    """A weak, a good and a fair detector on the same windows of two test sets."""
    shifts = {"weak": -2.0, "good": 1.5, "fair": 0.0}
    return [
        judge(
            name,
            simulate_run(tests=TWO_TESTS, windows=300, shift=shift),
            settings={"trainer.seed": 1, "model.width": i, "hpo.trials": i, "trainer.note": "x" * i},
        )
        for i, (name, shift) in enumerate(shifts.items())
    ]


@pytest.fixture(scope="session")
def comparison(runs: list[JudgedRun]) -> Comparison:
    return compare(runs)


@pytest.fixture(scope="session")
def repeated(simulate_run: Callable[..., Scores], judge: Callable[..., JudgedRun]) -> Comparison:
    """Two widths with three and two seeds, one run a second time, and one width alone."""
    made = [("a", 64, 0), ("b", 64, 1), ("c", 64, 2), ("again", 64, 2), ("d", 8, 0), ("e", 8, 5), ("alone", 4, 0)]
    runs = []
    for i, (name, width, seed) in enumerate(made):
        scores = simulate_run(windows=300, shift=0.2 * i - 1)
        runs.append(judge(name, scores, settings={"model.width": width, "trainer.seed": seed, "hpo.trials": i}))
    return compare(runs)
