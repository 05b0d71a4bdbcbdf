"""From a scores table to ``metrics.json``: calibrate on benign validation windows, then judge the test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from credit_like.config import Settings, UserError
from credit_like.evaluation import bootstrap
from credit_like.evaluation.alarms import AlarmRule, AlarmSettings
from credit_like.evaluation.document import (
    SCHEMA_VERSION,
    Calibration,
    ControlFigures,
    EventRow,
    FamilyFigures,
    Metrics,
    Oracle,
    TestSet,
)
from credit_like.evaluation.figures import (
    Bools,
    Bootstrap,
    WindowSet,
    capture_events,
    event_figures,
    window_figures,
    window_set,
)
from credit_like.evaluation.frames import benign_frame_scores, frame_figures
from credit_like.evaluation.metrics import best_f1, confusion, decision_figures, ranking_figures
from credit_like.evaluation.scores import CONTROL_PREFIX, RAW_SCORE, Scores, has_nodes
from credit_like.evaluation.thresholds import ASSUMPTION, Threshold, conformal_threshold
from credit_like.graphs.plan import VALIDATION, SplitPlan


class EvaluationSettings(Settings):
    """How a detector is judged. The threshold comes from benign validation windows, never from a test set."""

    target_fpr: float = Field(
        0.01, gt=0, lt=1, description="false-alarm rate a benign window that the threshold has to promise"
    )
    false_alarms_per_hour: float | None = Field(
        None, gt=0, description="the same as alarming benign windows an hour; when given, it replaces target_fpr"
    )
    alarm: AlarmSettings = AlarmSettings()
    bootstrap_rounds: int = Field(1000, ge=100, description="resamples behind each 95 % interval")
    bootstrap_block: float = Field(
        5.0, gt=0, description="seconds of bus time drawn together; above what one manoeuvre or attack burst lasts"
    )
    seed: int = Field(0, ge=0, description="seed of the resamples")


def traffic_groups(plan: SplitPlan) -> list[dict[str, float]]:
    """The captures of each group that shares traffic, with the seconds by which a clock is behind the group's."""
    return [{x["capture"]: x["offset"] for x in group["captures"]} for group in plan.record["groups"]]


def evaluate(
    scores: Scores,
    settings: EvaluationSettings,
    calibration_captures: Sequence[str] | None = None,
    groups: Sequence[Mapping[str, float]] = (),
) -> dict[str, Any]:
    """All figures of a run, as plain JSON data in the form of ``credit_like.evaluation.document.Metrics``.

    ``calibration_captures`` limits calibration to these captures. Captures that share recorded traffic would count the
    same stretch of a drive several times and promise more than n windows can: pass one of each group. ``groups`` are
    the captures that share traffic and their clocks (``traffic_groups``): the bootstrap draws the copies of a stretch
    of traffic together.

    Raises UserError where no benign validation window is left to calibrate on, where a calibration capture is not in
    the table, or where more false alarms an hour are asked for than there are windows.
    """
    frame = scores.frame
    validation = frame.filter(pl.col("split") == VALIDATION)
    used = _calibration_rows(validation, calibration_captures)
    draws = Bootstrap(settings.bootstrap_rounds, settings.bootstrap_block, settings.seed)
    benign = window_set(validation.filter(used), groups)
    hours = benign.seconds(np.ones(len(benign), np.bool_)) / 3600
    rate = _requested_rate(settings, len(benign), hours)
    threshold = conformal_threshold(benign.score, rate)
    control_thresholds = {
        name: conformal_threshold(validation.filter(used)[CONTROL_PREFIX + name].to_numpy(), rate).value
        for name in scores.controls
    }
    frame_threshold = _frame_threshold(validation.filter(used), rate)
    rule = AlarmRule(threshold.value, settings.alarm.k, settings.alarm.n)
    events: list[EventRow] = []
    test_sets: dict[str, TestSet] = {}
    for name in scores.test_sets:
        rows = frame.filter(pl.col("split") == name)
        test_sets[name] = _test_set(rows, scores, rule, frame_threshold, control_thresholds, draws, groups)
        events += _event_rows(name, window_set(rows, groups, rule), scores)
    overall = None
    if len(test_sets) == 1:
        overall = next(iter(test_sets.values()))
    elif test_sets:
        rows = frame.filter(pl.col("split") != VALIDATION)
        overall = _test_set(rows, scores, rule, frame_threshold, control_thresholds, draws, groups)
    return Metrics(
        schema_version=SCHEMA_VERSION,
        settings=settings.model_dump(mode="json"),
        calibration_captures=None if calibration_captures is None else sorted(calibration_captures),
        groups=[dict(group) for group in groups],
        calibration=_calibration(settings, threshold, frame_threshold, benign, hours),
        validation=window_figures(window_set(validation, groups, rule), rule.threshold, draws),
        overall=overall,
        test_sets=test_sets,
        events=events,
        raw_weights=_raw_weights(scores, validation.filter(used), rate, draws, groups) if scores.has_raw else None,
    ).model_dump(mode="json")


