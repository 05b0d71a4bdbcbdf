"""The section on averaged weights: does the average help? Both kinds side by side, each at its own threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from credit_like.evaluation.report.markup import Cell, Html, join, pointer, section, table, tag
from credit_like.evaluation.report.tables import difference_cells
from credit_like.evaluation.report.words import percent, ratio, set_name

_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "AUROC": ("auroc", ratio),
    "F1": ("f1", ratio),
    "Recall": ("recall", ratio),
    "FPR": ("fpr", percent),
}


def weights(metrics: Mapping[str, Any]) -> Html:
    """The section; nothing where the weights were not averaged."""
    raw: Mapping[str, Any] | None = metrics.get("raw_weights")
    if not raw:
        return join([])
    rows: list[list[object]] = []
    for name, figures in raw.items():
        if name == "overall" and len(metrics["test_sets"]) == 1:
            continue  # the one test set, once more
        averaged, path = _averaged(metrics, name)
        title = {"validation": "validation", "overall": "all test sets"}.get(name) or set_name(name)
        difference, interval = figures["difference"], figures["difference_interval"]
        rows.append([title, "averaged", *_cells(averaged, path), Cell("\u2013"), Cell("\u2013")])
        rows.append(
            [
                title,
                "raw",
                *_cells(figures, pointer("raw_weights", name)),
                *difference_cells(difference, interval, pointer("raw_weights", name, "difference")),
            ]
        )
    columns = ["Windows", "Weights", *_COLUMNS, "Averaged AUROC minus raw", "95 % interval"]
    text = (
        "The detector of this report holds an exponential moving average of the weights. Those that the optimizer "
        "left are judged beside it, at a threshold of their own from the same benign validation windows."
    )
    return section("weights", "Averaged weights", tag("p", text), table("Averaged and raw weights", columns, rows))


def _averaged(metrics: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], str]:
    if name == "validation":
        return metrics["validation"], pointer("validation")
    if name == "overall":
        return metrics["overall"]["windows"], pointer("overall", "windows")
    return metrics["test_sets"][name]["windows"], pointer("test_sets", name, "windows")


def _cells(figures: Mapping[str, Any], path: str) -> list[Cell]:
    cells = []
    for key, write in _COLUMNS.values():
        value = figures[key]
        shown = tag("span", "undefined", class_="none") if value is None else write(value)
        cells.append(Cell(shown, value, f"{path}/{key}" if value is not None else ""))
    return cells
