"""Numbers in text, parsed where they stand: the compiled pieces that every text format is put together from.

All take ``text`` uint8[bytes] and positions in it, read nothing at or beyond ``stop``, and allocate nothing. numba
compiles a caller together with these and caches it by the caller's file alone: after a change here, touch the readers.
"""

from __future__ import annotations

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import EXTENDED
from credit_like.can.readers._rows import BAD_PAYLOAD, DLC_DISAGREES, GOOD, PAYLOAD_TOO_LONG

SPACE, TAB, CR, LF, COMMA = 32, 9, 13, 10, 44

#: Times at or beyond this many seconds (the year 5138 as an epoch) are taken for damage, not for time.
TIME_LIMIT = 1e11

#: Value of a hexadecimal digit by its byte, 255 for every other byte.
_HEX = np.full(256, 255, np.uint8)
_HEX[48:58] = np.arange(10)
_HEX[65:71] = np.arange(10, 16)
_HEX[97:103] = np.arange(10, 16)

#: uint8[16]: payload bytes by the data length code of a CAN FD frame (ISO 11898-1, table 5).
DLC_LENGTHS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.uint8)

#: bool[65]: the payload lengths that a frame can have; those above 8 only a CAN FD frame.
FD_LENGTHS = np.isin(np.arange(65), DLC_LENGTHS)

#: Powers of ten that are exact in float64.
_POWERS = np.array([10.0**k for k in range(23)])

_EXACT = 2**53
_MAX_DIGITS = 18


@compiled_parser
def skip(text, i, stop, byte):
    """The position after all ``byte`` from ``i`` on."""
    while i < stop and text[i] == byte:
        i += 1
    return i


@compiled_parser
def quotient(mantissa, power):
    """``mantissa / 10**power`` rounded once to float64, for ``0 <= mantissa < 10**18``.

    Within 2**53 and 10**22 one division of exact numbers is already right. Beyond, the remainder of that division is
    computed exactly (Dekker's product, Numerische Mathematik 18, 1971) and divided in turn; beyond 10**22, where the
    power itself is rounded, the last bit may be wrong.
    """
    if mantissa < _EXACT and power <= 22:
        return float(mantissa) / _POWERS[power]
    scale = _POWERS[power] if power <= 22 else _POWERS[22] * 10.0 ** (power - 22)
    high = float(mantissa)
    low = float(mantissa - np.int64(high))
    result = high / scale
    cut = 134217729.0 * result
    result_high = cut - (cut - result)
    result_low = result - result_high
    cut = 134217729.0 * scale
    scale_high = cut - (cut - scale)
    scale_low = scale - scale_high
    product = result * scale
    error = (
        (result_high * scale_high - product) + result_high * scale_low + result_low * scale_high
    ) + result_low * scale_low
    return result + (((high - product) - error) + low) / scale


@compiled_parser
def read_seconds(text, i, stop, shift):
    """``(value / 10**shift, position after it)`` of a decimal such as ``1678840552.415482`` or ``9e-06``.

    The position is -1 where there is no number, or one at or beyond ``TIME_LIMIT``. Digits after the 18th are dropped.
    """
    mantissa = np.int64(0)
    digits = 0
    dropped = 0
    fraction = 0
    first = i
    in_fraction = False
    while i < stop:
        byte = text[i]
        if 48 <= byte <= 57:
            if digits < _MAX_DIGITS:
                mantissa = mantissa * 10 + (byte - 48)
                if mantissa > 0:
                    digits += 1
                if in_fraction:
                    fraction += 1
            elif not in_fraction:
                dropped += 1
        elif byte == 46 and not in_fraction:
            in_fraction = True
        else:
            break
        i += 1
    if i == first or text[first] == 46 or text[i - 1] == 46:
        return 0.0, -1
    power = fraction - dropped + shift
    if i < stop and (text[i] == 101 or text[i] == 69):
        i += 1
        sign = 1
        if i < stop and (text[i] == 43 or text[i] == 45):
            sign = -1 if text[i] == 45 else 1
            i += 1
        first = i
        exponent = 0
        while i < stop and 48 <= text[i] <= 57 and i < first + 3:
            exponent = exponent * 10 + (text[i] - 48)
            i += 1
        if i == first:
            return 0.0, -1
        power -= sign * exponent
    if mantissa == 0 or power > 40:  # below 1e-22 s
        return 0.0, i
    if power < -11:
        return 0.0, -1
    value = quotient(mantissa, power) if power >= 0 else float(mantissa) * _POWERS[-power]
    if value >= TIME_LIMIT:
        return 0.0, -1
    return value, i


