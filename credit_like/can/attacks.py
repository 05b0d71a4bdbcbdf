"""What can be injected into a capture: the attack's settings, and what the attacker sends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable
from credit_like.config import Settings, UserError

Family = Literal["dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade"]

#: The attack families that can be injected.
ATTACK_FAMILIES: tuple[str, ...] = get_args(Family)

_DEFAULT_PERIODS = {"dos": 0.3e-3, "fuzzing": 0.5e-3, "spoofing": 1e-3}
_DEFAULT_TARGETS = {"spoofing": 1, "replay": 3, "suspension": 1, "masquerade": 1}
#: A target chosen by seed has at least this many frames in the burst, else there would be nothing to find.
_TARGET_FRAMES = 8
#: ... and where its values matter, at least this share of its frames differs from the frame before.
_TARGET_CHANGES = 0.2


class AttackSpec(Settings):
    """One attack on one bus. Times are seconds from the capture's first frame; what is left out is chosen by seed."""

    family: Family = Field(
        description="dos: a flood that wins every arbitration; fuzzing: random ids and payloads; spoofing: frames of a "
        "real id between the true ones; replay: frames recorded earlier, sent again; suspension: an id falls silent; "
        "masquerade: an id's frames keep their times, their payload is the attacker's."
    )
    start: float = Field(ge=0, description="Seconds from the capture's first frame.")
    stop: float = Field(gt=0, description="Seconds from the capture's first frame; no attack frame ends later.")
    ids: tuple[int, ...] = Field(
        default=(),
        description="Arbitration ids to use, in turn. Above 0x7FF, or where the capture has it so, of 29 bits. Empty: "
        "0x000 for dos, random ones for fuzzing, else ids of the capture (three for replay, one otherwise).",
    )
    period: float | None = Field(
        default=None,
        gt=0,
        description="Seconds between two attack frames. null: 0.3 ms (dos), 0.5 ms (fuzzing), 1 ms (spoofing), the "
        "rates of the HCRL and can-train-and-test data sets. The others keep the capture's own times.",
    )
    payload: str | None = Field(
        default=None, pattern=r"^([0-9A-Fa-f]{2}){0,8}$", description="Hex digits of a payload that never changes."
    )
    values: Literal["fixed", "random", "plausible"] = Field(
        default="fixed",
        description="Payloads of spoofing and masquerade where none is given. fixed: one, drawn once; random: one a "
        "frame; both keep the bytes that are constant in the capture. plausible: what the same id sent at another "
        "time, in order, so that every value, counter and checksum is one that the id has had.",
    )
    lag: float = Field(default=4.0, gt=0, description="Replay: how many seconds earlier the frames were recorded.")
    bus: int = Field(default=0, ge=0, le=255, description="The bus that is attacked.")

    @field_validator("ids")
    @classmethod
    def _ids_fit(cls, ids: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [hex(id) for id in ids if not 0 <= id <= 0x1FFFFFFF]
        if wrong:
            raise ValueError(f"arbitration ids are 0 to 0x1FFFFFFF; got {', '.join(wrong)}")
        return ids

    @model_validator(mode="after")
    def _complete(self) -> AttackSpec:
        if self.stop <= self.start:
            raise ValueError(f"stop must be after start; got start {self.start} and stop {self.stop}")
        if self.period is not None and self.family not in _DEFAULT_PERIODS:
            raise ValueError(f"a {self.family} keeps the capture's own times; period has no meaning for it")
        if self.family == "replay" and self.lag > self.start:
            raise ValueError(
                f"a replay with lag {self.lag:g} s cannot start {self.start:g} s into the capture: the frames that it "
                f"would send again were not recorded; start at {self.lag:g} s or later, or give a shorter lag"
            )
        return self


@dataclass(frozen=True)
class AttackFrames:
    """``n`` frames that the attacker hands to its controller at ``ready``, seconds from the capture's first frame."""

    ready: NDArray[np.float64]
    id: NDArray[np.int32]
    flags: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    length: NDArray[np.uint8]


def resolve_attack(frames: FrameTable, attack: AttackSpec, seed: int) -> AttackSpec:
    """``attack`` with its target ids filled in, and found possible; the same seed makes the same choice.

    Targets are drawn among the ids with at least 8 frames in the burst, for spoofing and masquerade among those whose
    payload changes in at least a fifth of the frames.

    Raises:
        UserError: the burst leaves the capture or holds no frame of the bus, a target is absent or sends nothing that
            could be attacked, or the seed is negative.
    """
    if seed < 0:
        raise UserError(f"The injector needs a seed of at least 0; got {seed}.")
    rng = np.random.default_rng([seed, 0])
    rows = _burst(frames, attack)
    if attack.family == "dos":
        return attack.model_copy(update={"ids": attack.ids or (0,)})
    if attack.family == "fuzzing":
        return attack
    resolved = attack.model_copy(update={"ids": attack.ids or _choose_targets(frames, rows, attack, rng)})
    for id in resolved.ids:
        _key_of(frames, id, attack.bus)
    silent = not len(target_rows(frames, resolved)) and attack.family in ("suspension", "masquerade")
    if silent or (attack.family == "replay" and not len(_recorded_earlier(frames, resolved))):
        shift = attack.lag if attack.family == "replay" else 0.0
        raise UserError(
            f"{_names(resolved.ids)} sent nothing from {attack.start - shift:g} s to {attack.stop - shift:g} s, so "
            f"there is nothing for a {attack.family}. Make the burst longer or name another id."
        )
    return resolved


def attack_payloads(
    frames: FrameTable, attack: AttackSpec, id: int, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Payloads uint8[count, 8 or 64] and lengths uint8[count] of a resolved spoofing or masquerade of one id."""
    width = frames.payload.shape[1]
    if attack.payload is not None:
        return _constant(bytes.fromhex(attack.payload), count, width)
    own = _rows_of(frames, id, attack.bus)
    if attack.values == "random":
        like = own[rng.integers(len(own), size=count)]
        return _mutated(frames, own, like, rng), frames.length[like]
    if attack.values == "fixed":
        one = own[rng.integers(len(own), size=1)]
        return _constant(_mutated(frames, own, one, rng)[0, : frames.length[one[0]]].tobytes(), count, width)
    like = _other_moment(frames, own, attack, count, rng)
    return frames.payload[like].copy(), frames.length[like]


def attack_frames(frames: FrameTable, attack: AttackSpec, seed: int) -> AttackFrames:
    """What the attacker adds to the bus in a resolved dos, fuzzing, spoofing or replay."""
    rng = np.random.default_rng([seed, 1])
    if attack.family == "replay":
        again = frames[_recorded_earlier(frames, attack)]
        return AttackFrames(again.t - frames.t[0] + attack.lag, again.id, again.flags, again.payload, again.length)
    period = attack.period if attack.period is not None else _DEFAULT_PERIODS[attack.family]
    ready = np.arange(attack.start, attack.stop, period)
    ready = ready[ready < attack.stop]  # arange may round up to its end
    n = len(ready)
    width = frames.payload.shape[1]
    if attack.family == "spoofing":
        ids = np.resize(np.array(attack.ids, np.int32), n)
        payload, length = np.zeros((n, width), np.uint8), np.zeros(n, np.uint8)
        flags = np.zeros(n, np.uint8)
        for id in attack.ids:
            mine = ids == id
            payload[mine], length[mine] = attack_payloads(frames, attack, id, int(mine.sum()), rng)
            flags[mine] = frames.flags[_rows_of(frames, id, attack.bus)[0]] & (EXTENDED | FD)
        return AttackFrames(ready, ids, flags, payload, length)
    if attack.ids:
        ids = np.resize(np.array(attack.ids, np.int32), n)
        flags = np.where(ids > 0x7FF, EXTENDED, 0).astype(np.uint8)
    else:
        of_bus = frames.flags[frames.bus == attack.bus]
        long_ids = bool(np.mean(of_bus & EXTENDED != 0) > 0.5)
        ids = rng.integers(1 << (29 if long_ids else 11), size=n).astype(np.int32)
        flags = np.full(n, EXTENDED if long_ids else 0, np.uint8)
    if attack.payload is not None or attack.family == "dos":
        payload, length = _constant(bytes.fromhex(attack.payload or "00" * 8), n, width)
    else:
        payload, length = np.zeros((n, width), np.uint8), np.full(n, 8, np.uint8)
        payload[:, :8] = rng.integers(256, size=(n, 8))
    return AttackFrames(ready, ids, flags, payload, length)


def target_rows(frames: FrameTable, attack: AttackSpec) -> NDArray[np.intp]:
    """The rows of the targets of a resolved attack within its burst."""
    keys = [_key_of(frames, id, attack.bus) for id in attack.ids]
    rows = _burst(frames, attack)
    return rows[np.isin(frames.key[rows], keys)]


def _recorded_earlier(frames: FrameTable, attack: AttackSpec) -> NDArray[np.intp]:
    """The rows that a resolved replay sends again."""
    keys = [_key_of(frames, id, attack.bus) for id in attack.ids]
    again = frames.t - frames.t[0] + attack.lag
    chosen = (frames.bus == attack.bus) & np.isin(frames.key, keys)
    return np.flatnonzero(chosen & (again >= attack.start) & (again < attack.stop))


def _names(ids: Iterable[int]) -> str:
    return ", ".join(f"0x{id:03X}" for id in ids)


def _burst(frames: FrameTable, attack: AttackSpec) -> NDArray[np.intp]:
    if not len(frames):
        raise UserError("An attack needs a capture to be injected into; this one holds no frame.")
    seconds = frames.t - frames.t[0]
    if attack.stop > seconds[-1]:
        raise UserError(
            f"The {attack.family} from {attack.start:g} s to {attack.stop:g} s leaves the capture, which is "
            f"{seconds[-1]:.3f} s long; times count from its first frame."
        )
    rows = np.flatnonzero((frames.bus == attack.bus) & (seconds >= attack.start) & (seconds <= attack.stop))
    if not len(rows):
        raise UserError(
            f"Bus {attack.bus} carries no frame from {attack.start:g} s to {attack.stop:g} s, so there is nothing to "
            f"attack; the capture has bus {', '.join(map(str, np.unique(frames.bus)))}."
        )
    return rows


def _key_of(frames: FrameTable, id: int, bus: int) -> int:
    """The key of an id given as a number; the more frequent one where the bus has it with 11 and with 29 bits."""
    keys, counts = np.unique(frames.key[(frames.bus == bus) & (frames.id == id)], return_counts=True)
    if not len(keys):
        present = np.unique(frames.id[frames.bus == bus])
        near = present[np.argsort(np.abs(present - id), kind="stable")[:3]]
        raise UserError(
            f"Id 0x{id:03X} is not on bus {bus} of this capture, so it cannot be attacked; the nearest of its "
            f"{len(present)} ids are {_names(np.sort(near))}."
        )
    return int(keys[np.argmax(counts)])


def _rows_of(frames: FrameTable, id: int, bus: int) -> NDArray[np.intp]:
    """All data frames of an id that its own node sent."""
    own = (frames.bus == bus) & (frames.key == _key_of(frames, id, bus)) & (frames.label != 1)
    rows = np.flatnonzero(own & (frames.flags & (REMOTE | ERROR) == 0))
    if not len(rows):
        raise UserError(f"Id 0x{id:03X} carries no normal data frame whose values an attacker could take up.")
    return rows


def _choose_targets(
    frames: FrameTable, rows: NDArray[np.intp], attack: AttackSpec, rng: np.random.Generator
) -> tuple[int, ...]:
    usable = rows[(frames.flags[rows] & (REMOTE | ERROR) == 0) & (frames.label[rows] != 1)]
    order = usable[np.argsort(frames.key[usable], kind="stable")]
    same = frames.key[order][1:] == frames.key[order][:-1]
    changed = same & (frames.payload[order][1:] != frames.payload[order][:-1]).any(axis=1)
    keys, first, counts = np.unique(frames.key[order], return_index=True, return_counts=True)
    changes = np.add.reduceat(np.append(changed, False), first) if len(order) else counts
    least = _TARGET_CHANGES if attack.family in ("spoofing", "masquerade") else 0
    candidates = frames.id[order[first]][(counts >= _TARGET_FRAMES) & (changes >= least * counts)]
    wanted = _DEFAULT_TARGETS[attack.family]
    if len(candidates) < wanted:
        raise UserError(
            f"A {attack.family} from {attack.start:g} s to {attack.stop:g} s needs {wanted} id(s) that send at least "
            f"{_TARGET_FRAMES} data frames then{' and change their values' if least else ''}; {len(candidates)} of the "
            f"{len(keys)} ids do. Make the burst longer or name the ids."
        )
    return tuple(int(id) for id in np.sort(rng.choice(candidates, wanted, replace=False)))


def _constant(payload: bytes, count: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    data = np.frombuffer(payload, np.uint8)
    padded = np.pad(data, (0, width - len(data)))
    return np.tile(padded, (count, 1)), np.full(count, len(data), np.uint8)


def _mutated(
    frames: FrameTable, own: NDArray[np.intp], like: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Payloads of the rows ``like`` with every byte that varies among the rows ``own`` drawn anew."""
    payload = frames.payload[like].copy()
    varies = (frames.payload[own] != frames.payload[own[0]]).any(axis=0)
    varies |= ~varies.any() & (np.arange(payload.shape[1]) < frames.length[own[0]])
    payload[:, varies] = rng.integers(256, size=(len(like), int(varies.sum())))
    payload[np.arange(payload.shape[1]) >= frames.length[like][:, None]] = 0
    return payload


def _other_moment(
    frames: FrameTable, own: NDArray[np.intp], attack: AttackSpec, count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """``count`` rows of ``own``, one after the other from a random one on, round and round, without the burst's own."""
    seconds = frames.t[own] - frames.t[0]
    elsewhere = own[(seconds < attack.start) | (seconds > attack.stop)]
    if not len(elsewhere):
        raise UserError(
            f"Plausible values for 0x{frames.id[own[0]]:03X} are what it sent outside the burst, and it sent nothing "
            "there; give a payload, or values 'fixed' or 'random'."
        )
    return elsewhere[(int(rng.integers(len(elsewhere))) + np.arange(count)) % len(elsewhere)]
