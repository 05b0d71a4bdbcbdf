"""Vector's binary logs, BLF: objects of many kinds in compressed containers.

There is no public specification; sizes and fields are those that python-can's reader and writer use (can/io/blf.py),
and the contract tests hold what is read here against them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE
from credit_like.can.readers._base import DamagedFile, RecordReader
from credit_like.can.readers._numbers import DLC_LENGTHS, quotient
from credit_like.can.readers._rows import (
    BAD_DLC,
    BAD_HEADER,
    BAD_INTERFACE,
    BAD_TIME,
    DLC_DISAGREES,
    EVENT,
    GOOD,
    ID_TOO_LARGE,
    Rows,
)

#: Signature, header size, then from byte 16 the file's size.
_FILE_HEADER = struct.Struct("<4sI8xQ")
#: Signature, header size, header version, object size, object type.
_OBJECT_HEADER = struct.Struct("<4sHHII")
#: Compression method, size of the unpacked content.
_CONTAINER_HEADER = struct.Struct("<H6xI4x")

_CONTAINER, _STORED, _DEFLATED = 10, 0, 2
_CAN_MESSAGE, _CAN_ERROR, _CAN_ERROR_EXT, _CAN_MESSAGE_2, _CAN_FD, _CAN_FD_64 = 1, 2, 73, 86, 100, 101
_TEN_MICROSECONDS = 1

#: A container holds 128 KiB as a rule; larger ones than this, and larger objects, are taken for damage.
_MAX_BYTES = 64 << 20
#: Containers are unpacked until they make this much, so that a block is large enough.
_BLOCK = 1 << 20
_SMALLEST_OBJECT = 16


class BlfReader(RecordReader):
    """CAN messages (types 1, 86, 100 and 101) and error frames (2 and 73); times are seconds from the file's start.

    Objects of other types (markers, statistics, other kinds of bus) are passed over and counted. Channels become bus
    numbers in their order. A file that ends within an object, as after a power cut, gives what is whole in it. There
    are no labels. Not supported: the start date.
    """

    name = "blf"
    title = "Vector BLF"
    shape = "binary"
    magic = b"LOGG"

    def records(self, path: Path) -> Iterator[Rows]:
        left = b""
        with path.open("rb") as file:
            for data in _joined(self._unpacked(file)):
                data = left + data
                rows = Rows.allocate(len(data) // _SMALLEST_OBJECT + 1, 64)
                count, events, end, damaged = _parse(np.frombuffer(data, np.uint8), rows)
                if damaged:
                    raise DamagedFile("an object does not begin where the one before it ends")
                self.events += events
                left = data[end:]
                yield _narrowed(rows.take(slice(0, count)))
        if len(left.rstrip(b"\0")) and not self.cut:
            self.cut = "the file ends within an object"

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        """The content of one container, or of an object that is in none, after another."""
        size = os.fstat(file.fileno()).st_size
        head = file.read(_FILE_HEADER.size)
        if len(head) < _FILE_HEADER.size:
            raise DamagedFile("it ends within its header")
        _, header_size, file_size = _FILE_HEADER.unpack(head)
        if header_size < _FILE_HEADER.size:
            raise DamagedFile(f"its header says that it has {header_size} bytes")
        position = header_size
        while position < size:
            file.seek(position)
            head = file.read(_OBJECT_HEADER.size)
            if len(head) < _OBJECT_HEADER.size:
                break
            signature, _, _, object_size, kind = _OBJECT_HEADER.unpack(head)
            if signature != b"LOBJ" or not _SMALLEST_OBJECT <= object_size <= _MAX_BYTES:
                raise DamagedFile(f"no object begins at byte {position}")
            if position + object_size > size:
                break
            body = file.read(object_size - len(head))
            yield _content(body, position) if kind == _CONTAINER else head + body
            position += object_size + object_size % 4
        if position < size:
            self.cut = f"the file ends within the object that begins at byte {position}"
        elif file_size > size:
            self.cut = f"the file has {size} bytes, its header says {file_size}"


def _content(body: bytes, position: int) -> bytes:
    """What a container holds."""
    try:
        method, size = _CONTAINER_HEADER.unpack_from(body)
        if method == _STORED:
            return body[_CONTAINER_HEADER.size :]
        if method != _DEFLATED:
            raise DamagedFile(f"the container at byte {position} is packed by method {method}, which is not known")
        if size > _MAX_BYTES:
            raise DamagedFile(f"the container at byte {position} unpacks to {size} bytes, as none does")
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(body[_CONTAINER_HEADER.size :], size + 1)
    except (struct.error, zlib.error) as error:
        raise DamagedFile(f"the container at byte {position} cannot be unpacked: {error}") from error
    if len(content) != size or not unpacker.eof:
        raise DamagedFile(f"the container at byte {position} does not hold the {size} bytes that it says")
    return content


def _joined(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in larger pieces."""
    waiting: list[bytes] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= _BLOCK:
            yield b"".join(waiting)
            waiting.clear()
    if waiting:
        yield b"".join(waiting)


