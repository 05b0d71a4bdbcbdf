"""Recorded traffic that captures and splits share, found once more: runs of 16 frames, compared as plain bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import Capture

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Stream = Literal["bus", "id"]

#: Frames in a run; docs/verify.md and the certificate's ``run_length`` name it.
RUN_LENGTH = 16
#: Two captures are of one group when this share of the smaller one's unique runs lies in both at one time offset.
SHARED_SHARE: dict[Stream, float] = {"bus": 0.02, "id": 0.4}
#: Seconds within which matches are at one offset, and by which one copy may drift.
ONE_OFFSET, MOST_DRIFT = 0.05, 1.0
#: Seconds by which a clock that the certificate names may differ from the one found here.
CLOCK_TOLERANCE = 0.01


@dataclass(frozen=True)
class Runs:
    """Runs of one capture: Python's 64-bit hash of their bytes, and the rows of their first and last frame."""

    hash: Ints
    first: Ints
    last: Ints

    def inside(self, row_start: int, row_stop: int) -> Runs:
        return self.where((self.first >= row_start) & (self.last < row_stop))

    def where(self, chosen: NDArray[np.bool_] | Ints) -> Runs:
        return Runs(self.hash[chosen], self.first[chosen], self.last[chosen])


def runs_of(capture: Capture, stream: Stream, width: int) -> Runs:
    """Every run of normal frames of one bus, or of one id on it; payloads are padded to ``width`` bytes."""
    frames = capture.frames
    normal = np.flatnonzero(frames.label != 1)
    number = frames.bus[normal].astype(np.int64)
    if stream == "id":
        number = number * 2**33 + frames.key[normal]
    order = np.argsort(number, kind="stable")
    rows, number = normal[order], number[order]
    parts = [
        frames.key[rows].astype("<i8").view(np.uint8).reshape(-1, 8),
        frames.length[rows, None],
        np.pad(frames.payload[rows], ((0, 0), (0, width - frames.payload.shape[1]))),
    ]
    size, data = 9 + width, np.hstack(parts).tobytes()
    count = max(0, len(rows) - RUN_LENGTH + 1)
    hashes = [hash(data[i * size : (i + RUN_LENGTH) * size]) for i in range(count)]
    runs = Runs(np.array(hashes, np.int64), rows[:count], rows[len(rows) - count :])
    return runs.where(number[:count] == number[len(rows) - count :])


@dataclass(frozen=True)
class Link:
    """Captures ``a`` and ``b`` share ``shared`` runs at ``t_b + offset = t_a``; ``alone``: at no other offset."""

    a: str
    b: str
    shared: int
    offset: float
    deviation: Floats
    alone: bool


