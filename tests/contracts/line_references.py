"""Slow, plain references: what one line of each log format means, written with regular expressions and ``float``.

``REFERENCES[reader](line)`` gives (time, id, flags, length, payload bytes, label) for a frame, ``WRONG_LABEL`` where
only the label is not known, ``NOTHING`` for lines that need not be frames, and None for every other line.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Frame = tuple[float, int, int, bytes, int]

EXTENDED, REMOTE, ERROR, FD = 1, 2, 4, 8
WRONG_LABEL, NOTHING = "wrong label", "nothing"
TIME = rb"(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)"
HEX = rb"[0-9A-Fa-f]"
TRUTH = {b"1": 1, b"True": 1, b"TRUE": 1, b"0": 0, b"False": 0, b"FALSE": 0}


def _seconds(text: bytes, shift: int = 0) -> float | None:
    """The float nearest to the first 18 digits; None at 1e11 s and above."""
    mantissa, _, exponent = text.lower().partition(b"e")
    leading = len(mantissa) - len(mantissa.lstrip(b"0."))
    kept = leading + 18 + (b"." in mantissa[leading:])
    mantissa = mantissa[:kept] + re.sub(rb"\d", b"0", mantissa[kept:])
    value = float(b"%be%d" % (mantissa, int(exponent or 0) - shift))
    return value if value < 1e11 else None


def _id(text: bytes) -> tuple[int, int] | None:
    value = int(text, 16)
    if len(text) > 8 or value > 0x1FFFFFFF:
        return None
    return value, EXTENDED if len(text) == 8 or value > 0x7FF else 0


def _candump(line: bytes, labels: bool) -> Frame | str | None:
    tail = rb"[ \t]+(\w+)[ \t]+(\w+)" if labels else rb"(?: [RT])?()()"
    match = re.fullmatch(
        rb"\(%b\) [A-Za-z0-9._-]{1,15} +(%b{3}|%b{8})#(#%b|R[0-8]?)?((?:%b%b)*)%b" % (TIME, *[HEX] * 5, tail), line
    )
    if match is None:
        return None
    time, text, kind, data, label, shifted = match.groups()
    kind = kind or b""
    seconds, value, payload = _seconds(time), int(text, 16), bytes.fromhex(data.decode())
    if seconds is None:
        return None
    flags = EXTENDED if len(text) == 8 else 0
    if len(text) == 8:
        if value & 0xC0000000:
            return None
        if value & 0x20000000:
            value &= 0x1FFFFFFF
            flags = ERROR | (EXTENDED if value > 0x7FF else 0)
    elif value > 0x7FF:
        return None
    if kind.startswith(b"#"):
        if flags & ERROR or len(payload) not in (*range(9), 12, 16, 20, 24, 32, 48, 64):
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


def _ctt(line: bytes) -> Frame | str | None:
    match = re.fullmatch(rb"%b,(%b{1,8}),((?:%b%b){0,8}),(\w+)" % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := _seconds(match[1])) is None or (known := _id(match[2])) is None:
        return None
    if match[4] not in (b"0", b"1"):
        return WRONG_LABEL
    return seconds, *known, bytes.fromhex(match[3].decode()), int(match[4])


def _hcrl_csv(line: bytes) -> Frame | str | None:
    match = re.fullmatch(rb"%b,(%b{1,8}),([0-8])((?:,%b%b)*),(\w+)" % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := _seconds(match[1])) is None or (known := _id(match[2])) is None:
        return None
    payload = bytes.fromhex(match[4].replace(b",", b"").decode())
    if len(payload) != int(match[3]):
        return None
    return WRONG_LABEL if match[5] not in (b"R", b"T") else (seconds, *known, payload, int(match[5] == b"T"))


def _hcrl_text(line: bytes) -> Frame | None:
    pattern = rb"Timestamp:  *%b *ID:  *(%b{1,8})  *([01])00  *DLC:  *([0-8])((?: +%b%b)*)"
    match = re.fullmatch(pattern % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := _seconds(match[1])) is None or (known := _id(match[2])) is None:
        return None
    payload = bytes.fromhex(match[5].decode())
    if len(payload) != int(match[4]):
        return None
    return seconds, known[0], known[1] | (REMOTE if match[3] == b"1" else 0), payload, -1


def _daga(line: bytes) -> Frame | str | None:
    match = re.fullmatch(rb"%b,(%b{1,8}),(\d{1,2}),(%b*),([01]*),(\w+)" % (TIME, *[HEX] * 2), line)
    if match is None or (seconds := _seconds(match[1])) is None or (known := _id(match[2])) is None:
        return None
    bits, text, binary = int(match[3]), match[4], match[5]
    if bits > 64 or bits % 8 or len(text) * 4 > bits or len(binary) > bits:
        return None
    if bool(bits) != bool(text) or bool(bits) != bool(binary):
        return None
    if int(text or b"0", 16) != int(binary or b"0", 2):
        return None
    payload = int(text or b"0", 16).to_bytes(bits // 8, "big")
    return (seconds, *known, payload, TRUTH[match[6]]) if match[6] in TRUTH else WRONG_LABEL


def _trc(line: bytes) -> Frame | str | None:
    if line.startswith(b";"):
        return NOTHING
    pattern = rb" *\d+\) +%b +(Rx|Tx|Error|Warng) (.*)"
    match = re.fullmatch(pattern % TIME, line, re.DOTALL)
    if match is None or (seconds := _seconds(match[1], shift=3)) is None:
        return None
    if match[2] == b"Warng":
        return NOTHING
    rest = re.fullmatch(rb" *(%b{4}|%b{8}) +([0-8])(?:( *RTR)|((?: +%b%b)*))" % ((HEX,) * 4), match[3])
    if rest is None:
        return None
    text, dlc, remote, data = rest.groups()
    value, payload = int(text, 16), bytes.fromhex((data or b"").decode())
    if value > (0x7FF if len(text) == 4 else 0x1FFFFFFF) or not (remote or len(payload) == int(dlc)):
        return None
    flags = (EXTENDED if len(text) == 8 else 0) | (REMOTE if remote else 0) | (ERROR if match[2] == b"Error" else 0)
    return seconds, value, flags, payload, -1


REFERENCES: dict[str, Callable[[bytes], Frame | str | None]] = {
    "candump": lambda line: _candump(line, labels=False),
    "road": lambda line: _candump(line, labels=False),
    "crysys": lambda line: _candump(line, labels=True),
    "can_train_and_test": _ctt,
    "hcrl_csv": _hcrl_csv,
    "hcrl_text": _hcrl_text,
    "daga": _daga,
    "trc": _trc,
}
