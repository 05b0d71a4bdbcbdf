"""credit-like evaluate RUN [key=value ...]: a trained detector -> scores, metrics and report of its test sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from applications._cli import parser, run
from applications._data import Data, load_data, require_valid
from applications._fusion import is_fusion, judge_fusion
from applications._licence import stated_licences
from applications._model_card import model_card
from applications._run import (
    CARD,
    FACTS,
    METRICS,
    SCORES,
    Run,
    environment,
    forget_evaluation,
    open_run,
    read_json,
    to_json,
    write_text,
)
from applications._scoring import node_scores, raw_scores, restored_trainer, scores_frame, window_scores
from applications._summary import fusion_figures, main_figures
from applications._weights import write_weights
from applications.report import report_run
from credit_like.config import UserError
from credit_like.evaluation import (
    Scores,
    control_scores,
    evaluate,
    traffic_groups,
    with_controls,
    with_nodes,
    with_raw,
    write_scores,
)
from credit_like.graphs import PackedLoader
from credit_like.graphs.plan import TRAIN


def main(argv: list[str]) -> None:
    made = parser(
        "evaluate", "Score the validation and test windows of a run with its best checkpoint, and judge them."
    )
    made.add_argument("run", metavar="RUN", type=Path, help="a folder that `credit-like train` made")
    made.add_argument("--trainer", metavar="module:Class", help="as given to train")
    made.add_argument("overrides", nargs="*", metavar="key=value", help="data.path, or anything of evaluation")
    options = made.parse_intermixed_args(argv)
    evaluate_run(options.run, trainer=options.trainer, overrides=options.overrides)


def evaluate_run(
    folder: Path, data: Data | None = None, trainer: str | None = None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Judge the run in ``folder`` and write its report; returns the metrics.

    ``data`` saves reading the logs again. Raises UserError when the folder is no run, when its best checkpoint does not
    verify, when the logs are not those it was trained on, or when its split certificate is not valid.
    """
    run = open_run(folder, trainer, overrides)
    require_valid(run.certificate)
    data = data or load_data(run.job.data)
    require_same_store(run, data)
    rows, size, fusion, by_id = data.scored, run.job.loader.eval_batch_size, None, None
    controls: dict[str, NDArray[np.float64]] = {}
    if is_fusion(run.trainer):
        detector, score, rate, raw, controls, fusion = judge_fusion(run, data)
    else:
        detector = restored_trainer(run)
        raw = raw_scores(detector, PackedLoader(data.store, rows, batch_size=size, device=str(detector.device)))
        score, rate = window_scores(detector, data.store, rows, size)  # its weights stay
        by_id = node_scores(detector, data.store, rows, size)
    frame = scores_frame(data.store, rows, score, data.captures)
    if by_id is not None:
        frame = with_nodes(frame, data.store, rows, by_id, data.captures)
    frame = with_controls(frame, controls | control_scores(data.store, data.windows(TRAIN), rows))
    frame = with_raw(frame, raw)
    scores = Scores(frame, {capture.name: capture.intervals for capture in data.captures if capture.intervals})
    metrics = evaluate(scores, run.job.evaluation, data.calibration_captures, traffic_groups(data.plan))
    if fusion is not None:
        metrics["fusion"] = fusion.model_dump(mode="json")
    forget_evaluation(run.folder)
    write_scores(run.folder / SCORES, scores.frame, scores.intervals)
    write_text(run.folder / METRICS, to_json(metrics))
    facts = read_json(run.folder / FACTS) if (run.folder / FACTS).is_file() else {"throughput": {}}
    facts["environment"] = environment()
    facts["throughput"]["windows scored a second"] = f"{rate:,.0f}"
    write_text(run.folder / FACTS, to_json(facts))
    weights = write_weights(run, detector.model, averaged=raw is not None)
    parameters = sum(p.numel() for p in detector.model.parameters())
    card = model_card(run, metrics, weights, stated_licences(run.job.data.path), facts["environment"], parameters)
    write_text(run.folder / CARD, card)
    path = report_run(run.folder, trainer)
    print(main_figures(metrics))
    if fusion is not None:
        print(fusion_figures(metrics["fusion"]))
    print(f"report: {path}")
    return metrics


def require_same_store(run: Run, data: Data) -> None:
    """Raises UserError when the windows at hand are not those that the run's certificate is about."""
    if run.certificate["store"]["digest"] != data.store.digest:
        raise UserError(
            f"the logs at {run.job.data.path} give other windows than those this run was trained on: they changed, or "
            "this version describes windows differently. Restore the logs, or train again"
        )


if __name__ == "__main__":
    sys.exit(run(main))
