"""Several detectors on one set of windows: their figures, and the same resamples of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval
from credit_like.evaluation import bootstrap
from credit_like.evaluation.alarms import AlarmRule
from credit_like.evaluation.events import alarm_begins, overlaps
from credit_like.evaluation.figures import Bools, Floats, Ints, WindowSet, window_set
from credit_like.evaluation.metrics import confusion, decision_figures, ranking_figures
from credit_like.evaluation.scores import Scores

#: What is compared.
FIGURES = ("auroc", "share_found", "f1", "recall", "fpr", "false_alarms_per_hour")
#: What names a window among those of a scores table, and orders them.
KEY = ("split", "capture", "bus", "row_start", "row_stop")


def windows_under_test(scores: Scores) -> pl.DataFrame:
    """The test windows of a scores table in the order of ``KEY``."""
    return scores.frame.filter(pl.col("split").is_in(scores.test_sets)).sort(KEY)


@dataclass(frozen=True)
class Drawn:
    """The figures of k detectors on one set of windows: ``values[i]`` by name, ``samples[i]`` float64[rounds] by name.

    ``blocks`` is how many blocks hold the rarer class. Where ``no_interval`` says why, there are no samples.
    """

    values: list[dict[str, float | None]]
    samples: list[dict[str, Floats]]
    blocks: int
    no_interval: str

    def interval(self, name: str, first: int, second: int, coverage: float) -> tuple[float, float] | None:
        """Interval of the first's figure minus the second's; None where either is undefined, or most samples are.

        It is widened for few blocks: percentile intervals of 24 blocks told detectors of equal skill apart in 7.8 % of
        400 simulations, where 5 % are allowed.
        """
        if self.no_interval or None in (self.values[first][name], self.values[second][name]):
            return None
        wider = bootstrap.expanded_coverage(coverage, self.blocks)
        return bootstrap.percentile_interval(self.samples[first][name] - self.samples[second][name], wider)


@dataclass(frozen=True, eq=False)
class SharedWindows:
    """The n test windows that k detectors share, with m attacks on them.

    ``score`` float64[k, n]; ``above`` bool[k, n] which are above the run's threshold, ``alarm`` bool[k, n] which alarm;
    ``split`` names the test set of each window. Of each attack: ``event_window`` int64[m] the first window that
    sees it, ``event_family``, and ``found`` bool[k, m]. ``block_seconds`` are seconds of bus time drawn together.
    """

    windows: WindowSet
    score: Floats
    above: Bools
    alarm: Bools
    split: NDArray[np.str_]
    event_window: Ints
    event_family: NDArray[np.str_]
    found: Bools
    block_seconds: float

    @classmethod
    def of(cls, metrics: Sequence[Mapping[str, Any]], scores: Sequence[Scores]) -> SharedWindows:
        """From the metrics and scores of k runs with the same test windows; an attack that one lacks is left out."""
        frames = [windows_under_test(one) for one in scores]
        windows = window_set(frames[0], metrics[0]["groups"])
        split = np.array(frames[0]["split"].to_list(), np.str_)
        score = np.stack([frame["score"].to_numpy() for frame in frames])
        listed = [{_place(event): bool(event["found"]) for event in one["events"]} for one in metrics]
        above = score > np.array([[one["calibration"]["threshold"]] for one in metrics])
        places = [place for place in listed[0] if all(place in known for known in listed)]
        return cls(
            windows=windows,
            score=score,
            above=above,
            alarm=np.stack(
                [
                    AlarmRule.of(one).alarms(mine, windows.stream, windows.row_start, windows.row_stop)
                    for one, mine in zip(metrics, score, strict=True)
                ]
            ),
            split=split,
            event_window=np.array([_first_window(windows, split, place) for place in places], np.int64),
            event_family=np.array([place[2] for place in places], np.str_),
            found=np.array([[known[place] for place in places] for known in listed], np.bool_),
            block_seconds=max(one["settings"]["bootstrap_block"] for one in metrics),
        )

    def draw(self, test_set: str, family: str | None, captures: Sequence[str], rounds: int, seed: int) -> Drawn:
        """Figures and resamples of all detectors on a test set (all of them, if empty), or on a family of it.

        A family's attack windows are held against the benign windows of ``captures``, as in ``metrics.json``.
        """
        windows = self.windows
        kept = np.ones(len(windows), np.bool_) if not test_set else self.split == test_set
        events = kept[self.event_window]
        if family is not None:
            held = np.isin(windows.capture, [windows.capture_names.index(name) for name in captures])
            kept &= held & ((windows.attack & (windows.family == family)) | (windows.label != 1))
            events &= self.event_family == family
        used = kept.copy()
        used[self.event_window[events]] = True  # an attack may begin in a window that is left out, or another's
        block = np.zeros(len(windows), np.int64)
        block[used] = bootstrap.time_blocks(windows.group[used], windows.clock[used], self.block_seconds)
        counted = kept & (windows.attack | windows.benign)
        no_interval = bootstrap.too_few_blocks(windows.attack[counted], block[counted])
        weights = bootstrap.resamples(int(block.max()) + 1, rounds, seed)
        attack, mine, hours = windows.attack[counted], windows[kept], windows.seconds(kept & windows.benign) / 3600
        values, samples = [], []
        for score, above, alarm, found in zip(self.score, self.above, self.alarm, self.found, strict=True):
            begins = alarm_begins(mine.benign & alarm[kept], mine.stream, mine.row_start, mine.row_stop)
            figures, _ = decision_figures(confusion(attack, above[counted]))
            ranking, _ = ranking_figures(attack, score[counted])
            values.append(
                {name: (figures | ranking).get(name) for name in FIGURES}
                | {
                    "share_found": float(found[events].mean()) if events.any() else None,
                    "false_alarms_per_hour": int(begins.sum()) / hours if hours else None,
                }
            )
            if no_interval:
                continue
            drawn = bootstrap.decision_samples(weights, attack, above[counted], block[counted])
            drawn["auroc"] = bootstrap.auroc_samples(weights, attack, score[counted], block[counted])
            event_block = block[self.event_window[events]]
            drawn["share_found"] = _ratio(weights, event_block[found[events]], event_block)
            alarms = _ratio(weights, block[kept][begins], block[kept][mine.benign])  # a benign window
            drawn["false_alarms_per_hour"] = alarms * mine.benign.sum() / hours
            samples.append(drawn)
        return Drawn(values, samples, bootstrap.blocks_of_both(attack, block[counted]), no_interval)


def _ratio(weights: Floats, marked: Ints, all_of_them: Ints) -> Floats:
    """float64[rounds]: marked things over all things, each given by its block; NaN where a round drew none."""
    blocks = weights.shape[1]
    with np.errstate(invalid="ignore"):
        return (weights @ np.bincount(marked, minlength=blocks)) / (
            weights @ np.bincount(all_of_them, minlength=blocks)
        )


def _place(event: Mapping[str, Any]) -> tuple[str, str, str, float, float]:
    """What names an attack among those of ``metrics.json``."""
    return event["test_set"], event["capture"], event["family"], event["start"], event["stop"]


def _first_window(windows: WindowSet, split: NDArray[np.str_], place: tuple[str, str, str, float, float]) -> int:
    """The first window of the test set that overlaps the attack; ``metrics.json`` lists no attack without one."""
    test_set, capture, family, start, stop = place
    here = (split == test_set) & (windows.capture == windows.capture_names.index(capture))
    seen = here & overlaps(AttackInterval(family, start, stop), windows.t_start, windows.t_end)
    rows = np.flatnonzero(seen)
    return int(rows[np.argmin(windows.t_start[rows])])
