"""Plain references for the text logs of PEAK and Vector, which begin by saying how they are to be read."""

from __future__ import annotations

import re

from tests.contracts.reference_parts import (
    ERROR,
    EVENT,
    EXTENDED,
    FD,
    FD_LENGTHS,
    HEX,
    NOTHING,
    REMOTE,
    TIME,
    Frame,
    Said,
    seconds_of,
)


def tokens_of(line: bytes) -> list[bytes]:
    return [token for token in line.split(b" ") if token]


def bytes_of(tokens: list[bytes], base: int = 16) -> bytes | None:
    if not all(re.fullmatch(rb"%b{2}" % HEX if base == 16 else rb"\d{1,3}", token) for token in tokens):
        return None
    values = [int(token, base) for token in tokens]
    return bytes(values) if max(values, default=0) < 256 else None


COLUMNS = {
    "1.0": "NOIlD",
    "1.1": "NOTIlD",
    "1.2": "NOBTIlD",
    "1.3": "NOBTIRLD",
    "2.0": "NOTIdlD",
    "2.1": "NOTBIdRLD",
}


class Trc:
    """One column after another; which they are depends on the version, or on what the file says of them."""

    def __init__(self) -> None:
        self._heading, self._version, self._columns = True, "1.0", "NOIlD"

    def __call__(self, line: bytes) -> Said:
        if line.startswith(b";"):
            self._obey(line.decode("latin-1"))
            return NOTHING
        self._heading = False
        columns = self._columns
        if not {"O", "I"} <= set(columns) or not {"l", "L"} & set(columns) or "D" in columns[:-1]:
            return None
        if not columns.isascii():
            return None
        try:
            return self._frame(columns.removesuffix("D"), tokens_of(line), self._version < "2")
        except (ValueError, IndexError):
            return None

    def _obey(self, line: str) -> None:
        name, equals, value = line.partition("=")
        if self._heading and equals and name.lower() == ";$fileversion":
            self._version = value.strip()
            self._columns = COLUMNS.get(self._version, "")
        elif self._heading and equals and name.lower() == ";$columns" and self._version in ("2.0", "2.1"):
            self._columns = value.replace(",", "").strip()

    def _frame(self, columns: str, tokens: list[bytes], first: bool) -> Said:
        time, flags, value, length = 0.0, 0, 0, 0
        for column, token in zip(columns, tokens, strict=False):
            follows = tokens[columns.index(column) + 1 :]
            if column == "N":
                require(re.fullmatch(rb"\d+\)" if first else rb"\d+", token))
            elif column == "O":
                require(re.fullmatch(TIME, token))
                time = number(seconds_of(token, 3))
            elif column == "B":
                require(re.fullmatch(rb"\d{1,3}", token) and 1 <= int(token) <= 255)
            elif column == "T":
                require(follows)
                if token in ((b"Warng",) if first else (b"ST", b"EC", b"EV")):
                    return EVENT
                kinds = {b"Rx": 0, b"Tx": 0, b"Error": ERROR}
                kinds = kinds if first else dict.fromkeys((b"FD", b"FB", b"FE", b"BI"), FD)
                kinds |= {} if first else {b"DT": 0, b"RR": REMOTE, b"ER": ERROR}
                require(token in kinds)
                flags |= kinds[token]
            elif column == "I" and not (token == b"-" and flags & ERROR):
                require(re.fullmatch(rb"%b{4}|%b{7,8}" % (HEX, HEX), token) and follows)
                value = int(token, 16)
                if value == 0xFFFFFFFF:
                    return EVENT
                require(value <= (0x7FF if len(token) == 4 else 0x1FFFFFFF))
                flags |= EXTENDED if len(token) > 4 else 0
            elif column == "l":
                require(re.fullmatch(rb"\d{1,2}", token) and int(token) in (FD_LENGTHS if flags & FD else range(9)))
                length = int(token)
            elif column == "L":
                require(re.fullmatch(rb"\d{1,2}", token))
                length = FD_LENGTHS[int(token)] if flags & FD else min(8, FD_LENGTHS[int(token)])
            elif column in "dR":
                require(token in ((b"Rx", b"Tx") if column == "d" else (b"-",)))
        require(len(tokens) >= len(columns))
        rest = tokens[len(columns) :]
        if first and rest[:1] == [b"RTR"]:
            flags |= REMOTE
            rest = rest[1:]
        payload = bytes_of(rest)
        require(payload is not None and len(payload) == (0 if flags & REMOTE else length))
        return time, value, flags, payload or b"", -1


