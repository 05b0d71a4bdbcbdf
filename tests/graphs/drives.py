"""Seeded drives for the tests of splits: periodic traffic with counters and signals, and copies of it under attack."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval, Capture, SourceFile
from credit_like.can.frames import FrameTable
from credit_like.graphs.plan import SplitPlan
from credit_like.graphs.windows import WindowSettings, cut_windows

#: Frames in a window of these tests.
WINDOW = 20
FAMILIES = ("dos", "masquerade", "suspension")
#: Attacks, in seconds, that reach every block of a drive of 20 seconds.
EVERYWHERE = ((1.0, 3.0), (5.0, 7.0), (9.0, 11.0), (13.0, 14.0), (16.5, 18.5))

#: Seconds between two frames of each id.
PERIODS = (0.01, 0.02, 0.02, 0.05, 0.1)


def drive(seed: int, seconds: float = 20.0, *, idle: bool = False) -> FrameTable:
    """Normal traffic of 230 frames a second from t = 0; an ``idle`` one repeats itself but for jitter in time."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, period in enumerate(PERIODS):
        n = int(seconds / period)
        payload = np.zeros((n, 8), np.uint8)
        payload[:, 0] = np.arange(n) % 16
        if not idle:
            payload[:, 1] = np.cumsum(rng.integers(-2, 3, n)) % 256
            payload[:, 2] = rng.integers(0, 4, n)
        t = np.arange(n) * period + number * 1e-3 + rng.uniform(0, 5e-4, n)
        parts.append((t, np.full(n, 0x100 + number, np.int32), payload))
    t, ids, payload = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(t, kind="stable")
    n = len(t)
    return FrameTable.build(
        t[order], ids[order], payload[order], np.full(n, 8, np.uint8), label=np.zeros(n, np.int8), capture_name="drive"
    )


def capture(name: str, frames: FrameTable, *intervals: AttackInterval, vehicle: str = "car") -> Capture:
    """``frames`` as a capture; its digest is that of its content."""
    digest = hashlib.sha256(b"".join((frames.t.tobytes(), frames.id.tobytes(), frames.payload.tobytes()))).hexdigest()
    source = SourceFile(f"{name}.log", digest, "synthetic", "made by the test", len(frames))
    return Capture(name, frames, source, vehicle, intervals)


def moved(frames: FrameTable, seconds: float) -> FrameTable:
    """The same frames on a clock that shows ``seconds`` more."""
    return _table(frames, frames.t + seconds, np.arange(len(frames)), frames.label, "")


def attacked(
    frames: FrameTable, family: str, *bursts: tuple[float, float], seed: int = 0, every: float = 0.005
) -> tuple[FrameTable, tuple[AttackInterval, ...]]:
    """A copy under attack: frames injected ``every`` so many seconds, payloads replaced, or one id suspended.

    Inside a burst the copy's own frames are late by up to 2 ms, as arbitration makes them.
    """
    rng = np.random.default_rng(seed)
    inside = np.zeros(len(frames), bool)
    for start, stop in bursts:
        inside |= (frames.t >= start) & (frames.t <= stop)
    intervals = tuple(AttackInterval(family, start, stop) for start, stop in bursts)
    target = frames.id == 0x101
    if family == "suspension":
        keep = np.flatnonzero(~(inside & target))
        return _table(frames, frames.t[keep], keep, frames.label[keep], family), intervals
    if family == "masquerade":
        label = (inside & target).astype(np.int8)
        table = _table(frames, frames.t, np.arange(len(frames)), label, family)
        table.payload[inside & target] = 0xAA
        return table, intervals
    injected = np.concatenate([np.arange(start, stop, every) for start, stop in bursts])
    late = np.maximum.accumulate(frames.t + np.where(inside, rng.uniform(0, 2e-3, len(frames)), 0))
    t = np.concatenate([late, injected])
    order = np.argsort(t, kind="stable")
    rows = np.concatenate([np.arange(len(frames)), np.full(len(injected), -1)])[order]
    table = _table(frames, t[order], np.maximum(rows, 0), (rows < 0).astype(np.int8), family)
    table.id[rows < 0] = 0
    table.payload[rows < 0] = 0
    return table, intervals


def under_attack(name: str, seed: int, family: str, *bursts: tuple[float, float], vehicle: str = "car") -> Capture:
    """A drive with an attack of ``family`` in each of the bursts."""
    frames, intervals = attacked(drive(seed), family, *bursts, seed=seed)
    return capture(name, frames, *intervals, vehicle=vehicle)


def windows_by_split(captures: list[Capture], plan: SplitPlan) -> dict[str, Counter[str]]:
    """Windows as they are really cut: benign under "", of an attack family, or overlapping a suspension."""
    table = cut_windows(captures, plan, WindowSettings(window=WINDOW))
    counts: dict[str, Counter[str]] = {}
    for i in range(len(table)):
        family = table.families[table.family[i]]
        if table.label[i] == 0 and table.in_interval[i]:
            of_capture = captures[table.capture[i]]
            family = next(
                x.family for x in of_capture.intervals if table.t_start[i] <= x.stop and x.start <= table.t_stop[i]
            )
        counts.setdefault(table.split_names[table.split[i]], Counter())[family] += 1
    return counts


def joined(*tables: FrameTable, gap: float = 0.01) -> FrameTable:
    """The tables one after another on one clock, as somebody makes who concatenates logs."""
    parts, end = [], 0.0
    for table in tables:
        parts.append(moved(table, end - table.t[0]))
        end = parts[-1].t[-1] + gap
    return FrameTable.concatenate(parts)


def _table(
    frames: FrameTable, t: NDArray[np.float64], rows: NDArray[np.int64], label: NDArray[np.int8], family: str
) -> FrameTable:
    """Rows of ``frames`` with other times and labels, nothing shared with the original."""
    return FrameTable.build(
        t.copy(),
        frames.id[rows],
        frames.payload[rows],
        frames.length[rows],
        label=label.copy(),
        attack=label.clip(0).astype(np.int16),
        attack_names=("", family) if family else frames.attack_names,
        capture_name="drive",
    )
