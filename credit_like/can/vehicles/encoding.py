"""Payloads: the fields of a message as bytes, for all its frames at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from credit_like.can.vehicles.drive import STEP, STEPPED, Road
from credit_like.can.vehicles.plan import Checksum, Constant, Counter, Field, Message, Pages, Signal


def _crc8_table() -> NDArray[np.uint8]:
    table = np.arange(256)
    for _ in range(8):
        table = (table << 1 ^ 0x1D * (table >> 7)) & 0xFF
    return table.astype(np.uint8)


_CRC8 = _crc8_table()


def crc8_j1850(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8[n] from uint8[n, k]: CRC-8 of SAE J1850 over each row (polynomial 0x1D, initial value and final xor 0xFF).

    >>> hex(crc8_j1850(np.frombuffer(b"123456789", np.uint8)[None])[0])
    '0x4b'
    """
    crc = np.full(len(data), 0xFF, np.uint8)
    for k in range(data.shape[1]):
        crc = _CRC8[crc ^ data[:, k]]
    return crc ^ np.uint8(0xFF)


def checksum(kind: str, payload: NDArray[np.uint8], position: int) -> NDArray[np.uint8]:
    """uint8[n]: the checksum over the bytes of uint8[n, k] except the one at ``position``, where it will stand."""
    others = np.delete(payload, position, axis=1)
    return crc8_j1850(others) if kind == "crc8" else np.bitwise_xor.reduce(others, axis=1)


def _sample(signal: Signal, t: NDArray[np.float64], road: Road, rng: np.random.Generator) -> NDArray[np.uint64]:
    values = road[signal.source]
    if signal.source in STEPPED:
        now = values[np.minimum((t / STEP).astype(np.int64), len(values) - 1)]
    else:
        now = np.interp(t, np.arange(len(values)) * STEP, values)
    raw = now * signal.scale + signal.offset
    if signal.noise:
        raw = raw + signal.noise * rng.standard_normal(len(t))
    whole = np.clip(np.rint(raw), 0, (1 << signal.bits) - 1).astype(np.uint64)
    if not signal.little:
        return whole
    return whole.byteswap() >> np.uint64(64 - signal.bits)


def _word(
    fields: tuple[Field, ...],
    rows: NDArray[np.intp],
    t: NDArray[np.float64],
    start: int,
    road: Road,
    rng: np.random.Generator,
) -> NDArray[np.uint64]:
    """The payloads of the frames ``rows`` of a message as 64-bit words, first byte on top; checksums are left 0."""
    word = np.zeros(len(rows), np.uint64)
    for field in fields:
        match field:
            case Signal():
                value = _sample(field, t[rows], road, rng)
            case Counter():
                value = ((rows + start) % (1 << field.bits)).astype(np.uint64)
            case Constant():
                value = np.full(len(rows), field.value, np.uint64)
            case Pages():
                value = (rows % len(field.pages)).astype(np.uint64)
            case Checksum():
                continue
        word |= value << np.uint64(64 - field.at - field.bits)
    return word


def encode(message: Message, t: NDArray[np.float64], road: Road, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8[n, 8]: the payloads of ``message`` at the ascending moments float64[n] ``t`` of the drive ``road``.

    ``rng`` draws where counters start and the sensors' noise. Bytes beyond the message's length are 0.
    """
    start = int(rng.integers(1 << 16))
    pages = message.pages()
    words = np.zeros(len(t), np.uint64)
    for number, fields in enumerate(pages):
        rows = np.arange(number, len(t), len(pages))
        words[rows] = _word(fields, rows, t, start, road, rng)
    payload = words.astype(">u8").view(np.uint8).reshape(-1, 8).copy()
    for field in message.fields:
        if isinstance(field, Checksum):
            payload[:, field.at // 8] = checksum(field.kind, payload[:, : message.length], field.at // 8)
    return payload
