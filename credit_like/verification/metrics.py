"""``metrics.json`` once more from ``scores.parquet``, figure by figure."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from credit_like.config import UserError
from credit_like.verification.judged import BENIGN, FIGURES, Judged
from credit_like.verification.resampling import Resampling, auroc_rounds, interval

#: The version of ``metrics.json``, and settings, whose meaning is known here; others are not verified.
_VERSION = 4
_SETTINGS = ("target_fpr", "false_alarms_per_hour", "alarm", "bootstrap_rounds", "bootstrap_block", "seed")
#: Columns of scores of other detectors: controls by name, and the raw weights where averaged ones were judged.
_CONTROL, _RAW = "control/", "raw_score"

#: Figures that frames have as windows do, and the counts among them.
_FRAME_COUNTS = ("attack", "benign", "true_positive", "false_positive", "true_negative", "false_negative")
_FRAME_FIGURES = (
    *_FRAME_COUNTS,
    *("precision", "recall", "f1", "mcc", "fpr", "auroc", "auprc", "recall_at_fpr_1e2", "recall_at_fpr_1e3"),
    *("precision_at_recall_95", "calibration_error"),
)
#: One entry an id of the window: its score, and the frames of it that are labelled 1 and 0.
_NODES = ("node_score", "node_attack", "node_benign")

Intervals = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class ScoresTable:
    """``scores.parquet``: its rows, and of each capture the attacks that it says are known."""

    frame: pl.DataFrame
    intervals: Intervals


def read_scores_table(path: Path) -> ScoresTable:
    """Raises UserError where the file is missing, or is no scores table."""
    try:
        frame, metadata = pl.read_parquet(path), pl.read_parquet_metadata(path)
        listed = json.loads(metadata["credit_like.intervals"])
        intervals: dict[str, list[dict[str, Any]]] = {}
        for entry in listed:
            intervals.setdefault(entry["capture"], []).append({x: entry[x] for x in ("family", "start", "stop")})
    except (OSError, pl.exceptions.PolarsError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a scores table ({str(error).splitlines()[0]}); write it anew with `credit-like evaluate`"
        ) from error
    return ScoresTable(frame, intervals)


def recomputed(claimed: Mapping[str, Any], scores: ScoresTable, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``metrics.json`` should hold, given its settings, the scores, and the certificate's ``groups``.

    Sentences are left out of it, as ``without_words`` leaves them out of what is claimed.
    """
    return _Recomputation(claimed["settings"], scores, groups).document(claimed)


def without_words(claimed: Mapping[str, Any]) -> dict[str, Any]:
    """``metrics.json`` with sentences reduced to what they are about: which figures have no value, or no interval."""

    def reduced(part: Any) -> Any:
        if isinstance(part, list):
            return [reduced(entry) for entry in part]
        if not isinstance(part, dict):
            return part
        made = {name: reduced(value) for name, value in part.items() if name != "assumption"}
        if isinstance(part.get("undefined"), dict):
            made["undefined"] = sorted(part["undefined"])
        if "no_interval" in part:
            made["no_interval"] = bool(part["no_interval"])
        return made

    found: dict[str, Any] = reduced(copy.deepcopy(dict(claimed)))
    return found


def has_nodes(frame: pl.DataFrame) -> bool:
    """Whether a scores table has the scores of single ids, by which frames are judged."""
    return all(name in frame.columns for name in _NODES)


def frames_of(frame: pl.DataFrame) -> pl.DataFrame:
    """The labelled frames of the windows, one a row: each has the score of its id, and the family (and the ``block``,
    where there is one) of its window."""
    own = ["family", *(["block"] if "block" in frame.columns else [])]
    nodes = frame.select(*own, *_NODES).explode(list(_NODES))
    kinds = [
        nodes.select(*own, pl.col("node_score").cast(pl.Float64).alias("score"), pl.col(count).alias("count"))
        .select(pl.all().repeat_by("count").list.explode())
        .with_columns(label=pl.lit(label, pl.Int8), in_interval=pl.lit(False))
        for label, count in ((1, "node_attack"), (0, "node_benign"))
    ]
    return pl.concat(kinds).select(*own, "score", "label", "in_interval")


