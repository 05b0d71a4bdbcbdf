"""A set of windows as numpy columns, and all figures that one set gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval
from credit_like.evaluation import bootstrap
from credit_like.evaluation.alarms import AlarmRule
from credit_like.evaluation.document import EventFigures, WindowFigures
from credit_like.evaluation.events import Event, alarm_runs, covered_seconds, match_events
from credit_like.evaluation.metrics import calibration_error, confusion, decision_figures, ranking_figures

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowSet:
    """n windows as columns: what the metrics need of the scores table.

    ``capture`` int64[n] is an index into ``capture_names``, ``stream`` int64[n] numbers (split, capture, bus),
    ``group`` int64[n] what shares recorded traffic, ``clock`` float64[n] is the start on the clock that a group shares
    (s), ``family`` an array of n strings, ``alarm`` bool[n] which windows alarm (in a part of a set: which did in the
    whole of it); the rest is as in the scores table.
    """

    capture: Ints
    stream: Ints
    group: Ints
    clock: Floats
    family: NDArray[np.str_]
    label: NDArray[np.int8]
    in_interval: Bools
    row_start: Ints
    row_stop: Ints
    t_start: Floats
    t_end: Floats
    score: Floats
    alarm: Bools
    capture_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, mask: Bools) -> WindowSet:
        columns = {x.name: getattr(self, x.name)[mask] for x in fields(self) if x.name != "capture_names"}
        return replace(self, **columns)

    @property
    def attack(self) -> Bools:
        """bool[n]: windows with an attack frame."""
        return self.label == 1

    @property
    def benign(self) -> Bools:
        """bool[n]: windows without attack frame, outside every attack interval; only they can alarm falsely."""
        return (self.label == 0) & ~self.in_interval

    def seconds(self, mask: Bools) -> float:
        """Bus time that the windows of ``mask`` cover, over all captures."""
        return sum(
            covered_seconds(self.t_start[mask & (self.capture == number)], self.t_end[mask & (self.capture == number)])
            for number in np.unique(self.capture[mask])
        )


def window_set(frame: pl.DataFrame, groups: Sequence[Mapping[str, float]], rule: AlarmRule | None = None) -> WindowSet:
    """The rows of a scores table as columns; without a ``rule`` no window alarms."""
    names = tuple(frame["capture"].unique().sort().to_list())
    known = bootstrap.shared_clocks(names, groups)
    clocks = [known[name] for name in frame["capture"]]
    index = {name: number for number, name in enumerate(names)}
    stream = frame.select(pl.struct("split", "capture", "bus").rank("dense").cast(pl.Int64)).to_series().to_numpy()
    score, row_start, row_stop = (frame[name].to_numpy() for name in ("score", "row_start", "row_stop"))
    return WindowSet(
        capture=np.array([index[name] for name in frame["capture"]], np.int64),
        stream=stream,
        group=np.array([group for group, _ in clocks], np.int64),
        clock=frame["t_start"].to_numpy() + np.array([offset for _, offset in clocks], np.float64),
        family=np.array(frame["family"].to_list(), np.str_),
        label=frame["label"].to_numpy(),
        in_interval=frame["in_interval"].to_numpy(),
        row_start=row_start,
        row_stop=row_stop,
        t_start=frame["t_start"].to_numpy(),
        t_end=frame["t_end"].to_numpy(),
        score=score,
        alarm=rule.alarms(score, stream, row_start, row_stop) if rule else np.zeros(len(score), np.bool_),
        capture_names=names,
    )


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn: ``rounds`` resamples of blocks of ``seconds`` of bus time, from ``seed``."""

    rounds: int
    seconds: float
    seed: int

    def blocks(self, windows: WindowSet) -> Ints:
        """int64[n]: the block of each window."""
        return bootstrap.time_blocks(windows.group, windows.clock, self.seconds)

    def weights(self, block: Ints) -> Floats:
        """float64[rounds, blocks]: how often each block is drawn in each round."""
        return bootstrap.resamples(int(block.max()) + 1, self.rounds, self.seed)

    def draw(self, windows: WindowSet) -> tuple[Ints, Floats] | str:
        """(block of each window, weights [rounds, blocks]), or why these windows give no interval."""
        if len(windows) == 0:
            return "no window"
        block = self.blocks(windows)
        return bootstrap.too_few_blocks(windows.attack, block) or (block, self.weights(block))


