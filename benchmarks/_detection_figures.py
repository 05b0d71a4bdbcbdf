"""The figures of a trained run on the windows that a division is about, its controls' beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from applications._data import Data
from applications._fit import fit_head_anew
from applications._fusion import FusionData, is_fusion, policy_scores, restored_policy
from applications._run import Run
from applications._scoring import raw_scores, restored_trainer, scores_frame, window_scores
from credit_like.evaluation import EvaluationSettings, Scores, control_scores, evaluate, traffic_groups
from credit_like.evaluation.scores import with_controls, with_raw
from credit_like.graphs import PackedLoader
from credit_like.graphs.plan import TRAIN, VALIDATION
from trainers.expert_table import ExpertLoader

_SETTINGS = EvaluationSettings(bootstrap_rounds=100)


def figures(run: Run, data: Data, judges: Callable[[str], bool], controls: Path) -> dict[str, Any]:
    """What the best checkpoint of ``run`` reaches on the test sets that ``judges`` names, all as one.

    ``data`` is what it was trained with. ``controls`` is a folder that keeps the controls' scores for the next run on
    the same windows. No report is written.
    """
    tests = [name for name in data.plan.split_names if judges(name)]
    rows = np.sort(np.concatenate([data.store.select(name) for name in (VALIDATION, *tests)]))
    score, raw = _scores(run, data, rows)
    frame = scores_frame(data.store, rows, score, data.captures)
    frame = with_raw(with_controls(frame, _controls(data, rows, controls)), raw)
    split = pl.when(pl.col("split") == VALIDATION).then(pl.col("split")).otherwise(pl.lit("test")).alias("split")
    intervals = {capture.name: capture.intervals for capture in data.captures if capture.intervals}
    metrics = evaluate(
        Scores(frame.with_columns(split), intervals), _SETTINGS, data.calibration_captures, traffic_groups(data.plan)
    )
    found, weights = metrics["overall"], metrics["raw_weights"]
    return {
        "model": _kept(found["windows"]),
        "validation_auroc": metrics["validation"]["auroc"],
        "raw_weights_auroc": None if weights is None else weights["overall"]["auroc"],
        "events": found["events"]["events"],
        "found": found["events"]["found"],
        "attack_windows": found["windows"]["attack"],
        "benign_windows": found["windows"]["benign"],
        "controls": {name: _kept(part) for name, part in found["controls"].items()},
        "families": {name: part["windows"]["auroc"] for name, part in found["families"].items()},
    }


def _scores(run: Run, data: Data, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Of each window by the run's best weights, and by its raw ones where those differ; float64[n] each."""
    size = run.job.loader.eval_batch_size
    if is_fusion(run.trainer):
        assert isinstance(data, FusionData)
        table, policy = data.of(rows), restored_policy(run)
        raw = raw_scores(policy, ExpertLoader(table, size))
        return policy_scores(policy, table, size)[0], raw
    detector = restored_trainer(run)
    loader = PackedLoader(data.store, rows, batch_size=size, device=str(detector.device))
    raw = raw_scores(detector, loader, lambda: fit_head_anew(detector, data, size))
    return window_scores(detector, data.store, rows, size)[0], raw


def _controls(data: Data, rows: NDArray[np.int64], folder: Path) -> dict[str, NDArray[np.float64]]:
    """The controls' scores of the windows ``rows``, made once."""
    kept = folder / f"{data.store.digest[:16]}.npz"
    if kept.is_file():
        with np.load(kept) as scores:
            if np.array_equal(scores["rows"], rows):
                return {name: scores[name] for name in scores.files if name != "rows"}
    made = control_scores(data.store, data.windows(TRAIN), rows)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(kept, rows=rows, **made)  # type: ignore[arg-type]
    return made


def _kept(part: dict[str, Any]) -> dict[str, float | None]:
    return {name: part[name] for name in ("auroc", "f1", "recall", "fpr")}
