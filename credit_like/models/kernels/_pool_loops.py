"""The compiled loops behind ``pool.py``.

They keep what they work on in arrays of their own. Of these the compiler knows that nothing else points to them, so
that the loops over columns vectorise without a test first: that made the sum and the maximum six times as fast.
"""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import numpy as np

from credit_like._compiled import compiled


@compiled
def pool(x, group, total, top, count):
    """Set sum, maximum and number of rows of each group; all are 0 on entry. Rows side by side of one group are done
    together, before they join those that came earlier.

    Returns the first row whose group does not exist, or -1.
    """
    rows, width = x.shape
    sums, most = np.empty(width, x.dtype), np.empty(width, x.dtype)
    i = 0
    while i < rows:
        first, g = i, group[i]
        if g < 0 or g >= len(count):
            return i
        for c in range(width):
            sums[c] = x[i, c]
            most[c] = x[i, c]
        i += 1
        while i < rows and group[i] == g:
            for c in range(width):
                sums[c] += x[i, c]
                most[c] = most[c] if x[i, c] <= most[c] or most[c] != most[c] else x[i, c]  # a NaN stays the maximum
            i += 1
        for c in range(width):
            before = top[g, c]
            total[g, c] += sums[c]
            keep = count[g] > 0 and (most[c] <= before or before != before)
            top[g, c] = before if keep else most[c]
        count[g] += i - first
    return -1


@compiled
def pool_backward(grad_total, x, group, top, left, grad):
    """Set ``grad``: each row gets its group's gradient of the sum, and the first row that holds the maximum that of
    the maximum too. ``left`` is the latter on entry, and on return what no row has got."""
    rows, width = x.shape
    plain, once, most = np.empty(width, x.dtype), np.empty(width, x.dtype), np.empty(width, x.dtype)
    zero = x.dtype.type(0)
    i = 0
    while i < rows:
        g = group[i]
        for c in range(width):
            plain[c] = grad_total[g, c]
            once[c] = left[g, c]
            most[c] = top[g, c]
        while i < rows and group[i] == g:
            for c in range(width):
                holds = x[i, c] == most[c] or x[i, c] != x[i, c]
                grad[i, c] = plain[c] + (once[c] if holds else zero)
                once[c] = zero if holds else once[c]
            i += 1
        for c in range(width):
            left[g, c] = once[c]
