"""The compiled graph builder: one pass over a window's frames gives its nodes, edges and all 47 features.

A window's graph depends on that window alone and is written to rows of its own, so the result is the same for any
number of threads. The two functions that ``features.py`` calls take a range of windows and release the interpreter's
lock: plain threads run them side by side. (numba's own ``prange`` was as fast, but after it a forked process, such as a
DataLoader worker, is aborted by OpenMP at its first parallel call.) ``features.py`` says what the columns mean.
"""

# mypy: ignore-errors
# numba infers the types of what follows; mypy sees untyped functions in it.
from __future__ import annotations

import math

import numpy as np

from credit_like._compiled import compiled
from credit_like.can.frames import ERROR, EXTENDED, REMOTE

#: Bits for a frame's index in its window. A sort key is (33 bits of node key, index) or (destination, source, index),
#: so three times this number must stay below 64.
INDEX_BITS = 20
MAX_WINDOW = 1 << INDEX_BITS

_INDEX = MAX_WINDOW - 1
_EMPTY = REMOTE | ERROR
#: Runs up to this length are sorted by insertion, which is faster than merging for the few frames of one id.
_RUN = 12
#: log of 0..2040, the sums that eight bytes can have; log 0 is never used and stands as 0.
_LOG = np.concatenate([np.zeros(1), np.log(np.arange(1.0, 8 * 255 + 1))])


@compiled
def _sort(values, spare, n):
    """Sort ``values[:n]`` ascending: insertion in short runs, then merges that leave ordered neighbours alone."""
    for low in range(0, n, _RUN):
        for i in range(low + 1, min(low + _RUN, n)):
            value = values[i]
            j = i - 1
            while j >= low and values[j] > value:
                values[j + 1] = values[j]
                j -= 1
            values[j + 1] = value
    width = _RUN
    while width < n:
        for low in range(0, n - width, 2 * width):
            middle, high = low + width, min(low + 2 * width, n)
            if values[middle - 1] <= values[middle]:
                continue
            for i in range(low, middle):
                spare[i] = values[i]
            i, j, out = low, middle, low
            while i < middle and j < high:
                if spare[i] <= values[j]:
                    values[out] = spare[i]
                    i += 1
                else:
                    values[out] = values[j]
                    j += 1
                out += 1
            while i < middle:
                values[out] = spare[i]
                i += 1
                out += 1
        width *= 2


@compiled
def _group(id, flags, start, window, order, spare, node, first):
    """Group the window's frames by key. Returns the number of nodes, which ascend by key.

    Sets ``order`` (key and index of each frame, by node, then by time), ``node[i]`` (node of frame i) and ``first``
    (where each node's frames begin in ``order``, with the end behind the last).
    """
    for i in range(window):
        row = start + i
        key = np.int64(flags[row] & EXTENDED) << 32 | np.int64(id[row])
        order[i] = key << INDEX_BITS | i
    _sort(order, spare, window)
    nodes = 0
    previous = np.int64(-1)
    for place in range(window):
        key = order[place] >> INDEX_BITS
        if key != previous:
            first[nodes] = place
            previous = key
            nodes += 1
        node[order[place] & _INDEX] = nodes - 1
    first[nodes] = window
    return nodes


@compiled
def _connect(order, window, node, pairs, spare, begin):
    """Merge equal transitions. Returns the number of edges, which ascend by destination, then by source.

    Sets ``pairs`` (destination, source and index of each transition's second frame, by edge, then by time) and
    ``begin`` (where each edge's transitions begin in ``pairs``, with the end behind the last).
    """
    count = 0
    for place in range(window):
        i = order[place] & _INDEX
        if i > 0:
            pairs[count] = (np.int64(node[i]) << INDEX_BITS | np.int64(node[i - 1])) << INDEX_BITS | i
            count += 1
    _sort(pairs, spare, count)
    edges = 0
    previous = np.int64(-1)
    for place in range(count):
        edge = pairs[place] >> INDEX_BITS
        if edge != previous:
            begin[edges] = place
            previous = edge
            edges += 1
    begin[edges] = count
    return edges


@compiled
def count_windows(begin, end, id, flags, starts, window, nodes, edges):
    """Set ``nodes[w]`` and ``edges[w]``, the sizes of the graph, of the windows ``begin <= w < end``."""
    order = np.empty(window, np.int64)
    pairs = np.empty(window, np.int64)
    spare = np.empty(window, np.int64)
    node = np.empty(window, np.int32)
    first = np.empty(window + 1, np.int32)
    for w in range(begin, end):
        nodes[w] = _group(id, flags, starts[w], window, order, spare, node, first)
        edges[w] = _connect(order, window, node, pairs, spare, first)


