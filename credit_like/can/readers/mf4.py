"""MDF 4 files with bus logging (ASAM MDF 4.1), through the package asammdf."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE
from credit_like.can.metadata import Declared
from credit_like.can.readers import _mf4_worker as worker
from credit_like.can.readers._base import DamagedFile, Head, MissingExtra, RecordReader
from credit_like.can.readers._mf4_process import blocks_of
from credit_like.can.readers._numbers import FD_LENGTHS, TIME_LIMIT
from credit_like.can.readers._rows import (
    BAD_INTERFACE,
    BAD_TIME,
    ID_TOO_LARGE,
    PAYLOAD_TOO_LONG,
    Rows,
)
from credit_like.can.readers._stream import MAX_EXPANSION

#: Frames that a small file may hold, and bytes that a frame takes at least, where it is not packed beyond reason.
_FREE_FRAMES, _FRAME_BYTES = 1 << 22, 16

#: How a file begins that its recorder did not finish, as after a power cut. Some loggers finish none.
_UNFINISHED = b"UnFinMF 4"


class Mf4Reader(RecordReader):
    """Bus events ``CAN_DataFrame``, ``CAN_ErrorFrame`` and ``CAN_RemoteFrame``, merged by time; seconds from the start.

    Bus events of other kinds are passed over and counted, signals are not looked at. Channels become bus numbers in
    their order. There are no labels. What a recorder did not finish is finished in a copy. asammdf, which needs the
    extra ``mf4``, runs in a process of its own: a damaged file can crash it. Not supported: versions before 4, the
    start date.
    """

    name = "mf4"
    title = "MDF 4"
    shape = "binary"
    magic = b"MDF     4"

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        if head.data.startswith(_UNFINISHED):
            return 1.0, f"it begins with {_UNFINISHED.decode()!r}: its recorder did not finish it"
        return super().recognise(head, declared)

    def records(self, path: Path) -> Iterator[Rows]:
        if importlib.util.find_spec("asammdf") is None:
            raise MissingExtra("mf4")
        most = max(_FREE_FRAMES, MAX_EXPANSION * path.stat().st_size // _FRAME_BYTES)
        for block in blocks_of(path):
            if isinstance(block, int):
                self.events = block
                continue
            most -= len(block)
            if most < 0:
                raise DamagedFile("it unpacks to more frames than a file of its size can hold")
            yield _rows(block)


def _rows(block: NDArray[Any]) -> Rows:
    fd = block["fd"] != 0
    rows = Rows.allocate(len(block), 64 if fd.any() else 8)
    data, error, remote = (block["kind"] == kind for kind in (worker.DATA, worker.ERROR, worker.REMOTE))
    rows.t[:] = block["t"]
    rows.id[:] = block["id"] & 0x1FFFFFFF
    rows.flags[block["extended"] != 0] |= EXTENDED
    rows.flags[remote] |= REMOTE
    rows.flags[error] |= ERROR
    rows.flags[fd & ~error] |= FD
    rows.bus[:] = np.minimum(block["channel"], 255)
    rows.length[:] = block["length"]
    rows.payload[:] = block["data"][:, : rows.payload.shape[1]]
    limit = np.where(block["extended"] != 0, 0x1FFFFFFF, 0x7FF)
    long = block["length"] > np.where(fd, 64, 8)
    rows.code[long | ~FD_LENGTHS[np.minimum(block["length"], 64)]] = PAYLOAD_TOO_LONG
    rows.code[(block["id"] > limit) & (data | remote)] = ID_TOO_LARGE
    rows.code[block["channel"] > 255] = BAD_INTERFACE
    rows.code[~((block["t"] >= 0) & (block["t"] < TIME_LIMIT))] = BAD_TIME  # nan, too
    return rows
