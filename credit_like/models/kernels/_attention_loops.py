"""The compiled loops behind ``attention.py``: one walk over the edges, destination by destination.

A row of ``projected`` is what a node is as a source, as a destination and, where there is a third part, what the sum is
added to: ``width`` = heads * channels numbers each. What an edge has is as wide. A pass over it is one loop, because
that vectorises whatever the number of heads; what belongs to a head is first spread over its channels. Edge features
are projected where they are needed, so that no row as wide is ever written for an edge. Rows that are worked on are
arrays of the loop's own, of which the compiler knows that nothing else points to them.

``known`` makes the compiler's work: None, or (channels zeros, edge features zeros, ``width`` zeros), whose lengths are
constants to it. With them the loops are half as long again as fast, but every triple of lengths is compiled anew.
"""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import math

import numpy as np

from credit_like._compiled import compiled, compiled_arithmetic
from credit_like.models.kernels._norm_loops import elu, expm1
from credit_like.models.kernels._pool_loops import pool
from credit_like.models.kernels._random import row_key, uniform_bits


@compiled_arithmetic
def _add_ends(projected, j, own, features, e, projection, width, row):
    """Set ``row`` to z = ``x_l[j] + own + features[e] @ projection``, for lengths that are not known."""
    for c in range(width):
        row[c] = projected[j, c] + own[c]
    for k in range(len(projection)):
        for c in range(width):
            row[c] += features[e, k] * projection[k, c]


@compiled_arithmetic
def _score(projected, j, own, features, e, projection, weight, slope, known, heads, channels, row, scores, at):
    """Set ``scores[at]`` to the score of each head, the sum of ``weight * leaky(z)`` over its channels."""
    zero = projected.dtype.type(0)
    if known is None:
        _add_ends(projected, j, own, features, e, projection, heads * channels, row)
        for c in range(heads * channels):
            row[c] = weight[c] * (row[c] if row[c] > 0 else slope * row[c])
        for h in range(heads):
            scores[at, h] = _sum(row, h * channels, channels)
    else:
        for h in range(heads):
            score = zero
            for c in range(channels):
                z = own[h * channels + c] + projected[j, h * channels + c]
                for k in range(len(known[1])):
                    z += features[e, k] * projection[k, h * channels + c]
                score += weight[h * channels + c] * (z if z > 0 else slope * z)
            scores[at, h] = score


@compiled_arithmetic
def _weigh_backward(projected, j, own, features, e, projection, weight, slope, known, width, score, row):
    """From each term's gradient in ``score``, set ``row`` to that of z and ``score`` to that of ``weight``."""
    if known is None:
        _add_ends(projected, j, own, features, e, projection, width, row)
        for c in range(width):
            steep = score[c] if row[c] > 0 else slope * score[c]
            score[c] = steep * row[c]
            row[c] = steep * weight[c]
    else:
        for c in range(width):
            z = projected[j, c] + own[c]
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
    start, stop, size, projected, features, projection, att, order, begin, source, slope, threshold, scale, seed, known,
    out, alpha,
):  # fmt: skip
    """Set ``out`` and ``alpha`` of the nodes of the blocks ``start`` to ``stop`` of ``size`` nodes."""
    heads = len(att)
    channels = att.shape[1] if known is None else len(known[0])
    width = heads * channels if known is None else len(known[2])
    weight = att.reshape(att.size)
    number = projected.dtype.type
    slope, scale = number(slope), number(scale)
    own, row, mixed = np.empty(width, att.dtype), np.empty(width, att.dtype), np.empty(width, att.dtype)
    total = np.empty(heads, att.dtype)
    top = np.empty(heads, att.dtype)
    for i in range(start * size, min(stop * size, len(begin) - 1)):
        first, last = begin[i], begin[i + 1]
        if projected.shape[1] == 3 * width:
            for c in range(width):
                mixed[c] = projected[i, 2 * width + c]
        else:
            for c in range(width):
                mixed[c] = number(0)
        if last == first + 1:  # the softmax of one score is 1, whatever the score
            for h in range(heads):
                alpha[order[first], h] = number(1)
        elif last > first:
            for c in range(width):
                own[c] = projected[i, width + c]
            for h in range(heads):
                top[h] = -np.inf
                total[h] = number(0)
            for place in range(first, last):
                e, j = order[place], source[place]
                _score(
                    projected, j, own, features, e, projection, weight, slope, known, heads, channels, row, alpha, e
                )  # fmt: skip
                for h in range(heads):
                    top[h] = max(top[h], alpha[e, h])
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
                mixed[c] += row[c] * projected[j, c]
        for c in range(width):
            out[i, c] = mixed[c]


