"""The compiled loops behind ``norm.py``, row by row."""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from credit_like._compiled import compiled_arithmetic
from credit_like.models.kernels._random import row_key, uniform_bits

_LOG2_E = np.float32(1.4426950408889634)
#: log 2 in two parts, the first with few bits: k * _LN2_HIGH is exact (Cody & Waite 1980).
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)


def expm1(x):
    """exp(x) - 1 for x <= 0."""
    raise NotImplementedError  # never run: a name for compiled code, in which numba puts _expm1_of in its place


@overload(expm1)
def _expm1_of(x):
    if x != types.float32:
        return lambda x: math.expm1(x)

    def vectorised(x):
        # 2^k (exp(r) - 1) + 2^k - 1 with x = k log 2 + r; the Taylor polynomial ends below float32's rounding. A NaN
        # passes the comparison and comes out; below -87 the result is -1 in float32.
        x = np.float32(-87.0) if x < np.float32(-87.0) else x
        k = np.int32(x * _LOG2_E - np.float32(0.5))
        r = x - np.float32(k) * _LN2_HIGH - np.float32(k) * _LN2_LOW
        p = np.float32(1 / 5040)
        p = p * r + np.float32(1 / 720)
        p = p * r + np.float32(1 / 120)
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(1 / 2)
        power = np.int32((k + np.int32(127)) << np.int32(23)).view(np.float32)
        return power * (p * r * r + r) + (power - np.float32(1))

    return vectorised


@compiled_arithmetic
def elu(rows):
    """Put each number's ELU in its place. By itself and over many rows, this loop fills more of a vector than as the
    end of a row's."""
    values = rows.reshape(rows.size)
    zero = values.dtype.type(0)
    for k in range(len(values)):
        values[k] = values[k] if values[k] > zero else expm1(values[k])


@compiled_arithmetic
def norm_elu(start, stop, size, x, weight, bias, epsilon, threshold, scale, seed, out, moments):
    """Set ``out`` and each row's mean and reciprocal standard deviation, ``moments``, of the blocks ``start`` to
    ``stop`` of ``size`` rows."""
    width = x.shape[1]
    number = x.dtype.type
    zero, one, n = number(0), number(1), number(width)
    epsilon, scale = number(epsilon), number(scale)
    limit = np.uint32(threshold)
    first, last = start * size, min(stop * size, len(x))
    for i in range(first, last):
        total = zero
        for c in range(width):
            total += x[i, c]
        mean = total / n
        total = zero
        for c in range(width):
            total += (x[i, c] - mean) * (x[i, c] - mean)
        rate = one / math.sqrt(total / n + epsilon)
        moments[i, 0] = mean
        moments[i, 1] = rate
        for c in range(width):
            out[i, c] = (x[i, c] - mean) * rate * weight[c] + bias[c]
    elu(out[first:last])
    for i in range(first, last if threshold > 0 else first):
        key = row_key(seed, i)
        for c in range(width):
            out[i, c] = out[i, c] * scale if uniform_bits(key, c) >= limit else zero


@compiled_arithmetic
def norm_elu_backward(
    start, stop, size, grad, x, weight, bias, moments, threshold, scale, seed, grad_x, grad_weight, grad_bias
):
    """Set the three gradients of the blocks ``start`` to ``stop`` of ``size`` rows, those of ``weight`` and ``bias``
    block by block. With u the normalised row, v = weight u + bias and ' the derivative of ELU::

    grad_v = dropout(grad) elu'(v)        grad_u = weight grad_v
    grad_x = rate (grad_u - mean(grad_u) - u mean(u grad_u))
    """
    rows, width = x.shape
    number = x.dtype.type
    zero, one, n = number(0), number(1), number(width)
    scale = number(scale)
    limit = np.uint32(threshold)
    unit = np.empty(width, x.dtype)
    upward = np.empty(width, x.dtype)
    grad_weight[start:stop] = 0
    grad_bias[start:stop] = 0
    for i in range(start * size, min(stop * size, rows)):
        block = i // size
        mean, rate = moments[i, 0], moments[i, 1]
        if threshold > 0:
            key = row_key(seed, i)
            for c in range(width):
                upward[c] = grad[i, c] * scale if uniform_bits(key, c) >= limit else zero
        else:
            for c in range(width):
                upward[c] = grad[i, c]
        for c in range(width):
            unit[c] = (x[i, c] - mean) * rate
        for c in range(width):
            v = unit[c] * weight[c] + bias[c]
            slope = one if v > zero else one + expm1(v)
            upward[c] = upward[c] * slope
        for c in range(width):
            grad_weight[block, c] += upward[c] * unit[c]
        for c in range(width):
            grad_bias[block, c] += upward[c]
        plain = along = zero
        for c in range(width):
            plain += upward[c] * weight[c]
            along += upward[c] * weight[c] * unit[c]
        plain /= n
        along /= n
        for c in range(width):
            grad_x[i, c] = rate * (upward[c] * weight[c] - plain - unit[c] * along)
