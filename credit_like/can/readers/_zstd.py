"""Unpacking zstd block by block, with a frame that is cut short seen as such."""

from __future__ import annotations

from typing import IO

import zstandard

#: Packed bytes taken at a time: zstd can make 128 KiB of four of them, so that a bite never makes more than 16 MiB.
_BITE = 512


class ZstdError(Exception):
    """The packed bytes are damaged or end within a frame."""


class ZstdStream:
    """A minimal readable stream over packed ``raw``: one zstd frame after another."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._unpacker = zstandard.ZstdDecompressor()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._left = b""

    def read(self, size: int) -> bytes:
        """At least one unpacked byte, ``size`` or a little more where they come so; none at the end."""
        out = bytearray()
        while len(out) < size:
            packed = self._left or self._raw.read(_BITE)
            self._left = b""
            if not packed:
                if self._frame is not None:
                    raise ZstdError("it ends within a zstd frame")
                break
            if self._frame is None:
                self._frame = self._unpacker.decompressobj()
            try:
                out += self._frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise ZstdError(str(error)) from error
            if self._frame.eof:
                self._left = self._frame.unused_data
                self._frame = None
        return bytes(out)
