"""The compiled loops behind ``pool.py``."""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

from credit_like._compiled import compiled


@compiled
def pool(x, group, total, top, where, count):
    """Set sum, maximum, the row of the maximum and the number of rows of each group; all are 0 on entry.

    Returns the first row whose group does not exist, or -1.
    """
    rows, width = x.shape
    for i in range(rows):
        g = group[i]
        if g < 0 or g >= len(count):
            return i
        count[g] += 1
        if count[g] == 1:
            for c in range(width):
                total[g, c] = x[i, c]
            for c in range(width):
                top[g, c] = x[i, c]
            for c in range(width):
                where[g, c] = i
            continue
        for c in range(width):
            total[g, c] += x[i, c]
        for c in range(width):
            larger = x[i, c] > top[g, c] or x[i, c] != x[i, c]  # a NaN stays the maximum: no number is larger
            where[g, c] = i if larger else where[g, c]
            top[g, c] = x[i, c] if larger else top[g, c]
    return -1


@compiled
def pool_backward(grad_total, grad_top, group, where, count, grad):
    """Set ``grad``: each row gets its group's gradient of the sum, the row of the maximum that of the maximum too."""
    rows, width = grad.shape
    for i in range(rows):
        g = group[i]
        for c in range(width):
            grad[i, c] = grad_total[g, c]
    for g in range(len(count)):
        if count[g] > 0:
            for c in range(width):
                grad[where[g, c], c] += grad_top[g, c]
