"""Log writers: a FrameTable as a text log that other tools read, and that our readers give back as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from credit_like.can._text_columns import (
    LOWER,
    UPPER,
    Bytes,
    bits,
    decimal,
    id_digits,
    milliseconds,
    only,
    payload_digits,
    seconds,
    text,
)
from credit_like.can._whole_file import whole_file
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable
from credit_like.can.readers._numbers import DLC_LENGTHS
from credit_like.config import UserError

#: Lines are built this many at a time, as rows of a byte matrix; more of them only cost memory.
_ROWS = 1 << 16
_ERROR_BIT = 0x20000000  # CAN_ERR_FLAG of linux/can.h
_OTHER_PACKINGS = (".zip", ".zst", ".bz2", ".xz", ".7z")


def write_candump(frames: FrameTable, path: str | Path) -> None:
    """Write ``candump -L`` lines, ``(1678840552.415482) can0 285#0000000000000D94``; bus k is ``can<k>``.

    29-bit ids have eight digits, error frames bit 0x20000000, remote frames ``#R``, FD frames ``##0`` (the flags that
    candump adds there, bit-rate switch and error state, are not known). Gzipped where ``path`` ends in ``.gz``. The
    file is whole or not there. Times are rounded to microseconds.

    Not kept, since the format has no place for them: labels, and the names of interfaces.

    Raises UserError when the file cannot be written, or time is negative; ValueError for frames of several captures.
    """
    _write(frames, Path(path), b"", _candump_lines)


def write_ctt_csv(frames: FrameTable, path: str | Path) -> None:
    """Write the CSV of can-train-and-test: ``timestamp,arbitration_id,data_field,attack`` with a header.

    Gzipped where ``path`` ends in ``.gz``; whole or not there; times rounded to microseconds. The format does not hold
    the attack family: ``injection_metadata.json`` beside it does.

    Raises UserError where the format cannot hold what the frames are (several buses, remote, error or FD frames, frames
    without labels), when the file cannot be written, or time is negative; ValueError for frames of several captures.
    """
    _require_plain(frames, "can-train-and-test CSV")
    _write(frames, Path(path), b"timestamp,arbitration_id,data_field,attack\n", _ctt_lines)


def write_hcrl_csv(frames: FrameTable, path: str | Path) -> None:
    """Write the CSV of the HCRL attack files: ``seconds,id,dlc,byte,...,R`` (normal) or ``T`` (injected), no header.

    Gzipped where ``path`` ends in ``.gz``; whole or not there; times rounded to microseconds. Raises as
    ``write_ctt_csv``.
    """
    _require_plain(frames, "HCRL CSV")
    _write(frames, Path(path), b"", _hcrl_lines)


def write_crysys(frames: FrameTable, path: str | Path) -> None:
    """Write ``candump -L`` lines with the two label columns of the CrySyS data set: changed by the attack (``1`` or
    ``False``), shifted in time (always ``False``).

    Whatever ``write_candump`` can hold, with its labels. Raises as that does, and UserError for frames without a label.
    """
    _require("candump with CrySyS labels", {"frames without a label": (frames.label < 0).any()})
    _write(frames, Path(path), b"", _crysys_lines)


def write_candump_text(frames: FrameTable, path: str | Path) -> None:
    """Write what ``candump -ta`` prints, ``(1678840552.415482)  can0  285   [8]  00 00 00 00 00 00 0D 94``.

    All that ``write_candump`` can hold; the same is lost. Raises as that does.
    """
    _write(frames, Path(path), b"", _candump_text_lines)


def write_hcrl_text(frames: FrameTable, path: str | Path) -> None:
    """Write the HCRL normal-run text, ``Timestamp: 1666123550.709434        ID: 0316    000    DLC: 7    5f ff ...``.

    One bus, classic frames, no labels; remote frames have ``100`` in place of ``000``. Raises as ``write_ctt_csv``.
    """
    _require("HCRL text", {"several buses": _several_buses(frames), **_beyond_classic(frames)})
    _write(frames, Path(path), b"", _hcrl_text_lines)


def write_daga(frames: FrameTable, path: str | Path) -> None:
    """Write the CSV of DAGA: ``timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY``, with the length in bits.

    29-bit ids have eight digits, others no leading zeros. Raises as ``write_ctt_csv``.
    """
    _require_plain(frames, "DAGA CSV")
    _write(frames, Path(path), b"timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY\n", _daga_lines)


def write_asc(frames: FrameTable, path: str | Path) -> None:
    """Write Vector's ASC, ``0.001000 1  123x  Rx   d 8 11 22 ...``; bus k is channel k + 1. No labels.

    Raises UserError for error and FD frames, and as ``write_candump``.
    """
    _require("Vector ASC", _beyond_classic(frames))
    _write(frames, Path(path), b"base hex  timestamps absolute\nno internal events logged\n", _asc_lines)


def write_trc(frames: FrameTable, path: str | Path) -> None:
    """Write a PCAN trace of version 2.1; bus k is bus k + 1. No labels.

    Raises UserError for error frames, and as ``write_candump``.
    """
    _require("a PCAN trace", {"error frames": (frames.flags & ERROR).any()})
    written = 0

    def lines(part: FrameTable) -> list[Bytes]:
        nonlocal written
        written += len(part)
        return _trc_lines(part, np.arange(written - len(part), written) + 1)

    _write(frames, Path(path), b";$FILEVERSION=2.1\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n", lines)


#: The formats that can be written, by the name that their reader has.
WRITERS: dict[str, Callable[[FrameTable, str | Path], None]] = {
    "candump": write_candump,
    "can_train_and_test": write_ctt_csv,
    "hcrl_csv": write_hcrl_csv,
    "crysys": write_crysys,
    "daga": write_daga,
    "candump_text": write_candump_text,
    "hcrl_text": write_hcrl_text,
    "asc": write_asc,
    "trc": write_trc,
}

#: Those whose lines have a place for the label.
LABELLED = ("can_train_and_test", "hcrl_csv", "crysys", "daga")


def _require_plain(frames: FrameTable, title: str) -> None:
    problems: dict[str, object] = {
        "several buses": _several_buses(frames),
        "remote frames": (frames.flags & REMOTE).any(),
        **_beyond_classic(frames),
        "frames without a label": (frames.label < 0).any(),
    }
    _require(title, problems)


def _several_buses(frames: FrameTable) -> bool:
    return len(np.unique(frames.bus)) > 1


def _beyond_classic(frames: FrameTable) -> dict[str, object]:
    return {
        "error frames": (frames.flags & ERROR).any(),
        "CAN FD frames": (frames.flags & FD).any() or (frames.length > 8).any(),
    }


def _require(title: str, problems: Mapping[str, object]) -> None:
    found = [name for name, present in problems.items() if present]
    if found:
        raise UserError(f"{title} cannot hold {' and '.join(found)}; write candump instead, or leave those frames out.")


def _write(frames: FrameTable, path: Path, header: bytes, lines: Callable[[FrameTable], list[Bytes]]) -> None:
    if len(np.unique(frames.capture)) > 1:
        raise ValueError("a log holds one capture; write each to its own file")
    if len(frames) and frames.t[0] < 0:
        raise UserError(f"{path}: a log cannot hold the time {frames.t[0]:g} s; shift the frames' times to 0 or later.")
    if path.suffix.lower() in _OTHER_PACKINGS:
        raise UserError(f"{path}: logs are written plain or with gzip, not as {path.suffix}; end the name in .gz.")
    with whole_file(path) as file:
        file.write(header)
        for first in range(0, len(frames), _ROWS):
            # Columns that a line does not have are zero bytes, which no text holds.
            matrix = np.concatenate(lines(frames[first : first + _ROWS]), axis=1)
            file.write(matrix[matrix != 0].tobytes())


def _candump_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    remote, fd = frames.flags & REMOTE != 0, frames.flags & FD != 0
    number = np.where(frames.flags & ERROR != 0, frames.id | _ERROR_BIT, frames.id)
    return [
        text(b"(", n),
        seconds(frames.t, padded=True),
        text(b") can", n),
        decimal(frames.bus.astype(np.int64), 3, padded=False),
        text(b" ", n),
        id_digits(number, frames.flags & (EXTENDED | ERROR) != 0, 3, UPPER),
        text(b"#", n),
        only(text(b"#0", n), fd),
        only(text(b"R", n), remote),
        only(decimal(frames.length.astype(np.int64), 1, padded=True), remote & (frames.length > 0)),
        payload_digits(frames, b"", ~remote, UPPER),
        text(b"\n", n),
    ]


def _crysys_lines(frames: FrameTable) -> list[Bytes]:
    attack = frames.label == 1
    return [
        *_candump_lines(frames)[:-1],
        only(text(b" 1\tFalse\n", len(frames)), attack),
        only(text(b" False\tFalse\n", len(frames)), ~attack),
    ]


def _ctt_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    return [
        seconds(frames.t, padded=False),
        text(b",", n),
        id_digits(frames.id, frames.flags & EXTENDED != 0, 3, UPPER),
        text(b",", n),
        payload_digits(frames, b"", np.ones(n, bool), UPPER),
        text(b",", n),
        decimal((frames.label == 1).astype(np.int64), 1, padded=True),
        text(b"\n", n),
    ]


def _hcrl_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    return [
        seconds(frames.t, padded=False),
        text(b",", n),
        id_digits(frames.id, frames.flags & EXTENDED != 0, 4, LOWER),
        text(b",", n),
        decimal(frames.length.astype(np.int64), 1, padded=True),
        payload_digits(frames, b",", np.ones(n, bool), LOWER),
        text(b",", n),
        np.where(frames.label == 1, ord("T"), ord("R")).astype(np.uint8)[:, None],
        text(b"\n", n),
    ]


def _candump_text_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    remote, fd, error = (frames.flags & flag != 0 for flag in (REMOTE, FD, ERROR))
    number = np.where(error, frames.id | _ERROR_BIT, frames.id)
    length = frames.length.astype(np.int64)
    return [
        text(b" (", n),
        seconds(frames.t, padded=True),
        text(b")  can", n),
        decimal(frames.bus.astype(np.int64), 3, padded=False),
        text(b"  ", n),
        id_digits(number, frames.flags & (EXTENDED | ERROR) != 0, 3, UPPER),
        text(b"   [", n),
        only(decimal(length, 1, padded=True), ~fd),
        only(decimal(length, 2, padded=True), fd),
        text(b"] ", n),
        only(text(b" remote request", n), remote),
        payload_digits(frames, b" ", ~remote, UPPER),
        only(text(b"   ERRORFRAME", n), error),
        text(b"\n", n),
    ]


def _hcrl_text_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    remote = frames.flags & REMOTE != 0
    return [
        text(b"Timestamp: ", n),
        seconds(frames.t, padded=True),
        text(b"        ID: ", n),
        id_digits(frames.id, frames.flags & EXTENDED != 0, 4, LOWER),
        np.where(remote[:, None], text(b"    100", n), text(b"    000", n)),
        text(b"    DLC: ", n),
        decimal(frames.length.astype(np.int64), 1, padded=True),
        text(b"   ", n),
        payload_digits(frames, b" ", np.ones(n, bool), LOWER),
        text(b"\n", n),
    ]


def _daga_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    long = frames.flags & EXTENDED != 0
    id = id_digits(frames.id, np.ones(n, bool), 8, UPPER)
    leading = (np.cumsum(id != ord("0"), axis=1) == 0) & ~long[:, None]
    leading[:, -1] = False
    attack = frames.label == 1
    return [
        seconds(frames.t, padded=False),
        text(b",", n),
        np.where(leading, np.uint8(0), id),
        text(b",", n),
        decimal(frames.length.astype(np.int64) * 8, 2, padded=False),
        text(b",", n),
        payload_digits(frames, b"", np.ones(n, bool), UPPER),
        text(b",", n),
        bits(frames),
        only(text(b",True\n", n), attack),
        only(text(b",False\n", n), ~attack),
    ]


def _asc_lines(frames: FrameTable) -> list[Bytes]:
    n = len(frames)
    remote = frames.flags & REMOTE != 0
    return [
        text(b"   ", n),
        seconds(frames.t, padded=False),
        text(b" ", n),
        decimal(frames.bus.astype(np.int64) + 1, 3, padded=False),
        text(b"  ", n),
        id_digits(frames.id, frames.flags & EXTENDED != 0, 3, UPPER),
        only(text(b"x", n), frames.flags & EXTENDED != 0),
        text(b"  Rx   ", n),
        only(text(b"r", n), remote),
        only(text(b"d ", n), ~remote),
        only(decimal(frames.length.astype(np.int64), 1, padded=True), ~remote),
        payload_digits(frames, b" ", ~remote, UPPER),
        text(b"\n", n),
    ]


def _trc_lines(frames: FrameTable, number: NDArray[np.int64]) -> list[Bytes]:
    n = len(frames)
    remote, fd = frames.flags & REMOTE != 0, frames.flags & FD != 0
    kind = np.where(fd[:, None], text(b" FD ", n), np.where(remote[:, None], text(b" RR ", n), text(b" DT ", n)))
    return [
        decimal(number, 10, padded=False),
        text(b" ", n),
        milliseconds(frames.t),
        kind,
        decimal(frames.bus.astype(np.int64) + 1, 3, padded=False),
        text(b" ", n),
        id_digits(frames.id, frames.flags & EXTENDED != 0, 4, UPPER),
        text(b" Rx - ", n),
        decimal(np.searchsorted(DLC_LENGTHS, frames.length).astype(np.int64), 2, padded=False),
        payload_digits(frames, b" ", ~remote, UPPER),
        text(b"\n", n),
    ]
