"""Groups: captures that share recorded traffic, found by content, with the clock that they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.graphs._runs import Stream, runs_of

#: Two captures are one group when at least this share of the smaller one's unique runs lies in both at one time offset.
#: Measured on 28 captures of five cars. Runs of a bus: other drives and other halves of a drive share none, two copies
#: of one drive 31 % or more. Runs of an id: at most 15 % (two captures of an idling car) against 73 % or more.
SHARED_SHARE: dict[Stream, float] = {"bus": 0.02, "id": 0.4}

#: Matches within this of each other, in seconds, are at one offset. Attacks delayed the frames of a copy by up to 2.2
#: ms; what matches by chance lies seconds apart (multiples of the period after which all counters repeat).
OFFSET_TOLERANCE = 0.05

#: Offsets of one copy may drift by this much, in seconds, while its frames were re-timed; it widens the embargo.
MAX_SPREAD = 1.0


@dataclass(frozen=True)
class Member:
    """One capture of a group. ``t + offset`` is the group's clock, true within ``spread`` seconds.

    ``shared`` is the share of the capture's unique frame runs that lie in another capture of the group as well, at
    least: each run is matched to the first capture that holds it, and only where enough of them are.
    """

    capture: str
    offset: float
    spread: float
    shared: float


@dataclass(frozen=True)
class Group:
    """Captures that hold the same recorded traffic, or one capture that shares none.

    The group's clock is 0 where its first frame lies. ``aligned`` is False where the captures hold the same traffic at
    several offsets (pieces put together in another order): then no clock is common to them and only the whole group can
    be given to a split.
    """

    members: tuple[Member, ...]
    aligned: bool = True

    @property
    def captures(self) -> tuple[str, ...]:
        return tuple(member.capture for member in self.members)


@dataclass(frozen=True)
class Groups:
    """Every capture in exactly one group, groups in the order of their first captures."""

    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def record(self) -> list[dict[str, Any]]:
        """Plain data for the certificate: captures with offset and spread in seconds and the share of runs shared."""
        return [{"aligned": group.aligned, "captures": [dict(vars(m)) for m in group.members]} for group in self]


class _Link(NamedTuple):
    """``matches`` runs say that ``t`` of ``other`` plus ``offset`` is ``t`` of ``first``, within ``spread`` seconds."""

    first: int
    other: int
    matches: int
    offset: float
    spread: float
    aligned: bool


def find_groups(captures: Sequence[Capture]) -> Groups:
    """Find captures that share recorded traffic, whatever their names, clocks and labels say.

    Runs of 16 frames of a bus that occur once in each of two captures are matched; each match is one vote for a time
    offset between them. What is not found to be one group so is compared by the runs of each id. Runs that a capture
    repeats, as an idling car does, are no evidence and do not count; so a capture that repeats all of its own traffic,
    or is shorter than a run, is a group of its own. Captures with equal names raise ValueError.
    """
    if len({capture.name for capture in captures}) < len(captures):
        raise ValueError("captures must have unique names")
    links: list[_Link] = []
    shared = np.zeros(len(captures))
    for stream in SHARED_SHARE:
        found, of_stream = _links(captures, stream)
        links += found
        shared = np.maximum(shared, of_stream)
        groups = _groups(captures, links, shared)
        if len(groups) <= 1:
            break
    return Groups(tuple(groups))


def _unique_runs(
    captures: Sequence[Capture], stream: Stream
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Runs that their capture holds once, equal ones together: owner, time of first frame, index of the first copy."""
    runs = runs_of(captures, stream)
    hashes = np.concatenate([run.hash for run in runs] or [np.zeros(0, np.uint64)])
    owner = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    time = np.concatenate([c.frames.t[run.first] for c, run in zip(captures, runs, strict=True)] or [np.zeros(0)])

    order = np.argsort(hashes, kind="stable")  # equal runs: by capture
    hashes, owner, time = hashes[order], owner[order], time[order]
    repeated = (hashes[1:] == hashes[:-1]) & (owner[1:] == owner[:-1])
    once = np.ones(len(hashes), bool)
    once[1:] &= ~repeated
    once[:-1] &= ~repeated
    hashes, owner, time = hashes[once], owner[once], time[once]

    head = np.arange(len(hashes))
    head[1:][hashes[1:] == hashes[:-1]] = 0
    return owner, time, np.maximum.accumulate(head)


