"""The charts of the report, each with its data as a table: ROC, precision-recall, scores, training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from credit_like.evaluation.metrics import Bools, Floats
from credit_like.evaluation.report.axes import Axis, Mark, Series, chart
from credit_like.evaluation.report.markup import Cell, Html, figure, join, table, tag
from credit_like.evaluation.report.words import count, number, percent, ratio

HISTOGRAM_BINS = 40
#: Rates at which the ROC table is read off, and recalls for the precision-recall table.
_RATES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
#: Training log columns with both a train and a valid value get a chart, the first so many of them.
_TRAINING_CHARTS = 6
#: Scores this many times as high as the threshold ask for a logarithmic axis.
_FAR = 50.0
_TITLES = {
    "dgi_loss": "DGI loss",
    "lr": "Learning rate",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "mcc": "MCC",
    "fpr": "FPR",
}


def roc(attack: Bools, scores: Mapping[str, Floats], operating: tuple[float, float] | None = None) -> Html:
    """Recall against false-positive rate (logarithmic) of the model, the first of ``scores``, and of the others.

    ``operating`` is the model's (false-positive rate, recall) at the threshold in use, marked when it is given. Both
    classes must be present.
    """
    from sklearn.metrics import roc_curve  # takes most of a second to import

    benign = int((~attack).sum())
    low = 10.0 ** -max(2, math.ceil(math.log10(benign)))
    curves = {name: roc_curve(attack, score, drop_intermediate=False)[:2] for name, score in scores.items()}
    chance = np.geomspace(low, 1, 60)
    series = [Series("chance", chance, chance, "chance")]
    for position, (name, (false_rate, recall)) in reversed(list(enumerate(curves.items()))):
        series.append(Series(name, false_rate, recall, f"series-{position}", steps=True))
    image = chart(
        "ROC curve: recall against false-positive rate",
        Axis("false-positive rate (logarithmic)", low, 1, log=True),
        Axis("recall", 0, 1),
        series[::-1],
        [Mark("threshold in use", *operating)] if operating else [],
    )
    rows = []
    for rate in _RATES:
        if rate * benign >= 1:
            reached = [float(recall[false_rate <= rate].max()) for false_rate, recall in curves.values()]
            rows.append([f"{rate:g}", *(Cell(ratio(value), value) for value in reached)])
    data = table("Recall at a false-positive rate of at most", ["rate", *curves], rows)
    caption = (
        "Up and to the left is better. The axis of false alarms is logarithmic, because a detector in use works at its "
        f"left end; {count(benign)} benign windows resolve no rate below {percent(1 / benign)}."
    )
    return figure("ROC curve", image, caption, data)


def precision_recall(attack: Bools, scores: Mapping[str, Floats], operating: tuple[float, float] | None = None) -> Html:
    """Precision against recall; ``operating`` is the model's (recall, precision) at its threshold, marked if given."""
    from sklearn.metrics import precision_recall_curve

    share = float(attack.mean())
    curves = {name: precision_recall_curve(attack, score)[:2] for name, score in scores.items()}
    series = [Series("chance", np.array([0.0, 1.0]), np.array([share, share]), "chance")]
    for position, (name, (precision, recall)) in reversed(list(enumerate(curves.items()))):
        series.append(Series(name, recall[::-1], precision[::-1], f"series-{position}", steps=True))
    marks = [Mark("threshold in use", *operating)] if operating else []
    image = chart("Precision-recall curve", Axis("recall", 0, 1), Axis("precision", 0, 1), series[::-1], marks)
    rows = []
    for wanted in _RECALLS:
        best = [float(precision[recall >= wanted].max()) for precision, recall in curves.values()]
        rows.append([f"{wanted:g}", *(Cell(ratio(value), value) for value in best)])
    data = table("Precision at a recall of at least", ["recall", *curves], rows)
    caption = (
        "Up and to the right is better. Precision depends on how common attacks are: "
        f"{percent(share)} of these windows are attacks, on the road far fewer."
    )
    return figure("Precision and recall", image, caption, data)


