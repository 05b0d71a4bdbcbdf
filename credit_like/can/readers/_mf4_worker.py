"""The part of the MDF reader that runs in a process of its own, because asammdf's compiled code can crash on damage.

Started as a script by ``_mf4_process.py``. Each line on stdin is the path of a file, and a folder for temporary files
that whoever asks removes afterwards: asammdf copies a file that its recorder did not finish, and leaves the copy where
it fails or crashes. The answer on stdout is a series of messages: a letter, the size of what follows (8 bytes,
little-endian), and that many bytes. ``F`` has frames (records of ``RECORD`` in the order of their times), ``.`` ends
the file (the number of bus events that are no CAN frames), ``E`` ends it with the reason why it cannot be read.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

RECORD = np.dtype(
    [
        ("t", "<f8"),
        ("id", "<u4"),
        ("channel", "<u2"),
        ("kind", "u1"),
        ("extended", "u1"),
        ("fd", "u1"),
        ("length", "u1"),
        ("data", "u1", 64),
    ]
)
DATA, ERROR, REMOTE = range(3)
HEADER = struct.Struct("<cQ")

#: Names of the bus events that are CAN frames (ASAM MDF 4, associated standard for bus logging), and their kinds.
_EVENTS = {"CAN_DataFrame": DATA, "CAN_ErrorFrame": ERROR, "CAN_RemoteFrame": REMOTE}
_BLOCK = 20_000

#: Memory that one file may take, in bytes, and in times its size; beyond it is a bomb.
_MEMORY, _MEMORY_PER_BYTE = 4 << 30, 64


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    for line in questions:
        try:
            events = 0
            path, tempfile.tempdir = json.loads(line)
            for block, events in _frames(path):  # noqa: B007 - the last count is the whole one
                _answer(answers, b"F", block.tobytes())
            _answer(answers, b".", str(events).encode())
        except Exception as error:  # noqa: BLE001 - a damaged file can make asammdf raise anything
            _answer(answers, b"E", f"{type(error).__name__}: {error}".encode())


def _answer(answers: BinaryIO, letter: bytes, content: bytes) -> None:
    answers.write(HEADER.pack(letter, len(content)) + content)
    answers.flush()


def _frames(path: str) -> Iterator[tuple[NDArray[Any], int]]:
    """The frames in blocks, by time, and how many other bus events there are."""
    from asammdf import MDF

    limit = _MEMORY + _MEMORY_PER_BYTE * os.path.getsize(path)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
    mdf: Any
    with MDF(path) as mdf:
        events = 0
        groups = []
        for number, group in enumerate(mdf.groups):
            if not group.channel_group.flags & 2 or not group.channel_group.cycles_nr:  # no bus event
                continue
            source = group.channel_group.acq_source
            names = {channel.name for channel in group.channels} & set(_EVENTS)
            if source is None or source.bus_type != 2 or len(names) != 1:  # no CAN
                events += group.channel_group.cycles_nr
                continue
            groups.append(_blocks(mdf, number, names.pop(), group.channel_group.cycles_nr))
        yield np.zeros(0, RECORD), events
        for block in merged(groups):
            yield block, events


def _blocks(mdf: Any, group: int, name: str, count: int) -> Iterator[NDArray[Any]]:
    last = 0.0
    for offset in range(0, count, _BLOCK):
        signal = mdf.get(name, group=group, record_offset=offset, record_count=_BLOCK, raw=False)
        samples = signal.samples
        records = np.zeros(len(signal.timestamps), RECORD)

        def field(part: str, default: Any = 0, samples: Any = samples) -> Any:
            known = f"{name}.{part}" in samples.dtype.names
            return samples[f"{name}.{part}"] if known else default

        steps = np.diff(signal.timestamps, prepend=last)
        if not (steps >= 0).all():  # nan neither
            raise ValueError(f"the times of {name} run backwards, or are none")
        last = float(signal.timestamps[-1])
        number = np.asarray(field("ID")).astype(np.int64)
        records["t"] = signal.timestamps
        records["id"] = number & 0x7FFFFFFF
        records["extended"] = np.asarray(field("IDE", (number & 0x7FFFFFFF) > 0x7FF)).astype(bool) | (number >> 31 > 0)
        records["channel"] = field("BusChannel")
        records["kind"] = _EVENTS[name]
        records["fd"] = np.asarray(field("EDL")).astype(bool)
        if _EVENTS[name] != REMOTE:
            length = np.asarray(field("DataLength")).astype(np.int64)
            data = np.atleast_2d(np.asarray(field("DataBytes", np.zeros((len(records), 0), np.uint8))))
            if data.dtype != np.uint8 or (length > min(64, data.shape[1])).any():
                raise ValueError(f"{name}.DataBytes has fewer bytes than DataLength says, or is no array of bytes")
            records["length"] = length
            width = min(64, data.shape[1])
            records["data"][:, :width] = np.where(np.arange(width) < length[:, None], data[:, :width], 0)
        yield records


def merged(groups: list[Iterator[NDArray[Any]]]) -> Iterator[NDArray[Any]]:
    """Several series of blocks, each in the order of its times, as one."""
    waiting = [next(group, None) for group in groups]
    while any(block is not None for block in waiting):
        last = [np.inf if block is None else block["t"][-1] for block in waiting]
        first = int(np.argmin(last))
        ready = []
        for number, block in enumerate(waiting):
            if block is None:
                continue
            count = len(block) if number == first else int(np.searchsorted(block["t"], last[first], "right"))
            ready.append(block[:count])
            waiting[number] = block[count:] if count < len(block) else next(groups[number], None)
        together = np.concatenate(ready)
        yield together[np.argsort(together["t"], kind="stable")] if len(ready) > 1 else together


if __name__ == "__main__":
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what asammdf prints is no answer
    main(sys.stdin.buffer, out)
