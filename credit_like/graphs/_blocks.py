"""Time blocks: one group of captures cut at the same drive times, with an embargo between different splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from credit_like.graphs._hold_out import HoldOut
from credit_like.graphs._traffic import BENIGN, Traffic, tally
from credit_like.graphs.groups import Group
from credit_like.graphs.plan import TEST, TRAIN, Segment

#: Windows of a kind that a split needs before its figures mean something; with fewer, another layout is tried.
ENOUGH_WINDOWS = 5

#: ... and at least this part of the windows that its fraction of the group would hold if they were spread evenly.
ENOUGH_SHARE = 0.25

#: Numbers of interleaved blocks that are tried, fewest first: every border costs an embargo.
INTERLEAVED = (8, 12, 16, 24, 32, 48, 64, 96, 128)


class Need(NamedTuple):
    """``split`` (of which ``fraction`` is wanted) needs windows of the attack family ``kind``, or benign ones."""

    split: str
    kind: str
    fraction: float

    def met(self, counts: Mapping[str, Counter[str]], uncut: Counter[str]) -> bool:
        wanted = max(ENOUGH_WINDOWS, ENOUGH_SHARE * self.fraction * uncut[self.kind])
        return self.reached(counts) and counts[self.split][self.kind] >= wanted

    def reached(self, counts: Mapping[str, Counter[str]]) -> bool:
        return self.split in counts and counts[self.split][self.kind] > 0

    def __str__(self) -> str:
        return f"{self.kind or 'benign'} in {self.split}"


@dataclass(frozen=True)
class Layout:
    """How one group was cut: its segments, and plain data that says where and why."""

    segments: tuple[Segment, ...]
    record: dict[str, Any]


def whole(group: Group, traffic: Mapping[str, Traffic], split: str, reason: str) -> Layout:
    """The group uncut, every row in ``split``."""
    segments = tuple(Segment(name, split, 0, len(traffic[name])) for name in group.captures if len(traffic[name]))
    return Layout(segments, _record(group, "whole", [split], [], reason))


def lay_out(
    group: Group,
    traffic: Mapping[str, Traffic],
    fractions: Mapping[str, float],
    embargo: float,
    window: int,
    hold_out: HoldOut,
) -> Layout | None:
    """Cut a group into the fewest blocks that bring every attack family to every split that may see it.

    Contiguous blocks (train, fusion, validation, test) are tried first, then interleaved ones. When no layout brings
    every family everywhere, the one that brings most to train and test is taken and its record says what is lacking.
    The segments are those before hold-outs are applied. None when no layout gives each split a benign window: the group
    is too short for the embargo or the window, or its captures have no clock in common.
    """
    if not group.aligned:
        return None
    uncut = tally(whole(group, traffic, TRAIN, "").segments, traffic, window).get(TRAIN, Counter())
    first, second = _needs(group, traffic, fractions, hold_out)
    best: tuple[tuple[int, ...], Layout] | None = None
    lacking: list[str] = []
    for name, pattern in _patterns(fractions):
        segments = _cut(group, traffic, pattern, embargo)
        counts = tally(hold_out.apply(segments, traffic), traffic, window)
        missing = [str(need) for need in [*first, *second] if not need.met(counts, uncut)]
        reason = "every split gets enough of every kind" if not missing else "too little " + ", ".join(missing)
        if name == "contiguous":
            lacking = missing
        else:
            reason += "; contiguous blocks gave too little " + ", ".join(lacking)
        if not all(need.reached(counts) for need in [*first, *second] if need.kind == BENIGN):
            continue
        score = (
            sum(need.reached(counts) for need in first),
            sum(need.met(counts, uncut) for need in first),
            sum(need.reached(counts) for need in second),
            sum(need.met(counts, uncut) for need in second),
        )
        if best is None or score > best[0]:
            borders = [round(border, 6) for border in _borders(group, traffic, pattern)]
            best = score, Layout(tuple(segments), _record(group, name, [s for s, _ in pattern], borders, reason))
        if not missing:
            break
    return best[1] if best else None


def _needs(
    group: Group, traffic: Mapping[str, Traffic], fractions: Mapping[str, float], hold_out: HoldOut
) -> tuple[list[Need], list[Need]]:
    """What training and testing need of this group, and what the splits between them need."""
    families = sorted({family for name in group.captures for family in traffic[name].families})
    kinds = [BENIGN, *(family for family in families if family not in hold_out.families)]
    first = [
        Need(split, kind, fractions[TRAIN if split == TRAIN else TEST])
        for kind in kinds
        for split in (TRAIN, hold_out.test_name())
    ]
    unknown = hold_out.test_name(unknown_attack=True)
    first += [Need(unknown, family, fractions[TEST]) for family in families if family in hold_out.families]
    return first, [
        Need(split, kind, fractions[split]) for split in fractions if split not in (TRAIN, TEST) for kind in kinds
    ]


def _patterns(fractions: Mapping[str, float]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Layouts to try: splits in order of time with the share of the drive that each takes."""
    yield "contiguous", list(fractions.items())
    for blocks in INTERLEAVED:
        given = dict.fromkeys(fractions, 0)
        pattern: list[tuple[str, float]] = []
        for block in range(1, blocks + 1):  # the split that lags most behind its fraction takes the next block
            split = max(fractions, key=lambda split: fractions[split] * block - given[split])
            given[split] += 1
            if pattern and pattern[-1][0] == split:
                pattern[-1] = (split, pattern[-1][1] + 1 / blocks)
            else:
                pattern.append((split, 1 / blocks))
        yield f"{blocks} interleaved", pattern


def _borders(group: Group, traffic: Mapping[str, Traffic], pattern: list[tuple[str, float]]) -> list[float]:
    """Seconds on the group's clock at which the split changes."""
    stops = [traffic[m.capture].t[-1] + m.offset for m in group.members if len(traffic[m.capture])]
    return [float(border) for border in max(stops, default=0.0) * np.cumsum([share for _, share in pattern])[:-1]]


def _cut(
    group: Group, traffic: Mapping[str, Traffic], pattern: list[tuple[str, float]], embargo: float
) -> list[Segment]:
    """Rows of each block; half the embargo, and what the capture's clock may err by, is left out beside each border."""
    borders = _borders(group, traffic, pattern)
    segments = []
    for member in group.members:
        t = traffic[member.capture].t
        clock = np.array(borders) - member.offset
        margin = embargo / 2 + member.spread
        starts = [0, *np.searchsorted(t, clock + margin, side="left").tolist()]
        stops = [*np.searchsorted(t, clock - margin, side="left").tolist(), len(t)]
        for (split, _), start, stop in zip(pattern, starts, stops, strict=True):
            if start < stop:
                segments.append(Segment(member.capture, split, start, stop))
    return segments


def _record(group: Group, layout: str, splits: list[str], borders: list[float], reason: str) -> dict[str, Any]:
    return {
        "captures": list(group.captures),
        "layout": layout,
        "splits": splits,
        "borders": borders,
        "reason": reason,
    }