class SharedTraffic:
    """What the captures of a data set share."""

    def __init__(self, captures: Sequence[Capture]) -> None:
        self.captures = {capture.name: capture for capture in captures}
        width = max((capture.frames.payload.shape[1] for capture in captures), default=8)
        self.runs = {capture.name: runs_of(capture, "bus", width) for capture in captures}
        found, shares = self._links("bus", self.runs)
        self.links = found
        if len(self.groups()) > 1:  # what an attack that lasts the whole capture has torn apart
            found, of_ids = self._links("id", {capture.name: runs_of(capture, "id", width) for capture in captures})
            self.links = self.links + found
            shares = {name: max(share, of_ids[name]) for name, share in shares.items()}
        self.shares = shares

    def groups(self) -> list[frozenset[str]]:
        """The captures that links join, directly or through others."""
        of = {name: frozenset([name]) for name in self.captures}
        for link in self.links:
            joined = of[link.a] | of[link.b]
            of |= dict.fromkeys(joined, joined)
        return list(dict.fromkeys(of.values()))

    def _links(self, stream: Stream, runs: Mapping[str, Runs]) -> tuple[list[Link], dict[str, float]]:
        """Pairs of captures that share enough, and the share of each capture's unique runs that say so: a run counts
        where it lies in the first capture that holds it, or is matched to that one, as a certificate counts."""
        unique = {name: _once(of) for name, of in runs.items()}
        several = _in_several([of.hash for of in unique.values()])
        candidates = {name: of.where(_among(of.hash, several)) for name, of in unique.items()}
        links, matched = [], {name: np.zeros(len(of.hash), np.bool_) for name, of in candidates.items()}
        earlier = {a: _distinct([unique[x].hash for x in list(unique)[:i]]) for i, a in enumerate(unique)}
        for a, b in combinations(candidates, 2):
            in_b = np.flatnonzero(_among(candidates[b].hash, candidates[a].hash))
            in_a = np.searchsorted(candidates[a].hash, candidates[b].hash[in_b])
            least = SHARED_SHARE[stream] * max(1, min(len(unique[a].hash), len(unique[b].hash)))
            if len(in_a) < least:
                continue
            offsets = self._times(a, candidates[a])[in_a] - self._times(b, candidates[b])[in_b]
            middle, votes = densest(offsets)
            if votes < least:
                continue
            near = np.abs(offsets - middle) <= MOST_DRIFT
            offset = float(np.median(offsets[near]))
            alone = bool(near.all()) or densest(offsets[~near])[1] < least
            links.append(Link(a, b, int(near.sum()), offset, np.abs(offsets[near] - offset), alone))
            first = ~_among(candidates[b].hash[in_b], earlier[a])
            middle, votes = densest(offsets[first]) if first.any() else (0.0, 0)
            if votes >= least:
                near = first & (np.abs(offsets - middle) <= MOST_DRIFT)
                matched[a][in_a[near]] = matched[b][in_b[near]] = True
        return links, {name: float(matched[name].sum()) / max(1, len(unique[name].hash)) for name in runs}

    def _times(self, name: str, runs: Runs) -> Floats:
        return self.captures[name].frames.t[runs.first]


