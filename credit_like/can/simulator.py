"""The bus simulator: a vehicle, a random drive and a seed become the frames that a logger would have recorded."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from credit_like.can.arbitration import arbitrate, frame_bits, priority
from credit_like.can.frames import EXTENDED, FrameTable
from credit_like.can.logger import Logger, record
from credit_like.can.vehicles import VEHICLES, Vehicle
from credit_like.can.vehicles.drive import STEP, Road, drive
from credit_like.can.vehicles.encoding import encode
from credit_like.can.vehicles.plan import Diagnostics, Ecu, Message
from credit_like.config import UserError, closest

#: Standard deviation of a quartz against nominal, as a share: data sheets of automotive parts promise 50 to 100 ppm.
_DRIFT = 60e-6
#: One tick in a hundred is late by up to 2 ms more, because something more urgent ran.
_LATE_SHARE, _LATE_SECONDS = 0.01, 2e-3
#: Seconds between two frames that one task hands to its controller.
_HAND_OVER = 15e-6
#: Mean seconds between two visits of a diagnostic tester, and how many questions it asks.
_TESTER_EVERY, _TESTER_QUESTIONS = 20.0, (10, 60)

#: Seconds. A drive is made in memory, about 150 MB a million frames: 5 GB for the longest.
_LONGEST = 6 * 3600.0

#: (release times, payloads, message), not yet arbitrated.
_Releases = tuple[NDArray[np.float64], NDArray[np.uint8], Message]


def _jumps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (np.flatnonzero(np.diff(values)) + 1).astype(np.float64) * STEP


def _ecu_releases(ecu: Ecu, seconds: float, road: Road, rng: np.random.Generator) -> list[_Releases]:
    """All messages of one control unit; they share its clock, and those of one tick its lateness."""
    tick = ecu.tick * 1e-3 * (1 + _DRIFT * rng.standard_normal())
    ticks = np.arange(int(seconds / tick) + 3, dtype=np.float64) * tick - rng.uniform(1, 2) * tick
    late = np.abs(ecu.jitter * 1e-3 * rng.standard_normal(len(ticks)))
    late += (rng.random(len(ticks)) < _LATE_SHARE) * rng.uniform(0, _LATE_SECONDS, len(ticks))
    ticks = ticks + np.minimum(late, 0.4 * tick)
    releases = []
    for place, (message, stream) in enumerate(zip(ecu.messages, rng.spawn(len(ecu.messages)), strict=True)):
        t: NDArray[np.float64] = np.empty(0)
        if message.period:
            every = round(message.period / ecu.tick)
            t = ticks[int(stream.integers(every)) :: every]
        if message.event:
            # The task sees a jump when it runs next.
            seen = np.searchsorted(ticks, _jumps(road[message.event]))
            t = np.union1d(t, ticks[seen[seen < len(ticks)]])
        t = t + _HAND_OVER * (place + stream.random(len(t)))
        t = t[(t >= 0) & (t < seconds)]
        releases.append((t, encode(message, t, road, stream), message))
    return releases


def _tester_releases(tester: Diagnostics, seconds: float, road: Road, rng: np.random.Generator) -> list[_Releases]:
    """Requests and answers of a tester that comes and goes at random."""
    visits = rng.uniform(0, seconds, rng.poisson(seconds / _TESTER_EVERY))
    counts = rng.integers(*_TESTER_QUESTIONS, len(visits))
    steps = [visit + np.arange(count) * tester.interval * 1e-3 for visit, count in zip(visits, counts, strict=True)]
    asked = np.sort(np.concatenate([np.empty(0), *steps]))
    asked += rng.uniform(0, 2e-3, len(asked))
    which = np.arange(len(asked)) % len(tester.inquiries)
    releases = []
    for number, inquiry in enumerate(tester.inquiries):
        t = asked[which == number]
        answered = t + rng.uniform(3e-3, 15e-3, len(t))
        question = np.zeros((len(t), 8), np.uint8)
        question[:, : len(inquiry.request)] = np.frombuffer(inquiry.request, np.uint8)
        releases.append((t, question, Message(tester.request_id, 0, len(inquiry.request))))
        releases.append((answered, encode(inquiry.response, answered, road, rng), inquiry.response))
    return releases


def _as_frames(releases: list[_Releases], extended: bool) -> FrameTable:
    """The releases in the order of their time, as frames that nobody has sent yet."""
    ready = np.concatenate([t for t, _, _ in releases])
    order = np.argsort(ready, kind="stable")
    per_frame = np.repeat(np.arange(len(releases)), [len(t) for t, _, _ in releases])[order]
    return FrameTable.build(
        ready[order],
        np.array([message.id for _, _, message in releases], np.int32)[per_frame],
        np.concatenate([payload for _, payload, _ in releases])[order],
        np.array([message.length for _, _, message in releases], np.uint8)[per_frame],
        flags=np.full(len(ready), EXTENDED if extended else 0, np.uint8),
        label=np.zeros(len(ready), np.int8),
    )


def simulate(
    vehicle: str | Vehicle = "sedan",
    seconds: float = 60.0,
    seed: int = 0,
    bitrate: int | None = None,
    logger: str | Logger = "ideal",
) -> FrameTable:
    """The frames of one simulated drive, times from 0 to ``seconds``, all labelled 0 (normal).

    The same arguments give the same frames; another seed gives another drive of the same vehicle: other traffic, other
    phases, clock drifts and counters, the same ids and layouts. A frame's time is the moment at which the bus is free
    again after it, as an ideal logger would see it; other loggers add their errors to that (``LOGGERS``). Frames that
    their node overwrote before the bus was free are missing, as they would be on the road.

    Args:
        vehicle: a name in ``VEHICLES``, or a plan of your own.
        seconds: length of the recording, up to 6 hours.
        seed: not negative.
        bitrate: bit/s; the vehicle's own where left out.
        logger: a name in ``LOGGERS``, or a model of your own. It changes times only.

    Raises:
        UserError: for an unknown vehicle or logger, or a length, seed or bit rate out of range.

    Not supported: several buses, FD frames, error frames, a bus that starts up or falls asleep.
    """
    if isinstance(vehicle, str):
        if vehicle not in VEHICLES:
            raise UserError(
                f"There is no simulated vehicle {vehicle!r}{closest(vehicle, VEHICLES)}; "
                f"choose one of {', '.join(VEHICLES)}."
            )
        vehicle = VEHICLES[vehicle]
    rate = vehicle.bitrate if bitrate is None else bitrate
    for name, value, least in (("seconds", seconds, 0.1), ("seed", seed, 0), ("bitrate", rate, 1000)):
        if not value >= least:
            raise UserError(f"The simulator needs {name} of at least {least}; got {value}.")
    if seconds > _LONGEST:
        raise UserError(
            f"A drive is simulated as a whole in memory and lasts {_LONGEST / 3600:g} hours at most; got "
            f"{seconds / 3600:g}. Simulate several drives with different seeds."
        )
    # The name is mixed in, so that two vehicles of one seed do not drive alike.
    streams = np.random.default_rng([seed, zlib.crc32(vehicle.name.encode())]).spawn(2 + len(vehicle.ecus))
    road = drive(vehicle.chassis, seconds, streams[0])
    releases = _tester_releases(vehicle.diagnostics, seconds, road, streams[1])
    for ecu, stream in zip(vehicle.ecus, streams[2:], strict=True):
        releases += _ecu_releases(ecu, seconds, road, stream)
    frames = _as_frames(releases, vehicle.extended)
    _, mailbox = np.unique(frames.id, return_inverse=True)
    end, _ = arbitrate(frames.t, frame_bits(frames) / rate, priority(frames), mailbox)
    order = np.argsort(end, kind="stable")[: np.count_nonzero(end < seconds)]
    recorded = record(replace(frames[order], t=end[order]), logger, seed)
    return recorded[recorded.t < seconds]