@compiled_arithmetic
def _odds(
    projected, aimed, shift, features, projection, factor, order, begin, source, origin, slope, known, heads, channels,
    odds,
):  # fmt: skip
    """Set ``odds`` to exp(score - the highest into the same node) of the edges that do not come alone, one behind
    another. All of them go through exp together, because that fills whole vectors."""
    number = projected.dtype.type
    width = heads * channels
    aim, own, row = np.empty(width, odds.dtype), np.empty(width, odds.dtype), np.empty(width, odds.dtype)
    top = np.empty(heads, odds.dtype)
    for c in range(width):
        aim[c] = shift[c] + shift[2 * width + c]
    met = at = 0
    for i in range(len(begin) - 1):
        first, count = begin[i], begin[i + 1] - begin[i]
        if count > 1:
            for c in range(width):
                own[c] = aimed[met, c] + aim[c]
            met += 1
            for h in range(heads):
                top[h] = -np.inf
            for k in range(count):
                _score(
                    projected, source[first + k] - origin, own, features, order[first + k], projection, factor, slope,
                    known, heads, channels, row, odds, at + k,
                )  # fmt: skip
                for h in range(heads):
                    top[h] = max(top[h], odds[at + k, h])
            for k in range(count):
                for h in range(heads):
                    odds[at + k, h] -= top[h]
            at += count
    flat = odds.reshape(odds.size)
    for k in range(at * heads):
        flat[k] = number(1) + expm1(flat[k])


@compiled_arithmetic
def attend_norm_elu(
    projected, aimed, shift, features, projection, att, order, begin, source, origin, slope, known, weight, bias,
    epsilon, out,
):  # fmt: skip
    """``attend`` and then ``norm_elu``, both without dropout. ``projected + shift`` is what a node is as a source and
    what the sum is added to; ``aimed`` and the rest of ``shift`` what those nodes are as destinations that several
    edges lead to, in their order. The first node is the one that ``source`` calls ``origin``; ``begin``
    [len(out) + 1] is where its edges begin, and so on."""
    channels = att.shape[1] if known is None else len(known[0])
    width = att.size if known is None else len(known[2])
    heads = width // channels
    number = projected.dtype.type
    zero, one, n = number(0), number(1), number(width)
    slope, epsilon = number(slope), number(epsilon)
    odds = np.empty((begin[len(out)] - begin[0], heads), att.dtype)
    _odds(
        projected, aimed, shift, features, projection, att.reshape(att.size), order, begin, source, origin, slope,
        known, heads, channels, odds,
    )  # fmt: skip
    met, mixed, total = np.empty(width, att.dtype), np.empty(width, att.dtype), np.empty(heads, att.dtype)
    for c in range(width):
        met[c] = shift[c] + shift[width + c]  # of a node that edges lead to: attention sums to 1
    at = 0
    for i in range(len(out)):
        first, last = begin[i], begin[i + 1]
        if last == first:
            for c in range(width):
                mixed[c] = projected[i, width + c] + shift[width + c]
        elif last == first + 1:
            j = source[first] - origin
            for c in range(width):
                mixed[c] = projected[i, width + c] + met[c] + projected[j, c]
        else:
            for c in range(width):
                mixed[c] = projected[i, width + c] + met[c]
            for h in range(heads):
                total[h] = zero
            for k in range(last - first):
                for h in range(heads):
                    total[h] += odds[at + k, h]
            for h in range(heads):
                total[h] = one / total[h]
            for place in range(first, last):
                j = source[place] - origin
                for h in range(heads):
                    share = odds[at, h] * total[h]
                    for c in range(h * channels, (h + 1) * channels):
                        mixed[c] += share * projected[j, c]
                at += 1
        mean = _sum(mixed, 0, width) / n
        spread = zero
        for c in range(width):
            spread += (mixed[c] - mean) * (mixed[c] - mean)
        rate = one / math.sqrt(spread / n + epsilon)
        for c in range(width):
            out[i, c] = (mixed[c] - mean) * rate * weight[c] + bias[c]
    elu(out)


@compiled
def choose(x, begin, chosen):
    """Copy the rows of ``x`` of nodes that several edges lead to, one behind another; return their number."""
    met = 0
    for i in range(len(x)):
        if begin[i + 1] > begin[i] + 1:
            for c in range(x.shape[1]):
                chosen[met, c] = x[i, c]
            met += 1
    return met


