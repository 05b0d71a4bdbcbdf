"""Attacks injected into benign traffic, for those who have no recorded one; test sets stay as they were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from applications._data import Data
from credit_like.can import AttackSpec, Capture, inject
from credit_like.can.attacks import ATTACK_FAMILIES
from credit_like.can.captures import AttackInterval
from credit_like.config import UserError
from credit_like.graphs import GraphStore, WindowSettings
from credit_like.graphs.plan import Segment, is_test

#: What is injected: a suspension leaves no attack frame, so that there would be no window to learn from.
FAMILIES = tuple(family for family in ATTACK_FAMILIES if family != "suspension")

#: Attacks in each piece of a drive, and how long a piece is, in seconds.
EACH, LONGEST, SHORTEST = 3, 2.0, 0.8

#: Seconds between attack frames are drawn between these, evenly on a logarithmic scale: from the floods of the public
#: data sets to a few frames a window, so that a detector cannot rely on an attack being loud.
_PERIODS = {"dos": (0.3e-3, 5e-3), "fuzzing": (0.5e-3, 50e-3), "spoofing": (1e-3, 50e-3)}
#: A masquerade with values that the id has sent before would be labelled as an attack and look like none.
_VALUES = {"spoofing": ("fixed", "random", "plausible"), "masquerade": ("fixed", "random")}
_LEAD, _LAG = 0.05, 0.3

Rows = NDArray[np.int64]


def with_injected(data: Data, window: WindowSettings, folder: Path, seed: int = 0) -> Data:
    """``data`` whose training, fusion and validation hold injected attacks in place of the recorded ones.

    Recorded attacks are cut out of those splits, an embargo before and after each. Then copies of the benign traffic
    that is left get attacks. Each copy is a capture of its own, a piece of one recorded capture with one attack in it,
    in the split that the piece is in; its family is ``injected_<family>``. Of captures that share traffic only the one
    with most of it is copied. ``folder`` gets the store. Test sets hold what they held.
    """
    rng = np.random.default_rng(seed)
    segments = _without_attacks(data)
    captures: list[Capture] = []
    added: list[Segment] = []
    for capture, split, rows in _pieces(data, segments):
        frames = capture.frames[rows]
        for family in rng.permutation(FAMILIES)[:EACH].tolist():
            attack = _attack(family, float(frames.t[-1] - frames.t[0]), rng)
            try:
                attacked, _ = inject(frames, attack, int(rng.integers(2**31)))
            except UserError:  # no id of this piece can be attacked so
                continue
            name, family = f"injected/{len(captures)}", f"injected_{family}"
            attacked = replace(attacked, capture_names=(name,), attack_names=_renamed(attacked.attack_names))
            interval = AttackInterval(family, float(frames.t[0]) + attack.start, float(frames.t[0]) + attack.stop)
            captures.append(replace(capture, name=name, frames=attacked, intervals=(interval,)))
            added.append(Segment(name, split, 0, len(attacked)))
    dropped = data.plan.record["dropped_rows"]
    cut = sum(map(_rows, data.plan.segments)) - sum(map(_rows, segments))
    plan = replace(
        data.plan,
        segments=tuple(segments + added),
        record=data.plan.record | {"dropped_rows": dropped | {"held_out": dropped["held_out"] + cut}},
    )
    everything = data.captures + tuple(captures)
    return replace(data, captures=everything, plan=plan, store=GraphStore.build(folder, everything, plan, window))


def _without_attacks(data: Data) -> list[Segment]:
    """The plan's segments; of those that no test set holds, what is an embargo away from every recorded attack."""
    by_name, embargo = {capture.name: capture for capture in data.captures}, data.plan.record["embargo"]
    kept = []
    for segment in data.plan.segments:
        if is_test(segment.split):
            kept.append(segment)
            continue
        capture, rows = by_name[segment.capture], np.arange(segment.row_start, segment.row_stop)
        near = np.zeros(len(rows), np.bool_)
        for interval in capture.intervals:
            t = capture.frames.t[rows]
            near |= (t >= interval.start - embargo) & (t <= interval.stop + embargo)
        for run in np.split(rows, np.flatnonzero(np.diff(near)) + 1):
            if not near[run[0] - segment.row_start]:
                kept.append(Segment(segment.capture, segment.split, int(run[0]), int(run[-1]) + 1))
    return kept


def _pieces(data: Data, segments: Sequence[Segment]) -> Iterator[tuple[Capture, str, Rows]]:
    """A capture, a split, and rows of it in that split: pieces of benign traffic of ``LONGEST`` seconds at most."""
    by_name = {capture.name: capture for capture in data.captures}
    for group in data.plan.groups:
        own = {name: [s for s in segments if s.capture == name and not is_test(s.split)] for name in group}
        most = max(group, key=lambda name: sum(map(_rows, own[name])))
        for segment in own[most]:
            rows = np.arange(segment.row_start, segment.row_stop)
            t = by_name[most].frames.t[rows]
            rows = rows[(t > t[0] + _LEAD) & (t < t[-1] - _LEAD)]  # a flood delays frames, and splits stay apart
            if not len(rows):
                continue
            t = by_name[most].frames.t[rows]
            number = max(1, int(np.ceil((t[-1] - t[0]) / LONGEST)))
            borders = np.searchsorted(t, t[0] + (t[-1] - t[0]) * np.arange(1, number) / number)
            for piece in np.split(rows, borders):
                if np.ptp(by_name[most].frames.t[piece]) >= SHORTEST:
                    yield by_name[most], segment.split, piece


def _rows(segment: Segment) -> int:
    return segment.row_stop - segment.row_start


def _renamed(names: Sequence[str]) -> tuple[str, ...]:
    """Families as a table of frames names them, those that can be injected marked: a copy holds no recorded attack."""
    return tuple(f"injected_{name}" if name in FAMILIES else name for name in names)


def _attack(family: str, seconds: float, rng: np.random.Generator) -> AttackSpec:
    """One of the family over nearly all of a piece of traffic; what it leaves open the injector draws."""
    chosen: dict[str, object] = {}
    if family in _PERIODS:
        low, high = np.log(_PERIODS[family])
        chosen["period"] = float(np.exp(rng.uniform(low, high)))
    if family in _VALUES:
        chosen["values"] = str(rng.choice(_VALUES[family]))
    if family == "replay":
        chosen["lag"] = _LAG
    start = _LAG if family == "replay" else _LEAD
    return AttackSpec.model_validate({"family": family, "start": start, "stop": seconds - _LEAD, **chosen})
