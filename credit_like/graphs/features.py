"""Windows of frames to graphs: 36 node features and 11 edge features, in one compiled pass."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from credit_like.can.frames import FrameTable
from credit_like.graphs._kernel import MAX_WINDOW, count_windows, fill_windows

#: Columns of ``x``, in order.
NODE_FEATURES: tuple[str, ...] = (
    *(f"byte{k}_mean" for k in range(8)),
    *(f"byte{k}_std" for k in range(8)),
    *(f"byte{k}_range" for k in range(8)),
    "message_count",
    "payload_entropy",
    "skewness",
    "excess_kurtosis",
    "clustering",
    "split_half_ratio",
    "change_rate",
    "interarrival_mean",
    "interarrival_std",
    "in_degree",
    "out_degree",
    "payload_length",
)

#: Columns of ``edge_attr``, in order.
EDGE_FEATURES: tuple[str, ...] = (
    "gap_mean",
    *(f"byte{k}_difference" for k in range(8)),
    "reverse_exists",
    "count",
)

#: A thread is started for no fewer windows than this, about a millisecond of work at 100 frames.
_WINDOWS_AT_LEAST = 64


@dataclass(frozen=True, eq=False)
class GraphArrays:
    """``n`` graphs packed one behind the other; graph ``g`` has node rows ``node_ptr[g]:node_ptr[g + 1]``.

    ==============  ==================  ========================================================================
    ``x``           float32[N, 36]      node features, ``NODE_FEATURES``
    ``key``         int64[N]            node key ``extended << 32 | id``, ascending within a graph
    ``edge_index``  int32[2, E]         source and destination, counted from the graph's own first node;
                                        edges ascend by destination, then by source; stored pair by pair
    ``edge_attr``   float32[E, 11]      edge features, ``EDGE_FEATURES``
    ``node_ptr``    int64[n + 1]        where each graph's nodes begin, with N at the end
    ``edge_ptr``    int64[n + 1]        where each graph's edges begin, with E at the end
    ==============  ==================  ========================================================================
    """

    x: NDArray[np.float32]
    key: NDArray[np.int64]
    edge_index: NDArray[np.int32]
    edge_attr: NDArray[np.float32]
    node_ptr: NDArray[np.int64]
    edge_ptr: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GraphSizes:
    """``nodes`` int64[n] and ``edges`` int64[n] of each window's graph."""

    nodes: NDArray[np.int64]
    edges: NDArray[np.int64]


def count_graphs(frames: FrameTable, starts: NDArray[np.int64], window: int) -> GraphSizes:
    """The sizes of the graphs that ``build_graphs`` makes of the same arguments, for about a tenth of the time."""
    starts = _checked(frames, starts, window)
    sizes = GraphSizes(np.empty(len(starts), np.int64), np.empty(len(starts), np.int64))
    columns = _column(frames.id), _column(frames.flags)
    _in_threads(count_windows, len(starts), *columns, starts, window, sizes.nodes, sizes.edges)
    return sizes


def build_graphs(
    frames: FrameTable, starts: NDArray[np.int64], window: int, sizes: GraphSizes | None = None
) -> GraphArrays:
    """Build one graph of each ``window`` consecutive frames that begin at ``starts`` (int64[n] rows of ``frames``).

    ``frames`` must be of one capture and one bus; labels are not read. Windows may overlap. Times are subtracted and
    moments taken in float64, in two passes, before the result is stored as float32. Remote and error frames count with
    an empty payload. The result does not depend on the number of threads (``torch.set_num_threads``).

    ========================  ======================================================================================
    node feature              over the id's frames in the window (population moments; what is undefined is 0)
    ========================  ======================================================================================
    ``byte{k}_*``             mean, standard deviation and max - min of byte k (0..255) of the frames that have it
    ``message_count``         frames
    ``payload_entropy``       mean of -sum p log p (nats), p = byte / sum of the payload's first 8 bytes
    ``skewness``              of each byte 0..7, constant 0, clipped to +-10, then the mean over bytes ever present
    ``excess_kurtosis``       likewise
    ``clustering``            local clustering coefficient in the undirected simple graph
    ``split_half_ratio``      share of its frames with index below floor(window / 2) in the window
    ``change_rate``           changes of the whole payload, length included, / (count - 1)
    ``interarrival_*``        mean and standard deviation of the time between its consecutive frames, seconds
    ``in_``, ``out_degree``   distinct sources and destinations, itself included where there is a self-loop
    ``payload_length``        mean bytes present (up to 64)
    ========================  ======================================================================================

    An edge is a distinct pair of ids of consecutive frames: ``gap_mean`` is the mean time between the two (seconds),
    ``byte{k}_difference`` the mean absolute difference of byte k over the pairs that both have it, ``reverse_exists``
    1 where the opposite edge exists too (a self-loop is its own), ``count`` the number of such pairs.

    ``sizes`` may be given by who has called ``count_graphs`` before. Raises ValueError when a window does not lie in
    ``frames``, ``window`` is not in 2..1,048,576, an id is negative or a length exceeds the payload's width.
    """
    starts = _checked(frames, starts, window)
    if sizes is None:
        sizes = count_graphs(frames, starts, window)
    node_ptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.nodes)])
    edge_ptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.edges)])
    x = np.empty((node_ptr[-1], len(NODE_FEATURES)), np.float32)
    key = np.empty(node_ptr[-1], np.int64)
    pairs = np.empty((edge_ptr[-1], 2), np.int32)
    edge_attr = np.empty((edge_ptr[-1], len(EDGE_FEATURES)), np.float32)
    columns = [_column(column) for column in (frames.t, frames.id, frames.flags, frames.length, frames.payload)]
    _in_threads(fill_windows, len(starts), *columns, starts, window, node_ptr, edge_ptr, x, key, pairs, edge_attr)
    return GraphArrays(x, key, pairs.T, edge_attr, node_ptr, edge_ptr)


def _checked(frames: FrameTable, starts: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    if not 2 <= window <= MAX_WINDOW:
        raise ValueError(f"window must be 2..{MAX_WINDOW} frames; got {window}")
    starts = np.ascontiguousarray(starts, np.int64)
    if len(starts) and (starts.min() < 0 or starts.max() + window > len(frames)):
        raise ValueError(
            f"windows of {window} frames from {starts.min()} to {starts.max()} leave the {len(frames)} frames"
        )
    if len(frames) and (frames.id.min() < 0 or frames.length.max() > frames.payload.shape[1]):
        raise ValueError("a frame has a negative id, or a length beyond the width of the payload column")
    return starts


def _column(column: NDArray[Any]) -> NDArray[Any]:
    """The column as the kernel was compiled for (contiguous, writable): another layout would compile it again."""
    return np.require(column, requirements=["C", "W"])


def _in_threads(kernel: Callable[..., None], windows: int, *arguments: Any) -> None:
    """Run ``kernel(begin, end, *arguments)`` over all windows, cut in ranges of equal length."""
    threads = torch.get_num_threads()
    step = max(_WINDOWS_AT_LEAST, -(-windows // threads))
    ranges = [(begin, min(begin + step, windows)) for begin in range(0, windows, step)]
    if len(ranges) <= 1:
        for begin, end in ranges:
            kernel(begin, end, *arguments)
        return
    with ThreadPoolExecutor(len(ranges)) as pool:
        for finished in [pool.submit(kernel, begin, end, *arguments) for begin, end in ranges]:
            finished.result()
