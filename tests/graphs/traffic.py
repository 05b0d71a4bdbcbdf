"""Seeded frames for the tests of this folder: any mixture of what a FrameTable can hold, and captures made of it."""

from __future__ import annotations

import numpy as np

from credit_like.can.captures import AttackInterval, Capture, SourceFile
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable

FD_LENGTHS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.uint8)


def mixed_frames(
    seed: int, n: int, *, ids: int = 6, byte_values: int = 4, fd: bool = False, special: bool = True, start: float = 0.0
) -> FrameTable:
    """``n`` frames of ``ids`` ids, some with the same number in both widths; few byte values make constants likely."""
    rng = np.random.default_rng(seed)
    width = 64 if fd else 8
    length = rng.choice(FD_LENGTHS, n) if fd else rng.choice(np.array([0, 1, 3, 7, 8, 8, 8, 8], np.uint8), n)
    payload = rng.choice(rng.integers(0, 256, byte_values), (n, width)).astype(np.uint8)
    payload[np.arange(width) >= length[:, None]] = 0
    flags = np.where(fd & (length > 8), FD, 0).astype(np.uint8)
    number = rng.choice(rng.integers(0, 0x800, max(1, ids - ids // 3)), n).astype(np.int32)
    if special:
        flags |= (EXTENDED * (rng.random(n) < 0.3)).astype(np.uint8)
        number += ((flags & EXTENDED > 0) & (rng.random(n) < 0.3)).astype(np.int32) << 20
        flags |= rng.choice(np.array([0, 0, 0, 0, 0, 0, REMOTE, ERROR], np.uint8), n)
    repeated = rng.random(n) < 0.3  # equal times, as logs with a coarse clock have them
    t = start + np.cumsum(np.where(repeated, 0.0, rng.exponential(1e-3, n)))
    return FrameTable.build(t, number, payload, length, flags=flags)


def capture(
    name: str = "drive",
    n: int = 1000,
    *,
    seed: int = 0,
    attacked: slice = slice(0, 0),
    family: str = "dos",
    buses: int = 1,
    intervals: tuple[AttackInterval, ...] = (),
    ids: int = 9,
) -> Capture:
    """A labelled capture of ``n`` frames; rows ``attacked`` are an attack of ``family``."""
    frames = mixed_frames(seed, n, ids=ids, special=False)
    frames.label[:] = 0
    frames.label[attacked] = 1
    frames.attack[attacked] = 1
    bus = np.random.default_rng(seed).integers(0, buses, n).astype(np.uint8)
    table = FrameTable.build(
        frames.t,
        frames.id,
        frames.payload,
        frames.length,
        bus=bus,
        label=frames.label,
        attack=frames.attack,
        attack_names=("", family),
        capture_name=name,
    )
    source = SourceFile(path=f"{name}.log", sha256="", format="synthetic", reason="made by the test", frames=n)
    return Capture(name=name, frames=table, source=source, intervals=intervals)
