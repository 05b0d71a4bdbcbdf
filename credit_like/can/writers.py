"""Log writers: a FrameTable as a text log that other tools read, and that our readers give back as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from credit_like.can._whole_file import whole_file
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable
from credit_like.config import UserError

#: Lines are built this many at a time, as rows of a byte matrix; more of them only cost memory.
_ROWS = 1 << 16
_UPPER, _LOWER = (np.frombuffer(digits, np.uint8) for digits in (b"0123456789ABCDEF", b"0123456789abcdef"))
_ERROR_BIT = 0x20000000  # CAN_ERR_FLAG of linux/can.h
_OTHER_PACKINGS = (".zip", ".zst", ".bz2", ".xz", ".7z")

_Bytes = NDArray[np.uint8]


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


#: The formats that can be written, by the name that their reader has.
WRITERS: dict[str, Callable[[FrameTable, str | Path], None]] = {
    "candump": write_candump,
    "can_train_and_test": write_ctt_csv,
    "hcrl_csv": write_hcrl_csv,
    "crysys": write_crysys,
}

#: Those whose lines have a place for the label.
LABELLED = ("can_train_and_test", "hcrl_csv", "crysys")


def _require_plain(frames: FrameTable, title: str) -> None:
    problems: dict[str, object] = {
        "several buses": len(np.unique(frames.bus)) > 1,
        "remote frames": (frames.flags & REMOTE).any(),
        "error frames": (frames.flags & ERROR).any(),
        "CAN FD frames": (frames.flags & FD).any() or (frames.length > 8).any(),
        "frames without a label": (frames.label < 0).any(),
    }
    _require(title, problems)


def _require(title: str, problems: Mapping[str, object]) -> None:
    found = [name for name, present in problems.items() if present]
    if found:
        raise UserError(f"{title} cannot hold {' and '.join(found)}; write candump instead, or leave those frames out.")


def _write(frames: FrameTable, path: Path, header: bytes, lines: Callable[[FrameTable], list[_Bytes]]) -> None:
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


def _candump_lines(frames: FrameTable) -> list[_Bytes]:
    n = len(frames)
    remote, fd = frames.flags & REMOTE != 0, frames.flags & FD != 0
    number = np.where(frames.flags & ERROR != 0, frames.id | _ERROR_BIT, frames.id)
    return [
        _text(b"(", n),
        _seconds(frames.t, padded=True),
        _text(b") can", n),
        _decimal(frames.bus.astype(np.int64), 3, padded=False),
        _text(b" ", n),
        _id(number, frames.flags & (EXTENDED | ERROR) != 0, 3, _UPPER),
        _text(b"#", n),
        _only(_text(b"#0", n), fd),
        _only(_text(b"R", n), remote),
        _only(_decimal(frames.length.astype(np.int64), 1, padded=True), remote & (frames.length > 0)),
        _payload(frames, b"", ~remote, _UPPER),
        _text(b"\n", n),
    ]


def _crysys_lines(frames: FrameTable) -> list[_Bytes]:
    attack = frames.label == 1
    return [
        *_candump_lines(frames)[:-1],
        _only(_text(b" 1\tFalse\n", len(frames)), attack),
        _only(_text(b" False\tFalse\n", len(frames)), ~attack),
    ]


def _ctt_lines(frames: FrameTable) -> list[_Bytes]:
    n = len(frames)
    return [
        _seconds(frames.t, padded=False),
        _text(b",", n),
        _id(frames.id, frames.flags & EXTENDED != 0, 3, _UPPER),
        _text(b",", n),
        _payload(frames, b"", np.ones(n, bool), _UPPER),
        _text(b",", n),
        _decimal((frames.label == 1).astype(np.int64), 1, padded=True),
        _text(b"\n", n),
    ]


def _hcrl_lines(frames: FrameTable) -> list[_Bytes]:
    n = len(frames)
    return [
        _seconds(frames.t, padded=False),
        _text(b",", n),
        _id(frames.id, frames.flags & EXTENDED != 0, 4, _LOWER),
        _text(b",", n),
        _decimal(frames.length.astype(np.int64), 1, padded=True),
        _payload(frames, b",", np.ones(n, bool), _LOWER),
        _text(b",", n),
        np.where(frames.label == 1, ord("T"), ord("R")).astype(np.uint8)[:, None],
        _text(b"\n", n),
    ]


def _text(text: bytes, n: int) -> _Bytes:
    return np.tile(np.frombuffer(text, np.uint8), (n, 1))


def _only(columns: _Bytes, where: NDArray[np.bool_]) -> _Bytes:
    return np.where(where[:, None], columns, np.uint8(0))


def _decimal(values: NDArray[np.int64], digits: int, padded: bool) -> _Bytes:
    """``digits`` decimal digits; without ``padded`` leading zeros are left out, the last digit never is."""
    powers = 10 ** np.arange(digits - 1, -1, -1)
    columns = (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)
    if not padded:
        columns[(values[:, None] < powers) & (powers > 1)] = 0
    return columns


def _seconds(t: NDArray[np.float64], padded: bool) -> _Bytes:
    micros = np.rint(t * 1e6).astype(np.int64)
    whole = _decimal(micros // 1_000_000, 10, padded)
    return np.concatenate([whole, _text(b".", len(t)), _decimal(micros % 1_000_000, 6, padded=True)], axis=1)


def _id(number: NDArray[np.int32], long: NDArray[np.bool_], digits: int, alphabet: _Bytes) -> _Bytes:
    """Eight hexadecimal digits where ``long``, else ``digits``."""
    columns = alphabet[number[:, None] >> (4 * np.arange(7, -1, -1)) & 0xF]
    columns[:, : 8 - digits] = _only(columns[:, : 8 - digits], long)
    return columns


def _payload(frames: FrameTable, separator: bytes, where: NDArray[np.bool_], alphabet: _Bytes) -> _Bytes:
    """Two hexadecimal digits a byte, each after ``separator``, of the bytes that are present; nothing where not."""
    n, width = frames.payload.shape
    pairs = alphabet[np.stack([frames.payload >> 4, frames.payload & 0xF], axis=2)]
    columns = np.concatenate([np.tile(np.frombuffer(separator, np.uint8), (n, width, 1)), pairs], axis=2)
    present = (np.arange(width) < frames.length[:, None]) & where[:, None]
    return np.where(present[:, :, None], columns, np.uint8(0)).reshape(n, -1)