@compiled
def _payload_features(frame, size, payload, n, x):
    """Set the features of one id's payloads, rows ``frame[:n]`` of ``size[:n]`` bytes: 0..23, 25..27, 30 and 35."""
    longest = 0
    for j in range(n):
        longest = max(longest, size[j])
    present = min(longest, 8)
    skewness = kurtosis = 0.0
    for k in range(present):
        count, total, low, high = 0, 0, 255, 0
        for j in range(n):
            if size[j] > k:
                byte = np.int64(payload[frame[j], k])
                count += 1
                total += byte
                low = min(low, byte)
                high = max(high, byte)
        mean = total / count
        x[k] = mean
        if high > low:
            second = third = fourth = 0.0
            for j in range(n):
                if size[j] > k:
                    distance = payload[frame[j], k] - mean
                    square = distance * distance
                    second += square
                    third += square * distance
                    fourth += square * square
            second /= count
            deviation = math.sqrt(second)
            x[8 + k] = deviation
            x[16 + k] = high - low
            skewness += min(10.0, max(-10.0, third / count / (second * deviation)))
            kurtosis += min(10.0, max(-10.0, fourth / count / (second * second) - 3.0))
    if present > 0:
        x[26] = skewness / present
        x[27] = kurtosis / present

    entropy, length, changes = 0.0, 0, 0
    for j in range(n):
        row, bytes_present = frame[j], size[j]
        length += bytes_present
        total, filled, weighted = 0, 0, 0.0
        for k in range(min(bytes_present, 8)):
            byte = np.int64(payload[row, k])
            total += byte
            filled += byte > 0
            weighted += byte * _LOG[byte]
        if filled > 1:  # one byte alone has entropy 0, which the difference below would miss by a rounding error
            entropy += _LOG[total] - weighted / total
        if j > 0:
            before = frame[j - 1]
            changed = bytes_present != size[j - 1]
            k = 0
            while not changed and k < bytes_present:
                changed = payload[row, k] != payload[before, k]
                k += 1
            changes += changed
    x[25] = entropy / n
    x[35] = length / n
    if n > 1:
        x[30] = changes / (n - 1)


@compiled
def _timing_features(frame, t, n, half, x):
    """Set the features of one id's times, rows ``frame[:n]``; the second half begins at ``half``: 24, 29, 31 and 32."""
    early = 0
    for j in range(n):
        early += frame[j] < half
    x[24] = n
    x[29] = early / n
    if n > 1:
        mean = (t[frame[n - 1]] - t[frame[0]]) / (n - 1)
        square = 0.0
        for j in range(1, n):
            distance = t[frame[j]] - t[frame[j - 1]] - mean
            square += distance * distance
        x[31] = mean
        x[32] = math.sqrt(square / (n - 1))


@compiled
def _edge_features(pairs, begin, edges, start, t, flags, length, payload, edge_index, edge_attr):
    """Set the ends and the features 0..8 and 10 of every edge of a window."""
    for e in range(edges):
        low, high = begin[e], begin[e + 1]
        edge_index[e, 0] = pairs[low] >> INDEX_BITS & _INDEX
        edge_index[e, 1] = pairs[low] >> 2 * INDEX_BITS
        gap = 0.0
        for place in range(low, high):
            row = start + (pairs[place] & _INDEX)
            gap += t[row] - t[row - 1]
        edge_attr[e, 0] = gap / (high - low)
        edge_attr[e, 10] = high - low
        for k in range(8):
            count, total = 0, 0
            for place in range(low, high):
                row = start + (pairs[place] & _INDEX)
                if (flags[row] | flags[row - 1]) & _EMPTY == 0 and length[row] > k and length[row - 1] > k:
                    count += 1
                    total += abs(np.int64(payload[row, k]) - np.int64(payload[row - 1, k]))
            edge_attr[e, 1 + k] = total / count if count > 0 else 0.0