class Asc:
    """One field after another; the header gives the base of the numbers and the kind of clock."""

    HEADINGS = re.compile(
        rb"//.*|(date|base) .*|(begin|end) triggerblock.*|previous log file:.*|(no )?internal events logged",
        re.IGNORECASE | re.DOTALL,
    )

    def __init__(self) -> None:
        self._heading, self._base, self._elapsed = True, 16, -1

    def __call__(self, line: bytes) -> Said:
        if self._heading and not re.match(rb"\s*\d", line):
            said = re.match(rb"base\s+(hex|dec)(\s+timestamps\s+relative)?", line, re.IGNORECASE)
            if said:
                self._base = 16 if said[1].lower() == b"hex" else 10
                self._elapsed = 0 if said[2] else -1
        else:
            self._heading = False
        if not line.lstrip(b" ")[:1].isdigit():
            return NOTHING if self.HEADINGS.fullmatch(line.lstrip(b" ")) else None
        tokens = tokens_of(line)
        time = seconds_of(tokens[0]) if re.fullmatch(TIME, tokens[0]) else None
        if time is None or len(tokens) < 2:
            return None
        far = self._elapsed >= 0 and time >= 1e6
        if self._elapsed >= 0:
            self._elapsed += 0 if far else round(time * 1e9)
            time = self._elapsed / 1e9
        try:
            said = self._event(tokens[1:])
        except (ValueError, IndexError):
            return None
        if isinstance(said, tuple):
            return None if far else (time, *said[1:])
        return said

    def _event(self, tokens: list[bytes]) -> Said:
        if tokens[0].lower() == b"canfd" and len(tokens) > 1:
            return self._fd(tokens[1:])
        if tokens[0][:1].isalpha():
            return EVENT
        self._channel(tokens)
        if tokens[1] == b"Statistic:" and len(tokens) > 2:
            return EVENT
        if tokens[1].lower() == b"errorframe":
            return 0.0, 0, ERROR, b"", -1
        value, flags = self._id(tokens[1])
        direction, kind, rest = tokens[2], tokens[3], tokens[4:]
        if direction == b"TxRq":
            return EVENT
        require(direction in (b"Rx", b"Tx") and kind in (b"d", b"r"))
        length = 0
        if kind == b"d" or (rest and not rest[0].startswith(b"L")):
            length = min(8, self._code(rest.pop(0)))
        if kind == b"r":
            flags, length = flags | REMOTE, 0
        payload, rest = bytes_of(rest[:length], self._base), rest[length:]
        require(payload is not None and len(payload) == length)
        require(not rest or (rest[0] == b"Length" and len(rest) > 1))
        return 0.0, value, flags, payload or b"", -1

    def _fd(self, tokens: list[bytes]) -> Said:
        self._channel(tokens)
        if tokens[1] == b"TxRq" and len(tokens) > 2:
            return EVENT
        require(tokens[1] in (b"Rx", b"Tx"))
        if tokens[2].lower() == b"errorframe":
            return 0.0, 0, ERROR, b"", -1
        value, flags = self._id(tokens[2])
        rest = tokens[3:] if tokens[3] in (b"0", b"1") else tokens[4:]
        require(rest[0] in (b"0", b"1") and rest[1] in (b"0", b"1"))
        code, count, rest = self._code(rest[2]), rest[3], rest[4:]
        require(re.fullmatch(rb"\d{1,2}", count) and int(count) in (FD_LENGTHS[code], 0))
        length = int(count)
        payload, rest = bytes_of(rest[:length], self._base), rest[length:]
        require(payload is not None and len(payload) == length)
        require(all(re.fullmatch(rb"%b{1,8}" % HEX, token) for token in rest))
        bits = int(rest[2], 16) if len(rest) > 2 else 0x1000
        require(bits & 0x1000 or length <= 8)
        remote = bits & 0x10 or (code > 0 and length == 0)
        flags |= (FD if bits & 0x1000 else 0) | (REMOTE if remote else 0)
        return 0.0, value, flags, b"" if remote else payload or b"", -1

    def _channel(self, tokens: list[bytes]) -> None:
        require(re.fullmatch(rb"\d{1,3}", tokens[0]) and 1 <= int(tokens[0]) <= 255 and len(tokens) > 1)

    def _id(self, token: bytes) -> tuple[int, int]:
        match = re.fullmatch((rb"(%b{1,8})(x?)" % HEX) if self._base == 16 else rb"(\d{1,9})(x?)", token)
        require(match)
        value, extended = int(match[1], self._base), bool(match[2])  # type: ignore[index]
        require(value <= (0x1FFFFFFF if extended else 0x7FF))
        return value, EXTENDED if extended else 0

    def _code(self, token: bytes) -> int:
        require(re.fullmatch(HEX if self._base == 16 else rb"\d{1,2}", token))
        return range(16)[int(token, self._base)]


def require(true: object) -> None:
    if not true:
        raise ValueError


def number(value: float | None) -> float:
    require(value is not None)
    return value or 0.0


__all__ = ["Asc", "Frame", "Trc"]
