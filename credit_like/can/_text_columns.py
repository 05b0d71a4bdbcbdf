"""Columns of text as rows of a byte matrix, in which zero bytes (no text holds one) stand for nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from credit_like.can.frames import FrameTable

Bytes = NDArray[np.uint8]
UPPER, LOWER = (np.frombuffer(digits, np.uint8) for digits in (b"0123456789ABCDEF", b"0123456789abcdef"))


def text(word: bytes, n: int) -> Bytes:
    """``word`` in each of ``n`` rows."""
    return np.tile(np.frombuffer(word, np.uint8), (n, 1))


def only(columns: Bytes, where: NDArray[np.bool_]) -> Bytes:
    """The columns in some rows, nothing in the others."""
    return np.where(where[:, None], columns, np.uint8(0))


def decimal(values: NDArray[np.int64], digits: int, padded: bool) -> Bytes:
    """``digits`` decimal digits; without ``padded`` leading zeros are left out, the last digit never is."""
    powers = 10 ** np.arange(digits - 1, -1, -1)
    columns = (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)
    if not padded:
        columns[(values[:, None] < powers) & (powers > 1)] = 0
    return columns


def milliseconds(t: NDArray[np.float64]) -> Bytes:
    """Seconds as milliseconds with three decimals."""
    micros = np.rint(t * 1e6).astype(np.int64)
    whole = decimal(micros // 1000, 13, padded=False)
    return np.concatenate([whole, text(b".", len(t)), decimal(micros % 1000, 3, padded=True)], axis=1)


def bits(frames: FrameTable) -> Bytes:
    """The binary digits of the payloads, most significant first."""
    n, width = frames.payload.shape
    columns = np.unpackbits(frames.payload, axis=1) + np.uint8(ord("0"))
    present = np.repeat(np.arange(width) < frames.length[:, None], 8, axis=1)
    return np.where(present, columns, np.uint8(0)).reshape(n, -1)


def seconds(t: NDArray[np.float64], padded: bool) -> Bytes:
    """Seconds with six decimals; ``padded`` to ten digits before the point."""
    micros = np.rint(t * 1e6).astype(np.int64)
    whole = decimal(micros // 1_000_000, 10, padded)
    return np.concatenate([whole, text(b".", len(t)), decimal(micros % 1_000_000, 6, padded=True)], axis=1)


def id_digits(number: NDArray[np.int32], long: NDArray[np.bool_], digits: int, alphabet: Bytes) -> Bytes:
    """Eight hexadecimal digits where ``long``, else ``digits``."""
    columns = alphabet[number[:, None] >> (4 * np.arange(7, -1, -1)) & 0xF]
    columns[:, : 8 - digits] = only(columns[:, : 8 - digits], long)
    return columns


def payload_digits(frames: FrameTable, separator: bytes, where: NDArray[np.bool_], alphabet: Bytes) -> Bytes:
    """Two hexadecimal digits a byte, each after ``separator``, of the bytes that are present; nothing where not."""
    n, width = frames.payload.shape
    pairs = alphabet[np.stack([frames.payload >> 4, frames.payload & 0xF], axis=2)]
    columns = np.concatenate([np.tile(np.frombuffer(separator, np.uint8), (n, width, 1)), pairs], axis=2)
    present = (np.arange(width) < frames.length[:, None]) & where[:, None]
    return np.where(present[:, :, None], columns, np.uint8(0)).reshape(n, -1)
