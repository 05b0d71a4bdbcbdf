"""The section on frames: how well the detector tells which ids, and so which frames, were the attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit_like.evaluation.report.markup import Cell, Html, pointer, section, table, tag
from credit_like.evaluation.report.tables import SET_COLUMNS, WINDOW_COLUMNS, count_cell, figure_cell
from credit_like.evaluation.report.words import family, number, set_name

_COLUMNS = WINDOW_COLUMNS | {
    name: SET_COLUMNS[name] for name in ("FPR", "Precision at recall 0.95", "Calibration error")
}


def by_frame(metrics: Mapping[str, Any]) -> Html:
    """Figures of frames by test set and attack family, or why there are none."""
    threshold = metrics["calibration"]["frame_threshold"]
    if threshold is None:
        why = metrics["overall"]["frames"]["undefined"]["auroc"]
        return section("frames", "Results by frame", tag("p", f"Undefined: {why}."))
    text = (
        "Which frames were the attack? Each takes the score of its id in its window: the model's head on that node. "
        f"The threshold, {number(threshold)}, comes from the benign frames of the calibration windows; it promises "
        "nothing, because the frames of an id share a score. A detector that was taught whole windows is not taught "
        "this: the figures say how far its scores point at the guilty ids."
    )
    several, rows = len(metrics["test_sets"]) > 1, []
    for name, part in metrics["test_sets"].items():
        where = [set_name(name)] if several else []
        rows.append(["all", *where, *_figures(part["frames"], pointer("test_sets", name, "frames"))])
        for attack, figures in part["families"].items():
            path = pointer("test_sets", name, "families", attack, "frames")
            rows.append([family(attack), *where, *_figures(figures["frames"], path)])
    columns = ["Attack", *(["Test set"] if several else []), *_COLUMNS, "Attack frames", "Benign frames"]
    shown = table("Figures of frames", columns, rows)
    return section("frames", "Results by frame", tag("p", text), tag("div", shown, class_="dense"))


def _figures(figures: Mapping[str, Any], path: str) -> list[Cell]:
    return [
        *(figure_cell(figures, key, path, write) for key, write in _COLUMNS.values()),
        *(count_cell(figures, key, path) for key in ("attack", "benign")),
    ]