def _calibration_rows(validation: pl.DataFrame, captures: Sequence[str] | None) -> pl.Series:
    """bool[n]: the benign validation windows of ``captures``."""
    chosen = (validation["label"] == 0) & ~validation["in_interval"]
    if captures is not None:
        unknown = sorted(set(captures) - set(validation["capture"]))
        if unknown:
            raise UserError(
                f"calibration captures must have validation windows; these have none: {', '.join(unknown)}. "
                f"Captures with validation windows: {', '.join(sorted(set(validation['capture']))) or 'none'}."
            )
        chosen &= validation["capture"].is_in(list(captures))
    if not chosen.any():
        raise UserError(
            "the threshold is calibrated on benign validation windows and there is none. Give the data set attack-free "
            "traffic (labelled 0, outside every attack interval) or a larger share for validation."
        )
    return chosen


def _requested_rate(settings: EvaluationSettings, windows: int, hours: float) -> float:
    """The false-alarm rate a benign window that the settings ask for."""
    if settings.false_alarms_per_hour is None:
        return settings.target_fpr
    rate = settings.false_alarms_per_hour * hours / windows
    if not 0 < rate < 1:
        raise UserError(
            f"evaluation.false_alarms_per_hour must be above 0 and below the {windows / hours if hours else 0:.0f} "
            f"windows that an hour of this bus has; got {settings.false_alarms_per_hour:g}."
        )
    return rate


def _frame_threshold(benign: pl.DataFrame, rate: float) -> float | None:
    """What at most ``rate`` of the benign frames of the calibration windows exceed; None where ids have no score."""
    if not has_nodes(benign):
        return None
    return conformal_threshold(benign_frame_scores(benign), rate).value


def _calibration(
    settings: EvaluationSettings, threshold: Threshold, frame_threshold: float | None, benign: WindowSet, hours: float
) -> Calibration:
    per_hour = len(benign) / hours if hours > 0 else 0.0
    return Calibration(
        threshold=threshold.value,
        target="target_fpr" if settings.false_alarms_per_hour is None else "false_alarms_per_hour",
        requested_fpr=threshold.requested,
        requested_per_hour=threshold.requested * per_hour,
        promised_fpr=threshold.rate,
        promised_per_hour=threshold.rate * per_hour,
        promised=threshold.promised,
        frame_threshold=frame_threshold,
        windows=threshold.windows,
        hours=hours,
        captures=[benign.capture_names[number] for number in np.unique(benign.capture)],
        assumption=ASSUMPTION,
    )


