"""Hold-outs: attacks and vehicles that training never sees, and the names of the test sets that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_like.graphs._traffic import Traffic
from credit_like.graphs.plan import TEST, Segment, is_test


@dataclass(frozen=True)
class HoldOut:
    """What is unknown to training: attack families, and vehicles. ``named`` is False when nothing was held out.

    A family counts as unknown when it was held out, or when only vehicles that were held out show it.
    """

    families: frozenset[str]
    vehicles: frozenset[str]
    named: bool
    embargo: float

    def only_unknown(self, traffic: Traffic) -> bool:
        """Whether the capture's attacks, of which it has some, are all unknown."""
        return bool(traffic.families) and traffic.families <= self.families

    def test_name(self, vehicle: str | None = None, *, unknown_attack: bool = False) -> str:
        """``"test"``, or ``"test/known_vehicle_unknown_attack"`` and the like; no ``vehicle`` is a known one."""
        if not self.named:
            return TEST
        of_vehicle = "unknown" if vehicle in self.vehicles else "known"
        return f"{TEST}/{of_vehicle}_vehicle_{'unknown' if unknown_attack else 'known'}_attack"

    def apply(self, segments: Iterable[Segment], traffic: Mapping[str, Traffic]) -> list[Segment]:
        """Keep unknown attacks out of all splits but the test sets, and give every test segment to its named test set.

        A segment that is not for testing is dropped where its capture has unknown attacks only; one of a capture with
        others too is cut around the unknown ones, embargo on both sides. A test segment that holds both kinds is shared
        out: each row goes with the attack that is nearest in time.
        """
        return [part for segment in segments for part in self._parts(segment, traffic[segment.capture])]

    def _parts(self, segment: Segment, traffic: Traffic) -> list[Segment]:
        testing = is_test(segment.split)
        known_name, unknown_name = (
            self.test_name(traffic.vehicle, unknown_attack=unknown) for unknown in (False, True)
        )
        if self.only_unknown(traffic):
            return [_renamed(segment, unknown_name)] if testing else []
        if not traffic.families & self.families:
            return [_renamed(segment, known_name)] if testing else [segment]
        rows = segment.row_start, segment.row_stop
        to_unknown = traffic.distance(self.families, *rows)
        if not testing:
            return _runs(segment, to_unknown > self.embargo, segment.split)
        to_known = traffic.distance(traffic.families - self.families, *rows)
        near_unknown = to_unknown < to_known
        return _runs(segment, ~near_unknown, known_name) + _runs(segment, near_unknown, unknown_name)


def _renamed(segment: Segment, split: str) -> Segment:
    return Segment(segment.capture, split, segment.row_start, segment.row_stop)


def _runs(segment: Segment, mask: NDArray[np.bool_], split: str) -> list[Segment]:
    """The stretches of ``segment`` where ``mask`` is true, given to ``split``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))) + segment.row_start
    return [Segment(segment.capture, split, int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
