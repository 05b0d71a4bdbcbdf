"""Captures: one recording each, with where it came from and which attacks it is known to hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from credit_like.can.frames import FrameTable


@dataclass(frozen=True)
class AttackInterval:
    """One attack on the bus, ``start <= t <= stop`` in seconds of the capture's clock.

    A suspension has an interval and no attack frame, which is why intervals stand beside the frame labels. An interval
    that is not ``declared`` by the capture's metadata was drawn around attack frames; what lies between them there is
    normal traffic, while inside a declared attack nobody knows.
    """

    family: str
    start: float
    stop: float
    declared: bool = True


@dataclass(frozen=True)
class Defect:
    """A line of a log that was not taken as it stood, and why; ``line`` counts from 1, 0 is the whole file."""

    line: int
    reason: str


@dataclass(frozen=True)
class SourceFile:
    """Where frames came from: enough to find the file again and to prove that it is the same."""

    path: str
    sha256: str
    format: str
    reason: str
    frames: int
    defects: tuple[Defect, ...] = ()


@dataclass(frozen=True)
class Capture:
    """One recording of one or more buses, monotone in time; windows never cross its boundary.

    ``name`` is unique in a data set and made from the file's path relative to it. ``frames.capture`` is 0 everywhere
    and ``frames.capture_names == (name,)``. ``vehicle`` is "" where it is not known.
    """

    name: str
    frames: FrameTable
    source: SourceFile
    vehicle: str = ""
    intervals: tuple[AttackInterval, ...] = field(default=())