@compiled_parser
def read_decimal(text, i, stop, most):
    """``(value, position after it)`` of a whole number of ``most`` digits at most; the position is -1 where it is none.

    More digits are none, too.
    """
    value = np.int64(0)
    first = i
    while i < stop and 48 <= text[i] <= 57:
        value = value * 10 + (text[i] - 48)
        i += 1
        if i - first > most:
            return value, -1
    return value, (i if i > first else -1)


@compiled_parser
def read_hex(text, i, stop):
    """``(value, digits, position after them)`` of a hexadecimal number; reading ends after nine digits."""
    value = np.int64(0)
    first = i
    while i < stop and i - first < 9:
        digit = _HEX[text[i]]
        if digit == 255:
            break
        value = value * 16 + digit
        i += 1
    return value, i - first, i


@compiled_parser
def id_flags(value, digits):
    """Flags of an id written without a fixed width: EXTENDED above 0x7FF or in eight digits; -1: no id."""
    if digits == 0 or digits > 8 or value > 0x1FFFFFFF:
        return -1
    return EXTENDED if digits == 8 or value > 0x7FF else 0


@compiled_parser
def read_byte(text, i, stop):
    """The byte of the two hexadecimal digits at ``i``, or -1."""
    if i + 2 > stop:
        return -1
    high = _HEX[text[i]]
    low = _HEX[text[i + 1]]
    if high == 255 or low == 255:
        return -1
    return np.int64(high) * 16 + low


@compiled_parser
def read_payload(text, i, stop, most, payload, row):
    """``(code, bytes, position after them)``: all bytes that stand at ``i`` without separators, ``most`` at most."""
    count = 0
    while i < stop and _HEX[text[i]] != 255:
        value = read_byte(text, i, stop)
        if value < 0:
            return BAD_PAYLOAD, count, i
        if count == most:
            return PAYLOAD_TOO_LONG, count, i
        payload[row, count] = value
        count += 1
        i += 2
    return GOOD, count, i


@compiled_parser
def read_bytes(text, i, stop, count, separator, payload, row):
    """``(code, position after them)``: ``count`` bytes, each after one ``separator`` (or several, of spaces)."""
    for k in range(count):
        if i >= stop:
            return DLC_DISAGREES, i
        if text[i] != separator:
            return BAD_PAYLOAD, i
        i = skip(text, i, stop, SPACE) if separator == SPACE else i + 1
        value = read_byte(text, i, stop)
        if value < 0:
            return BAD_PAYLOAD, i
        payload[row, k] = value
        i += 2
    return GOOD, i


@compiled_parser
def read_word(text, i, stop, word):
    """The position after ``word`` (bytes), or -1 where the text does not go on with it."""
    if stop - i < len(word):
        return -1
    for k in range(len(word)):
        if text[i + k] != word[k]:
            return -1
    return i + len(word)


@compiled_parser
def read_truth(text, i, stop):
    """1 or 0 for the token ``text[i:stop]`` = 1, 0, True, TRUE, False, FALSE; -1 for everything else."""
    n = stop - i
    if n == 1 and (text[i] == 48 or text[i] == 49):
        return text[i] - 48
    if n == 4 and (read_word(text, i, stop, b"True") > 0 or read_word(text, i, stop, b"TRUE") > 0):
        return 1
    if n == 5 and (read_word(text, i, stop, b"False") > 0 or read_word(text, i, stop, b"FALSE") > 0):
        return 0
    return -1


@compiled_parser
def is_word(text, i, stop):
    """Whether ``text[i:stop]`` is one word of letters, digits and ``_``, such as a label may be."""
    while i < stop and _is_word_byte(text[i]):
        i += 1
    return i == stop


@compiled_parser
def _is_word_byte(byte):
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95


@compiled_parser
def read_hex_digit(text, i):
    """The value of one hexadecimal digit, or 255."""
    return _HEX[text[i]]
