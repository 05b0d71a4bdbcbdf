"""PackedLoader: batches gathered from a GraphStore with pointer arithmetic, on the device where the store lives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch_geometric.data import Batch

from credit_like._partition import cut_to_multiple, even_borders
from credit_like.config import UserError
from credit_like.graphs._gather import PackedGraphs, resident
from credit_like.graphs.rewiring import ChangeEdges
from credit_like.graphs.store import GraphStore


class PackedLoader:
    """Iterates over the graphs ``indices`` of ``store`` in PyG batches.

    A batch equals ``Batch.from_data_list([store.graph(i) for i in ...])`` field by field and can do all that one can:
    ``x`` float32[N, 36], ``edge_index`` int64[2, E], ``edge_attr`` float32[E, 11], ``y`` int64[B] labels, ``key``
    int64[N], ``window`` int64[B] indices in the store, ``batch`` int64[N], ``ptr`` int64[B + 1].

    ``batch_size`` graphs at most make a batch, and as many as ``max_nodes`` and ``max_edges`` allow where those are
    given; ``batch_size=None`` leaves it to them. The last batch may be smaller; nothing is left out.
    ``shuffle`` draws a new order each epoch. ``weights`` (float[len(indices)]) draws ``len(indices)`` graphs with
    replacement, each in proportion to its weight: a curriculum sets them by ``set_weights`` between epochs.
    The order is a pure function of (``seed``, epoch, weights), so ``set_epoch`` must be called for a new one.

    On a GPU the whole store is moved there once, if it fills at most half of the free memory, and shared by all loaders
    of that store object: batches are then gathered without a copy from the host or a synchronisation. A larger store
    stays memory-mapped, and each batch is copied. There are no worker processes.

    ``rank`` and ``num_replicas`` give one of several processes its share: together their k-th batches are the k-th
    batch of one process, and all have as many. ``batch_size`` counts over all of them (``even_borders`` says how it is
    shared); ``max_nodes`` and ``max_edges`` hold for the batch of each, and some batches are cut in half then, so that
    their number is a multiple of the processes.

    ``change`` is done to every batch, on the store's device; see ``credit_like.graphs.rewiring``.

    ``state_dict`` is plain data; a loader made of the same arguments that loads it yields exactly the batches that
    remained. Raises ValueError or IndexError for arguments that do not fit the store, UserError when a graph is larger
    than a budget or a GPU is asked for that is not there.
    """

    def __init__(
        self,
        store: GraphStore,
        indices: NDArray[np.int64],
        batch_size: int | None = 256,
        max_nodes: int | None = None,
        max_edges: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        weights: ArrayLike | None = None,
        device: str | torch.device = "cpu",
        change: ChangeEdges | None = None,
        rank: int = 0,
        num_replicas: int = 1,
    ) -> None:
        if not 0 <= rank < num_replicas:
            raise ValueError(f"rank must lie in 0 .. num_replicas - 1; got {rank} of {num_replicas}")
        self.rank, self.num_replicas = rank, num_replicas
        self.store = store
        self.indices = _checked_indices(store, indices)
        if batch_size is None and max_nodes is None and max_edges is None:
            raise ValueError("give a batch_size, max_nodes or max_edges")
        for name, limit in (("batch_size", batch_size), ("max_nodes", max_nodes), ("max_edges", max_edges)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be at least 1; got {limit}")
        self.batch_size, self.max_nodes, self.max_edges = batch_size, max_nodes, max_edges
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self.device = torch.device(device)
        self.change = change
        self._nodes = store.node_ptr[self.indices + 1] - store.node_ptr[self.indices]
        self._edges = store.edge_ptr[self.indices + 1] - store.edge_ptr[self.indices]
        self._require_budget("max_nodes", max_nodes, self._nodes)
        self._require_budget("max_edges", max_edges, self._edges)
        self._weights: NDArray[np.float64] | None = None
        self.set_weights(weights)
        self._graphs: PackedGraphs = resident(store, self.device)
        self._done = 0
        self._resume: dict[str, Any] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; a position that was loaded for another epoch is forgotten."""
        if epoch != self.epoch:
            self._resume, self._done = None, 0
        self.epoch = epoch

    def set_weights(self, weights: ArrayLike | None) -> None:
        """Sampling weights float[len(indices)] from the next iteration on, finite and not negative; None: none."""
        if weights is None:
            self._weights = None
            return
        given = np.asarray(weights, np.float64)
        if given.shape != self.indices.shape:
            raise ValueError(f"weights must have shape {self.indices.shape}; got {given.shape}")
        if not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
            raise ValueError("weights must be finite and not negative, and not all zero")
        self._weights = given

    def __len__(self) -> int:
        """Batches in the current epoch, as many for every process."""
        return (len(self._borders(self._order())) - 1) // self.num_replicas

    def __iter__(self) -> Iterator[Batch]:
        order = self._order()
        borders = self._borders(order)
        return self._batches(order, borders, self._take_position(order))

    def _batches(self, order: NDArray[np.int64], borders: NDArray[np.int64], first: int) -> Iterator[Batch]:
        graphs = torch.from_numpy(self.indices[order]).to(self._graphs.device)
        nodes = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._nodes[order])])[borders]
        edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._edges[order])])[borders]
        for number in range(first, (len(borders) - 1) // self.num_replicas):
            share = number * self.num_replicas + self.rank
            batch = self._graphs.batch(
                graphs[borders[share] : borders[share + 1]],
                int(nodes[share + 1] - nodes[share]),
                int(edges[share + 1] - edges[share]),
            )
            batch = batch if self.change is None else self.change(batch)
            self._done = number + 1
            yield batch if batch.x.device.type == self.device.type else batch.to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the batches of it that were handed out, and what identifies its order."""
        return {"epoch": self.epoch, "batches": self._done, "order": self._fingerprint(self._order())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next iteration behind the batches that ``state`` says were handed out.

        Whether this loader has the same order is checked when it is iterated (a curriculum sets its weights until
        then): ValueError if not.
        """
        self.epoch, self._done = int(state["epoch"]), int(state["batches"])
        self._resume = dict(state)

    def _take_position(self, order: NDArray[np.int64]) -> int:
        state, self._resume = self._resume, None
        self._done = 0
        if state is None:
            return 0
        if state["order"] != self._fingerprint(order):
            raise ValueError(
                "the loader's state is of another order: indices, seed, shuffle, weights or batch limits have changed"
            )
        self._done = int(state["batches"])
        return self._done

    def _order(self) -> NDArray[np.int64]:
        """int64[n]: positions in ``indices``, in the order of this epoch."""
        n = len(self.indices)
        rng = np.random.default_rng([self.seed, self.epoch])
        if self._weights is not None:
            below = np.cumsum(self._weights)
            return np.searchsorted(below, rng.random(n) * below[-1], side="right").clip(max=n - 1)
        return rng.permutation(n) if self.shuffle else np.arange(n)

    def _borders(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[batches + 1]: where each batch begins in ``order`` for all processes, with its length at the end."""
        n = len(order)
        if self.max_nodes is None and self.max_edges is None and self.batch_size is not None:
            return even_borders(n, self.batch_size, self.num_replicas)
        most = n if self.batch_size is None else max(1, self.batch_size // self.num_replicas)
        limits = [(np.arange(1, n + 1), most)]
        if self.max_nodes is not None:
            limits.append((np.cumsum(self._nodes[order]), self.max_nodes))
        if self.max_edges is not None:
            limits.append((np.cumsum(self._edges[order]), self.max_edges))
        borders = [0]
        while (first := borders[-1]) < n:
            before = [int(total[first - 1]) if first else 0 for total, _ in limits]
            reach = [np.searchsorted(total, b + most, "right") for (total, most), b in zip(limits, before, strict=True)]
            borders.append(int(min(reach)))
        return cut_to_multiple(np.array(borders), self.num_replicas)

    def _fingerprint(self, order: NDArray[np.int64]) -> str:
        digest = hashlib.sha256(self.store.digest.encode())
        share = [np.array([self.rank, self.num_replicas])] if self.num_replicas > 1 else []
        for part in (self.indices[order], self._borders(order), *share):
            digest.update(part.astype("<i8").tobytes())
        return digest.hexdigest()

    def _require_budget(self, name: str, limit: int | None, sizes: NDArray[np.int64]) -> None:
        if limit is not None and len(sizes) and sizes.max() > limit:
            largest = int(self.indices[sizes.argmax()])
            raise UserError(
                f"{name} is {limit}, but graph {largest} alone has {sizes.max()}; raise {name} to at least that"
            )


def _checked_indices(store: GraphStore, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    given = np.asarray(indices)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise ValueError(f"indices must be integers in one dimension; got {given.dtype} of shape {given.shape}")
    given = given.astype(np.int64)
    if given.size and (given.min() < 0 or given.max() >= len(store)):
        raise IndexError(f"indices must be in 0..{len(store) - 1}; got {given.min()}..{given.max()}")
    return given
