"""The section on false alarms: did the test traffic keep to what the threshold promises, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from credit_like.evaluation import bootstrap
from credit_like.evaluation.figures import Bools, Bootstrap, WindowSet, window_set
from credit_like.evaluation.metrics import ranking_figures
from credit_like.evaluation.report.axes import Axis, Mark, Series, chart
from credit_like.evaluation.report.markup import Cell, Html, breakable, details, figure, section, table, tag
from credit_like.evaluation.report.words import THIN, TOO_LITTLE, count, listing, percent, plural, seconds, set_name
from credit_like.evaluation.scores import Scores
from credit_like.graphs.plan import VALIDATION

#: About so many slices of a drive's time.
_SLICES = 24
#: So many drives are drawn.
_DRIVES = 6
#: One calibration in twenty lets through more than the rate that is named.
_UNLUCKY = 0.95


def promise(metrics: Mapping[str, Any], scores: Scores) -> Html:
    """The section; it says so where the test sets hold no benign window."""
    calibration, overall = metrics["calibration"], metrics["overall"]["windows"]
    if overall["fpr"] is None:
        return section("promise", "False alarms and the promise", tag("p", "The test sets hold no benign window."))
    benign = (pl.col("label") == 0) & ~pl.col("in_interval")
    known = (pl.col("split") == VALIDATION) & pl.col("capture").is_in(calibration["captures"])
    frame = scores.frame.filter(benign & (known | pl.col("split").is_in(scores.test_sets)))
    windows, test = window_set(frame, metrics["groups"]), (frame["split"] != VALIDATION).to_numpy()
    above = windows.score > calibration["threshold"]
    settings = metrics["settings"]
    draws = Bootstrap(settings["bootstrap_rounds"], settings["bootstrap_block"], settings["seed"])
    block = draws.blocks(windows)
    held, hit = (len(np.unique(block[mask])) for mask in (test, test & above))
    parts: list[Html] = [
        tag(
            "p",
            f"Promised: at most {percent(calibration['promised_fpr'])} of benign windows are above the threshold. On "
            f"the test traffic it was {percent(overall['fpr'])}, {count(overall['false_positive'])} of "
            f"{plural(overall['benign'], 'window')}, in {hit} of {plural(held, 'stretch', 'stretches')} of time. "
            + _kept(calibration["promised_fpr"], overall),
        ),
        tag("h3", "What a difference can come from"),
        tag("ul", tag("li", _luck(calibration, overall["fpr"])), tag("li", _alike(windows, test, block, draws))),
    ]
    if overall["fpr"] > calibration["promised_fpr"]:
        parts.append(tag("p", _REMEDY))
    divided = sorted(set(windows.group[~test]) & set(windows.group[test]))
    if divided:
        parts += _along(windows, test, above, calibration["promised_fpr"], divided)
    parts.append(details("False alarms by capture", _by_capture(frame, above)))
    return section("promise", "False alarms and the promise", *parts)


_REMEDY = (
    "To be safer: calibrate on more traffic, and on the kinds of driving that the detector will meet (a larger "
    "data.split.validation); or ask for less than you can bear (evaluation.target_fpr)."
)


def _kept(promised: float, overall: Mapping[str, Any]) -> str:
    interval = overall["intervals"].get("fpr")
    if overall["fpr"] <= promised:
        return "The promise was kept."
    if interval is None:
        return f"That is more; {TOO_LITTLE}."
    between = f"the 95{THIN}% interval, {percent(interval[0])} to {percent(interval[1])}"
    if interval[0] > promised:
        return f"That is more, beyond chance: {between}, lies above the promise."
    return f"That is more, but within chance: {between}, holds the promise."


def _luck(calibration: Mapping[str, Any], measured: float) -> str:
    """What an unlucky threshold lets through: with m of n windows at or above it, Beta(m, n + 1 - m) is the law of its
    rate (Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, proposition 2a)."""
    from scipy import stats  # takes most of a second to import

    n = calibration["windows"]
    m = round(calibration["promised_fpr"] * (n + 1))
    unlucky = float(stats.beta.ppf(_UNLUCKY, m, n + 1 - m))
    return (
        f"Luck in calibrating. The promise holds on average; one threshold in twenty that is set on so few as "
        f"{plural(n, 'window')} lets through more than {percent(unlucky)}, on traffic just like it. "
        f"The rate measured is {'no more than' if measured <= unlucky else 'above'} that."
    )


def _alike(windows: WindowSet, test: Bools, block: np.ndarray, draws: Bootstrap) -> str:
    """Whether normal traffic scores higher on test than where the threshold was set: AUROC of the one against the
    other, with its block-bootstrap interval."""
    higher = ranking_figures(test, windows.score)[0]["auroc"]
    if higher is None:
        return "Other traffic. There is nothing to compare."
    said = (
        f"Other traffic. A benign test window scores higher than a benign calibration window in {percent(higher)} of "
        f"pairs; it would be 50{THIN}% if both were alike. "
    )
    if bootstrap.too_few_blocks(test, block):
        return said + "There is too little traffic to say whether by chance."
    samples = bootstrap.auroc_samples(draws.weights(block), test, windows.score, block)
    interval = bootstrap.intervals({"auroc": samples}, bootstrap.blocks_of_both(test, block)).get("auroc")
    if interval is None:
        return said + "There is too little traffic to say whether by chance."
    between = f"(95{THIN}% interval {percent(interval[0])} to {percent(interval[1])})"
    if interval[0] > 0.5:
        return (
            said + f"That is beyond chance {between}: normal traffic has changed since, and the promise is not for it."
        )
    if interval[1] < 0.5:
        return said + f"It scores lower, beyond chance {between}: traffic differs, though not for the worse."
    return said + f"That is within chance {between}."


def _along(windows: WindowSet, test: Bools, above: Bools, promised: float, divided: Sequence[int]) -> Iterator[Html]:
    """A chart for each of the drives ``divided`` (numbers of groups), the first so many: those with the most windows
    above the threshold, then the longest."""
    by_size = sorted(
        divided,
        key=lambda group: (-int((above & (windows.group == group)).sum()), -int((windows.group == group).sum())),
    )
    chosen = [group for group in divided if group in by_size[:_DRIVES]]
    yield tag("h3", "Along the drive" if len(divided) == 1 else "Along each drive")
    if len(divided) > 1:
        text = f"These {len(divided)} drives share no traffic, so each is shown by itself. "
        if len(chosen) < len(divided):
            text = (
                f"The {len(divided)} drives that were divided in time share no traffic, so each is shown by itself: "
                f"{len(chosen)} of them, those with the most windows above the threshold. "
            )
        yield tag("p", text)
    drawn = [_over_time(windows, test, above, promised, windows.group == group) for group in chosen]
    yield tag("div", *drawn, class_="charts")


def _over_time(windows: WindowSet, test: Bools, above: Bools, promised: float, drive: Bools) -> Html:
    """Share of benign windows above the threshold along one drive (bool[n]) that holds both calibration and test."""
    captures = [windows.capture_names[number] for number in np.unique(windows.capture[drive])]
    begin, end = float(windows.clock[drive].min()), float(windows.clock[drive].max())
    step = Axis("", 0.0, max(end - begin, 1e-9)).step(_SLICES)
    slot = np.floor((windows.clock - begin) / step).astype(np.int64)
    runs: list[tuple[str, str, list[float], list[float]]] = []
    rows, top = [], promised
    for name, style, part in (("test", "series-0", drive & test), ("calibration", "series-1", drive & ~test)):
        last = None
        for which in np.unique(slot[part]):
            mine = part & (slot == which)
            share, start = float(above[mine].mean()), which * step
            if last is None or which != last + 1:  # in between nothing was measured, so nothing is drawn
                runs.append((name, style, [], []))
            runs[-1][2].extend((start, start + step))
            runs[-1][3].extend((share, share))
            top, last = max(top, share), which
            shown = [Cell(count(int(mine.sum()))), Cell(count(int(above[mine].sum()))), Cell(percent(share), share)]
            rows.append([f"{start:.4g} to {start + step:.4g}", name, *shown])
    image = chart(
        f"Benign windows above the threshold along {listing(captures)}",
        Axis("seconds from the first window shown", 0.0, (int(slot[drive].max()) + 1) * step),
        Axis("share above the threshold", -0.04 * top, 1.1 * top),
        [Series(f"{name} windows", np.array(x), np.array(y), style) for name, style, x, y in runs],
        [Mark("promised", None, promised)],
    )
    columns = ["Seconds", "Part", "Benign windows", "Above the threshold", "Share"]
    data = table("Benign windows above the threshold by time", columns, rows, sortable=False)
    caption = f"In slices of {seconds(step)}, of which each holds few windows."
    if len(captures) > 1:
        caption += " These captures share recorded traffic; what lies at one moment of it is counted together."
    return figure(listing(captures), image, caption, data)


def _by_capture(frame: pl.DataFrame, above: Bools) -> Html:
    rows = []
    for (split, capture), part in frame.with_columns(above=pl.Series(above)).group_by("split", "capture"):
        share = float(part["above"].mean() or 0.0)  # type: ignore[arg-type]
        name = "calibration" if split == VALIDATION else set_name(str(split))
        shown = [Cell(count(part.height)), Cell(count(int(part["above"].sum()))), Cell(percent(share), share)]
        rows.append((name, str(capture), shown))
    rows.sort(key=lambda row: row[:2])
    columns = ["Capture", "Part", "Benign windows", "Above the threshold", "Share"]
    cells = [[tag("span", breakable(capture), class_="wide"), name, *shown] for name, capture, shown in rows]
    return table("Benign windows above the threshold by capture", columns, cells)