def _links(captures: Sequence[Capture], stream: Stream) -> tuple[list[_Link], NDArray[np.float64]]:
    """Pairs of captures that share traffic, and the share of each capture's unique runs that say so.

    A run in several captures is matched to the first of them only: that keeps the work linear, and what a third one
    shares with a second is then linked through the first.
    """
    owner, time, head = _unique_runs(captures, stream)
    unique = np.maximum(np.bincount(owner, minlength=len(captures)), 1)
    matched = np.zeros(len(owner), bool)
    copies = np.flatnonzero(head < np.arange(len(head)))
    pair = owner[head[copies]] * len(unique) + owner[copies]
    copies = copies[np.argsort(pair, kind="stable")]
    links = []
    for chunk in np.split(copies, np.flatnonzero(np.diff(np.sort(pair))) + 1) if len(copies) else ():
        first, other = int(owner[head[chunk[0]]]), int(owner[chunk[0]])
        least = SHARED_SHARE[stream] * min(unique[first], unique[other])
        offsets = time[head[chunk]] - time[chunk]
        peak, votes = _densest(offsets)
        if votes < least:
            continue
        deviation = np.abs(offsets - peak)
        near = deviation <= MAX_SPREAD
        offset = float(np.median(offsets[near]))
        spread = float(np.quantile(np.abs(offsets[near] - offset), 0.999))
        aligned = near.all() or _densest(offsets[~near])[1] < least
        links.append(_Link(first, other, int(near.sum()), offset, spread, bool(aligned)))
        matched[chunk[near]] = True
        matched[head[chunk[near]]] = True
    return links, np.bincount(owner[matched], minlength=len(captures)) / unique


def _densest(offsets: NDArray[np.float64]) -> tuple[float, int]:
    """The middle of the interval of twice ``OFFSET_TOLERANCE`` that holds most offsets, and how many it holds."""
    offsets = np.sort(offsets)
    counts = np.searchsorted(offsets, offsets + 2 * OFFSET_TOLERANCE, side="right") - np.arange(len(offsets))
    start = int(np.argmax(counts))
    return float(np.median(offsets[start : start + counts[start]])), int(counts[start])


def _groups(captures: Sequence[Capture], links: list[_Link], shared: NDArray[np.float64]) -> list[Group]:
    """Captures that links join, directly or through others."""
    groups, seen = [], set[int]()
    for index in range(len(captures)):
        if index not in seen:
            group, members = _group(index, captures, links, shared)
            groups.append(group)
            seen.update(members)
    return groups


def _group(
    start: int, captures: Sequence[Capture], links: list[_Link], shared: NDArray[np.float64]
) -> tuple[Group, list[int]]:
    """The group that holds capture ``start``: its clock is carried along the strongest links."""
    placed = {start: (0.0, 0.0)}  # capture -> (offset to the clock of start, spread)
    while True:
        border = [link for link in links if (link.first in placed) != (link.other in placed)]
        if not border:
            break
        link = max(border, key=lambda link: link.matches)
        if link.first in placed:
            offset, spread = placed[link.first]
            placed[link.other] = (offset + link.offset, spread + link.spread)
        else:
            offset, spread = placed[link.other]
            placed[link.first] = (offset - link.offset, spread + link.spread)

    aligned = all(
        link.aligned and abs(placed[link.other][0] - placed[link.first][0] - link.offset) <= MAX_SPREAD
        for link in links
        if link.first in placed
    )
    members = sorted(placed)
    starts = [captures[m].frames.t[0] + placed[m][0] for m in members if len(captures[m].frames)]
    zero = min(starts, default=0.0)
    placed_members = tuple(
        Member(captures[m].name, float(placed[m][0] - zero), placed[m][1], round(float(shared[m]), 4)) for m in members
    )
    return Group(placed_members, aligned), members
