"""All 47 features once more, plain and slow, one statement a definition: what the compiled builder is held against.

Nothing is shared with it but the names of the flag bits. Every number is a Python float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from credit_like.can.frames import ERROR, EXTENDED, REMOTE, FrameTable


@dataclass(frozen=True)
class ReferenceGraph:
    """One graph in float64; the layout is that of ``GraphArrays``, without pointers."""

    x: NDArray[np.float64]
    key: NDArray[np.int64]
    edge_index: NDArray[np.int64]
    edge_attr: NDArray[np.float64]


def reference_graph(frames: FrameTable, start: int, window: int) -> ReferenceGraph:
    """The graph of rows ``start .. start + window - 1``."""
    rows = range(start, start + window)
    times = [float(frames.t[row]) for row in rows]
    payloads = [payload_of(frames, row) for row in rows]
    keys = [(int(frames.flags[row]) & EXTENDED) * 2**32 + int(frames.id[row]) for row in rows]
    nodes = sorted(set(keys))
    transitions: dict[tuple[int, int], list[int]] = {}  # (destination, source) -> indices of the second frames
    for i in range(1, window):
        transitions.setdefault((keys[i], keys[i - 1]), []).append(i)
    directed = {(source, destination) for destination, source in transitions}
    neighbours = {node: {b for a, b in directed if a == node} | {a for a, b in directed if b == node} for node in nodes}
    for node in nodes:
        neighbours[node].discard(node)

    x = []
    for node in nodes:
        own = [i for i in range(window) if keys[i] == node]
        sent = [payloads[i] for i in own]
        columns = [[payload[k] for payload in sent if len(payload) > k] for k in range(8)]
        present = [column for column in columns if column]
        gaps = [times[j] - times[i] for i, j in pairwise(own)]
        changes = sum(sent[j] != sent[j - 1] for j in range(1, len(sent)))
        x.append(
            [mean(column) for column in columns]
            + [math.sqrt(central_moment(column, 2)) for column in columns]
            + [float(max(column) - min(column)) if column else 0.0 for column in columns]
            + [
                float(len(own)),
                mean([entropy(payload) for payload in sent]),
                mean([standardised_moment(column, 3) for column in present]),
                mean([standardised_moment(column, 4) for column in present]),
                clustering(node, neighbours),
                sum(i < window // 2 for i in own) / len(own),
                changes / (len(own) - 1) if len(own) > 1 else 0.0,
                mean(gaps),
                math.sqrt(central_moment(gaps, 2)),
                float(len({a for a, b in directed if b == node})),
                float(len({b for a, b in directed if a == node})),
                mean([len(payload) for payload in sent]),
            ]
        )

    edge_index, edge_attr = [], []
    for destination, source in sorted(transitions):
        seconds = transitions[destination, source]
        edge_index.append((nodes.index(source), nodes.index(destination)))
        differences = []
        for k in range(8):
            both = [i for i in seconds if len(payloads[i]) > k and len(payloads[i - 1]) > k]
            differences.append(mean([abs(payloads[i][k] - payloads[i - 1][k]) for i in both]))
        gap = mean([times[i] - times[i - 1] for i in seconds])
        edge_attr.append([gap, *differences, float((destination, source) in directed), float(len(seconds))])

    return ReferenceGraph(
        x=np.array(x),
        key=np.array(nodes),
        edge_index=np.array(edge_index).T,
        edge_attr=np.array(edge_attr),
    )


def payload_of(frames: FrameTable, row: int) -> tuple[int, ...]:
    """The bytes that are present; none in remote and error frames."""
    if frames.flags[row] & (REMOTE | ERROR):
        return ()
    return tuple(int(byte) for byte in frames.payload[row, : frames.length[row]])


def entropy(payload: tuple[int, ...]) -> float:
    """-sum p log p in nats over the first eight bytes, p = byte / their sum; 0 for an empty or all-zero payload."""
    head = payload[:8]
    total = sum(head)
    return -sum(byte / total * math.log(byte / total) for byte in head if byte > 0) if total else 0.0


def mean(values: Sequence[float]) -> float:
    """0 for no value."""
    return math.fsum(values) / len(values) if values else 0.0


def central_moment(values: Sequence[float], order: int) -> float:
    """Mean of ``(value - mean) ** order``."""
    centre = mean(values)
    return mean([(value - centre) ** order for value in values])


def standardised_moment(column: list[int], order: int) -> float:
    """Population skewness (3) or excess kurtosis (4), clipped to +-10; 0 for a constant column."""
    if min(column) == max(column):
        return 0.0
    moment = central_moment(column, order) / central_moment(column, 2) ** (order / 2)
    return min(10.0, max(-10.0, moment - (3.0 if order == 4 else 0.0)))


def clustering(node: int, neighbours: dict[int, set[int]]) -> float:
    """Edges among the node's neighbours / how many there could be, in the undirected simple graph."""
    around = sorted(neighbours[node])
    if len(around) < 2:
        return 0.0
    linked = sum(b in neighbours[a] for a in around for b in around if a < b)
    return 2 * linked / (len(around) * (len(around) - 1))