def calibration_captures(benign: pl.DataFrame, groups: Sequence[Iterable[str]]) -> list[str]:
    """Of each group the capture with most of these windows, so that no stretch of a drive counts twice."""
    count = dict(benign.group_by("capture").len().iter_rows())
    best = [max(group, key=lambda name: count.get(name, 0)) for group in groups]
    return sorted(name for name in best if count.get(name, 0))


class _Recomputation:
    def __init__(self, settings: Mapping[str, Any], scores: ScoresTable, groups: Sequence[Mapping[str, Any]]) -> None:
        self.settings = {name: settings[name] for name in _SETTINGS if name in settings}
        self.groups = [{m["capture"]: m["offset"] for m in group["captures"]} for group in groups]
        self.intervals = scores.intervals
        self.resampling = Resampling(
            settings["bootstrap_rounds"], settings["bootstrap_block"], settings["seed"], self.groups
        )
        validation = scores.frame.filter(pl.col("split") == "validation")
        self.captures = calibration_captures(validation.filter(BENIGN), self.groups)
        self.calibration = validation.filter(BENIGN & pl.col("capture").is_in(self.captures))
        self.hours = Judged(self.calibration, 0.0).hours
        self.rate = settings["target_fpr"]
        if settings["false_alarms_per_hour"] is not None:
            self.rate = settings["false_alarms_per_hour"] * self.hours / self.calibration.height
        self.exceeding = max(1, math.floor((self.calibration.height + 1) * Fraction(repr(float(self.rate)))))
        self.threshold = self._threshold("score")
        self.frame_threshold = self._frame_threshold()
        rule = settings.get("alarm", {"k": 1, "n": 1})
        self.frame = _with_alarms(scores.frame, self.threshold, rule["k"], rule["n"])

    def document(self, claimed: Mapping[str, Any]) -> dict[str, Any]:
        splits = sorted(x for x in set(self.frame["split"]) if x == "test" or x.startswith("test/"))
        tests = {name: self._judged(pl.col("split") == name) for name in splits}
        everything = self._judged(pl.col("split") != "validation")
        document = {
            "schema_version": _VERSION,
            "settings": self.settings,
            "calibration_captures": self.captures,
            "groups": self.groups,
            "calibration": self._calibration() | {"frame_threshold": self.frame_threshold},
            "validation": self._windows(self._judged(pl.col("split") == "validation")),
            "overall": self._test_set(everything) if tests else None,
            "test_sets": {name: self._test_set(x) for name, x in tests.items()},
            "events": [{"test_set": name, **event} for name, x in tests.items() for event in self._events(x)],
        }
        if _RAW in self.frame.columns:
            parts = {"validation": self._judged(pl.col("split") == "validation"), **tests}
            parts |= {"overall": everything} if tests else {}
            document["raw_weights"] = {name: self._controls(x, [_RAW])[_RAW] for name, x in parts.items()}
        elif "raw_weights" in claimed:
            document["raw_weights"] = None
        return document

    def _judged(self, rows: pl.Expr) -> Judged:
        return Judged(self.frame.filter(rows), self.threshold)

    def _threshold(self, column: str) -> float:
        """The score that ``exceeding`` benign validation windows reach: the m-th largest of n, m = (n + 1) * rate."""
        return sorted(self.calibration[column], reverse=True)[self.exceeding - 1]

    def _calibration(self) -> dict[str, Any]:
        n = self.calibration.height
        per_hour = n / self.hours if self.hours else 0.0
        promised = self.exceeding / (n + 1)
        return {
            "threshold": self.threshold,
            "target": "target_fpr" if self.settings["false_alarms_per_hour"] is None else "false_alarms_per_hour",
            "requested_fpr": self.rate,
            "requested_per_hour": self.rate * per_hour,
            "promised_fpr": promised,
            "promised_per_hour": promised * per_hour,
            "promised": promised <= self.rate,
            "windows": n,
            "hours": self.hours,
            "captures": sorted(set(self.calibration["capture"])),
        }

    def _windows(self, x: Judged) -> dict[str, Any]:
        figures: dict[str, Any] = {name: figure(x) for name, figure in FIGURES.items()}
        intervals = self.resampling.intervals(x)
        undefined = sorted(name for name, value in figures.items() if value is None)
        blocks = {"blocks": self.resampling.blocks(x)}
        return {
            **figures,
            **blocks,
            "undefined": undefined,
            "intervals": intervals or {},
            "no_interval": intervals is None,
        }

    def _frame_threshold(self) -> float | None:
        """The score that so many of the calibration windows' benign frames exceed as windows do."""
        if not has_nodes(self.calibration):
            return None
        scores = sorted(frames_of(self.calibration).filter(BENIGN)["score"], reverse=True)
        return float(scores[max(1, math.floor((len(scores) + 1) * Fraction(repr(float(self.rate))))) - 1])

    def _frames(self, rows: pl.DataFrame, family: str | None = None) -> dict[str, Any]:
        """Figures of frames: attack frames of the windows (of a family) against all benign ones."""
        if self.frame_threshold is None:
            figures: dict[str, Any] = {name: 0 if name in _FRAME_COUNTS else None for name in _FRAME_FIGURES}
            undefined = sorted(set(_FRAME_FIGURES) - set(_FRAME_COUNTS))
            none = {"frames": 0, "left_out": 0, "blocks": 0, "intervals": {}, "no_interval": True}
            return figures | none | {"undefined": undefined}
        counted = rows.filter((pl.col("label") != 0) | ~pl.col("in_interval"))
        block = self.resampling.numbered(counted, rows["capture"])
        counted = counted.with_columns(block=pl.Series(block, dtype=pl.Int64))
        frames = frames_of(counted)
        if family is not None:
            frames = frames.filter((pl.col("label") == 0) | (pl.col("family") == family))
        x = Judged(frames, self.frame_threshold)
        figures = {name: FIGURES[name](x) for name in _FRAME_FIGURES}
        undefined = sorted(name for name, value in figures.items() if value is None)
        left_out = frames_of(rows).height - frames_of(counted).height
        blocks, intervals = self.resampling.of_frames(x, block)
        figures |= {"frames": len(x.attack), "left_out": left_out, "undefined": undefined, "blocks": blocks}
        return figures | {"intervals": intervals or {}, "no_interval": intervals is None}

    def _test_set(self, x: Judged) -> dict[str, Any]:
        events = list(self._events(x))
        attacks = x.frame.filter(pl.col("label") == 1)
        families = sorted(set(attacks["family"]) | {event["family"] for event in events})
        return {
            "captures": sorted(set(x.frame["capture"])),
            "windows": self._windows(x),
            "events": _event_figures(events),
            "families": {name: self._family(x, name, events) for name in families},
            "frames": self._frames(x.frame),
            "controls": {
                name.removeprefix(_CONTROL): figures
                for name, figures in self._controls(x, [c for c in x.frame.columns if c.startswith(_CONTROL)]).items()
            },
            "oracle": _oracle(x),
        }

    def _family(self, x: Judged, family: str, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Its attack windows against what is no attack in the captures that hold it."""
        mine = [event for event in events if event["family"] == family]
        attack = (pl.col("label") == 1) & (pl.col("family") == family)
        captures = sorted(set(x.frame.filter(attack)["capture"]) | {event["capture"] for event in mine})
        windows = x.where(pl.col("capture").is_in(captures) & (attack | (pl.col("label") != 1)))
        frames = self._frames(x.frame.filter(pl.col("capture").is_in(captures)), family)
        return {
            "captures": captures,
            "windows": self._windows(windows),
            "events": _event_figures(mine),
            "frames": frames,
        }

    def _controls(self, x: Judged, columns: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Other detectors' scores on the same windows, each at a threshold set in the same way, by their columns."""
        drawn = self.resampling.draws(x) if columns else None
        own = None if drawn is None else auroc_rounds(x.attack, x.score, *drawn)
        found = {}
        for column in columns:
            control = Judged(x.frame.with_columns(score=pl.col(column)), self._threshold(column))
            figures = {name: FIGURES[name](control) for name in ("auroc", "f1", "recall", "fpr")}
            auroc, difference, limits = FIGURES["auroc"](x), None, None
            if auroc is not None and figures["auroc"] is not None:
                difference = auroc - figures["auroc"]
                if drawn is not None and own is not None:
                    rounds = auroc_rounds(x.attack, control.score, *drawn)
                    limits = interval(own - rounds, self.resampling.blocks(x))
            found[column] = {
                "threshold": control.threshold,
                **figures,
                "difference": difference,
                "difference_interval": limits,
                "undefined": sorted(name for name, value in figures.items() if value is None),
            }
        return found

    def _events(self, x: Judged) -> list[dict[str, Any]]:
        """Every attack interval that a window of the set overlaps, by capture and start."""
        found = []
        for capture in sorted(set(x.frame["capture"])):
            windows = x.frame.filter(pl.col("capture") == capture)
            for attack in sorted(self.intervals.get(capture, ()), key=lambda a: (a["start"], a["stop"], a["family"])):
                seen = windows.filter((pl.col("t_start") <= attack["stop"]) & (pl.col("t_end") >= attack["start"]))
                if not seen.height:
                    continue
                begin = max(attack["start"], min(seen["t_start"]))
                alarms = seen.filter(pl.col("alarm"))["t_end"]
                found.append(
                    {
                        "capture": capture,
                        **attack,
                        "observed_from": begin,
                        "windows": seen.height,
                        "found": len(alarms) > 0,
                        "time_to_alarm": min(alarms) - begin if len(alarms) else None,
                    }
                )
        return found


def _event_figures(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    delays = [event["time_to_alarm"] for event in events if event["found"]]
    quantiles = {"median": 0.5, "p90": 0.9, "max": 1.0}
    figures = {
        f"time_to_alarm_{name}": float(np.quantile(delays, q)) if delays else None for name, q in quantiles.items()
    }
    figures["share_found"] = len(delays) / len(events) if events else None
    undefined = sorted(name for name, value in figures.items() if value is None)
    return {"events": len(events), "found": len(delays), **figures, "undefined": undefined}


def _oracle(x: Judged) -> dict[str, Any]:
    """The threshold that would have been best for F1 on these very windows: the highest of equally good ones."""
    if not x.attack.any():
        return dict.fromkeys(("threshold", "precision", "recall", "f1"))
    tp, fp = x.curve
    attacks = x.attack.sum()
    f1 = 2 * tp / (tp + fp + attacks)
    best = int(f1.argmax())
    return {
        "threshold": math.nextafter(float(np.unique(x.score)[::-1][best]), -math.inf),
        "precision": float(tp[best] / (tp[best] + fp[best])),
        "recall": float(tp[best] / attacks),
        "f1": float(f1[best]),
    }


def _with_alarms(frame: pl.DataFrame, threshold: float, k: int, n: int) -> pl.DataFrame:
    """A window alarms when it and at least k of the last n that follow one another, itself among them, are above."""
    alarm = [False] * frame.height
    for _, part in frame.with_row_index("row").sort("row_start").group_by("split", "capture", "bus"):
        recent: list[bool] = []
        reached = length = 0
        for row, start, stop, score in part.select("row", "row_start", "row_stop", "score").iter_rows():
            if recent and start - reached >= length:
                recent = []
            recent = [*recent, score > threshold][-n:]
            alarm[row] = recent[-1] and sum(recent) >= k
            reached, length = stop, stop - start
    return frame.with_columns(alarm=pl.Series(alarm, dtype=pl.Boolean))