def window_figures(windows: WindowSet, threshold: float, draws: Bootstrap) -> WindowFigures:
    """All window metrics of a set, with intervals where blocks suffice.

    Decisions are about single windows, ``score > threshold``; runs of false alarms are those of ``windows.alarm``.

    Windows that overlap an attack interval without holding an attack frame, and windows without label, are counted and
    otherwise left out.
    """
    benign = windows.benign
    counted = windows[windows.attack | benign]
    counts = confusion(counted.attack, counted.score > threshold)
    figures, undefined = decision_figures(counts)
    ranking, ranking_undefined = ranking_figures(counted.attack, counted.score)
    error, error_reason = calibration_error(counted.attack, counted.score)
    if error is None:
        undefined["calibration_error"] = error_reason
    hours = windows.seconds(benign) / 3600
    per_hour: dict[str, float | None] = {"false_alarms_per_hour": None, "false_alarm_windows_per_hour": None}
    if hours > 0:
        runs = alarm_runs(benign & windows.alarm, windows.stream, windows.row_start, windows.row_stop)
        per_hour["false_alarms_per_hour"] = runs / hours
        per_hour["false_alarm_windows_per_hour"] = counts.false_positive / hours
    else:
        undefined |= dict.fromkeys(per_hour, "no benign bus time")
    intervals, no_interval = _intervals(counted, threshold, draws)
    return WindowFigures(
        windows=len(counted),
        attack=int(counted.attack.sum()),
        benign=int(benign.sum()),
        left_out=int(((windows.label == 0) & windows.in_interval).sum()),
        unlabelled=int((windows.label == -1).sum()),
        benign_hours=hours,
        **asdict(counts),
        **figures,
        **per_hour,
        **ranking,
        calibration_error=error,
        undefined=undefined | ranking_undefined,
        blocks=bootstrap.blocks_of_both(counted.attack, draws.blocks(counted)),
        intervals=intervals,
        no_interval=no_interval,
    )


def _intervals(counted: WindowSet, threshold: float, draws: Bootstrap) -> tuple[dict[str, tuple[float, float]], str]:
    drawn = draws.draw(counted)
    if isinstance(drawn, str):
        return {}, drawn
    block, weights = drawn
    samples = bootstrap.decision_samples(weights, counted.attack, counted.score > threshold, block)
    samples["auroc"] = bootstrap.auroc_samples(weights, counted.attack, counted.score, block)
    return bootstrap.intervals(samples, bootstrap.blocks_of_both(counted.attack, block)), ""


def capture_events(windows: WindowSet, intervals: Mapping[str, Sequence[AttackInterval]]) -> list[tuple[str, Event]]:
    """(capture, event) for every interval that the set's windows could see, in order of capture and start."""
    found = []
    for number in np.unique(windows.capture):
        mine = windows[windows.capture == number]
        name = windows.capture_names[number]
        known = sorted(intervals.get(name, ()), key=lambda x: (x.start, x.stop, x.family))
        events = match_events(known, mine.t_start, mine.t_end, mine.alarm)
        found += [(name, event) for event in events]
    return found


def event_figures(events: Sequence[Event]) -> EventFigures:
    """How many of the events were found, and how fast (seconds; the quantiles are linear between order statistics)."""
    delays = np.array([event.time_to_alarm for event in events if event.time_to_alarm is not None])
    times = ("time_to_alarm_median", "time_to_alarm_p90", "time_to_alarm_max")
    undefined: dict[str, str] = {}
    if not events:
        undefined["share_found"] = "no attack interval"
    if len(delays) == 0:
        undefined |= dict.fromkeys(times, "no event found" if events else "no attack interval")
    values = np.quantile(delays, [0.5, 0.9, 1.0]).tolist() if len(delays) else [None] * 3
    return EventFigures(
        events=len(events),
        found=len(delays),
        share_found=len(delays) / len(events) if events else None,
        **dict(zip(times, values, strict=True)),
        undefined=undefined,
    )
