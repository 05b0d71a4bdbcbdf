"""What a capture holds, counted while it is read in blocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from credit_like.can.arbitration import frame_bits
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable

#: Time is divided in at most this many slices; where that is not enough, two of them become one.
_SLICES = 4096
_FIRST_SLICE = 1e-3


@dataclass
class IdCount:
    """One arbitration id on one bus: frames, payload bytes, and the first and last time, in seconds."""

    frames: int
    payload_bytes: int
    first: float
    last: float

    @property
    def period(self) -> float:
        """Mean seconds between two frames; 0 where there is one."""
        return (self.last - self.first) / (self.frames - 1) if self.frames > 1 else 0.0


@dataclass
class Survey:
    """Figures of one capture; complete after its last block was added. Memory does not grow with the capture.

    ``ids`` are by (bus, key), with the key of ``FrameTable``; ``bits`` are bits on the bus by bus (``frame_bits``);
    ``kinds`` are frames by word (``data``, ``remote``, ``error``, ``FD``); ``labels`` are frames by -1, 0, 1;
    ``attacks`` are attack frames by family; ``gap`` is the longest time without a frame, ``gap_start`` when it began.
    """

    frames: int = 0
    start: float = 0.0
    stop: float = 0.0
    gap: float = 0.0
    gap_start: float = 0.0
    shortest: int = 64
    longest: int = 0
    ids: dict[tuple[int, int], IdCount] = field(default_factory=dict)
    bits: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[int] = field(default_factory=Counter)
    attacks: Counter[str] = field(default_factory=Counter)
    _width: float = _FIRST_SLICE
    _slices: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_SLICES, np.int64))

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return self.stop - self.start

    def add(self, frames: FrameTable) -> None:
        """The next frames of the capture."""
        if not len(frames):
            return
        first = not self.frames
        self.start = float(frames.t[0]) if first else self.start
        steps = np.diff(frames.t, prepend=frames.t[0] if first else self.stop)
        longest = int(np.argmax(steps))
        if steps[longest] > self.gap:
            self.gap, self.gap_start = float(steps[longest]), float(frames.t[longest] - steps[longest])
        self.stop = float(frames.t[-1])
        self.frames += len(frames)
        self.shortest = min(self.shortest, int(frames.length.min()))
        self.longest = max(self.longest, int(frames.length.max()))
        self._count_kinds(frames)
        self._count_ids(frames)
        self._count_over_time(frames.t)
        for label, count in zip(*np.unique(frames.label, return_counts=True), strict=True):
            self.labels[int(label)] += int(count)
        families = np.bincount(frames.attack[frames.label == 1], minlength=len(frames.attack_names))
        self.attacks.update({n: int(c) for n, c in zip(frames.attack_names, families, strict=True) if c})

    def load(self, bus: int, bitrate: int) -> float:
        """Share of the time for which frames held this bus at ``bitrate`` bit/s; 0 where no time passed."""
        return self.bits[bus] / bitrate / self.seconds if self.seconds > 0 else 0.0

    def rate_over_time(self, columns: int) -> NDArray[np.float64]:
        """float64[columns]: frames a second in as many equal parts of the capture; of zeros where no time passed."""
        if self.seconds <= 0:
            return np.zeros(columns)
        edges = np.arange(_SLICES + 1) * self._width
        total = np.concatenate(([0], np.cumsum(self._slices)))
        at = np.interp(np.linspace(0, self.seconds, columns + 1), edges, total)
        at[-1] = self.frames
        return np.diff(at) / (self.seconds / columns)

    def _count_kinds(self, frames: FrameTable) -> None:
        remote, error, fd = (frames.flags & flag != 0 for flag in (REMOTE, ERROR, FD))
        kinds = {"remote": remote, "error": error, "FD": fd, "data": ~(remote | error | fd)}
        self.kinds.update({kind: int(mask.sum()) for kind, mask in kinds.items() if mask.any()})
        bits = np.bincount(frames.bus, weights=frame_bits(frames))
        self.bits.update({int(bus): int(bits[bus]) for bus in np.flatnonzero(bits)})

    def _count_ids(self, frames: FrameTable) -> None:
        real = frames.flags & ERROR == 0  # the id of an error frame says which error it was, not who sent it
        key = (frames.bus.astype(np.int64) << 33 | frames.key)[real]
        keys, first, inverse, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        last = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
        size = np.bincount(inverse, weights=frames.length[real], minlength=len(keys))
        t = frames.t[real]
        for row, whole in enumerate(keys.tolist()):
            name = whole >> 33, whole & (1 << 33) - 1
            known = self.ids.setdefault(name, IdCount(0, 0, float(t[first[row]]), 0.0))
            known.frames += int(counts[row])
            known.payload_bytes += int(size[row])
            known.last = float(t[last[row]])

    def _count_over_time(self, t: NDArray[np.float64]) -> None:
        while (self.stop - self.start) / self._width >= _SLICES:
            merged = self._slices.reshape(-1, 2).sum(axis=1)
            self._slices = np.concatenate((merged, np.zeros(_SLICES - len(merged), np.int64)))
            self._width *= 2
        self._slices += np.bincount(((t - self.start) / self._width).astype(np.int64), minlength=_SLICES)


def is_extended(key: int) -> bool:
    """Whether a key of ``FrameTable`` is of 29 bits."""
    return bool(key >> 32 & EXTENDED)