def _narrowed(rows: Rows) -> Rows:
    """Rows of 8 bytes where no CAN FD frame is among them."""
    if (rows.flags & FD).any():
        return rows
    return rows._replace(payload=np.ascontiguousarray(rows.payload[:, :8]))


@compiled_parser
def _parse(data, rows):
    """``(rows filled, other objects, position of the first object that is not whole, whether the chain is broken)``."""
    count = events = 0
    i = 0
    n = len(data)
    while True:
        begin = _next_object(data, i)
        if begin < 0:
            return count, events, i, begin == -2
        size = np.int64(_u32(data, begin + 8))
        if size < _SMALLEST_OBJECT or size > _MAX_BYTES:
            return count, events, i, True
        if begin + size > n:
            return count, events, i, False
        code = _parse_object(data[begin : begin + size], rows, count)
        if code == EVENT:
            events += 1
        else:
            rows.code[count] = code
            count += 1
        i = begin + size


@compiled_parser
def _next_object(data, i):
    """The position of the next object, which up to seven bytes of padding precede; -1 at the end, -2 without one."""
    for k in range(i, min(i + 8, len(data) - _SMALLEST_OBJECT + 1)):
        if data[k] == 76 and data[k + 1] == 79 and data[k + 2] == 66 and data[k + 3] == 74:  # LOBJ
            return k
    return -2 if i + 8 + _SMALLEST_OBJECT <= len(data) else -1


@compiled_parser
def _parse_object(data, rows, row):
    kind = _u32(data, 12)
    frame = kind in (_CAN_MESSAGE, _CAN_MESSAGE_2, _CAN_ERROR, _CAN_ERROR_EXT, _CAN_FD, _CAN_FD_64)
    if not frame:
        return EVENT
    version = _u16(data, 6)
    begin = 32 if version == 1 else 40
    if version not in (1, 2) or _u16(data, 4) != begin or len(data) < begin:
        return BAD_HEADER
    ticks = np.uint64(_u32(data, 28)) << np.uint64(32) | np.uint64(_u32(data, 24))
    if ticks >= np.uint64(10**18):
        return BAD_TIME
    rows.t[row] = quotient(np.int64(ticks), 5 if _u32(data, 16) == _TEN_MICROSECONDS else 9)
    rows.payload[row] = 0
    body = data[begin:]
    if kind in (_CAN_MESSAGE, _CAN_MESSAGE_2):
        return _parse_message(body, rows, row)
    if kind == _CAN_FD:
        return _parse_fd(body, rows, row)
    if kind == _CAN_FD_64:
        end = np.int64(body[35]) if len(body) >= 40 else 0
        return _parse_fd_64(body[: end - begin] if 0 < end - begin < len(body) else body, rows, row)
    return _parse_error(body, rows, row, kind == _CAN_ERROR_EXT)


