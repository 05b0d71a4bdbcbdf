"""Slow, plain references: what one line of each data set's format means, by regular expressions and ``float``.

``REFERENCES[reader]()`` makes a function for the lines of one log, in their order. It gives (time, id, flags, payload
bytes, label) for a frame, ``WRONG_LABEL`` where only the label is not known, ``NOTHING`` for comments, ``EVENT`` for
lines that tell of something else than a frame, and None for every other line.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.contracts.reference_parts import (
    HEX,
    REMOTE,
    TIME,
    TRUTH,
    WRONG_LABEL,
    Said,
    id_and_flags,
    seconds_of,
)
from tests.contracts.socketcan_references import CandumpText, Gaps, candump, candump_labelled
from tests.contracts.trace_references import Asc, Trc


def _ctt(line: bytes) -> Said:
    match = re.fullmatch(rb"%b,(%b{1,8}),((?:%b%b){0,8}),(\w+)" % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := seconds_of(match[1])) is None or (known := id_and_flags(match[2])) is None:
        return None
    if match[4] not in (b"0", b"1"):
        return WRONG_LABEL
    return seconds, *known, bytes.fromhex(match[3].decode()), int(match[4])


def _hcrl_csv(line: bytes) -> Said:
    match = re.fullmatch(rb"%b,(%b{1,8}),([0-8])((?:,%b%b)*),(\w+)" % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := seconds_of(match[1])) is None or (known := id_and_flags(match[2])) is None:
        return None
    payload = bytes.fromhex(match[4].replace(b",", b"").decode())
    if len(payload) != int(match[3]):
        return None
    return WRONG_LABEL if match[5] not in (b"R", b"T") else (seconds, *known, payload, int(match[5] == b"T"))


def _hcrl_text(line: bytes) -> Said:
    pattern = rb"Timestamp:  *%b *ID:  *(%b{1,8})  *([01])00  *DLC:  *([0-8])((?: +%b%b)*)"
    match = re.fullmatch(pattern % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := seconds_of(match[1])) is None or (known := id_and_flags(match[2])) is None:
        return None
    payload = bytes.fromhex(match[5].decode())
    if len(payload) != int(match[4]):
        return None
    return seconds, known[0], known[1] | (REMOTE if match[3] == b"1" else 0), payload, -1


def _daga(line: bytes) -> Said:
    match = re.fullmatch(rb"%b,(%b{1,8}),(\d{1,2}),(%b*),([01]*),(\w+)" % (TIME, *[HEX] * 2), line)
    if match is None or (seconds := seconds_of(match[1])) is None or (known := id_and_flags(match[2])) is None:
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


def _crysys_csv(line: bytes) -> Said:
    match = re.fullmatch(rb"%b +(%b{1,8}) +([01])00  *([0-8])((?: +%b%b)*)" % (TIME, *[HEX] * 3), line)
    if match is None or (seconds := seconds_of(match[1])) is None or (known := id_and_flags(match[2])) is None:
        return None
    payload = bytes.fromhex(match[5].decode())
    if len(payload) != int(match[4]):
        return None
    return seconds, known[0], known[1] | (REMOTE if match[3] == b"1" else 0), payload, -1


REFERENCES: dict[str, Callable[[], Callable[[bytes], Said]]] = {
    "asc": Asc,
    "candump": lambda: candump,
    "candump_delta": lambda: Gaps(candump),
    "candump_text": CandumpText,
    "candump_text_delta": lambda: Gaps(CandumpText(), b" *"),
    "road": lambda: candump,
    "crysys": lambda: candump_labelled,
    "crysys_csv": lambda: _crysys_csv,
    "can_train_and_test": lambda: _ctt,
    "hcrl_csv": lambda: _hcrl_csv,
    "hcrl_text": lambda: _hcrl_text,
    "daga": lambda: _daga,
    "trc": Trc,
}
