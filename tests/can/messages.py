"""python-can messages of every kind, and what a FrameTable must hold to say the same."""

from __future__ import annotations

from collections.abc import Sequence

import can
import numpy as np

from credit_like.can import ERROR, EXTENDED, FD, REMOTE, FrameTable

_FD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)


def messages(count: int, seed: int) -> list[can.Message]:
    """Classic, CAN FD, remote and error frames with 11- and 29-bit ids on three channels; times in microseconds."""
    rng = np.random.default_rng(seed)
    made = []
    micros = 1_700_000_000_000_000
    for _ in range(count):
        micros += int(rng.integers(1, 5000))
        extended = bool(rng.random() < 0.3)
        kind = rng.choice(["data", "data", "data", "fd", "remote", "error"])
        options = {
            "timestamp": micros / 1e6,
            "arbitration_id": int(rng.integers(1 << (29 if extended else 11))),
            "is_extended_id": extended,
            "channel": int(rng.integers(3)),
            "is_rx": bool(rng.random() < 0.8),
        }
        if kind == "error":
            message = can.Message(is_error_frame=True, timestamp=micros / 1e6, channel=options["channel"])
        elif kind == "remote":
            message = can.Message(**options, is_remote_frame=True, dlc=int(rng.integers(9)))
        else:
            # A CAN FD frame without data looks like a remote frame in some of the formats.
            length = int(rng.choice(_FD_LENGTHS[1:])) if kind == "fd" else int(rng.integers(9))
            message = can.Message(**options, is_fd=kind == "fd", data=rng.bytes(length))
        made.append(message)
    return made


def assert_like_messages(frames: FrameTable, said: Sequence[can.Message], start: float = 0.0) -> None:
    """``frames`` hold what python-can's reader says; its times are later by ``start`` seconds."""
    assert len(frames) == len(said)
    assert np.abs(frames.t + start - [message.timestamp for message in said]).max() < 1e-6
    channels = [message.channel or 0 for message in said]
    assert frames.bus.tolist() == np.unique(channels, return_inverse=True)[1].tolist()
    for row, message in enumerate(said):
        flags = int(frames.flags[row])
        assert bool(flags & REMOTE) == message.is_remote_frame
        assert bool(flags & ERROR) == message.is_error_frame
        if message.is_error_frame:
            continue
        assert bool(flags & FD) == message.is_fd
        assert bool(flags & EXTENDED) == message.is_extended_id
        assert frames.id[row] == message.arbitration_id
        data = b"" if message.is_remote_frame else bytes(message.data)
        assert frames.payload[row, : frames.length[row]].tobytes() == data