def _test_set(
    rows: pl.DataFrame,
    scores: Scores,
    rule: AlarmRule,
    frame_threshold: float | None,
    control_thresholds: dict[str, float],
    draws: Bootstrap,
    groups: Sequence[Mapping[str, float]],
) -> TestSet:
    windows, threshold = window_set(rows, groups, rule), rule.threshold
    events = capture_events(windows, scores.intervals)
    in_family = {name: windows.attack & (windows.family == name) for name in np.unique(windows.family[windows.attack])}
    for family in {event.interval.family for _, event in events}:
        in_family.setdefault(family, np.zeros(len(windows), np.bool_))
    families = {}
    for family, attack in sorted(in_family.items()):
        mine = [(capture, event) for capture, event in events if event.interval.family == family]
        holders = {windows.capture_names[x] for x in np.unique(windows.capture[attack])} | {x for x, _ in mine}
        held = np.isin(windows.capture, [windows.capture_names.index(name) for name in holders])
        families[family] = FamilyFigures(
            captures=sorted(holders),
            windows=window_figures(windows[held & (attack | (windows.label != 1))], threshold, draws),
            frames=frame_figures(
                rows.filter(pl.col("capture").is_in(sorted(holders))), frame_threshold, draws, groups, family
            ),
            events=event_figures([event for _, event in mine]),
        )
    best = best_f1(windows.attack[windows.attack | windows.benign], windows.score[windows.attack | windows.benign])
    return TestSet(
        captures=list(windows.capture_names),
        windows=window_figures(windows, threshold, draws),
        frames=frame_figures(rows, frame_threshold, draws, groups),
        events=event_figures([event for _, event in events]),
        families=families,
        controls={
            name: _control(windows, rows[CONTROL_PREFIX + name].to_numpy(), value, draws)
            for name, value in control_thresholds.items()
        },
        oracle=Oracle(**dict(zip(("threshold", "precision", "recall", "f1"), best or (None,) * 4, strict=True))),
    )


def _control(windows: WindowSet, score: np.ndarray, threshold: float, draws: Bootstrap) -> ControlFigures:
    """The control beside the model on the same windows; both are weighed by the same resamples."""
    counted: Bools = windows.attack | windows.benign
    mine, score = windows[counted], score[counted]
    figures, undefined = decision_figures(confusion(mine.attack, score > threshold))
    ranking, ranking_undefined = ranking_figures(mine.attack, score)
    model, _ = ranking_figures(mine.attack, mine.score)
    difference, interval = None, None
    if model["auroc"] is not None and ranking["auroc"] is not None:
        difference = model["auroc"] - ranking["auroc"]
        drawn = draws.draw(mine)
        if not isinstance(drawn, str):
            block, weights = drawn
            own, other = (bootstrap.auroc_samples(weights, mine.attack, x, block) for x in (mine.score, score))
            blocks = bootstrap.blocks_of_both(mine.attack, block)
            interval = bootstrap.intervals({"auroc": own - other}, blocks).get("auroc")
    kept = ("auroc", "f1", "recall", "fpr")
    return ControlFigures(
        threshold=threshold,
        **{name: (figures | ranking)[name] for name in kept},
        difference=difference,
        difference_interval=interval,
        undefined={name: why for name, why in (undefined | ranking_undefined).items() if name in kept},
    )


def _raw_weights(
    scores: Scores, calibration: pl.DataFrame, rate: float, draws: Bootstrap, groups: Sequence[Mapping[str, float]]
) -> dict[str, ControlFigures]:
    """The raw weights beside the averaged ones, on validation, each test set and all of these."""
    threshold = conformal_threshold(calibration[RAW_SCORE].to_numpy(), rate).value
    parts = {name: pl.col("split") == name for name in (VALIDATION, *scores.test_sets)}
    if scores.test_sets:
        parts["overall"] = pl.col("split") != VALIDATION
    rows = {name: scores.frame.filter(part) for name, part in parts.items()}
    return {
        name: _control(window_set(part, groups), part[RAW_SCORE].to_numpy(), threshold, draws)
        for name, part in rows.items()
    }


def _event_rows(name: str, windows: WindowSet, scores: Scores) -> list[EventRow]:
    return [
        EventRow(
            test_set=name,
            capture=capture,
            family=event.interval.family,
            start=event.interval.start,
            stop=event.interval.stop,
            observed_from=event.observed_from,
            windows=event.windows,
            found=event.found,
            time_to_alarm=event.time_to_alarm,
        )
        for capture, event in capture_events(windows, scores.intervals)
    ]
