"""SplitPlan: which raw rows of which capture belong to which split. Splits make it, windows are cut inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRAIN, FUSION, VALIDATION, TEST = "train", "fusion", "validation", "test"

#: The splits that are no test sets: what is held out is in none of them.
BEFORE_TEST = (TRAIN, FUSION, VALIDATION)


@dataclass(frozen=True)
class Segment:
    """Rows ``row_start <= row < row_stop`` of one capture, given whole to one split; windows never cross its ends."""

    capture: str
    split: str
    row_start: int
    row_stop: int


@dataclass(frozen=True)
class SplitPlan:
    """Disjoint segments, and the record of how they were chosen.

    ``split`` is ``"train"``, ``"fusion"`` (on which detectors are combined; none is trained on it), ``"validation"``,
    or a named test set: ``"test"`` or ``"test/<name>"`` (``"test/known_vehicle_unknown_attack"``). ``groups`` lists the
    captures that share recorded traffic; ``policy`` is ``"groups"`` or ``"time_blocks"``; ``record`` is plain JSON data
    for the certificate (offsets between captures, embargo in seconds, block borders, why this policy).
    """

    segments: tuple[Segment, ...]
    policy: str
    groups: tuple[tuple[str, ...], ...]
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def split_names(self) -> tuple[str, ...]:
        """Every split, in order of first use: ``train``, ``fusion``, ``validation``, then the test sets by name."""
        found = {segment.split for segment in self.segments}
        tests = sorted(name for name in found if is_test(name))
        return tuple(name for name in BEFORE_TEST if name in found) + tuple(tests)


def is_test(split: str) -> bool:
    """Whether ``split`` names a test set, which no trainer ever sees."""
    return split == TEST or split.startswith(TEST + "/")
