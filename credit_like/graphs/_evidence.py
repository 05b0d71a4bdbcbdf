"""What is measured for a certificate: the rows that windows use, the traffic that splits share, fits done again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.graphs._runs import RUN_LENGTH, runs_of
from credit_like.graphs.groups import Groups
from credit_like.graphs.plan import FUSION, TEST, TRAIN, SplitPlan, is_test
from credit_like.graphs.store import GraphStore
from credit_like.graphs.windows import WindowTable

#: Plain data of one ``RowInterval`` of the certificate.
Interval = dict[str, Any]

#: The gap, in seconds, between splits of a group whose captures have no common clock (JSON has no infinity).
NO_CLOCK = -1e9


def role(split: str) -> str:
    """Test sets are one role: between them nothing can leak that a trainer could see."""
    return TEST if is_test(split) else split


def used_intervals(captures: Sequence[Capture], plan: SplitPlan, windows: WindowTable) -> tuple[list[Interval], int]:
    """Rows that the windows really use: an interval for each segment of the plan, and how many windows lie outside it.

    A window that lies in no segment of its own split is an interval of its own.
    """
    split_number = {name: number for number, name in enumerate(windows.split_names)}
    intervals: list[Interval] = []
    outside = 0
    for number, capture in enumerate(captures):
        rows = np.flatnonzero(windows.capture == number)
        start, stop, split = windows.row_start[rows], windows.row_stop[rows], windows.split[rows]
        segments = sorted((s for s in plan.segments if s.capture == capture.name), key=lambda s: s.row_start)
        bounds = np.array([(s.row_start, s.row_stop, split_number.get(s.split, -1)) for s in segments], np.int64)
        bounds = np.concatenate([[[0, 0, -1]], bounds.reshape(-1, 3)])  # first, a place for what precedes them all
        place = np.searchsorted(bounds[1:, 0], start, side="right")
        inside = (stop <= bounds[place, 1]) & (split == bounds[place, 2])
        outside += int((~inside).sum())
        place[~inside] = len(bounds) + np.arange((~inside).sum())
        places, first, count = np.unique(place, return_index=True, return_counts=True)
        lowest, highest = np.full(len(places), np.iinfo(np.int64).max), np.zeros(len(places), np.int64)
        position = np.searchsorted(places, place)
        np.minimum.at(lowest, position, start)
        np.maximum.at(highest, position, stop)
        intervals += [
            {
                "capture": capture.name,
                "split": windows.split_names[split[of]],
                "row_start": int(low),
                "row_stop": int(high),
                "t_start": float(capture.frames.t[low]),
                "t_stop": float(capture.frames.t[high - 1]),
                "windows": int(n),
            }
            for of, low, high, n in zip(first, lowest, highest, count, strict=True)
        ]
    return intervals, outside


def overlapping_rows(intervals: Sequence[Mapping[str, Any]]) -> int:
    """Rows of a capture that lie in intervals of two splits, counted once for each two intervals."""
    total = 0
    capture, reached = None, dict[str, int]()
    for interval in sorted(intervals, key=lambda x: (x["capture"], x["row_start"])):
        if interval["capture"] != capture:
            capture, reached = interval["capture"], {}
        for split, row in reached.items():
            if split != interval["split"]:
                total += max(0, min(row, interval["row_stop"]) - interval["row_start"])
        reached[interval["split"]] = max(interval["row_stop"], reached.get(interval["split"], 0))
    return total


def smallest_gap(groups: Sequence[Mapping[str, Any]], intervals: Sequence[Mapping[str, Any]]) -> float | None:
    """Least drive time in seconds between two roles of one group, below 0 where they overlap; None where none meet.

    What the captures' clocks may err by is taken off. In a group without a common clock the gap is ``NO_CLOCK``.
    """
    members = {
        member["capture"]: (number, member) for number, group in enumerate(groups) for member in group["captures"]
    }
    spans: dict[int, list[tuple[float, float, str]]] = {}
    for interval in intervals:
        number, member = members[interval["capture"]]
        start = interval["t_start"] + member["offset"] - member["spread"]
        stop = interval["t_stop"] + member["offset"] + member["spread"]
        spans.setdefault(number, []).append((start, stop, role(interval["split"])))
    gaps = []
    for number, of_group in spans.items():
        reached: dict[str, float] = {}
        for start, stop, name in sorted(of_group):
            others = [end for other, end in reached.items() if other != name]
            gaps += [start - end if groups[number]["aligned"] else NO_CLOCK for end in others]
            reached[name] = max(stop, reached.get(name, stop))
    return min(gaps, default=None)


def run_overlap(
    captures: Sequence[Capture], groups: Groups, intervals: Sequence[Interval], embargo: float
) -> dict[str, Any]:
    """Plain data of ``RunOverlap``: runs of each split that occur in what is learnt from, and how many do by chance.

    Learnt from is training, and before validation and test the fusion split, where there is one.
    Chance is measured within training: what the later half of each group's training time repeats of the earlier
    halves, an embargo apart.
    """
    by_capture = {capture.name: run for capture, run in zip(captures, runs_of(captures), strict=True)}
    runs = [by_capture[x["capture"]].inside(x["row_start"], x["row_stop"]) for x in intervals]
    trained, fused = (
        _distinct([run.hash for run, x in zip(runs, intervals, strict=True) if x["split"] == split])
        for split in (TRAIN, FUSION)
    )
    found: dict[str, dict[str, list[NDArray[np.bool_]]]] = {}
    for interval, run in zip(intervals, runs, strict=True):
        if interval["split"] != TRAIN:
            of_split = found.setdefault(interval["split"], {})
            repeated = _among(run.hash, trained)
            if interval["split"] != FUSION:
                repeated |= _among(run.hash, fused)
            of_split.setdefault(interval["capture"], []).append(repeated)
    splits = {
        split: {
            "runs": sum(len(part) for parts in of_split.values() for part in parts),
            "in_train": _share([part for parts in of_split.values() for part in parts]),
            "by_capture": {capture: _share(parts) for capture, parts in of_split.items()},
        }
        for split, of_split in found.items()
    }

    times = {capture.name: capture.frames.t for capture in captures}
    early, late = [], []
    for group in groups:
        if group.aligned:  # without a common clock no half is earlier
            offsets = {member.capture: member.offset for member in group.members}
            own = [
                (run.hash, times[x["capture"]][run.first] + offsets[x["capture"]])
                for run, x in zip(runs, intervals, strict=True)
                if x["split"] == TRAIN and x["capture"] in offsets
            ]
            middle = np.median(np.concatenate([clock for _, clock in own])) if any(len(h) for h, _ in own) else 0.0
            early += [hashes[clock < middle - embargo / 2] for hashes, clock in own]
            late += [hashes[clock >= middle + embargo / 2] for hashes, clock in own]
    earlier = _distinct(early)
    chance = _share([_among(hashes, earlier) for hashes in late])
    return {"run_length": RUN_LENGTH, "chance": chance, "splits": splits}


def fit_again(
    fitted: Any,
    refit: Callable[[NDArray[np.int64]], Any],
    candidates: Mapping[str, NDArray[np.int64]],
) -> dict[str, Any]:
    """Plain data of ``Fit``: ``fitted`` beside what ``refit`` gives on the first candidate windows with its digest.

    Where none has its digest, the last candidate's stands there, and the two differ.
    """
    digest = fitted.digest()
    record: dict[str, Any] = {}
    for name, indices in candidates.items():
        record = {
            "digest": digest,
            "refit_digest": refit(indices).digest(),
            "fitted_on": name,
            "windows": len(indices),
            "indices_sha256": hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest(),
        }
        if record["refit_digest"] == digest:
            break
    return record


def training_windows(store: GraphStore) -> dict[str, NDArray[np.int64]]:
    """The sets of training windows that a scaler may be fitted on, by name."""
    return {
        "benign training windows outside attack intervals": store.select(TRAIN, 0, without_interval_overlap=True),
        "benign training windows": store.select(TRAIN, 0),
    }


def count_windows(captures: Sequence[Capture], windows: WindowTable) -> dict[str, Any]:
    """Plain data of ``Counts`` for every split."""
    without_attack = windows.label != 1
    overlapping: dict[str, NDArray[np.bool_]] = {}
    for number, capture in enumerate(captures):
        own = (windows.capture == number) & without_attack & windows.in_interval
        for interval in capture.intervals if own.any() else ():
            inside = own & (windows.t_start <= interval.stop) & (windows.t_stop >= interval.start)
            overlapping[interval.family] = overlapping.get(interval.family, False) | inside
    counts = {}
    for number, split in enumerate(windows.split_names):
        own = windows.split == number
        families = np.bincount(windows.family[own & (windows.label == 1)], minlength=len(windows.families))
        counts[split] = {
            "windows": int(own.sum()),
            **{name: int((own & (windows.label == value)).sum()) for name, value in _LABELS.items()},
            "families": {name: int(n) for name, n in zip(windows.families, families, strict=True) if n},
            "overlapping": {name: int((own & mask).sum()) for name, mask in overlapping.items() if (own & mask).any()},
        }
    return counts


_LABELS = {"benign": 0, "attack": 1, "unlabelled": -1}


def _distinct(hashes: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))


def _among(hashes: NDArray[np.uint64], sorted_hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of ``hashes`` are among distinct sorted ones."""
    if not len(sorted_hashes):
        return np.zeros(len(hashes), bool)
    position = np.minimum(np.searchsorted(sorted_hashes, hashes), len(sorted_hashes) - 1)
    return np.asarray(sorted_hashes[position] == hashes)


def _share(parts: list[NDArray[np.bool_]]) -> float:
    total = sum(map(len, parts))
    return sum(int(part.sum()) for part in parts) / total if total else 0.0