def histogram(attack: Bools, score: Floats, threshold: float) -> Html:
    """Share of each class by score, on a logarithmic scale that shows the tails; either class may be missing."""
    axis, clipped = score_axis(score, threshold)
    low, high = axis.low, axis.high
    edges = (np.geomspace if axis.log else np.linspace)(low, high, HISTOGRAM_BINS + 1)
    edges[[0, -1]] = low, high  # which rounding moves
    inside = np.clip(score, low, high)
    counts = {"benign": np.histogram(inside[~attack], edges)[0], "attack": np.histogram(inside[attack], edges)[0]}
    floor = 10.0 ** -math.ceil(math.log10(max(10, max(int(c.sum()) for c in counts.values()))))
    series = []
    for name, found in counts.items():
        if found.sum():
            share = np.append(found / found.sum(), found[-1] / found.sum())
            x, y = np.repeat(edges, 2)[1:-1], np.repeat(share[:-1], 2)
            series.append(Series(f"{name} windows", x, np.maximum(y, floor), name, area=True))
    image = chart(
        "Distribution of scores of benign and of attack windows",
        axis,
        Axis("share of its class (logarithmic)", floor, 1, log=True),
        series,
        [Mark("threshold", threshold, None)],
    )
    rows = [
        [
            f"{number(edges[i])} to {number(edges[i + 1])}",
            *(Cell(count(int(c[i])), float(c[i])) for c in counts.values()),
        ]
        for i in range(HISTOGRAM_BINS)
        if any(c[i] for c in counts.values())
    ]
    data = table("Windows by score; ranges without windows left out", ["score", *counts], rows, sortable=False)
    caption = (
        "Windows to the right of the line are above the threshold. Each class is shown as shares of itself, whatever "
        "its size."
    )
    if clipped:
        caption += " Scores beyond the axis are counted in its last range."
    if axis.log:
        caption += " The axis of scores is logarithmic."
    return figure("Scores", image, caption, data)


def score_axis(score: Floats, threshold: float) -> tuple[Axis, bool]:
    """The axis of scores, and whether some lie beyond it: 0 to 1 for probabilities, else without the most extreme
    thousandth. It is logarithmic where the highest are so far above the threshold that nothing could be told apart
    around it, as with distances from a centre."""
    if len(score) == 0 or (score.min() >= 0 and score.max() <= 1 and 0 <= threshold <= 1):
        return Axis("score", 0.0, 1.0), False
    low, high = (float(value) for value in np.quantile(score, [0.001, 0.999]))
    low, high = min(low, threshold), max(high, threshold)
    log = low > 0 and high > _FAR * threshold
    if log:
        low, high = low / 1.2, high * 1.2
    else:
        margin = 0.02 * (high - low) or 1.0
        low, high = low - margin, high + margin
    return Axis("score", low, high, log=log), bool(score.min() < low or score.max() > high)


def training_curves(log: Path) -> Html:
    """One chart for each quantity of ``training_log.csv`` that has a train or valid column, then the learning rate."""
    frame = pl.read_csv(log, infer_schema=False).cast(pl.Float64, strict=False)
    frame = frame.select(column for column in frame if column.count())  # a column of words has no number in it
    names = [name for name in frame.columns if name != "epoch"]
    bases = list(dict.fromkeys(name.removeprefix("train_").removeprefix("valid_") for name in names if name != "lr"))
    bases.sort(key=lambda base: base != "loss")
    figures: list[Html] = []
    drawn: list[Mapping[str, str]] = []
    for base in [*bases[:_TRAINING_CHARTS], *(["lr"] if "lr" in names else [])]:
        found = (
            {"training": f"train_{base}", "validation": f"valid_{base}"} if base != "lr" else {"learning rate": "lr"}
        )
        found = {label: column for label, column in found.items() if column in names} or {base: base}
        if any(_same(frame, found, other) for other in drawn):
            continue  # the loss is one of its own parts
        drawn.append(found)
        figures.append(_training_chart(frame, base, found))
    return tag("div", *figures, class_="charts") if figures else tag("p", "The training log holds no figures.")


def _same(frame: pl.DataFrame, columns: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return list(columns) == list(other) and all(frame[columns[x]].equals(frame[other[x]]) for x in columns)


def _training_chart(frame: pl.DataFrame, base: str, columns: Mapping[str, str]) -> Html:
    epochs = frame["epoch"].to_numpy() + 1  # the log counts from 0, people and the terminal from 1
    styles = {"training": "series-0", "validation": "series-1"}
    series, values = [], []
    for label, column in columns.items():
        y = frame[column].fill_null(math.nan).to_numpy()
        values.append(y)
        series.append(Series(label, epochs, y, styles.get(label, "series-0")))
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    title = _TITLES.get(base) or base.replace("_", " ").capitalize()
    rows = [
        [str(int(epoch)), *(Cell(number(y[i]) if math.isfinite(y[i]) else "none") for y in values)]
        for i, epoch in enumerate(epochs)
    ]
    data = table(f"{title} by epoch", ["epoch", *columns], rows)
    if len(finite) == 0:
        return figure(title, tag("p", "No finite value."), "", data)
    low, high = float(finite.min()), float(finite.max())
    low = 0.0 if low >= 0 and low < 0.5 * high else low
    margin = 0.04 * (high - low) or max(abs(high), 1e-9) * 0.1
    image = chart(
        f"{title} by epoch",
        Axis("epoch", float(min(epochs.min(), 1.0)), max(float(epochs.max()), 2.0), whole=True),
        Axis("", low if low == 0 else low - margin, high + margin),
        series,
    )
    final = join(
        [f"{label} {number(y[-1])}, " for label, y in zip(columns, values, strict=True) if math.isfinite(y[-1])]
    )
    return figure(title, image, f"Last epoch: {final.removesuffix(', ')}." if final else "", data)
