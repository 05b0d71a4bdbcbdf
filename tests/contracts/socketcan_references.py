"""Plain references for the formats of can-utils."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.contracts.reference_parts import (
    ERROR,
    EVENT,
    EXTENDED,
    FD,
    FD_LENGTHS,
    HEX,
    REMOTE,
    TIME,
    TRUTH,
    WRONG_LABEL,
    Said,
    seconds_of,
)


def candump(line: bytes) -> Said:
    return _candump(line, labels=False)


def candump_labelled(line: bytes) -> Said:
    return _candump(line, labels=True)


def _candump(line: bytes, labels: bool) -> Said:
    tail = rb"[ \t]+(\w+)[ \t]+(\w+)" if labels else rb"(?: [RT])?()()"
    match = re.fullmatch(
        rb"\(%b\) [A-Za-z0-9._-]{1,15} +(%b{3}|%b{8})#(#%b|R[0-8]?)?((?:%b%b)*)%b" % (TIME, *[HEX] * 5, tail), line
    )
    if match is None:
        return None
    time, text, kind, data, label, shifted = match.groups()
    kind = kind or b""
    seconds, known, payload = seconds_of(time), _id(text), bytes.fromhex(data.decode())
    if seconds is None or known is None:
        return None
    value, flags = known
    if kind.startswith(b"#"):
        if flags & ERROR or len(payload) not in FD_LENGTHS:
            return None
        flags |= FD
    elif kind.startswith(b"R"):
        if payload:
            return None
        flags |= REMOTE
    elif len(payload) > 8:
        return None
    if labels and not (label in TRUTH and shifted in TRUTH):
        return WRONG_LABEL
    return seconds, value, flags, payload, max(TRUTH[label], TRUTH[shifted]) if labels else -1


class CandumpText:
    """The clock of the first frame (seconds, a date, none) is that of all."""

    def __init__(self) -> None:
        self._clock: str | None = None

    def __call__(self, line: bytes) -> Said:
        if line.startswith(b"\t"):
            return EVENT
        match = re.fullmatch(
            rb" *(?:\((?:%b|(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}))\)  *)?"
            rb"[A-Za-z0-9._-]{1,15}  *(?:[RT]X [-B] [-E]  *)?"
            rb"(%b{3}|%b{8}) *\[(\d{1,2})\](?: *(remote request)|((?: +%b%b)*))(.*)" % (TIME, *[HEX] * 4),
            line,
            re.DOTALL,
        )
        if match is None:
            return None
        time, date, text, digits, remote, data, rest = match.groups()
        clock = "seconds" if time else "date" if date else "none"
        seconds = seconds_of(time) if time else _date_seconds(date) if date else 0.0
        if seconds is None or self._clock not in (None, clock):
            return None
        known = _id(text)
        payload, fd = bytes.fromhex((data or b"").decode()), len(digits) == 2
        if known is None or int(digits) not in (FD_LENGTHS if fd else range(9)):
            return None
        value, flags = known
        if (fd and (remote or flags & ERROR)) or not (remote or len(payload) == int(digits)):
            return None
        shown = b"'%b'" % bytes(byte if 31 < byte < 127 else 46 for byte in payload)
        ends = [b"", *([] if remote else [shown]), *([b"ERRORFRAME"] if flags & ERROR else [])]
        ends += [b"ERRORFRAME" + shown] if flags & ERROR and not remote else []
        if (rest and not rest.startswith(b" ")) or re.sub(rb"^ +|(?<=ERRORFRAME) +", b"", rest, count=2) not in ends:
            return None
        self._clock = clock
        return seconds, value, flags | (REMOTE if remote else 0) | (FD if fd else 0), payload, -1


class Gaps:
    """Another format whose times are gaps; those of lines that are no frames count, where they can be read."""

    def __init__(self, reference: Callable[[bytes], Said], blanks: bytes = b"") -> None:
        self._reference, self._blanks, self._elapsed = reference, blanks, 0

    def __call__(self, line: bytes) -> Said:
        match = re.match(rb"%b\(%b\) " % (self._blanks, TIME), line)
        gap = (seconds_of(match[1]) or 0.0) if match else 0.0
        self._elapsed += round(gap * 1e9) if gap < 1e6 else 0
        said = self._reference(line)
        if isinstance(said, tuple):
            return None if said[0] >= 1e6 else (self._elapsed / 1e9, *said[1:])
        return said


def _id(text: bytes) -> tuple[int, int] | None:
    value = int(text, 16)
    if len(text) == 3:
        return (value, 0) if value <= 0x7FF else None
    if value & 0xC0000000:
        return None
    flags = ERROR if value & 0x20000000 else EXTENDED
    value &= 0x1FFFFFFF
    return value, flags | (EXTENDED if value > 0x7FF else 0)


def _date_seconds(text: bytes) -> float | None:
    try:
        moment = datetime.strptime(text.decode(), "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return micros / 1e6 if micros >= 0 and moment.year < 5138 else None
