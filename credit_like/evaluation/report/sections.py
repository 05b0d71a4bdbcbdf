"""The sections below the first screen, in the order in which a sceptical reader asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from credit_like.evaluation.alarms import AlarmRule
from credit_like.evaluation.controls import CONTROLS
from credit_like.evaluation.events import overlaps
from credit_like.evaluation.figures import window_set
from credit_like.evaluation.fusion import EXPERTS
from credit_like.evaluation.report import charts, tables, timeline
from credit_like.evaluation.report.markup import Html, definitions, details, join, section, tag
from credit_like.evaluation.report.words import family, listing, plural, seconds, set_name
from credit_like.evaluation.scores import CONTROL_PREFIX, Scores

#: Below so many stretches of time an interval is rough, however it is widened.
FEW_BLOCKS = 20

#: Captures whose course in time is drawn: those with missed attacks and false alarms first.
TIMELINES = 24


def results(metrics: Mapping[str, Any]) -> Html:
    """Tables by attack family and by test set, and the oracle's bound."""
    oracle, overall = metrics["overall"]["oracle"], metrics["overall"]["windows"]
    rows = "A row counts an attack's windows against the benign windows of the captures that hold it. "
    notes = [
        (rows if metrics["overall"]["families"] else "")
        + "Intervals are 95 % block-bootstrap intervals"
        + (
            f"; there are none here: {overall['no_interval']}."
            if overall["no_interval"]
            else f" from {plural(overall['blocks'], 'stretch', 'stretches')} of time"
            + (", few: they are widened for that, and rough." if overall["blocks"] < FEW_BLOCKS else ".")
        )
    ]
    silent = [family(name) for name, part in metrics["overall"]["families"].items() if tables.without_frames(part)]
    if silent:
        notes.append(
            f"No window holds a frame of {listing(silent)}, which keeps frames from the bus or has none that are "
            "labelled: it counts in attacks found and in the time to alarm, and has no figure of windows."
        )
    if overall["left_out"]:
        notes.append(
            f"{plural(overall['left_out'], 'window')} without an attack frame overlap an attack (a silenced id, say) "
            "and are left out of window figures and of false alarms; the attacks themselves count as found or missed."
        )
    if oracle["f1"] is not None:
        notes.append(
            f"Oracle, to compare with: a threshold chosen on these very windows would reach F1 {oracle['f1']:.3f}."
        )
    return section(
        "attacks",
        "Results by attack",
        tables.family_table(metrics),
        tag("p", " ".join(notes), class_="note"),
        tag("h3", "By test set"),
        tables.test_set_table(metrics),
    )


def controls(metrics: Mapping[str, Any]) -> Html:
    """What simple means reach on the same windows."""
    text = (
        "Does the graph earn its place? Each control is fitted on the training windows only and its threshold is set "
        "on the same benign validation windows as the model's."
    )
    if metrics.get("fusion"):
        text += (
            " The two experts are among them; other ways to combine these, a logistic regression and a small neural "
            "network among them, are in the table of the fusion."
        )
    return section("controls", "Controls", tag("p", text), tables.control_table(metrics))


def curves(metrics: Mapping[str, Any], scores: Scores) -> Html:
    """ROC, precision-recall, distribution of scores and confusion matrix of all test windows."""
    rows = scores.frame.filter(pl.col("split").is_in(scores.test_sets))
    windows = window_set(rows, ())
    counted = windows.attack | windows.benign
    attack, threshold = windows.attack[counted], metrics["calibration"]["threshold"]
    figures = metrics["overall"]["windows"]
    named = {"this model": windows.score[counted]}
    named |= {x: rows[CONTROL_PREFIX + x].to_numpy()[counted] for x in EXPERTS | CONTROLS if x in scores.controls}
    parts: list[Html] = []
    note = Html("")
    if figures["auroc"] is not None:
        parts.append(charts.roc(attack, named, (figures["fpr"], figures["recall"])))
        reached = None if figures["precision"] is None else (figures["recall"], figures["precision"])
        parts.append(charts.precision_recall(attack, named, reached))
    else:
        note = tag("p", f"ROC and precision-recall are undefined: {figures['undefined']['auroc']}.")
    parts.append(charts.histogram(attack, named["this model"], threshold))
    matrix = [tables.confusion_table(figures, metrics["settings"]), tables.meanings(figures, metrics["settings"])]
    parts.append(tag("div", tag("h3", "Confusion matrix"), *matrix, class_="boxed"))
    return section("curves", "Curves and scores", note, tag("div", *parts, class_="charts"))


def course(metrics: Mapping[str, Any], scores: Scores) -> Html:
    """The timeline of each test capture and the list of attacks."""
    rule, drawn = AlarmRule.of(metrics), []
    for name in scores.test_sets:
        rows = scores.frame.filter(pl.col("split") == name)
        for capture in rows["capture"].unique().sort().to_list():
            windows = window_set(rows.filter(pl.col("capture") == capture), (), rule)
            events = [x for x in metrics["events"] if x["test_set"] == name and x["capture"] == capture]
            missed = sum(not event["found"] for event in events)
            false = int(np.count_nonzero(windows.benign & windows.alarm))
            found = f"{len(events) - missed} of {plural(len(events), 'attack')} found" if events else "no attack"
            words = f"{found}, {plural(false, 'false-alarm window')} in {seconds(windows.seconds(windows.benign))}"
            title = capture if len(scores.test_sets) == 1 else f"{capture} ({set_name(name)})"
            seen = [
                x for x in scores.intervals.get(capture, ()) if overlaps(x, windows.t_start, windows.t_end).any()
            ]  # of a drive that was divided in time, others lie in another part
            drawn.append((missed, false, title, words, windows, seen))
    order = sorted(range(len(drawn)), key=lambda i: (-drawn[i][0], -drawn[i][1], i))
    chosen = sorted(order[:TIMELINES])
    scores_shown = scores.frame.filter(pl.col("split").is_in(scores.test_sets))["score"].to_numpy()
    axis, _ = charts.score_axis(scores_shown, rule.threshold)
    strips = [timeline.strip(*drawn[i][2:5], rule.threshold, axis, drawn[i][5]) for i in chosen]
    note = "Time is in seconds from the first test window of each capture."
    if axis.log:
        note += " The scores are on a logarithmic scale."
    if rule.n > 1:
        note += f" An alarm needs {rule.k} of the last {rule.n} windows above the threshold."
    if len(drawn) > TIMELINES:
        note += f" {TIMELINES} of {len(drawn)} captures are shown: those with the most missed attacks and false alarms."
    return section(
        "alarms",
        "Alarms in time",
        tag("p", note),
        timeline.stack(strips),
        details("All attacks, found and missed", tables.event_table(metrics["events"])),
    )


def training(log: Path | None) -> Html:
    """Training curves, or that there is no log."""
    if log is None:
        return section("training", "Training", tag("p", "No training log was given."))
    return section("training", "Training", charts.training_curves(log))


def setting(config_text: str, environment: Mapping[str, Any], throughput: Mapping[str, Any]) -> Html:
    """Configuration, environment and throughput, so that the run can be repeated."""
    return join(
        [
            section("configuration", "Configuration", tag("pre", tag("code", config_text), tabindex="0")),
            section(
                "environment",
                "Environment and throughput",
                tag("h3", "Environment"),
                definitions(environment) if environment else tag("p", "Not recorded."),
                tag("h3", "Throughput"),
                definitions(throughput) if throughput else tag("p", "Not recorded."),
            ),
        ]
    )
