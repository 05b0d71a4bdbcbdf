"""What CAN traffic looks like, in figures that do not depend on which ids a vehicle has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from credit_like.can import FrameTable, bus_load, frame_bits

#: An id with fewer frames says nothing of its period.
_FEW = 20

TIMING = (
    "frames a second",
    "bus load",
    "gap, 5 % quantile",
    "gap, median",
    "gap, 95 % quantile",
    "longest gap",
    "back to back",
    "shorter than the frame",
    "spread of back-to-back gaps",
    "jitter of an id",
    "median period of an id",
)
ORDER = (
    "ids",
    "id entropy",
    "share of the busiest id",
    "share of ids seen once",
    "transition entropy",
    "same id twice running",
    "lower id first in bursts",
)
PAYLOAD = (
    "mean length",
    "full length",
    "zero bytes",
    "0xFF bytes",
    "byte entropy",
    "bits set",
    "frames that differ from the id's last",
    "bytes that differ in those",
    "bits that differ in those",
    "constant bytes",
    "ids with a counter",
)
FEATURES = TIMING + ORDER + PAYLOAD


def capture_figures(frames: FrameTable, bitrate: int) -> dict[str, float]:
    """Figures of a whole capture of one bus; times in seconds, shares from 0 to 1, entropy in bits."""
    _, inverse, counts = np.unique(frames.key, return_inverse=True, return_counts=True)
    jitter, changes, constant, seen = [], [], [], []
    for number in np.flatnonzero(counts > _FEW):
        own = frames[inverse == number]
        gaps = np.diff(own.t)
        jitter.append(np.std(gaps) / np.median(gaps))
        changes.append((own.payload[1:] != own.payload[:-1]).any(axis=1).mean())
        present = int(own.length.min())
        constant.append(int((own.payload[:, :present] == own.payload[0, :present]).all(axis=0).sum()))
        seen.append((len(own), present))
    weights = np.array(seen, float)
    on_bus = frame_bits(frames)[1:] / bitrate
    gaps = np.diff(frames.t)
    return {
        "seconds": float(frames.t[-1] - frames.t[0]),
        "ids": len(counts),
        "frames a second": len(frames) / float(frames.t[-1] - frames.t[0]),
        "bus load": bus_load(frames, bitrate),
        "id entropy": _entropy(counts),
        "jitter": float(np.median(jitter)),
        "changing payloads": float(np.average(changes, weights=weights[:, 0])),
        "constant ids": float(np.mean(np.array(changes) == 0)),
        "constant bytes": float(np.sum(constant) / weights[:, 1].sum()),
        "back to back": float(np.mean(gaps < 1.5 * on_bus)),
        "shorter than the frame": float(np.mean(gaps < 0.95 * on_bus)),
        "longest gap": float(gaps.max()),
    }


def window_features(frames: FrameTable, bitrate: int) -> NDArray[np.float64]:
    """float64[29] of one window, in the order of ``FEATURES``."""
    return np.array(_timing(frames, bitrate) + _order(frames, bitrate) + _payload(frames))


def _timing(frames: FrameTable, bitrate: int) -> list[float]:
    gaps, on_bus = np.diff(frames.t), frame_bits(frames)[1:] / bitrate
    close = gaps < 1.5 * on_bus
    spread = float(np.std((gaps / on_bus)[close])) if close.any() else 0.0
    own_gaps = [np.diff(frames.t[frames.key == key]) for key in np.unique(frames.key)]
    own_gaps = [own for own in own_gaps if len(own) >= 3]
    jitter = [np.std(own) / max(np.median(own), 1e-6) for own in own_gaps] or [0.0]
    period = [np.median(own) for own in own_gaps] or [0.0]
    return [
        len(gaps) / gaps.sum(),
        float(on_bus.sum() / gaps.sum()),
        *np.quantile(gaps, [0.05, 0.5, 0.95]).tolist(),
        float(gaps.max()),
        float(close.mean()),
        float(np.mean(gaps < 0.95 * on_bus)),
        spread,
        float(np.median(jitter)),
        float(np.median(period)),
    ]


def _order(frames: FrameTable, bitrate: int) -> list[float]:
    _, inverse, counts = np.unique(frames.key, return_inverse=True, return_counts=True)
    pairs = np.unique(inverse[:-1] * len(counts) + inverse[1:], return_counts=True)[1]
    close = np.diff(frames.t) < 1.5 * frame_bits(frames)[1:] / bitrate
    ascending = np.diff(inverse) > 0
    return [
        len(counts),
        _entropy(counts),
        counts.max() / len(frames),
        float(np.mean(counts == 1)),
        _entropy(pairs),
        float(np.mean(np.diff(inverse) == 0)),
        float(ascending[close].mean()) if close.any() else 0.5,
    ]


def _payload(frames: FrameTable) -> list[float]:
    present = np.arange(frames.payload.shape[1]) < frames.length[:, None]
    data = frames.payload[present]
    order = np.argsort(frames.key, kind="stable")
    same = frames.key[order][1:] == frames.key[order][:-1]
    before, after = frames.payload[order][:-1][same], frames.payload[order][1:][same]
    owner = np.unique(frames.key[order][1:][same], return_inverse=True)[1]
    differ = before != after
    changed = differ.any(axis=1)
    bits = np.unpackbits(before ^ after, axis=1).sum(axis=1)
    # A counter: a nibble that went up by one, modulo 16, in every step that the window shows of an id.
    nibbles = [
        np.stack([side >> 4, side & 0xF], axis=2).reshape(len(side), 2 * side.shape[1]) for side in (before, after)
    ]
    steps = (nibbles[1] - nibbles[0]) & 0xF == 1
    ids = int(owner.max()) + 1 if len(owner) else 0
    several = np.bincount(owner, minlength=ids) >= 2
    counting = np.array([steps[owner == id].all(axis=0).any() for id in range(ids)], bool)
    touched = np.array([differ[owner == id].any(axis=0).sum() for id in range(ids)], float)
    lengths = np.array([frames.length[order][1:][same][owner == id].max() for id in range(ids)], float)
    return [
        float(frames.length.mean()),
        float(np.mean(frames.length == 8)),
        float(np.mean(data == 0)) if len(data) else 1.0,
        float(np.mean(data == 0xFF)) if len(data) else 0.0,
        _entropy(np.bincount(data)) if len(data) else 0.0,
        float(np.unpackbits(data).mean()) if len(data) else 0.0,
        float(changed.mean()) if len(changed) else 0.0,
        float(differ[changed].sum(axis=1).mean()) if changed.any() else 0.0,
        float(bits[changed].mean()) if changed.any() else 0.0,
        1.0 - float(touched.sum() / lengths.sum()) if lengths.sum() else 1.0,
        float(counting[several].mean()) if several.any() else 0.0,
    ]


def _entropy(counts: NDArray[np.int64]) -> float:
    """Bits."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
