"""Loggers: when frames were over on the bus, and when the logger says so."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from credit_like.can.frames import FrameTable
from credit_like.config import UserError, closest


@dataclass(frozen=True)
class Logger:
    """How a logger comes to its time stamps; all in seconds, 0 for what it does not suffer from.

    Every stamp is late by an exponentially distributed delay of mean ``delay``, and by one of mean ``stall`` more in
    the share ``stall_share`` of the frames (another task had the processor). With ``poll`` frames are looked for only
    every so often. What has queued up meanwhile is read out one by one, ``readout`` apart and exponentially distributed
    ``hold_up`` more, which is how gaps come about that are shorter than the frames on the bus. ``resolution`` is the
    clock's.
    """

    delay: float = 0.0
    stall_share: float = 0.0
    stall: float = 0.0
    poll: float = 0.0
    readout: float = 0.0
    hold_up: float = 0.0
    resolution: float = 1e-6


#: Numbers are chosen so that gaps lie like those of the real captures (benchmarks/realism.py): ``adapter`` is a USB
#: adapter that stamps in hardware, ``pcan`` the same in PCAN-View's steps of 0.1 ms, ``interrupt`` a Linux host that
#: stamps in its interrupt handler, ``polled`` a host that asks for frames every 1.5 ms.
LOGGERS: dict[str, Logger] = {
    "ideal": Logger(resolution=0.0),
    "adapter": Logger(delay=10e-6, stall_share=0.05, stall=50e-6, readout=90e-6),
    "pcan": Logger(delay=5e-6, readout=100e-6, resolution=1e-4),
    "interrupt": Logger(delay=35e-6, stall_share=0.15, stall=350e-6, readout=2e-6, hold_up=12e-6),
    "polled": Logger(delay=10e-6, poll=1.45e-3, readout=76e-6, hold_up=8e-6),
}


def record(frames: FrameTable, logger: str | Logger, seed: int) -> FrameTable:
    """``frames`` of one capture with the times that a logger would have written; none is lost, their order stays.

    Times move later by the logger's delays. ``frames.t`` is taken as true. The same seed makes the same delays.

    Raises UserError for an unknown name or a negative seed.

    Not supported: a logger that loses frames, a clock that drifts or is set while it records.
    """
    if isinstance(logger, str):
        if logger not in LOGGERS:
            raise UserError(
                f"There is no logger {logger!r}{closest(logger, LOGGERS)}; choose one of {', '.join(LOGGERS)}."
            )
        logger = LOGGERS[logger]
    if seed < 0:
        raise UserError(f"A logger needs a seed of at least 0; got {seed}.")
    rng = np.random.default_rng(seed)
    n = len(frames)
    ready = frames.t + rng.exponential(logger.delay, n)
    ready += rng.exponential(logger.stall, n) * (rng.random(n) < logger.stall_share)
    if logger.poll:
        phase = rng.uniform(0, logger.poll)
        ready = np.ceil((ready - phase) / logger.poll) * logger.poll + phase
    # Frame i is read out after frame i - 1: stamp[i] = max(ready[i], stamp[i - 1] + its readout).
    queued = np.cumsum(logger.readout + rng.exponential(logger.hold_up, n))
    stamp = np.maximum.accumulate(ready - queued) + queued
    if logger.resolution:
        stamp = np.rint(stamp / logger.resolution) * logger.resolution
    return replace(frames, t=stamp)
