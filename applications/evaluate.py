"""credit-like evaluate RUN [key=value ...]: a trained detector -> scores, metrics and report of its test sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from applications import _arguments
from applications._arguments import ALL, CHEAP
from applications._cli import run
from applications._data import Data, load_data, require_valid
from applications._fit import fit_head_anew
from applications._fusion import is_fusion, judge_fusion
from applications._licence import stated_licences
from applications._model_card import model_card
from applications._retrained import retrained_scores
from applications._run import (
    CARD,
    EXPLANATIONS,
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
from applications._scoring import graph_scores, node_scores, raw_scores, restored_trainer, scores_frame, window_scores
from applications._summary import fusion_figures, main_figures
from applications._weights import write_weights
from applications.report import report_run
from credit_like.can import DbcNames
from credit_like.config import UserError
from credit_like.evaluation import (
    AlarmRule,
    Scores,
    control_scores,
    evaluate,
    explain,
    top_alarms,
    traffic_groups,
    with_controls,
    with_nodes,
    with_raw,
    write_scores,
)
from credit_like.evaluation.report.words import count
from credit_like.graphs import PackedLoader
from credit_like.graphs.plan import TRAIN

#: Without a DBC file.
NO_NAMES = DbcNames()


def main(argv: list[str]) -> None:
    options = _arguments.evaluate(argv)
    names = DbcNames.read(options.dbc) if options.dbc else NO_NAMES
    evaluate_run(
        options.run, trainer=options.trainer, overrides=options.overrides, names=names, controls=options.controls
    )


def evaluate_run(
    folder: Path,
    data: Data | None = None,
    trainer: str | None = None,
    overrides: Sequence[str] = (),
    names: DbcNames = NO_NAMES,
    controls: str = CHEAP,
) -> dict[str, Any]:
    """Judge the run in ``folder`` and write its report; returns the metrics.

    ``data`` saves reading the logs again; ``names`` are those of ids and signals, for the explanations of alarms.
    ``controls`` "all" retrains the model without edges and with rewired ones, in ``RUN/controls``.

    Raises UserError when the folder is no run, when its best checkpoint does not verify, when the logs are not those it
    was trained on, or when its split certificate is not valid.
    """
    run = open_run(folder, trainer, overrides)
    require_valid(run.certificate)
    if controls == ALL and is_fusion(run.trainer):
        raise UserError(f"--controls all retrains a model of graphs; {folder} fuses two others: evaluate those with it")
    data = data or load_data(run.job.data)
    require_same_store(run, data)
    rows, size, fusion, by_id = data.scored, run.job.loader.eval_batch_size, None, None
    scores_of_experts: dict[str, NDArray[np.float64]] = {}
    if is_fusion(run.trainer):
        detector, score, rate, raw, scores_of_experts, fusion = judge_fusion(run, data)
    else:
        detector = restored_trainer(run)
        loader = PackedLoader(data.store, rows, batch_size=size, device=str(detector.device))
        raw = raw_scores(detector, loader, lambda: fit_head_anew(detector, data, size))
        score, rate = window_scores(detector, data.store, rows, size)  # its weights stay
        by_id = node_scores(detector, data.store, rows, size)
    frame = scores_frame(data.store, rows, score, data.captures)
    if by_id is not None:
        frame = with_nodes(frame, data.store, rows, by_id, data.captures)
    simple = scores_of_experts | control_scores(data.store, data.windows(TRAIN), rows)
    frame = with_controls(frame, simple | (retrained_scores(run, data, rows) if controls == ALL else {}))
    frame = with_raw(frame, raw)
    scores = Scores(frame, {capture.name: capture.intervals for capture in data.captures if capture.intervals})
    metrics = evaluate(scores, run.job.evaluation, data.calibration_captures, traffic_groups(data.plan))
    if fusion is not None:
        metrics["fusion"] = fusion.model_dump(mode="json")
    forget_evaluation(run.folder)
    write_scores(run.folder / SCORES, scores.frame, scores.intervals)
    write_text(run.folder / METRICS, to_json(metrics))
    if fusion is None:  # a policy sees experts' outputs and no graph; what moved those, the experts' reports say
        alarms = [(int(rows[row]), kind) for row, kind in top_alarms(scores.frame, AlarmRule.of(metrics))]
        explained = explain(data.store, alarms, data.captures, graph_scores(detector, size), names)
        write_text(run.folder / EXPLANATIONS, to_json(explained))
    facts = read_json(run.folder / FACTS) if (run.folder / FACTS).is_file() else {"throughput": {}}
    facts["environment"] = environment()
    facts["throughput"]["windows scored a second"] = count(round(rate))
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