@compiled
def _graph_features(nodes, edges, edge_index, edge_attr, into, reach, neighbour, mark, triangles, x):
    """Set what depends on the shape of a window's graph: node features 28, 33 and 34, edge feature 9."""
    into[: nodes + 1] = 0
    reach[: nodes + 1] = 0
    for e in range(edges):
        into[edge_index[e, 1] + 1] += 1
        x[edge_index[e, 0], 34] += 1
    for v in range(nodes):
        x[v, 33] = into[v + 1]
        into[v + 1] += into[v]
    # Undirected simple neighbours: each unordered pair once, by its edge from the lower node or by its only edge.
    for e in range(edges):
        source, destination = edge_index[e, 0], edge_index[e, 1]
        low, high = into[source], into[source + 1]
        while low < high:
            middle = (low + high) // 2
            if edge_index[middle, 0] < destination:
                low = middle + 1
            else:
                high = middle
        mutual = low < into[source + 1] and edge_index[low, 0] == destination
        edge_attr[e, 9] = mutual
        if source < destination or (source > destination and not mutual):
            reach[source + 1] += 1
            reach[destination + 1] += 1
    for v in range(nodes):
        reach[v + 1] += reach[v]
        mark[v] = reach[v]
        triangles[v] = 0
    for e in range(edges):
        source, destination = edge_index[e, 0], edge_index[e, 1]
        if source < destination or (source > destination and edge_attr[e, 9] == 0):
            neighbour[mark[source]] = destination
            neighbour[mark[destination]] = source
            mark[source] += 1
            mark[destination] += 1
    # Every triangle once, from its highest corner in the order (degree, node), so that hubs do not make this quadratic.
    mark[:nodes] = -1
    for v in range(nodes):
        degree = reach[v + 1] - reach[v]
        for place in range(reach[v], reach[v + 1]):
            mark[neighbour[place]] = v
        for place in range(reach[v], reach[v + 1]):
            u = neighbour[place]
            degree_u = reach[u + 1] - reach[u]
            if degree_u > degree or (degree_u == degree and u > v):
                continue
            for other in range(reach[u], reach[u + 1]):
                w = neighbour[other]
                degree_w = reach[w + 1] - reach[w]
                if mark[w] == v and (degree_w < degree_u or (degree_w == degree_u and w < u)):
                    triangles[v] += 1
                    triangles[u] += 1
                    triangles[w] += 1
    for v in range(nodes):
        degree = reach[v + 1] - reach[v]
        if degree > 1:
            x[v, 28] = 2.0 * triangles[v] / (degree * (degree - 1.0))


@compiled
def fill_windows(
    begin, end, t, id, flags, length, payload, starts, window, node_ptr, edge_ptr, x, key, edge_index, edge_attr
):
    """Write the graphs of the windows ``begin <= w < end``: nodes from row ``node_ptr[w]``, edges from ``edge_ptr[w]``.

    Raises ValueError, before anything is written out of place, when the pointers are not those of ``count_windows``.
    """
    order = np.empty(window, np.int64)
    pairs = np.empty(window, np.int64)
    spare = np.empty(window, np.int64)
    frame = np.empty(window, np.int64)
    size = np.empty(window, np.int64)
    node = np.empty(window, np.int32)
    first = np.empty(window + 1, np.int32)
    first_pair = np.empty(window + 1, np.int32)
    into = np.empty(window + 1, np.int32)
    reach = np.empty(window + 1, np.int32)
    mark = np.empty(window, np.int32)
    triangles = np.empty(window, np.int64)
    neighbour = np.empty(2 * window, np.int32)
    for w in range(begin, end):
        start = starts[w]
        nodes = _group(id, flags, start, window, order, spare, node, first)
        edges = _connect(order, window, node, pairs, spare, first_pair)
        if nodes != node_ptr[w + 1] - node_ptr[w] or edges != edge_ptr[w + 1] - edge_ptr[w]:
            raise ValueError("these are not the sizes of these windows' graphs")
        graph_x = x[node_ptr[w] : node_ptr[w] + nodes]
        graph_x[:] = 0
        for v in range(nodes):
            n = first[v + 1] - first[v]
            for j in range(n):
                row = start + (order[first[v] + j] & _INDEX)
                frame[j] = row
                size[j] = 0 if flags[row] & _EMPTY else length[row]
            key[node_ptr[w] + v] = order[first[v]] >> INDEX_BITS
            _payload_features(frame, size, payload, n, graph_x[v])
            _timing_features(frame, t, n, start + window // 2, graph_x[v])
        graph_edges = edge_index[edge_ptr[w] : edge_ptr[w] + edges]
        graph_attr = edge_attr[edge_ptr[w] : edge_ptr[w] + edges]
        _edge_features(pairs, first_pair, edges, start, t, flags, length, payload, graph_edges, graph_attr)
        _graph_features(nodes, edges, graph_edges, graph_attr, into, reach, neighbour, mark, triangles, graph_x)
