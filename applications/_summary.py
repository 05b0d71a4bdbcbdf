"""What a verb tells the person at the terminal: the data in a few lines, the result in five."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from applications._data import Data
from credit_like.evaluation import Comparison
from credit_like.evaluation.report.summary import control_verdict
from credit_like.evaluation.report.tables import without_frames
from credit_like.evaluation.report.verdicts import evidence, headline, repetitions, tested, told
from credit_like.evaluation.report.words import plural


def data_summary(data: Data) -> str:
    """Captures, split policy, and the windows of each split by attack family."""
    table = data.store.windows
    frames = sum(len(capture.frames) for capture in data.captures)
    captures = plural(len(data.captures), "capture")
    lines = [f"{captures}, {frames:,} frames -> {len(table):,} windows, split by {data.plan.policy}"]
    width = max(len(split) for split in table.split_names)
    for number, split in enumerate(table.split_names):
        chosen = table[np.flatnonzero(table.split == number)]
        attacks = {
            name: int(((chosen.label == 1) & (chosen.family == index)).sum())
            for index, name in enumerate(table.families)
        }
        kinds = {"benign": int(((chosen.label == 0) & ~chosen.in_interval).sum())}
        kinds |= {name or "attack": count for name, count in attacks.items() if count}
        if silent := int(((chosen.label == 0) & chosen.in_interval).sum()):
            kinds["in an attack without a frame of it"] = silent
        lines.append(f"  {split:<{width}}  " + ", ".join(f"{name} {count:,}" for name, count in kinds.items()))
    lines += [f"note: {note}" for note in data.plan.record.get("notes", [])]
    return "\n".join(lines)


def main_figures(metrics: Mapping[str, Any]) -> str:
    """The five figures that the report opens with, over all test sets."""
    overall = metrics["overall"]
    if overall is None:
        return "there is no test set, so there is nothing to judge the detector by"
    windows, events = overall["windows"], overall["events"]
    figures = {
        "window AUROC": _figure(windows, "auroc", "{:.4f}"),
        "F1, attack class": _figure(windows, "f1", "{:.4f}"),
        "recall": _figure(windows, "recall", "{:.4f}"),
        "false alarms an hour": _figure(windows, "false_alarms_per_hour", "{:.1f}"),
        "attacks found": f"{events['found']} of {events['events']}" if events["events"] else "none to find",
    }
    if metrics.get("raw_weights"):
        figures["AUROC, raw weights"] = _figure(metrics["raw_weights"]["overall"], "auroc", "{:.4f}")
    for name, part in overall["families"].items():
        found = part["events"]
        figures[f"AUROC, {name}"] = (
            f"none: no window holds a frame of it; {found['found']} of {found['events']} attacks found"
            if without_frames(part)
            else _figure(part["windows"], "auroc", "{:.4f}")
        )
    figures |= _best_control(overall["controls"])
    width = max(len(name) for name in figures)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in figures.items())


def _best_control(controls: Mapping[str, Any]) -> dict[str, str]:
    """The AUROC of the best control detector, and whether the model is shown to beat them all, as the report says."""
    known = {name: control for name, control in controls.items() if control["difference"] is not None}
    if not known:
        return {}
    best = max(known, key=lambda name: known[name]["auroc"])
    verdict, _, named = control_verdict(known)
    doubt = "" if named == best else f" Not clearly beaten: {named}, {known[named]['auroc']:.4f}."
    return {"AUROC, best control": f"{known[best]['auroc']:.4f} ({best}). {verdict}{doubt}"}


def comparison_summary(comparison: Comparison) -> str:
    """A table of the runs, who is better than whom, and which runs could not be compared."""
    header = ("run", "window AUROC", "F1", "recall", "false alarms/h", "attacks found")
    rows: list[tuple[str, ...]] = [header]
    for run in comparison.runs:
        windows, events = run.metrics["overall"]["windows"], run.metrics["overall"]["events"]
        figures = [
            _short(windows["auroc"], "{:.4f}"),
            _short(windows["f1"], "{:.4f}"),
            _short(windows["recall"], "{:.4f}"),
            _short(windows["false_alarms_per_hour"], "{:.1f}"),
        ]
        rows.append(
            (run.name, *figures, f"{events['found']} of {events['events']}" if events["events"] else "none to find")
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = textwrap.wrap(tested(comparison), 110)
    for first, *figures in rows:
        cells = [f"{text:>{width}}" for text, width in zip(figures, widths[1:], strict=True)]
        lines.append(f"  {first:<{widths[0]}}  " + "  ".join(cells))
    pairs = told(comparison)
    for pair in pairs:
        lines.append(headline(pair)[0])
        lines += textwrap.wrap(evidence(pair, comparison.coverage), 110, initial_indent="  ", subsequent_indent="  ")
    if len(pairs) < len(comparison.pairs):
        lines.append(f"note: {len(pairs)} of {len(comparison.pairs)} pairs are told; the report's tables hold all")
    for group in comparison.repetitions:
        lines += textwrap.wrap(repetitions(group), 110)
    lines += [f"note: {note}" for note in comparison.notes]
    lines += [f"not compared: {name}: {reason}" for name, reasons in comparison.left_out.items() for reason in reasons]
    return "\n".join(lines)


def _short(value: float | None, form: str) -> str:
    return "undefined" if value is None else form.format(value)


def fusion_figures(fusion: Mapping[str, Any]) -> str:
    """Mean reward, regret and F1 of every way to combine the experts, on the test windows (else on validation)."""
    part = "test" if fusion["test"] else "validation"
    width = max(len(name) for name in fusion[part])
    lines = [
        f"  {part}: mean reward, regret, and F1 above {fusion['threshold']:g}, not above the run's threshold; "
        f"in use: {fusion['rule']}"
    ]
    for name, row in fusion[part].items():
        f1 = "undefined" if row["f1"] is None else f"{row['f1']:.4f}"
        lines.append(f"    {name:<{width}}  {row['reward']:+.4f}  {row['regret']:.4f}  {f1}")
    return "\n".join(lines)


def _figure(figures: Mapping[str, Any], name: str, form: str) -> str:
    value = figures[name]
    return form.format(value) if value is not None else f"undefined: {figures['undefined'][name]}"
