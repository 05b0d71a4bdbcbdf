"""The store's tensors on one device, and batches gathered from them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from credit_like._compiled import compiled
from credit_like._threads import spread
from credit_like.config import UserError
from credit_like.graphs._build import TENSORS
from credit_like.graphs._tensor_files import map_tensor
from credit_like.graphs.store import GraphStore

#: A store is moved to a GPU when it fills at most this share of the free memory; the rest is for the model.
_SHARE_OF_GPU = 0.5
#: Graphs that one thread gathers at a time, at least.
_TOGETHER = 128
#: What ``Batch`` makes of ``Data``; calling ``Batch`` makes the class anew for every object, for 0.3 ms.
_BATCH: Any = type(Batch.from_data_list([Data()]))


@dataclass(frozen=True, eq=False)
class PackedGraphs:
    """Shapes and meaning of ``GraphArrays``, but ``pairs`` int32[E, 2]; ``label`` int64[n]. All on one device."""

    x: Tensor
    key: Tensor
    pairs: Tensor
    edge_attr: Tensor
    node_ptr: Tensor
    edge_ptr: Tensor
    label: Tensor

    @property
    def device(self) -> torch.device:
        return self.x.device

    def batch(self, graphs: Tensor, nodes: int, edges: int) -> Batch:
        """The graphs ``graphs`` (int64[B]) as one batch; ``nodes`` and ``edges`` are their sums, known beforehand so
        that a GPU need not be waited for."""
        gather = gather_compiled if self.device.type == "cpu" else gather_on_device
        parts = gather(self, graphs, nodes, edges)
        made = _BATCH.__new__(_BATCH)
        Data.__init__(
            made,
            x=parts.x,
            edge_index=parts.edge_index,
            edge_attr=parts.edge_attr,
            y=self.label[graphs],
            key=parts.key,
            window=graphs.clone(),
            batch=parts.batch,
            ptr=parts.ptr,
        )
        # What PyG's collate leaves behind, so that to_data_list and indexing work.
        one_each = torch.arange(len(graphs) + 1, device=self.device)
        made._num_graphs = len(graphs)
        made._slice_dict = {
            "x": parts.ptr,
            "edge_index": parts.edge_ptr,
            "edge_attr": parts.edge_ptr,
            "y": one_each,
            "key": parts.ptr,
            "window": one_each,
        }
        nothing = torch.zeros(len(graphs), dtype=torch.int64)
        made._inc_dict = dict.fromkeys(made._slice_dict, nothing) | {"edge_index": parts.ptr[:-1]}
        return made


def resident(store: GraphStore, device: torch.device) -> PackedGraphs:
    """The store's tensors on ``device`` if they fit there, else memory-mapped; one copy for each store and device.

    Raises UserError when the device is a GPU that is not there.
    """
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"device {str(device)!r} was asked for, but torch finds {torch.cuda.device_count()} CUDA GPUs; use cpu"
            )
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    placed = _PLACED.setdefault(store, {})
    if device not in placed:
        if device.type == "cpu":
            placed[device] = _mapped(store)
        else:
            packed = resident(store, torch.device("cpu"))
            size = sum(tensor.nbytes for tensor in vars(packed).values())
            fits = device.type != "cuda" or size <= _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]
            placed[device] = (
                PackedGraphs(**{name: tensor.to(device) for name, tensor in vars(packed).items()}) if fits else packed
            )
    return placed[device]


_PLACED: WeakKeyDictionary[GraphStore, dict[torch.device, PackedGraphs]] = WeakKeyDictionary()


def _mapped(store: GraphStore) -> PackedGraphs:
    # Private mappings: torch has no read-only tensors, and what somebody writes into one must not reach the files.
    arrays = {name: map_tensor(store.folder / file, "c") for name, file in TENSORS.items()}
    arrays["pairs"] = arrays.pop("edge_index").T
    label = torch.tensor(store.windows.label, dtype=torch.int64)  # copied: what the table holds may be read-only
    return PackedGraphs(**{name: torch.from_numpy(array) for name, array in arrays.items()}, label=label)


@dataclass(frozen=True, eq=False)
class Gathered:
    """The tensors of a batch that are gathered from the store's; ``edge_ptr`` int64[B + 1] counts its edges."""

    x: Tensor
    key: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    batch: Tensor
    ptr: Tensor
    edge_ptr: Tensor