def group_problems(traffic: SharedTraffic, claimed: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is false of a certificate's groups: who is in them, their clocks, and how much they share."""
    found = set(traffic.groups())
    named = [frozenset(member["capture"] for member in group["captures"]) for group in claimed]
    problems = [f"{_listed(x)} share recorded traffic, but are not one group" for x in found - set(named)]
    problems += [f"{_listed(x)} are named as one group, but are not" for x in set(named) - found if len(x) > 1]
    member = {m["capture"]: m for group in claimed for m in group["captures"]}
    for group in claimed:
        spreads = {m["capture"]: m["spread"] for m in group["captures"]}
        problems += [
            f"the clock of {x!r} has a spread below 0: {spread}" for x, spread in spreads.items() if spread < 0
        ]
        if len(spreads) == 1 and (not group["aligned"] or any(spreads.values())):
            problems.append(f"{_listed(spreads)} has no other clock to differ from, but is said to")
    aligned = {m["capture"]: group["aligned"] for group in claimed for m in group["captures"]}
    for name, share in traffic.shares.items():
        if name in member and abs(member[name]["shared"] - share) > 0.02:
            problems.append(f"{name!r} shares {share:.1%} of its runs, not {member[name]['shared']:.1%}")
    for link in traffic.links:
        if link.a not in member or link.b not in member or not (aligned[link.a] and aligned[link.b]):
            continue
        if not link.alone:
            problems.append(f"{link.a!r} and {link.b!r} share traffic at several offsets and have no common clock")
            continue
        a, b = member[link.a], member[link.b]
        apart = abs(link.offset - (b["offset"] - a["offset"]))
        if apart > CLOCK_TOLERANCE + a["spread"] + b["spread"]:
            problems.append(
                f"the clocks of {link.a!r} and {link.b!r} are {apart:.3g} s from where shared runs put them"
            )
        elif np.quantile(link.deviation, 0.95) > CLOCK_TOLERANCE + a["spread"] + b["spread"]:
            problems.append(f"the clocks of {link.a!r} and {link.b!r} drift more than the certificate says")
    return problems


def run_overlap(
    traffic: SharedTraffic,
    groups: Sequence[Mapping[str, Any]],
    intervals: Sequence[Mapping[str, Any]],
    embargo: float,
) -> dict[str, Any]:
    """What each split repeats of the runs that are learnt from, in the form that the certificate has.

    Learnt from is training and, for every split but itself, ``fusion`` where there is one.
    """
    runs = [traffic.runs[x["capture"]].inside(x["row_start"], x["row_stop"]) for x in intervals]
    held: dict[str, list[Ints]] = {}
    for interval, own in zip(intervals, runs, strict=True):
        held.setdefault(interval["split"], []).append(own.hash)
    splits: dict[str, Any] = {}
    for split in held:
        if split == "train":
            continue
        learnt = _distinct(held.get("train", []) + (held.get("fusion", []) if split != "fusion" else []))
        by_capture: dict[str, list[NDArray[np.bool_]]] = {}
        for interval, own in zip(intervals, runs, strict=True):
            if interval["split"] == split:
                by_capture.setdefault(interval["capture"], []).append(_among(own.hash, learnt))
        parts = [part for of in by_capture.values() for part in of]
        splits[split] = {
            "runs": sum(map(len, parts)),
            "in_train": _share(parts),
            "by_capture": {capture: _share(of) for capture, of in by_capture.items()},
        }
    return {"run_length": RUN_LENGTH, "chance": _chance(traffic, groups, intervals, runs, embargo), "splits": splits}


def _chance(
    traffic: SharedTraffic,
    groups: Sequence[Mapping[str, Any]],
    intervals: Sequence[Mapping[str, Any]],
    runs: Sequence[Runs],
    embargo: float,
) -> float:
    """Share of the runs in the later half of each group's training time that the earlier halves hold."""
    early, late = [], []
    for group in groups:
        offset = {m["capture"]: m["offset"] for m in group["captures"]}
        trained = [
            (own.hash, traffic.captures[x["capture"]].frames.t[own.first] + offset[x["capture"]])
            for x, own in zip(intervals, runs, strict=True)
            if group["aligned"] and x["split"] == "train" and x["capture"] in offset and len(own.hash)
        ]
        if trained:
            middle = np.median(np.concatenate([clock for _, clock in trained]))
            early += [hashes[clock < middle - embargo / 2] for hashes, clock in trained]
            late += [hashes[clock >= middle + embargo / 2] for hashes, clock in trained]
    repeated = _distinct(early)
    return _share([_among(hashes, repeated) for hashes in late])


def densest(offsets: Floats) -> tuple[float, int]:
    """Where most offsets lie within twice ``ONE_OFFSET`` seconds, and how many they are."""
    ordered = np.sort(offsets)
    if not len(ordered):
        return 0.0, 0
    count = np.searchsorted(ordered, ordered + 2 * ONE_OFFSET, side="right") - np.arange(len(ordered))
    start = int(np.argmax(count))
    return float(np.median(ordered[start : start + count[start]])), int(count[start])


def _once(runs: Runs) -> Runs:
    """The runs that their capture holds once, by their hash."""
    _, first, count = np.unique(runs.hash, return_index=True, return_counts=True)
    return runs.where(first[count == 1])


def _in_several(hashes: Sequence[Ints]) -> Ints:
    values, count = np.unique(np.concatenate([np.zeros(0, np.int64), *hashes]), return_counts=True)
    return values[count > 1]


def _distinct(hashes: Sequence[Ints]) -> Ints:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *hashes]))


def _among(hashes: Ints, distinct: Ints) -> NDArray[np.bool_]:
    """Which of ``hashes`` are among the sorted ``distinct`` ones."""
    if not len(distinct):
        return np.zeros(len(hashes), np.bool_)
    return distinct[np.searchsorted(distinct, hashes).clip(max=len(distinct) - 1)] == hashes


def _share(parts: Sequence[NDArray[np.bool_]]) -> float:
    total = sum(map(len, parts))
    return sum(int(part.sum()) for part in parts) / total if total else 0.0


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
