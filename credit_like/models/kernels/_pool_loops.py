"""The compiled loops behind ``pool.py``."""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import numpy as np

from credit_like._compiled import compiled

#: Of a block. Rows of one group stand anywhere, so that threads divide columns.
COLUMNS = 32


@compiled
def pool(start, stop, x, group, total, top, where, count):
    """Set sum, maximum and the row of the maximum of each group, of the column blocks from ``start`` to ``stop``, and
    with the first block the number of rows; all are 0 on entry.

    Returns the first row whose group does not exist, or -1.
    """
    rows, width = x.shape
    first, last = start * COLUMNS, min(stop * COLUMNS, width)
    seen = count if start == 0 else np.zeros_like(count)
    for i in range(rows):
        g = group[i]
        if g < 0 or g >= len(count):
            return i
        seen[g] += 1
        if seen[g] == 1:
            for c in range(first, last):
                total[g, c] = x[i, c]
            for c in range(first, last):
                top[g, c] = x[i, c]
            for c in range(first, last):
                where[g, c] = i
            continue
        for c in range(first, last):
            total[g, c] += x[i, c]
        for c in range(first, last):
            larger = x[i, c] > top[g, c] or x[i, c] != x[i, c]  # a NaN stays the maximum: no number is larger
            where[g, c] = i if larger else where[g, c]
            top[g, c] = x[i, c] if larger else top[g, c]
    return -1


@compiled
def pool_backward(start, stop, grad_total, grad_top, group, where, count, grad):
    """Set ``grad`` of the column blocks from ``start`` to ``stop``: each row gets its
    group's gradient of the sum, the row of the maximum that of the maximum too."""
    rows, width = grad.shape
    first, last = start * COLUMNS, min(stop * COLUMNS, width)
    for i in range(rows):
        g = group[i]
        for c in range(first, last):
            grad[i, c] = grad_total[g, c]
    for g in range(len(count)):
        if count[g] > 0:
            for c in range(first, last):
                grad[where[g, c], c] += grad_top[g, c]