def gather_on_device(packed: PackedGraphs, graphs: Tensor, nodes: int, edges: int) -> Gathered:
    """By torch's own operations, on any device; nothing is read back to the host."""
    ptr, owner, rows = _ranges(packed.node_ptr, graphs, nodes)
    edge_ptr, edge_owner, edge_rows = _ranges(packed.edge_ptr, graphs, edges)
    edge_index = torch.empty(2, edges, dtype=torch.int64, device=packed.device)
    torch.add(packed.pairs.index_select(0, edge_rows).t(), ptr.index_select(0, edge_owner), out=edge_index)
    return Gathered(
        x=packed.x.index_select(0, rows),
        key=packed.key.index_select(0, rows),
        edge_index=edge_index,
        edge_attr=packed.edge_attr.index_select(0, edge_rows),
        batch=owner,
        ptr=ptr,
        edge_ptr=edge_ptr,
    )


def _ranges(ptr: Tensor, graphs: Tensor, total: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each graph begins in the batch (int64[B + 1]), and of each of its ``total`` rows the graph's place in the
    batch and the row in the store."""
    start = ptr[graphs]
    count = ptr[graphs + 1] - start
    begin = torch.zeros(len(graphs) + 1, dtype=torch.int64, device=ptr.device)
    torch.cumsum(count, 0, out=begin[1:])
    owner = torch.repeat_interleave(count, output_size=total)
    rows = torch.arange(total, device=ptr.device) + (start - begin[:-1]).index_select(0, owner)
    return begin, owner, rows


def gather_compiled(packed: PackedGraphs, graphs: Tensor, nodes: int, edges: int) -> Gathered:
    """The same on a CPU in one pass without temporaries, on as many threads as torch has."""
    made = Gathered(
        x=torch.empty(nodes, packed.x.shape[1]),
        key=torch.empty(nodes, dtype=torch.int64),
        edge_index=torch.empty(2, edges, dtype=torch.int64),
        edge_attr=torch.empty(edges, packed.edge_attr.shape[1]),
        batch=torch.empty(nodes, dtype=torch.int64),
        ptr=torch.empty(len(graphs) + 1, dtype=torch.int64),
        edge_ptr=torch.empty(len(graphs) + 1, dtype=torch.int64),
    )
    source = (packed.node_ptr, packed.edge_ptr, packed.x, packed.key, packed.pairs, packed.edge_attr)
    target = (made.ptr, made.edge_ptr, made.x, made.key, made.edge_index, made.edge_attr, made.batch)
    arrays = [graphs.numpy(), *(tensor.numpy() for tensor in source + target)]
    _set_beginnings(arrays[0], *arrays[1:3], *arrays[7:9])
    spread(_copy_graphs, -(-len(graphs) // _TOGETHER), _TOGETHER, *arrays)
    return made


@compiled
def _set_beginnings(graphs, node_ptr, edge_ptr, to_ptr, to_edge_ptr):
    node = edge = 0
    for b in range(len(graphs)):
        to_ptr[b], to_edge_ptr[b] = node, edge
        node += node_ptr[graphs[b] + 1] - node_ptr[graphs[b]]
        edge += edge_ptr[graphs[b] + 1] - edge_ptr[graphs[b]]
    to_ptr[len(graphs)], to_edge_ptr[len(graphs)] = node, edge


@compiled
def _copy_graphs(
    start, stop, size, graphs, node_ptr, edge_ptr, x, key, pairs, edge_attr, to_ptr, to_edge_ptr, to_x, to_key,
    to_index, to_attr, to_batch,
):  # fmt: skip
    """The graphs of the blocks ``start`` to ``stop`` of ``size``."""
    for b in range(start * size, min(stop * size, len(graphs))):
        first = node_ptr[graphs[b]]
        for node in range(to_ptr[b], to_ptr[b + 1]):
            row = first + node - to_ptr[b]
            for column in range(x.shape[1]):
                to_x[node, column] = x[row, column]
            to_key[node] = key[row]
            to_batch[node] = b
        first = edge_ptr[graphs[b]]
        for edge in range(to_edge_ptr[b], to_edge_ptr[b + 1]):
            row = first + edge - to_edge_ptr[b]
            for column in range(edge_attr.shape[1]):
                to_attr[edge, column] = edge_attr[row, column]
            to_index[0, edge] = pairs[row, 0] + to_ptr[b]
            to_index[1, edge] = pairs[row, 1] + to_ptr[b]
