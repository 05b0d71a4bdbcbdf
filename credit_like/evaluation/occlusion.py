"""What carried a window's score: scored again without an id, or without a transition (Zeiler and Fergus, "Visualizing
and Understanding Convolutional Networks", ECCV 2014, section 3: occlusion)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import subgraph

Floats = NDArray[np.float64]

#: Graphs in the form of ``GraphStore.graph`` -> their scores, float64[n], higher for a more suspicious one.
ScoreGraphs = Callable[[Sequence[Data]], Floats]

#: Ids deleted together to see whether the explanation is faithful, and random deletions to compare with.
DELETED, DRAWS = 3, 20
#: Probabilities nearer than this to 0 or 1 are not told apart: 16 steps of float64 below 1, or of float32 where every
#: score is one. There a step is a log-odds of 0.7, and an id that moves the score by one would be named by rounding.
_RESOLUTION, _RESOLUTION_FLOAT32 = 2.0**-49, 2.0**-20


@dataclass(frozen=True)
class Fidelity:
    """Whether the ids named matter more than others: all of ``deleted`` ids taken out of the window at once.

    ``top`` is what deleting the highest ids takes from the score, ``random`` the mean over ``draws`` random choices of
    as many ids, ``beaten`` the share of those choices that took less.
    """

    deleted: int
    top: float
    random: float
    beaten: float
    draws: int


@dataclass(frozen=True, eq=False)
class Occlusion:
    """Of one graph: its score, its score without each node and without each edge, in the graph's order.

    ``node_effect`` and ``edge_effect`` are what the deletion takes from the score, in log-odds where every score is
    within 0 and 1 (``log_odds``), else in the score's own unit. ``fidelity`` is None for a window of one id.
    """

    score: float
    without_node: Floats
    without_edge: Floats
    node_effect: Floats
    edge_effect: Floats
    log_odds: bool
    fidelity: Fidelity | None


def occlude(graphs: Sequence[Data], score: ScoreGraphs, seed: int = 0) -> list[Occlusion]:
    """Each graph again without every single node and edge, then without its highest and without random nodes.

    A node goes with its edges; what remains keeps its features, so the change is the node's own. The node of a graph
    that has no other cannot be taken out: its entries are NaN. ``score`` is called twice, with all graphs.
    """
    variants = [_variants(graph) for graph in graphs]
    scores = _split(score([x for part in variants for x in part]), [len(part) for part in variants])
    chosen = []
    for graph, found in zip(graphs, scores, strict=True):
        nodes = _nodes(graph)
        effect = _effects(found, _in_unit_range(found))[:nodes]
        chosen.append(_sets_to_delete(effect, np.random.default_rng([seed, int(graph.window[0])])) if nodes > 1 else [])
    deleted = [[_without_nodes(g, nodes) for nodes in sets] for g, sets in zip(graphs, chosen, strict=True)]
    again = _split(score([x for part in deleted for x in part]), [len(part) for part in deleted])
    return [_occlusion(g, *parts) for g, parts in zip(graphs, zip(scores, chosen, again, strict=True), strict=True)]


def _occlusion(graph: Data, found: Floats, chosen: list[NDArray[np.int64]], again: Floats) -> Occlusion:
    unit = _in_unit_range(np.concatenate([found, again]))
    without, nodes = found[1:], _nodes(graph) if _nodes(graph) > 1 else 0
    effect = _effects(found, unit)
    single = np.full(1, np.nan)
    fidelity = None
    if chosen:
        taken = _effects(np.concatenate([found[:1], again]), unit)
        fidelity = Fidelity(
            deleted=len(chosen[0]),
            top=float(taken[0]),
            random=float(taken[1:].mean()),
            beaten=float((taken[1:] < taken[0]).mean()),
            draws=len(taken) - 1,
        )
    return Occlusion(
        score=float(found[0]),
        without_node=without[:nodes] if nodes else single,
        without_edge=without[nodes:],
        node_effect=effect[:nodes] if nodes else single,
        edge_effect=effect[nodes:],
        log_odds=unit,
        fidelity=fidelity,
    )


def _variants(graph: Data) -> list[Data]:
    """The graph itself, then without each node (where it has two), then without each edge."""
    nodes = _nodes(graph)
    singles = [_without_nodes(graph, np.array([node])) for node in range(nodes)] if nodes > 1 else []
    return [graph, *singles, *(_without_edge(graph, edge) for edge in range(graph.edge_index.shape[1]))]


def _sets_to_delete(effect: Floats, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The nodes with the highest effects, then ``DRAWS`` random choices of as many; one node at least stays."""
    count = min(DELETED, len(effect) - 1)
    top = np.argsort(-effect, kind="stable")[:count]
    return [top, *(rng.choice(len(effect), count, replace=False) for _ in range(DRAWS))]


def _without_nodes(graph: Data, nodes: NDArray[np.int64]) -> Data:
    keep = torch.ones(_nodes(graph), dtype=torch.bool)
    keep[torch.from_numpy(nodes)] = False
    edge_index, edge_attr = subgraph(
        keep, graph.edge_index, graph.edge_attr, relabel_nodes=True, num_nodes=_nodes(graph)
    )
    return _like(graph, graph.x[keep], graph.key[keep], edge_index, edge_attr)


def _without_edge(graph: Data, edge: int) -> Data:
    keep = torch.arange(graph.edge_index.shape[1]) != edge
    return _like(graph, graph.x, graph.key, graph.edge_index[:, keep], graph.edge_attr[keep])


def _like(graph: Data, x: Tensor, key: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Data:
    return Data(x=x, edge_index=edge_index, edge_attr=edge_attr, y=graph.y, key=key, window=graph.window)


def _nodes(graph: Data) -> int:
    return graph.x.shape[0]


def _in_unit_range(scores: Floats) -> bool:
    return bool((scores >= 0).all() and (scores <= 1).all())


def _effects(scores: Floats, log_odds: bool) -> Floats:
    """What the first score has more than each of the others."""
    if log_odds:
        coarse = bool((scores == scores.astype(np.float32)).all())
        nearest = _RESOLUTION_FLOAT32 if coarse else _RESOLUTION
        clipped = scores.clip(nearest, 1 - nearest)
        scores = np.log(clipped) - np.log1p(-clipped)
    return scores[0] - scores[1:]


def _split(scores: Floats, sizes: list[int]) -> list[Floats]:
    return np.split(scores, np.cumsum(sizes)[:-1]) if sizes else []
