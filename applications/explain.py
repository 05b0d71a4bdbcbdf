"""credit-like explain RUN --capture C --time T [--attention]: the ids and transitions that carried a window's score."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from applications import _arguments
from applications._cli import run
from applications._data import load_data, require_valid
from applications._fusion import is_fusion, open_experts
from applications._output import require_writable
from applications._run import EXPLANATIONS, METRICS, open_run, read_metrics, to_json, write_text
from applications._scoring import edge_attention, graph_scores, restored_trainer, window_scores
from applications.evaluate import NO_NAMES, require_same_store
from credit_like.can import DbcNames
from credit_like.config import UserError, closest
from credit_like.evaluation import Explanations, explain
from credit_like.evaluation.report.alarms import attack_share, carried_by_none, faithfulness, labels_ids, share
from credit_like.evaluation.report.words import number
from credit_like.graphs import GraphStore


def main(argv: list[str]) -> None:
    options = _arguments.explain(argv)
    if options.output:
        run = open_run(options.run, options.trainer, options.overrides)
        reads = [options.run / EXPLANATIONS, options.run, run.job.data.path, *([options.dbc] if options.dbc else [])]
        require_writable(options.output, reads, force=options.force, is_result=is_explanation)
    names = DbcNames.read(options.dbc) if options.dbc else NO_NAMES
    found = explain_window(
        options.run,
        options.capture,
        options.time,
        names=names,
        trainer=options.trainer,
        overrides=options.overrides,
        attention=options.attention,
    )
    print(shown(found["explanations"][0], _threshold(options.run)))
    if options.output:
        write_text(options.output, to_json(found))
        print(f"-> {options.output}")


def explain_window(
    folder: Path,
    capture: str,
    time: float,
    *,
    names: DbcNames = NO_NAMES,
    trainer: str | None = None,
    overrides: Sequence[str] = (),
    attention: bool = False,
) -> dict[str, Any]:
    """The explanation of the window of ``capture`` at ``time`` (seconds of its clock), in the form of
    ``credit_like.evaluation.Explanations``; where several windows hold that time, of the one with the highest score.
    ``attention`` adds what each id and transition gets of the model's.

    Raises UserError when the run or its logs are not as they were, it is a fusion of two, there is no such capture or
    window, or attention is asked of a model that has none.
    """
    job = open_run(folder, trainer, overrides)
    if is_fusion(job.trainer):
        experts = " and ".join(str(expert.folder) for expert in open_experts(job.job).values())
        raise UserError(f"{folder} mixes the scores of two runs, and sees no ids; explain those: {experts}")
    require_valid(job.certificate)
    data = load_data(job.job.data)
    require_same_store(job, data)
    detector, batch_size = restored_trainer(job), job.job.loader.eval_batch_size
    attended = edge_attention(detector) if attention else None
    rows = windows_at(data.store, capture, time)
    score, _ = window_scores(detector, data.store, rows, batch_size)
    chosen = [(int(rows[np.argmax(score)]), "")]
    score_graphs = graph_scores(detector, batch_size)
    return explain(data.store, chosen, data.captures, score_graphs, names, around=time, attention=attended)


def is_explanation(path: Path) -> bool:
    """Whether ``path`` is an explanation that ``explain`` wrote."""
    try:
        return set(json.loads(path.read_text(encoding="utf-8"))) == set(Explanations.model_fields)
    except (ValueError, TypeError):  # some other file
        return False


def windows_at(store: GraphStore, capture: str, time: float) -> np.ndarray:
    """int64[m]: the windows of ``capture`` that hold ``time``, or the nearest, a window's length away at most."""
    windows = store.windows
    if capture not in windows.capture_names:
        raise UserError(
            f"--capture {capture}: there is no such capture{closest(capture, windows.capture_names)}; "
            f"there are: {', '.join(windows.capture_names)}"
        )
    mine = np.flatnonzero(windows.capture == windows.capture_names.index(capture))
    begin, end = windows.t_start[mine], windows.t_stop[mine]
    away = np.maximum(np.maximum(begin - time, time - end), 0.0)
    if not len(mine) or away.min() > (end - begin).max():
        span = f"its windows are from {begin.min():.3f} to {end.max():.3f} s" if len(mine) else "it has none"
        raise UserError(f"--time {time:g}: no window of {capture} is at that time; {span}, by the capture's own clock")
    return mine[away == away.min()]


def shown(entry: Mapping[str, Any], threshold: float | None) -> str:
    """One explanation as text; where the log has labels, they say which ids and frames the attack has."""
    unit = "log-odds" if entry["log_odds"] else "score"
    against = "" if threshold is None else f", {'above' if entry['score'] > threshold else 'not above'} {threshold:.6g}"
    attended = any(x["attention"] is not None for x in [*entry["ids"], *entry["transitions"]])
    attention = f"{'attention':>12}" if attended else ""
    labels = f"{'labelled attack':>18}" if labels_ids(entry) else ""
    lines = [
        f"{entry['capture']}, bus {entry['bus']}, {entry['t_start']:.3f} to {entry['t_end']:.3f} s "
        f"({entry['split']}): score {number(entry['score'], 6)}{against}",
        "",
        *_scale(entry),
        share(len(entry["ids"]), entry["ids_in_window"], "ids of the window"),
        f"{'without the id':<44}{'frames':>8}{'score':>12}{'effect (' + unit + ')':>20}{labels}{attention}",
    ]
    lines += [
        _line(f"{x['id']} {x['name']}", x["frames"], x, f"{attack_share(x):>18}" if labels else "")
        for x in entry["ids"]
    ]
    lines += ["", share(len(entry["transitions"]), entry["transitions_in_window"], "transitions")]
    lines += [f"{'without the transition':<44}{'times':>8}{'score':>12}{'effect (' + unit + ')':>20}{attention}"]
    lines += [_line(f"{x['source']} > {x['target']}", x["count"], x) for x in entry["transitions"]]
    alone, tested = carried_by_none(entry), [entry["fidelity"]] if entry["fidelity"] else []
    lines += ["", *([alone] if alone else []), faithfulness(tested, unit), ""]
    labelled = any(x["attack"] is not None for x in entry["frames"])
    for x in entry["frames"]:
        signals = ", ".join(f"{name} = {value}" for name, value in x["signals"].items())
        label = f"{'attack' if x['attack'] else '':<7}" if labelled else ""
        lines.append(f"{x['t']:>18.6f}  {label}{x['id']:<10} {x['data']:<24} {x['name']} {signals}".rstrip())
    return "\n".join(lines)


def _scale(entry: Mapping[str, Any]) -> list[str]:
    """How to read effects that are in log-odds."""
    return ["an effect of 2.2 log-odds takes a score of 0.9 to 0.5", ""] if entry["log_odds"] else []


def _line(name: str, times: int, x: Mapping[str, Any], label: str = "") -> str:
    attention = "" if x["attention"] is None else f"{x['attention']:>12.3f}"
    return f"{name.rstrip():<44}{times:>8}{number(x['score_without'], 6):>12}{x['effect']:>+20.3f}{label}{attention}"


def _threshold(folder: Path) -> float | None:
    """The run's threshold, where it has been judged already."""
    return read_metrics(folder)["calibration"]["threshold"] if (folder / METRICS).is_file() else None


if __name__ == "__main__":
    sys.exit(run(main))
