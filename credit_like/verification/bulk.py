"""The graphs of many windows at once, by sorting frames and adding up: quick enough for every window of a drive.

``reference`` says each feature once more in its simplest form; this says it for whole columns, so that the statistics
of a scaler can be taken again over all training windows. The tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_like.can.frames import ERROR, REMOTE, FrameTable
from credit_like.verification.reference import ReferenceGraph

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Windows that are looked at together: 200,000 frames of 100 a window, some 200 MB.
_TOGETHER = 2000


def bulk_graphs(frames: FrameTable, rows: Ints) -> Iterator[ReferenceGraph]:
    """The graph of each window; ``rows`` int64[m, window] are the rows of ``frames`` that it holds, in order."""
    for first in range(0, len(rows), _TOGETHER):
        yield from _Block(frames, rows[first : first + _TOGETHER]).graphs()


class _Block:
    """Frames of m windows, ``n = m * window`` of them, window after window."""

    def __init__(self, frames: FrameTable, rows: Ints) -> None:
        self.windows, self.length = rows.shape
        chosen = rows.reshape(-1)
        self.window = np.repeat(np.arange(self.windows), self.length)
        self.place = np.tile(np.arange(self.length), self.windows)
        self.t = frames.t[chosen]
        empty = frames.flags[chosen] & (REMOTE | ERROR) != 0
        self.bytes = np.where(empty, 0, frames.length[chosen]).astype(np.int64)
        self.payload = np.where(empty[:, None], 0, frames.payload[chosen]).astype(np.int64)
        self.there = np.arange(8) < self.bytes[:, None]
        # A node is a (window, key); nodes are numbered in that order.
        keys, key = np.unique(frames.key[chosen], return_inverse=True)
        nodes, node = np.unique(self.window * len(keys) + key.reshape(-1), return_inverse=True)
        self.node, self.node_window, self.key = node.reshape(-1), nodes // len(keys), keys[nodes % len(keys)]

    def graphs(self) -> Iterator[ReferenceGraph]:
        source, destination, edge_attr = self._edges()
        x = self._nodes(source, destination)
        node = np.searchsorted(self.node_window, np.arange(self.windows + 1))
        edge = np.searchsorted(self.node_window[destination], np.arange(self.windows + 1))
        for w in range(self.windows):
            nodes, edges = slice(node[w], node[w + 1]), slice(edge[w], edge[w + 1])
            index = np.stack([source[edges], destination[edges]]) - node[w]
            yield ReferenceGraph(x[nodes], self.key[nodes], index, edge_attr[edges])

    def _edges(self) -> tuple[Ints, Ints, Floats]:
        """Nodes int64[E] from and to, features float64[E, 11]; by destination, then source."""
        second = np.flatnonzero(self.place > 0)
        first = second - 1
        count = len(self.key)
        edges, edge = np.unique(self.node[second] * count + self.node[first], return_inverse=True)
        edge, destination, source = edge.reshape(-1), edges // count, edges % count
        both = self.there[first] & self.there[second]
        change = np.abs(self.payload[second, :8] - self.payload[first, :8])
        columns: list[NDArray[Any]] = [_mean(edge, self.t[second] - self.t[first], len(edges))]
        columns += [_mean(edge[both[:, k]], change[both[:, k], k], len(edges)) for k in range(8)]
        columns += [np.isin(source * count + destination, edges), np.bincount(edge, minlength=len(edges))]
        return source, destination, np.stack(columns, axis=1).astype(np.float64)

    def _nodes(self, source: Ints, destination: Ints) -> Floats:
        """Features float64[N, 36]."""
        node, n = self.node, len(self.key)
        mean, spread, span, skewness, kurtosis = (np.zeros((n, 8)) for _ in range(5))
        present = np.zeros((n, 8), np.bool_)
        for k in range(8):
            there = self.there[:, k]
            owner, value = node[there], self.payload[there, k]
            present[:, k] = np.bincount(owner, minlength=n) > 0
            span[:, k] = _greatest(owner, value, n) + _greatest(owner, 255 - value, n) - 255 * present[:, k]
            mean[:, k], second, third, fourth = _moments(owner, value, n)
            spread[:, k] = np.sqrt(second)
            varies = span[:, k] > 0
            skewness[varies, k] = third[varies] / second[varies] ** 1.5
            kurtosis[varies, k] = fourth[varies] / second[varies] ** 2 - 3
        positions = np.maximum(present.sum(axis=1), 1)

        order = np.lexsort((self.place, node))
        follows = node[order[1:]] == node[order[:-1]]
        now, before = order[1:][follows], order[:-1][follows]
        gap, gap_variance, _, _ = _moments(node[now], self.t[now] - self.t[before], n)
        changed = (self.payload[now] != self.payload[before]).any(axis=1) | (self.bytes[now] != self.bytes[before])
        columns = [
            np.bincount(node, minlength=n),
            _mean(node, self._entropy(), n),
            skewness.clip(-10, 10).sum(axis=1) / positions,
            kurtosis.clip(-10, 10).sum(axis=1) / positions,
            _clustering(source, destination, n),
            _mean(node, self.place < self.length // 2, n),
            _mean(node[now], changed, n),
            gap,
            np.sqrt(gap_variance),
            np.bincount(destination, minlength=n),
            np.bincount(source, minlength=n),
            _mean(node, self.bytes, n),
        ]
        return np.hstack([mean, spread, span, np.stack(columns, axis=1)])

    def _entropy(self) -> Floats:
        """Of each frame's first eight bytes, in nats; bytes that are absent are 0 and add nothing."""
        head = self.payload[:, :8].astype(np.float64)
        share = head / np.maximum(head.sum(axis=1, keepdims=True), 1)
        return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)


def _mean(owner: Ints, value: NDArray[Any], n: int) -> Floats:
    """Mean of what each of n owners has, 0 for one that has nothing."""
    total = np.bincount(owner, weights=value.astype(np.float64), minlength=n)
    return total / np.maximum(np.bincount(owner, minlength=n), 1)


def _greatest(owner: Ints, value: Ints, n: int) -> Ints:
    """The greatest value of each owner, 0 for one that has nothing; values are not negative."""
    greatest = np.zeros(n, np.int64)
    np.maximum.at(greatest, owner, value)
    return greatest


def _moments(owner: Ints, value: NDArray[Any], n: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, and second to fourth central moment, of what each owner has; two passes over the values."""
    mean = _mean(owner, value, n)
    distance = value - mean[owner]
    second, third, fourth = (_mean(owner, distance**power, n) for power in (2, 3, 4))
    return mean, second, third, fourth


def _clustering(source: Ints, destination: Ints, n: int) -> Floats:
    """Of each node, in the undirected simple graph: edges among its neighbours / how many there could be."""
    apart = source != destination
    a, b = source[apart], destination[apart]
    linked = np.unique(np.concatenate([a * n + b, b * n + a]))
    one, other = linked // n, linked % n
    degree = np.bincount(one, minlength=n)
    begin = np.cumsum(degree) - degree
    # Every path one - other - third: the neighbours of the second node, once for each edge that leads to it.
    path = np.repeat(np.arange(len(linked)), degree[other])
    offset = np.arange(len(path)) - np.repeat(np.cumsum(degree[other]) - degree[other], degree[other])
    third = other[begin[other[path]] + offset]
    closed = np.isin(one[path] * n + third, linked, kind="sort") & (third != one[path])
    around = np.bincount(one[path][closed], minlength=n)  # each edge among the neighbours is met from both its ends
    return around / np.maximum(degree * (degree - 1), 1)
