"""The compiled loops behind ``attention.py``: one walk over the edges, destination by destination.

What an edge has is a row of ``width`` = heads * channels numbers. A pass over it is one loop, because that vectorises
whatever the number of heads; what belongs to a head is first spread over its channels. Edge features are projected
where they are needed, so that no row as wide is ever written for an edge.

``known`` makes the compiler's work: None, or (channels zeros, edge features zeros), whose lengths are constants to it.
With them the loops are half as long again as fast, but every pair of lengths is compiled anew.
"""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import math

import numpy as np

from credit_like._compiled import compiled, compiled_arithmetic
from credit_like.models.kernels._random import row_key, uniform_bits


@compiled_arithmetic
def _add_ends(x_l, j, x_r, i, features, e, projection, width, row):
    """Set ``row`` to z = ``x_l[j] + x_r[i] + features[e] @ projection``, for lengths that are not known."""
    for c in range(width):
        row[c] = x_l[j, c] + x_r[i, c]
    for k in range(len(projection)):
        for c in range(width):
            row[c] += features[e, k] * projection[k, c]


@compiled_arithmetic
def _weigh(x_l, j, x_r, i, features, e, projection, weight, slope, known, width, row):
    """Set ``row`` to the terms of the score, ``weight * leaky(z)``."""
    if known is None:
        _add_ends(x_l, j, x_r, i, features, e, projection, width, row)
        for c in range(width):
            row[c] = weight[c] * (row[c] if row[c] > 0 else slope * row[c])
    else:
        for c in range(width):
            z = x_l[j, c] + x_r[i, c]
            for k in range(len(known[1])):
                z += features[e, k] * projection[k, c]
            row[c] = weight[c] * (z if z > 0 else slope * z)


@compiled_arithmetic
def _weigh_backward(x_l, j, x_r, i, features, e, projection, weight, slope, known, width, score, row):
    """From each term's gradient in ``score``, set ``row`` to that of z and ``score`` to that of ``weight``."""
    if known is None:
        _add_ends(x_l, j, x_r, i, features, e, projection, width, row)
        for c in range(width):
            steep = score[c] if row[c] > 0 else slope * score[c]
            score[c] = steep * row[c]
            row[c] = steep * weight[c]
    else:
        for c in range(width):
            z = x_l[j, c] + x_r[i, c]
            for k in range(len(known[1])):
                z += features[e, k] * projection[k, c]
            steep = score[c] if z > 0 else slope * score[c]
            score[c] = steep * z
            row[c] = steep * weight[c]


@compiled_arithmetic
def _sum(values, first, count):
    total = values.dtype.type(0)
    for c in range(count):
        total += values[first + c]
    return total


@compiled
def _spread_kept(alpha, e, heads, channels, threshold, scale, seed, row):
    """Set each head's channels of ``row`` to its attention to edge ``e``, scaled where dropout keeps it, else 0."""
    key = row_key(seed, e) if threshold > 0 else np.uint32(0)
    for h in range(heads):
        share = scale * alpha[e, h]
        if threshold > 0 and uniform_bits(key, h) < threshold:
            share = alpha.dtype.type(0)
        for c in range(channels):
            row[h * channels + c] = share


@compiled_arithmetic
def attend(
    start, stop, size, x_l, x_r, features, projection, base, att, order, begin, source,
    slope, threshold, scale, seed, known, out, alpha,
):  # fmt: skip
    """Set ``out`` and ``alpha`` of the nodes of the blocks ``start`` to ``stop`` of ``size`` nodes; ``base`` has no
    rows where there is none."""
    heads = len(att)
    channels = att.shape[1] if known is None else len(known[0])
    width = heads * channels
    weight = att.reshape(att.size)
    number = x_l.dtype.type
    slope, scale = number(slope), number(scale)
    row = np.empty(width, x_l.dtype)
    total = np.empty(heads, x_l.dtype)
    top = np.empty(heads, x_l.dtype)
    for i in range(start * size, min(stop * size, len(begin) - 1)):
        first, last = begin[i], begin[i + 1]
        for c in range(width):
            out[i, c] = base[i, c] if len(base) else number(0)
        if last == first + 1:  # the softmax of one score is 1, whatever the score
            for h in range(heads):
                alpha[order[first], h] = number(1)
        elif last > first:
            for h in range(heads):
                top[h] = -np.inf
                total[h] = number(0)
            for place in range(first, last):
                e, j = order[place], source[place]
                _weigh(x_l, j, x_r, i, features, e, projection, weight, slope, known, width, row)
                for h in range(heads):
                    score = _sum(row, h * channels, channels)
                    alpha[e, h] = score
                    top[h] = max(top[h], score)
            for place in range(first, last):
                e = order[place]
                for h in range(heads):
                    alpha[e, h] = math.exp(alpha[e, h] - top[h])
                    total[h] += alpha[e, h]
            for place in range(first, last):
                for h in range(heads):
                    alpha[order[place], h] /= total[h]
        for place in range(first, last):
            j = source[place]
            _spread_kept(alpha, order[place], heads, channels, threshold, scale, seed, row)
            for c in range(width):
                out[i, c] += row[c] * x_l[j, c]