@compiled
def evaluate(
    projected, aimed, shift, features, projection, att, order, begin, source, origin, slope, known, weight, bias,
    epsilon, out, chosen, nodes, group, total, top, count,
):  # fmt: skip
    """``attend_norm_elu``; what it makes of the nodes is copied to ``nodes``, pooled into ``total``, ``top`` and
    ``count``, and ``choose`` takes ``chosen`` of it, where those have rows. Returns what ``pool`` does."""
    attend_norm_elu(
        projected, aimed, shift, features, projection, att, order, begin, source, origin, slope, known, weight, bias,
        epsilon, out,
    )  # fmt: skip
    if len(chosen):
        choose(out, begin, chosen)
    if len(nodes):
        nodes[:] = out
    return pool(out, group, total, top, count) if len(count) else -1


@compiled
def enter(ids, of_ids, begin, projected, aimed):
    """Set the rows of ``projected``, and of ``aimed`` for nodes that several edges lead to, to the row of ``of_ids``
    that ``ids`` names. Returns the first node whose id has no row there, or -1."""
    width, met = projected.shape[1], 0
    for i in range(len(ids)):
        own = ids[i]
        if own < 0 or own >= len(of_ids):
            return i
        for c in range(width):
            projected[i, c] = of_ids[own, c]
        if begin[i + 1] > begin[i] + 1:
            for c in range(aimed.shape[1]):
                aimed[met, c] = of_ids[own, width + c]
            met += 1
    return -1


@compiled_arithmetic
def attend_backward(
    start, stop, grad, grad_alpha, projected, features, projection, att, alpha, order, begin, source, cuts,
    slope, threshold, scale, seed, known, grad_projected, grad_features, grad_projection, grad_att,
):  # fmt: skip
    """Set the four gradients of the nodes from ``cuts[start]`` to ``cuts[stop]``: those of ``projection`` and ``att``
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
    width = heads * channels if known is None else len(known[2])
    weight = att.reshape(att.size)
    number = projected.dtype.type
    slope, scale = number(slope), number(scale)
    own, given, back = np.empty(width, att.dtype), np.empty(width, att.dtype), np.empty(width, att.dtype)
    row, score, share = np.empty(width, att.dtype), np.empty(width, att.dtype), np.empty(width, att.dtype)
    mean = np.empty(heads, att.dtype)
    upward = np.empty((16, heads), att.dtype)
    of_weight = np.empty(width, att.dtype)
    of_projection = np.empty(projection.shape, att.dtype)
    for block in range(start, stop):
        zeroed = cuts[block]  # rows of sources: zeroed shortly before they are added to, so that the cache has them
        of_weight[:] = 0
        of_projection[:] = 0
        for i in range(cuts[block], cuts[block + 1]):
            first, last = begin[i], begin[i + 1]
            for c in range(width):
                given[c] = grad[i, c]
                own[c] = projected[i, width + c]
                back[c] = number(0)
            if projected.shape[1] == 3 * width:
                for c in range(width):
                    grad_projected[i, 2 * width + c] = given[c]
            for place in range(first, last):
                while zeroed <= source[place]:
                    for c in range(width):
                        grad_projected[zeroed, c] = number(0)
                    zeroed += 1
            if last - first > len(upward):
                upward = np.empty((2 * (last - first), heads), att.dtype)
            for h in range(heads):
                mean[h] = number(0)
            for place in range(first, last if last > first + 1 else first):
                e, j = order[place], source[place]
                for c in range(width):
                    row[c] = given[c] * projected[j, c]
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
                if last == first + 1:  # attention is constant: the gradient goes through the weighted sum alone
                    for c in range(width):
                        grad_projected[j, c] += share[c] * given[c]
                    for k in range(len(projection) if len(grad_features) else 0):
                        grad_features[e, k] = number(0)
                    continue
                for h in range(heads):
                    into = alpha[e, h] * (upward[place - first, h] - mean[h])
                    for c in range(channels):
                        score[h * channels + c] = into
                _weigh_backward(projected, j, own, features, e, projection, weight, slope, known, width, score, row)
                for c in range(width):
                    of_weight[c] += score[c]
                    back[c] += row[c]
                for c in range(width):
                    grad_projected[j, c] += row[c] + share[c] * given[c]
                for k in range(len(projection)):
                    for c in range(width):
                        of_projection[k, c] += features[e, k] * row[c]
                for k in range(len(projection) if len(grad_features) else 0):
                    along = number(0)
                    for c in range(width):
                        along += projection[k, c] * row[c]
                    grad_features[e, k] = along
            for c in range(width):
                grad_projected[i, width + c] = back[c]
        for j in range(zeroed, cuts[block + 1]):
            for c in range(width):
                grad_projected[j, c] = number(0)
        grad_projection[block] = of_projection
        grad_att[block] = of_weight.reshape(att.shape)
