"""What the formats of can-utils share: interface names, and ids with the flags of linux/can.h."""

from __future__ import annotations

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import ERROR, EXTENDED
from credit_like.can.readers._numbers import read_hex
from credit_like.can.readers._rows import BAD_ID, GOOD, ID_TOO_LARGE

_INTERFACES, NAME_BYTES = 256, 16  # IFNAMSIZ of Linux: 15 letters and an end
_ERROR_BIT, _RESERVED_BITS, _ID_MASK = 0x20000000, 0xC0000000, 0x1FFFFFFF  # CAN_ERR_FLAG and others of linux/can.h


class Interfaces:
    """The interface names that a log has used so far; ``names`` and ``count`` are for :func:`interface_number`."""

    def __init__(self) -> None:
        self.names = np.zeros((_INTERFACES, NAME_BYTES), np.uint8)
        self.count = np.zeros(1, np.int64)

    def listed(self) -> list[str]:
        """The names in the order of their numbers."""
        return [name.tobytes().rstrip(b"\0").decode("ascii") for name in self.names[: self.count[0]]]


@compiled_parser
def interface_number(text, i, stop, names, count):
    """The number of the interface ``text[i:stop]`` by first appearance, entered where it is new; -1: no room."""
    size = stop - i
    for bus in range(count[0]):
        k = 0
        while k < size and names[bus, k] == text[i + k]:
            k += 1
        if k == size and names[bus, k] == 0:
            return bus
    if count[0] == len(names):
        return -1
    for k in range(size):
        names[count[0], k] = text[i + k]
    count[0] += 1
    return count[0] - 1


@compiled_parser
def skip_interface(text, i, stop):
    """The position after the interface name at ``i``; -1 where there is none or it is too long."""
    first = i
    while i < stop and _is_name_byte(text[i]):
        i += 1
    return i if first < i < first + NAME_BYTES else -1


@compiled_parser
def _is_name_byte(byte):
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 45 or byte == 46 or byte == 95


@compiled_parser
def read_can_id(text, i, stop):
    """``(code, id, flags, position after it)`` of three hexadecimal digits, or eight with the error bit in them."""
    value, digits, i = read_hex(text, i, stop)
    if digits != 3 and digits != 8:
        return BAD_ID, value, 0, i
    flags = 0
    if digits == 8:
        if value & _RESERVED_BITS:
            return ID_TOO_LARGE, value, 0, i
        flags = ERROR if value & _ERROR_BIT else EXTENDED
        value &= _ID_MASK
        if value > 0x7FF:
            flags |= EXTENDED
    elif value > 0x7FF:
        return ID_TOO_LARGE, value, 0, i
    return GOOD, value, flags, i