@compiled_parser
def _parse_message(body, rows, row):
    """Channel u16, flags u8, length code u8, id u32, 8 bytes of data."""
    if len(body) < 16:
        return BAD_HEADER
    code = _set_address(_u16(body, 0), _u32(body, 4), rows, row)
    if code != GOOD:
        return code
    if body[3] > 15:
        return BAD_DLC
    _set_data(body, 8, min(8, body[3]), body[2] & 0x80 != 0, rows, row)
    return GOOD


@compiled_parser
def _parse_fd(body, rows, row):
    """Channel u16, flags u8, length code u8, id u32, 5 more bytes, flags of FD u8, length u8, 5 more, 64 of data."""
    if len(body) < 84:
        return BAD_HEADER
    code = _set_address(_u16(body, 0), _u32(body, 4), rows, row)
    if code != GOOD:
        return code
    return _set_fd(body, 20, body[3], body[14], body[13] & 1 != 0, body[2] & 0x80 != 0, rows, row)


@compiled_parser
def _parse_fd_64(body, rows, row):
    """Channel u8, length code u8, length u8, u8, id u32, u32, flags u32, 19 more bytes, u8: where in the object the
    data ends (0: with it), u32, then the data; bytes that are not there are 0.
    """
    if len(body) < 40:
        return BAD_HEADER
    code = _set_address(body[0], _u32(body, 4), rows, row)
    if code != GOOD:
        return code
    flags = _u32(body, 12)
    return _set_fd(body, 40, body[1], body[2], flags & 0x1000 != 0, flags & 0x10 != 0, rows, row)


@compiled_parser
def _parse_error(body, rows, row, extended_form):
    """Channel u16; in the longer form also, from byte 10, length code u8, u8, u32, id u32, 4 more bytes, 8 of data."""
    if len(body) < (32 if extended_form else 4):
        return BAD_HEADER
    channel = _u16(body, 0)
    if channel > 255:
        return BAD_INTERFACE
    rows.bus[row] = channel
    rows.flags[row] = ERROR
    if extended_form:
        number = _u32(body, 16)
        rows.id[row] = number & 0x1FFFFFFF
        if number & 0x80000000 or rows.id[row] > 0x7FF:
            rows.flags[row] |= EXTENDED
        if body[10] > 15:
            return BAD_DLC
        _set_data(body, 24, min(8, body[10]), False, rows, row)
    return GOOD


@compiled_parser
def _set_address(channel, number, rows, row):
    extended = number & 0x80000000 != 0
    value = number & 0x7FFFFFFF
    if channel > 255:
        return BAD_INTERFACE
    if value > (0x1FFFFFFF if extended else 0x7FF):
        return ID_TOO_LARGE
    rows.bus[row] = channel
    rows.id[row] = value
    rows.flags[row] = EXTENDED if extended else 0
    return GOOD


@compiled_parser
def _set_fd(body, begin, dlc, length, fd, remote, rows, row):
    if dlc > 15:
        return BAD_DLC
    if length != (DLC_LENGTHS[dlc] if fd else min(8, dlc)) and not remote:
        return DLC_DISAGREES
    if fd:
        rows.flags[row] |= FD
    _set_data(body, begin, length, remote, rows, row)
    return GOOD


@compiled_parser
def _set_data(body, begin, length, remote, rows, row):
    if remote:
        rows.flags[row] |= REMOTE
        length = 0
    rows.length[row] = length
    for k in range(min(length, len(body) - begin)):
        rows.payload[row, k] = body[begin + k]


@compiled_parser
def _u16(data, i):
    return np.uint32(data[i]) | np.uint32(data[i + 1]) << np.uint32(8)


@compiled_parser
def _u32(data, i):
    return _u16(data, i) | _u16(data, i + 2) << np.uint32(16)
