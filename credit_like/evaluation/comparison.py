"""Finished runs beside each other: differences on the windows that they share, drawn by the same resamples."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from credit_like.evaluation import bootstrap
from credit_like.evaluation._paired import FIGURES, KEY, SharedWindows, windows_under_test
from credit_like.evaluation.scores import Scores
from credit_like.graphs.plan import TRAIN

#: Of these figures less is better, of all others more.
LESS_IS_BETTER = ("fpr", "false_alarms_per_hour")

#: The setting in which repetitions of a run differ.
SEED = "trainer.seed"

#: Resamples for each pair of runs, and how few and many there are: the more pairs, the further out the tails begin.
ROUNDS_A_PAIR, MIN_ROUNDS, MAX_ROUNDS = 1000, 4000, 10_000


@dataclass(frozen=True)
class JudgedRun:
    """What a finished evaluation left: ``metrics.json``, the scores, the certificate and what is wrong with it.

    ``settings`` are what it was configured with (dotted key -> value), without the folders that it was given.
    """

    name: str
    trainer: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    scores: Scores
    certificate: Mapping[str, Any]
    problems: Sequence[str] = ()

    @property
    def threshold(self) -> float:
        """An alarm is a score above it."""
        return float(self.metrics["calibration"]["threshold"])


@dataclass(frozen=True)
class Difference:
    """One figure of two runs on the same windows; ``interval`` is that of ``value``."""

    figure: str
    first: float | None
    second: float | None
    interval: tuple[float, float] | None

    @property
    def value(self) -> float | None:
        """The first's figure minus the second's; None where either is undefined."""
        return None if self.first is None or self.second is None else self.first - self.second

    @property
    def beyond_chance(self) -> bool:
        """Whether the whole interval is on one side of 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def first_is_better(self) -> bool:
        """Whether the difference, by chance or not, speaks for the first."""
        return self.value is not None and self.value != 0 and (self.value > 0) != (self.figure in LESS_IS_BETTER)


@dataclass(frozen=True)
class Part:
    """Two runs on one set of windows: all of them, a test set (``family`` empty) or an attack family of it.

    ``test_set`` is empty for the windows of all test sets together; ``no_interval`` says why there are no intervals.
    """

    test_set: str
    family: str
    differences: Mapping[str, Difference]
    no_interval: str


@dataclass(frozen=True)
class Pair:
    """Two runs, the one with the higher AUROC first, on every set of windows; ``parts[0]`` is on all of them."""

    first: JudgedRun
    second: JudgedRun
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Repetitions:
    """Runs that differ in nothing but their seed: the spread of training, which no interval of one run holds."""

    runs: tuple[JudgedRun, ...]

    def mean_and_std(self, figure: str) -> tuple[float, float] | None:
        """Of a figure of all test windows, one of ``FIGURES``: the mean over seeds and the sample standard deviation
        (n - 1). None where it is undefined in a run."""
        overall = [run.metrics["overall"] for run in self.runs]
        values = [(part["windows"] | part["events"])[figure] for part in overall]
        return None if None in values else (statistics.fmean(values), statistics.stdev(values))


@dataclass(frozen=True)
class Comparison:
    """``runs`` share their test windows and are ranked by AUROC; ``left_out`` are the others, with the reasons.

    ``coverage`` is what each interval holds, so that all statements about one figure hold together with 95 %: with k
    pairs of runs 1 - 0.05 / k (Bonferroni; Dunn, "Multiple Comparisons Among Means", 1961). ``notes`` are differences
    in what the runs were given, which a reader of the figures should know.
    """

    runs: tuple[JudgedRun, ...]
    left_out: Mapping[str, Sequence[str]]
    pairs: tuple[Pair, ...]
    coverage: float
    notes: tuple[str, ...]

    @property
    def repetitions(self) -> tuple[Repetitions, ...]:
        """The groups of two runs or more that differ in their seed only, that with the highest AUROC first."""
        groups: list[list[JudgedRun]] = []
        for run in self.runs:
            same = next((group for group in groups if _but_seed(group[0]) == _but_seed(run)), None)
            if same is None:
                groups.append([run])
            elif all(run.settings.get(SEED) != other.settings.get(SEED) for other in same):
                same.append(run)
        found = [Repetitions(tuple(group)) for group in groups if len(group) > 1]
        return tuple(sorted(found, key=lambda group: -(group.mean_and_std("auroc") or (0.0,))[0]))


