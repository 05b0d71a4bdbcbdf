"""What a parser fills: one row a line, and for every line that is not a frame the reason why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GOOD = 0
BAD_TIME = 1
BAD_INTERFACE = 2
BAD_ID = 3
ID_TOO_LARGE = 4
BAD_PAYLOAD = 5
PAYLOAD_TOO_LONG = 6
BAD_DLC = 7
DLC_DISAGREES = 8
BAD_LABEL = 9
TRAILING_TEXT = 10
MISSING_FIELD = 11
LINE_TOO_LONG = 12
COLUMNS_DISAGREE = 13
BAD_FLAGS = 14
NO_LINE_END = 15
BAD_HEADER = 16
#: Not a fault: the frame is CAN FD and needs rows of 64 bytes; the lines are parsed again with those.
NEEDS_FD = 100
#: Not a fault: the line is a comment, which this format allows.
COMMENT = 101
#: Not a fault: the line tells of something else than a frame (the state of a controller, another kind of bus).
EVENT = 102

REASONS = {
    BAD_TIME: "the time is not a plain number of seconds, from 0 to 1e11 (the year 5138)",
    BAD_INTERFACE: "the interface is not a name of at most 15 letters and digits, not a number up to 255, or one more "
    "than 256",
    BAD_ID: "the arbitration id is not a hexadecimal number of the expected number of digits",
    ID_TOO_LARGE: "the arbitration id does not fit 11 or 29 bits",
    BAD_PAYLOAD: "the payload is not whole bytes of two hexadecimal digits each",
    PAYLOAD_TOO_LONG: "a frame cannot hold that many payload bytes (0 to 8; CAN FD also 12, 16, 20, 24, 32, 48, 64)",
    BAD_DLC: "the payload length is not a number in range",
    DLC_DISAGREES: "the payload has not as many bytes as its length field says",
    BAD_LABEL: "the label is not one that this format knows",
    TRAILING_TEXT: "there is text after the end of the frame",
    MISSING_FIELD: "a field is missing or is not separated as this format does it",
    LINE_TOO_LONG: "the line is longer than any frame (4096 bytes)",
    COLUMNS_DISAGREE: "two columns that repeat each other disagree",
    BAD_FLAGS: "the frame type or flags are not known",
    BAD_HEADER: "the record's own header, or its size, is not what its type has",
    NO_LINE_END: "the last line has no line end, so that the frame may be cut short",
}


class Rows(NamedTuple):
    """Columns of ``n`` lines as in :class:`credit_like.can.FrameTable`, and ``code`` uint8[n], a key of ``REASONS``.

    Where ``code`` is not ``GOOD`` the other columns hold nothing of use. A NamedTuple, because numba takes those.
    """

    t: NDArray[np.float64]
    id: NDArray[np.int32]
    flags: NDArray[np.uint8]
    bus: NDArray[np.uint8]
    length: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    label: NDArray[np.int8]
    code: NDArray[np.uint8]

    @staticmethod
    def allocate(n: int, payload_width: int = 8) -> Rows:
        """``n`` rows of zeros (label -1: not labelled), to be filled."""
        return Rows(
            t=np.zeros(n, np.float64),
            id=np.zeros(n, np.int32),
            flags=np.zeros(n, np.uint8),
            bus=np.zeros(n, np.uint8),
            length=np.zeros(n, np.uint8),
            payload=np.zeros((n, payload_width), np.uint8),
            label=np.full(n, -1, np.int8),
            code=np.zeros(n, np.uint8),
        )

    def take(self, rows: slice | NDArray[np.bool_]) -> Rows:
        """The rows of a slice, or where a mask is true."""
        return Rows._make(column[rows] for column in self)
