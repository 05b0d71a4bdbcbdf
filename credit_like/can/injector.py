"""The attack injector: an attack becomes frames, labels and an interval in a capture that was benign there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from credit_like.can.arbitration import arbitrate, frame_bits, priority
from credit_like.can.attacks import (
    AttackFrames,
    AttackSpec,
    attack_frames,
    attack_payloads,
    resolve_attack,
    target_rows,
)
from credit_like.can.captures import AttackInterval
from credit_like.can.frames import ERROR, REMOTE, FrameTable
from credit_like.config import UserError


def inject(
    frames: FrameTable, attack: AttackSpec, seed: int, *, bitrate: int = 500_000
) -> tuple[FrameTable, tuple[AttackInterval, ...]]:
    """``frames`` with one attack in it, and the attack's interval on the capture's clock.

    What the capture holds is taken as normal where it has no label (-1 becomes 0); earlier attacks in it keep theirs,
    so several bursts are several calls. Attack frames have label 1 and the family's index in ``attack_names``. A
    suspension has no labelled frame, only the interval.

    The bus of the burst is arbitrated at the bit rate: a frame goes when the bus is free and no smaller id waits, and
    is lost when its node overwrites it before that (one mailbox an id, the attacker has its own). A frame that nothing
    holds up keeps its recorded time; so do all frames before the burst, and after it from the first moment at which the
    bus has caught up. Other buses are not touched. The number of normal frames lost is what is missing:
    ``len(frames) + attack frames - len(result)``. Nothing of the attack is on the bus after ``attack.stop``; attack
    frames that found no place until then are not in the result.

    Args:
        frames: frames of one capture.
        attack: as in ``AttackSpec``; what it leaves open is chosen by ``resolve_attack(frames, attack, seed)``.
        seed: the same arguments give the same result.
        bitrate: bit/s of the attacked bus.

    Raises:
        UserError: as ``resolve_attack``, and for a bit rate below 1000, or at which the capture would not fit on the
            bus.
        ValueError: for a table of several captures.

    Not supported: the bus errors that two nodes cause when they send one id with different payloads at the same moment;
    an attacked node that notices and falls silent.
    """
    if len(np.unique(frames.capture)) > 1:
        raise ValueError("inject works on one capture; take the rows of one")
    if bitrate < 1000:
        raise UserError(f"The injector needs a bit rate of at least 1000; got {bitrate}.")
    attack = resolve_attack(frames, attack, seed)
    known = replace(frames, label=np.maximum(frames.label, np.int8(0)))
    names = known.attack_names
    if attack.family not in names:
        known = replace(known, attack_names=(*names, attack.family))
    number = known.attack_names.index(attack.family)
    if attack.family == "suspension":
        result = known[np.delete(np.arange(len(known)), target_rows(known, attack))]
    elif attack.family == "masquerade":
        result = _masquerade(known, attack, number, seed)
    else:
        sent = attack_frames(known, attack, seed)
        result = _insert(known, attack, sent, number, bitrate)
    origin = float(frames.t[0])
    return result, (AttackInterval(attack.family, origin + attack.start, origin + attack.stop),)


def _masquerade(frames: FrameTable, attack: AttackSpec, number: int, seed: int) -> FrameTable:
    rng = np.random.default_rng([seed, 1])
    rows = target_rows(frames, attack)
    rows = rows[frames.flags[rows] & (REMOTE | ERROR) == 0]
    payload, length = frames.payload.copy(), frames.length.copy()
    label, family = frames.label.copy(), frames.attack.copy()
    for id in attack.ids:
        mine = rows[frames.id[rows] == id]
        payload[mine], length[mine] = attack_payloads(frames, attack, id, len(mine), rng)
    label[rows], family[rows] = 1, number
    return replace(frames, payload=payload, length=length, label=label, attack=family)


def _insert(frames: FrameTable, attack: AttackSpec, sent: AttackFrames, number: int, bitrate: int) -> FrameTable:
    """Put the attacker's frames on the bus and let the arbitration say what becomes of all others."""
    origin = float(frames.t[0])
    on_bus = np.flatnonzero(frames.bus == attack.bus)
    bits = frame_bits(frames[on_bus])
    span = float(frames.t[on_bus[-1]] - frames.t[on_bus[0]])
    load = float(bits.sum()) / bitrate / span if span > 0 else 0.0  # one frame says nothing
    if load > 1:
        raise UserError(
            f"At {bitrate} bit/s the capture's own frames would need {load:.0%} of the bus, so this cannot be its bit "
            "rate; give the real one."
        )
    first = int(np.searchsorted(frames.t[on_bus], origin + attack.start))
    later = on_bus[first:]
    normal = frames[later]
    added = _as_table(frames, sent, attack.bus, number)
    both = FrameTable.concatenate([normal, added])

    # Seconds from the capture's first frame: a bit is 2e-6 s, and the epoch in a float64 resolves no more than 2e-7.
    recorded = normal.t - origin
    seconds = np.append(bits[first:], frame_bits(added)) / bitrate
    free = float(frames.t[on_bus[first - 1]] - origin) if first else -np.inf
    # A frame was handed over one frame time before its end, or when the frame before it was over: software clocks put
    # frames closer than the bus can. The last term keeps those in order to which the log gives the same time.
    ready = np.maximum(recorded - seconds[: len(normal)], np.append(free, recorded)[:-1])
    ready = np.append(ready + np.arange(len(normal)) * 1e-12, sent.ready)
    is_attack = np.arange(len(both)) >= len(normal)
    alone_end = np.append(recorded, ready[len(normal) :] + seconds[len(normal) :])
    rank = priority(both)
    _, mailbox = np.unique(rank * 2 + is_attack, return_inverse=True)
    order = np.argsort(ready, kind="stable")
    end = np.full(len(both), np.nan)
    end[order], served = arbitrate(
        ready[order],
        seconds[order],
        rank[order],
        mailbox[order],
        alone_end=alone_end[order],
        deadline=np.where(is_attack, attack.stop, np.inf)[order],
        free=free,
        settle=attack.stop,
    )
    end[order[served:]] = alone_end[order[served:]]

    held_up = end[: len(normal)] != recorded
    t = frames.t.copy()
    t[later[held_up]] = origin + end[: len(normal)][held_up]
    t_added = origin + end[len(normal) :]
    kept, arrived = ~np.isnan(t), ~np.isnan(t_added)
    result = FrameTable.concatenate([replace(frames, t=t)[kept], replace(added, t=t_added)[arrived]])
    return result[np.argsort(result.t, kind="stable")]


def _as_table(frames: FrameTable, sent: AttackFrames, bus: int, number: int) -> FrameTable:
    n = len(sent.ready)
    return FrameTable(
        t=sent.ready,
        id=sent.id,
        flags=sent.flags,
        bus=np.full(n, bus, np.uint8),
        length=sent.length,
        payload=sent.payload,
        label=np.ones(n, np.int8),
        attack=np.full(n, number, np.int16),
        capture=np.full(n, frames.capture[0], np.int32),
        attack_names=frames.attack_names,
        capture_names=frames.capture_names,
    )