@compiled_arithmetic
def attend_backward(
    start, stop, grad, grad_alpha, x_l, x_r, features, projection, att, alpha, order, begin, source, cuts,
    slope, threshold, scale, seed, known, grad_l, grad_r, grad_features, grad_projection, grad_att,
):  # fmt: skip
    """Set the five gradients of the nodes from ``cuts[start]`` to ``cuts[stop]``: those of ``projection`` and ``att``
    block by block. ``grad_alpha`` has no rows where nothing depends on ``alpha``, and ``grad_features`` none where it
    is not wanted.

    With s the scores, z the sums that they are made of and d the dropout, for an edge e from j to i::

        grad_alpha_e += d_e <grad_i, x_l_j>
        grad_s_e = alpha_e (grad_alpha_e - sum over the edges f into i of alpha_f grad_alpha_f)
        grad_z_e = grad_s_e att leaky'(z_e)        of x_r_i, x_l_j and the projected features
        grad_x_l_j += d_e alpha_e grad_i
    """
    heads = len(att)
    channels = att.shape[1] if known is None else len(known[0])
    width = heads * channels
    weight = att.reshape(att.size)
    number = x_l.dtype.type
    slope, scale = number(slope), number(scale)
    row = np.empty(width, x_l.dtype)
    score = np.empty(width, x_l.dtype)
    share = np.empty(width, x_l.dtype)
    mean = np.empty(heads, x_l.dtype)
    upward = np.empty((16, heads), x_l.dtype)
    for block in range(start, stop):
        upward = _backward_of_block(
            grad, grad_alpha, x_l, x_r, features, projection, weight, alpha, order, begin, source,
            cuts[block], cuts[block + 1], heads, channels, slope, threshold, scale, seed, known,
            grad_l, grad_r, grad_features, grad_projection[block], grad_att[block].reshape(att.size),
            row, score, share, mean, upward,
        )  # fmt: skip


@compiled_arithmetic
def _backward_of_block(
    grad, grad_alpha, x_l, x_r, features, projection, weight, alpha, order, begin, source,
    lower, upper, heads, channels, slope, threshold, scale, seed, known,
    grad_l, grad_r, grad_features, grad_projection, grad_weight, row, score, share, mean, upward,
):  # fmt: skip
    """``attend_backward`` of the nodes from ``lower`` to ``upper``, among which all their edges are."""
    width = heads * channels if known is None else heads * len(known[0])
    number = x_l.dtype.type
    zeroed = lower  # rows of grad_l: shortly before they are needed, while that finds them in the cache for the rest
    grad_projection[:] = 0
    grad_weight[:] = 0
    for i in range(lower, upper):
        first, last = begin[i], begin[i + 1]
        for c in range(width):
            grad_r[i, c] = number(0)
        for place in range(first, last):
            while zeroed <= source[place]:
                for c in range(width):
                    grad_l[zeroed, c] = number(0)
                zeroed += 1
        if last == first + 1:  # attention is constant: the gradient goes through the weighted sum alone
            j = source[first]
            _spread_kept(alpha, order[first], heads, channels, threshold, scale, seed, share)
            for c in range(width):
                grad_l[j, c] += share[c] * grad[i, c]
            for k in range(len(projection) if len(grad_features) else 0):
                grad_features[order[first], k] = number(0)
            continue
        if last - first > len(upward):
            upward = np.empty((2 * (last - first), heads), x_l.dtype)
        for h in range(heads):
            mean[h] = number(0)
        for place in range(first, last):
            e, j = order[place], source[place]
            for c in range(width):
                row[c] = grad[i, c] * x_l[j, c]
            key = row_key(seed, e) if threshold > 0 else np.uint32(0)
            for h in range(heads):
                into = scale * _sum(row, h * channels, channels)
                if threshold > 0 and uniform_bits(key, h) < threshold:
                    into = number(0)
                if len(grad_alpha):
                    into += grad_alpha[e, h]
                upward[place - first, h] = into
                mean[h] += alpha[e, h] * into
        for place in range(first, last):
            e, j = order[place], source[place]
            _spread_kept(alpha, e, heads, channels, threshold, scale, seed, share)
            for h in range(heads):
                into = alpha[e, h] * (upward[place - first, h] - mean[h])
                for c in range(channels):
                    score[h * channels + c] = into
            _weigh_backward(x_l, j, x_r, i, features, e, projection, weight, slope, known, width, score, row)
            for c in range(width):
                grad_weight[c] += score[c]
            for c in range(width):
                grad_r[i, c] += row[c]
            for c in range(width):
                grad_l[j, c] += row[c] + share[c] * grad[i, c]
            for k in range(len(projection)):
                for c in range(width):
                    grad_projection[k, c] += features[e, k] * row[c]
            if len(grad_features):
                for k in range(len(projection)):
                    along = number(0)
                    for c in range(width):
                        along += projection[k, c] * row[c]
                    grad_features[e, k] = along
    for j in range(zeroed, upper):
        for c in range(width):
            grad_l[j, c] = number(0)
    return upward
