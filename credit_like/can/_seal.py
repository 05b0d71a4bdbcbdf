"""A seal in a Parquet file's footer: the SHA-256 of all its other bytes, so that a damaged file is never decoded."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

#: The key of the footer's metadata under which the seal stands, and what stands there while it is computed.
SEAL_KEY, BLANK = "credit_like.seal", "0" * 64

#: Key and value of the metadata in Thrift's compact protocol, in which footers are written: 0x18 begins the value, 0x40
#: is its length (Apache Parquet, "File Format", and Apache Thrift, "compact protocol").
_PLACE = re.compile(re.escape(SEAL_KEY.encode()) + rb"\x18\x40([0-9a-f]{64})")
_OURS = b"credit_like."
_MAGIC, _MAX_FOOTER, _BLOCK = b"PAR1", 256 << 20, 1 << 20


def seal(path: Path) -> None:
    """Put the seal in the place of the blank that the file was written with."""
    with path.open("r+b") as file:
        place = _place(file)
        if place is None:
            raise ValueError(f"{path} was not written with a blank seal")
        digest = _digest(file, place)
        file.seek(place)
        file.write(digest.encode())


def broken_seal(path: Path) -> str:
    """Why the file is not to be read, in words that a message can go on from; "" for one that is whole."""
    with path.open("rb") as file:
        place = _place(file)
        if place is None:
            return "it ends without the seal that `credit-like ingest` puts there"
        file.seek(place)
        return "" if file.read(64).decode() == _digest(file, place) else "it changed since it was written"


def is_of_another(path: Path) -> bool:
    """Whether the file has a footer in which nothing is ours."""
    with path.open("rb") as file:
        footer = _footer(file)
    return bool(footer) and _OURS not in footer


def _footer(file: BinaryIO) -> bytes:
    """The bytes of the footer; none where the file does not end in one."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if len(tail) < 8 or tail[4:] != _MAGIC or not 0 < length <= min(size - 8, _MAX_FOOTER):
        return b""
    file.seek(size - 8 - length)
    return file.read(length)


def _place(file: BinaryIO) -> int | None:
    """Where the 64 digits are."""
    footer = _footer(file)
    found = list(_PLACE.finditer(footer))
    return file.seek(0, 2) - 8 - len(footer) + found[0].start(1) if len(found) == 1 else None


def _digest(file: BinaryIO, place: int) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    left = place
    while left and (block := file.read(min(_BLOCK, left))):
        digest.update(block)
        left -= len(block)
    digest.update(BLANK.encode())
    file.seek(place + len(BLANK))
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