def compare(runs: Sequence[JudgedRun], seed: int = 0) -> Comparison:
    """Compare runs on the test windows that they share.

    Runs are comparable when their certificates are valid and they were tested on the same windows of the same logs with
    the same labels; how they were trained may differ. Where several groups of runs are comparable among themselves the
    largest is taken, the one named first among equals; the other runs are named in ``left_out``. With fewer than two
    comparable runs there are no pairs.
    """
    left_out = {run.name: list(run.problems) for run in runs if run.problems}
    groups: list[tuple[pl.DataFrame, list[JudgedRun]]] = []
    for run in runs:
        if run.problems:
            continue
        windows = _test_windows(run)
        if windows.is_empty():
            left_out[run.name] = ["it has no test windows"]
            continue
        same = next((members for known, members in groups if known.equals(windows)), None)
        if same is None:
            groups.append((windows, [run]))
        else:
            same.append(run)
    if not groups:
        return Comparison((), left_out, (), bootstrap.COVERAGE, ())
    windows, chosen = max(groups, key=lambda group: len(group[1]))
    for other, members in groups:
        if members is not chosen:
            left_out |= {run.name: _reasons(chosen[0], windows, run, other) for run in members}
    ranked = tuple(sorted(chosen, key=lambda run: -(run.metrics["overall"]["windows"]["auroc"] or 0.0)))
    pairs = len(ranked) * (len(ranked) - 1) // 2
    coverage = 1 - (1 - bootstrap.COVERAGE) / max(1, pairs)
    rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, ROUNDS_A_PAIR * pairs))
    order = {run.name: position for position, run in enumerate(runs)}
    shown = {name: left_out[name] for name in sorted(left_out, key=order.__getitem__)}
    return Comparison(ranked, shown, tuple(_pairs(ranked, coverage, rounds, seed)), coverage, tuple(_notes(ranked)))


def _but_seed(run: JudgedRun) -> dict[str, Any]:
    """What makes a run what it is, but for chance."""
    return {name: value for name, value in run.settings.items() if name != SEED and not name.startswith("hpo.")}


def _test_windows(run: JudgedRun) -> pl.DataFrame:
    """What the test windows are, whatever the detector says of them, in one order."""
    digest = {file["capture"]: file["sha256"] for file in run.certificate["files"]}
    frame = windows_under_test(run.scores)
    log = pl.Series("log", [digest.get(name, "") for name in frame["capture"]], dtype=pl.String)
    return frame.select(*KEY, "label", "in_interval", "family").with_columns(log)


def _reasons(reference: JudgedRun, windows: pl.DataFrame, run: JudgedRun, other: pl.DataFrame) -> list[str]:
    """Why ``run``, tested on the windows ``other``, cannot be held against ``reference``."""
    logs, others = set(windows["log"]), set(other["log"])
    if not logs & others:
        return [f"it was tested on other logs than {reference.name}"]
    reasons = []
    if logs != others:
        here, there = len(others - logs), len(logs - others)
        reasons.append(f"{here} of its test logs are not among those of {reference.name}, {there} the other way round")
    place = ["log", "bus", "row_start", "row_stop"]
    shared = other.join(windows, on=place, how="semi").height
    if not shared:
        return [*reasons, f"it cut the logs into other windows than {reference.name}, or split them elsewhere"]
    if shared < max(windows.height, other.height):
        reasons.append(
            f"its split is another one (the certificates differ): {shared:,} of its {other.height:,} test windows are "
            f"among the {windows.height:,} of {reference.name}"
        )
    return reasons or [f"its test windows carry other names or labels than those of {reference.name}"]


def _notes(runs: Sequence[JudgedRun]) -> list[str]:
    """What else differs between comparable runs and may explain a difference."""
    notes = []
    trained = [
        sorted(
            (x["capture"], x["row_start"], x["row_stop"]) for x in run.certificate["intervals"] if x["split"] == TRAIN
        )
        for run in runs
    ]
    if any(rows != trained[0] for rows in trained):
        notes.append("The runs were trained on different traffic, so a difference may come from the data as well.")
    rates = [run.metrics["calibration"]["promised_fpr"] for run in runs]
    if max(rates) > 1.05 * min(rates):
        listed = ", ".join(f"{run.name} {rate:.2%}" for run, rate in zip(runs, rates, strict=True))
        notes.append(
            f"The thresholds promise different false-alarm rates ({listed}): attacks found, F1, recall and false "
            "alarms differ for that reason too; AUROC does not depend on a threshold."
        )
    return notes


def _pairs(runs: Sequence[JudgedRun], coverage: float, rounds: int, seed: int) -> Iterator[Pair]:
    """Every two of the runs, on every set of windows."""
    if len(runs) < 2:
        return
    shared = SharedWindows.of([run.metrics for run in runs], [run.scores for run in runs])
    made = []
    for test_set, family, captures in _sets(runs[0].metrics):
        drawn = shared.draw(test_set, family, captures, rounds, seed)
        made.append((test_set, family or "", drawn))
    for i, j in itertools.combinations(range(len(runs)), 2):
        parts = []
        for test_set, family, drawn in made:
            differences = {
                name: Difference(
                    name, drawn.values[i][name], drawn.values[j][name], drawn.interval(name, i, j, coverage)
                )
                for name in FIGURES
            }
            parts.append(Part(test_set, family, differences, drawn.no_interval))
        yield Pair(runs[i], runs[j], tuple(parts))


def _sets(metrics: Mapping[str, Any]) -> list[tuple[str, str | None, Sequence[str]]]:
    """(test set, family, its captures) of every set of windows: all, test sets where there are several, families."""
    found: list[tuple[str, str | None, Sequence[str]]] = [("", None, ())]
    for name, part in metrics["test_sets"].items():
        if len(metrics["test_sets"]) > 1:
            found.append((name, None, ()))
        found += [(name, family, figures["captures"]) for family, figures in part["families"].items()]
    return found
