"""The page of a hyper-parameter study: what is best, how the search got there, and which settings mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from credit_like.config.files import replacing
from credit_like.evaluation.report.axes import Axis, Mark, Series, chart
from credit_like.evaluation.report.markup import Cell, Html, definitions, details, figure, section, table, tag
from credit_like.evaluation.report.page import page
from credit_like.evaluation.report.words import count, number, percent, plural, seconds

_ANCHORS = {
    "summary": "Summary",
    "history": "History",
    "importance": "What mattered",
    "trials": "Trials",
    "search": "How it was searched",
}


@dataclass(frozen=True)
class TrialFacts:
    """One trial: its number from 1, how it ended (``complete``, ``pruned``, ``fail``, or ``running``), its value (None
    unless complete), what the metric was after each epoch, and the settings that it tried, by dotted name."""

    number: int
    state: str
    value: float | None
    reached: Mapping[int, float]
    seconds: float | None
    values: Mapping[str, Any]
    reason: str = ""

    @property
    def epochs(self) -> int:
        return len(self.reached)


@dataclass(frozen=True)
class StudyFacts:
    """A study in plain data; ``logarithmic`` are the settings that were searched on such a scale."""

    name: str
    metric: str
    direction: Literal["min", "max"]
    trials: Sequence[TrialFacts]
    planned: int
    best: int | None
    logarithmic: frozenset[str]
    importances: Mapping[str, float]
    search: Mapping[str, Any]
    commands: Mapping[str, str]

    def completed(self) -> list[TrialFacts]:
        """Those with a finite value."""
        return [trial for trial in self.trials if trial.value is not None and math.isfinite(trial.value)]


def write_study(path: Path, study: StudyFacts) -> Path:
    """Writes the page of a study, finished or not, to ``path`` and returns it; the file is whole or not there.

    Everything that comes from outside is escaped. Raises UserError when the file cannot be written.
    """
    body = [_summary(study), _history(study), _importance(study), _trials(study), _search(study)]
    with replacing(path) as temporary:
        temporary.write_text(page(f"{study.name}: search", body, _ANCHORS), encoding="utf-8")
    return path


def _summary(study: StudyFacts) -> Html:
    states = [trial.state for trial in study.trials]
    names = {"complete": "completed", "pruned": "pruned", "fail": "failed", "running": "still running"}
    counted = ", ".join(f"{count(states.count(s))} {name}" for s, name in names.items() if s in states)
    lead = f"{plural(len(states), 'trial')} of {count(study.planned)} so far: {counted or 'none'}."
    lead += f" Compared by {study.metric} on validation windows; test windows were not looked at."
    parts = [
        tag("p", "Search for settings", class_="eyebrow"),
        tag("h1", study.name),
        tag("p", lead, class_="lead"),
    ]
    best = next((trial for trial in study.trials if trial.number == study.best), None)
    if best is None or best.value is None:
        parts.append(tag("p", "No trial has completed yet.", class_="panel warn"))
    else:
        said = f"Trial {best.number} is the best: {study.metric} {number(best.value)}."
        parts.append(tag("p", tag("strong", said), class_="panel good"))
        parts.append(definitions({name: _shown(value) for name, value in best.values.items()}))
    warning = (
        "The best of many trials looks a little better on validation than it is. Its figures on test windows, which "
        "training it writes into a report of its own, do not have that flaw."
    )
    parts.append(tag("p", warning, class_="note"))
    parts.append(definitions({name: tag("code", command) for name, command in study.commands.items()}))
    return tag("section", *parts, id="summary", class_="summary", aria_label="Summary")


def _history(study: StudyFacts) -> Html:
    done = study.completed()
    if not done:
        return section("history", "History", tag("p", "No trial has completed yet."))
    at, values = np.array([t.number for t in done], float), np.array([t.value for t in done], float)
    best = np.minimum.accumulate(values) if study.direction == "min" else np.maximum.accumulate(values)
    image = chart(
        f"{study.metric} of each trial, and the best so far",
        Axis("trial", 1, max(2.0, float(len(study.trials))), whole=True),
        _around(study.metric, values),
        [
            Series("best so far", np.append(at, len(study.trials)), np.append(best, best[-1]), "series-0", steps=True),
            Series("completed trial", at, values, "series-1", dots=True),
        ],
    )
    rows = [[str(t.number), _cell(v), _cell(b)] for t, v, b in zip(done, values, best, strict=True)]
    data = table("Value of each completed trial", ["trial", study.metric, "best so far"], rows)
    epochs = sum(trial.epochs for trial in study.trials)
    pruned = sum(trial.state == "pruned" for trial in study.trials)
    caption = f"{study.metric}, {'lower' if study.direction == 'min' else 'higher'} is better. "
    caption += f"{plural(epochs, 'epoch')} were trained in all; {plural(pruned, 'trial')} ended early as hopeless."
    return section(
        "history",
        "History",
        tag("div", figure("Trials", image, caption, data), _curves(study), class_="charts"),
    )


def _curves(study: StudyFacts) -> Html:
    """What the metric was after each epoch, a line a trial."""
    styles = {"complete": ("completed", "series-1"), "pruned": ("pruned", "chance")}
    series, values, longest = [], [], 1
    for trial in study.trials:
        if trial.state in styles and trial.reached:
            epochs = np.array(sorted(trial.reached), float)
            reached = np.array([trial.reached[int(epoch)] for epoch in epochs])
            name, style = styles[trial.state]
            style = "series-0" if trial.number == study.best else style
            series.append(Series("the best" if trial.number == study.best else name, epochs + 1, reached, style))
            values.append(reached)
            longest = max(longest, int(epochs[-1]) + 1)
    series.sort(key=lambda one: one.style == "series-0")
    image = chart(
        f"{study.metric} by epoch, a line a trial",
        Axis("epoch", 1, max(2.0, float(longest)), whole=True),
        _around(study.metric, np.concatenate(values) if values else np.zeros(1)),
        series,
    )
    rows = [
        [str(trial.number), str(epoch + 1), _cell(value)]
        for trial in study.trials
        for epoch, value in sorted(trial.reached.items())
    ]
    data = table("The metric after each epoch", ["trial", "epoch", study.metric], rows)
    return figure("By epoch", image, "Pruned trials end early, so that others can begin.", data)


def _importance(study: StudyFacts) -> Html:
    if not study.importances:
        text = "Not known yet: it takes at least two completed trials with different values."
        return section("importance", "What mattered", tag("p", text))
    rows = [[name, Cell(percent(share), share)] for name, share in study.importances.items()]
    bars = [
        tag(
            "div",
            tag("span", name, class_="name"),
            tag("span", tag("span", style=f"width:{100 * share:.1f}%"), class_="track"),
            tag("span", percent(share), class_="value"),
            class_="share",
        )
        for name, share in study.importances.items()
    ]
    data = table("Share of the differences between trials that a setting explains", ["setting", "share"], rows)
    caption = (
        "Share of the differences between trials that each setting explains (PED-ANOVA, Watanabe et al. 2023). Few "
        "trials make it a guess."
    )
    shares = figure("Importance", tag("div", *bars, class_="shares"), caption, data)
    return section(
        "importance",
        "What mattered",
        tag("div", shares, *(_against(study, name) for name in study.importances), class_="charts"),
    )


def _against(study: StudyFacts, name: str) -> Html:
    """The values of the completed trials against what they gave to one setting."""
    done = [trial for trial in study.completed() if name in trial.values]
    given = [trial.values[name] for trial in done]
    values = np.array([trial.value for trial in done], float)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        x = np.array(given, float)
        log = name in study.logarithmic
        margin = 0 if log else 0.05 * (x.max() - x.min()) or 0.5
        low, high = (x.min() / 1.2, x.max() * 1.2) if log else (x.min() - margin, x.max() + margin)
        whole = all(isinstance(v, int) for v in given)
        axis, caption = Axis(name, float(low), float(high), log=log, whole=whole), "One dot a completed trial."
        if log and math.floor(math.log10(high)) < math.ceil(math.log10(low)):  # no power of ten to mark
            axis = Axis(name, float(low), float(high))
    else:
        choices = sorted({_shown(value) for value in given})
        x = np.array([choices.index(_shown(value)) + 1 for value in given], float)
        axis = Axis(name, 0.5, len(choices) + 0.5, whole=True)
        caption = "One dot a completed trial. " + ", ".join(f"{i + 1}: {choice}" for i, choice in enumerate(choices))
    image = chart(
        f"{study.metric} against {name}",
        axis,
        _around(study.metric, values),
        [Series("completed trial", x, values, "series-1", dots=True)],
        [Mark("best", float(x[i]), float(values[i])) for i, trial in enumerate(done) if trial.number == study.best],
    )
    rows = [[str(trial.number), Cell(_shown(v)), _cell(trial.value)] for trial, v in zip(done, given, strict=True)]
    return figure(name, image, caption, table(f"Trials by {name}", ["trial", name, study.metric], rows))


def _trials(study: StudyFacts) -> Html:
    names = list(dict.fromkeys(name for trial in study.trials for name in trial.values))
    rows = []
    for trial in study.trials:
        last = trial.reached[max(trial.reached)] if trial.reached else None
        value = trial.value if trial.value is not None else last
        rows.append(
            [
                str(trial.number),
                trial.state if not trial.reason else f"{trial.state}: {trial.reason}",
                _cell(value),
                Cell(count(trial.epochs), trial.epochs),
                Cell("\u2013" if trial.seconds is None else seconds(trial.seconds), trial.seconds),
                *(
                    Cell(_shown(v), v) if isinstance(v, float | int) and not isinstance(v, bool) else _shown(v)
                    for v in (trial.values.get(name) for name in names)
                ),
            ]
        )
    note = "The value of a trial that did not complete is that of its last epoch. A trial that failed, or never ended "
    note += "an epoch, has none."
    content = table(
        "Every trial", ["trial", "how it ended", study.metric, "epochs", "time", *names], rows, label="Every trial"
    )
    return section("trials", "Trials", tag("p", note), content)


def _search(study: StudyFacts) -> Html:
    return section("search", "How it was searched", details("Sampler, pruner and limits", definitions(study.search)))


def _around(label: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> Axis:
    """An axis on which most values can be told apart: a few that went astray are put on its end."""
    finite = values[np.isfinite(values)]
    low, high = (float(v) for v in np.quantile(finite, [0.05, 0.95])) if len(finite) else (0.0, 1.0)
    best_low, best_high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    spread = (high - low) or abs(high) * 0.1 or 1.0
    low, high = max(best_low, low - spread), min(best_high, high + spread)
    margin = 0.05 * (high - low) or spread * 0.5
    return Axis(label, low - margin, high + margin)


def _cell(value: float | None) -> Cell:
    return Cell("none" if value is None or not math.isfinite(value) else number(value), value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return number(value) if isinstance(value, float) else "null" if value is None else str(value)
