"""Dates in text, as seconds since 1970 in UTC."""

from __future__ import annotations

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.readers._numbers import quotient

#: Days before each month of a year that is no leap year, and of the next year.
_DAYS_BEFORE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])

_FIRST_YEAR, _LAST_YEAR = 1970, 5137


@compiled_parser
def read_date(text, i, stop):
    """``(seconds, position after it)`` of ``2023-03-15 00:35:52.415482``; the position is -1 where there is no date."""
    year, i = _digits(text, i, stop, 4, 45)  # -
    month, i = _digits(text, i, stop, 2, 45)
    day, i = _digits(text, i, stop, 2, 32)
    hour, i = _digits(text, i, stop, 2, 58)  # :
    minute, i = _digits(text, i, stop, 2, 58)
    second, i = _digits(text, i, stop, 2, 46)  # .
    micros, i = _digits(text, i, stop, 6, -1)
    if (
        i < 0
        or not _FIRST_YEAR <= year <= _LAST_YEAR
        or not 1 <= month <= 12
        or hour > 23
        or minute > 59
        or second > 59
    ):
        return 0.0, -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (1 if leap and month == 2 else 0)
    if not 1 <= day <= longest:
        return 0.0, -1
    past = year - 1
    days = past * 365 + past // 4 - past // 100 + past // 400 - 719162  # days from year 1 to 1970
    days += _DAYS_BEFORE[month - 1] + (1 if leap and month > 2 else 0) + day - 1
    seconds = ((np.int64(days) * 24 + hour) * 60 + minute) * 60 + second
    return quotient(seconds * 1_000_000 + micros, 6), i


@compiled_parser
def _digits(text, i, stop, count, end):
    """``(value, position)`` of ``count`` digits and the byte ``end`` after them (none where it is negative), or -1."""
    if i < 0 or i + count + (end >= 0) > stop:
        return 0, -1
    value = 0
    for k in range(i, i + count):
        if not 48 <= text[k] <= 57:
            return 0, -1
        value = value * 10 + (text[k] - 48)
    if end < 0:
        return value, i + count
    return (value, i + count + 1) if text[i + count] == end else (0, -1)
