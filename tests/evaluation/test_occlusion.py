"""Occlusion with a scorer whose reasons are known: what it says carried the score is what did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from credit_like.evaluation.occlusion import DELETED, DRAWS, Occlusion, occlude
from credit_like.evaluation.report.alarms import carried_by_none, faithfulness

WEIGHT = {1: 0.0, 2: 3.0, 3: -1.0, 4: 0.5, 5: 0.0, 6: 0.25}
PAIR = {(2, 4): 2.0, (5, 6): 1.0}


def graph(keys: Sequence[int], pairs: Sequence[tuple[int, int]], window: int = 0) -> Data:
    place = {key: position for position, key in enumerate(keys)}
    index = [[place[a] for a, _ in pairs], [place[b] for _, b in pairs]]
    return Data(
        x=torch.tensor(keys, dtype=torch.float32)[:, None],
        edge_index=torch.tensor(index, dtype=torch.int64).reshape(2, -1),
        edge_attr=torch.tensor([[10.0 * a + b] for a, b in pairs]).reshape(-1, 1),
        y=torch.tensor([1]),
        key=torch.tensor(keys),
        window=torch.tensor([window]),
    )


def logits(graphs: Sequence[Data]) -> np.ndarray:
    """The sum of what ids and transitions weigh; every part of a graph must still belong together."""
    found = []
    for g in graphs:
        assert g.x[:, 0].tolist() == g.key.tolist()
        ends = [(int(g.key[a]), int(g.key[b])) for a, b in g.edge_index.t()]
        assert g.edge_attr[:, 0].tolist() == [10 * a + b for a, b in ends]
        found.append(sum(WEIGHT[k] for k in g.key.tolist()) + sum(PAIR.get(pair, 0.0) for pair in ends))
    return np.array(found, np.float64)


def probabilities(graphs: Sequence[Data]) -> np.ndarray:
    return 1 / (1 + np.exp(-logits(graphs)))


KEYS, PAIRS = (1, 2, 3, 4, 5, 6), [(1, 2), (2, 4), (4, 2), (3, 3), (5, 6)]


@pytest.fixture
def found() -> Occlusion:
    return occlude([graph(KEYS, PAIRS)], probabilities)[0]


def test_an_effect_is_what_the_id_and_its_transitions_carried(found: Occlusion) -> None:
    expected = [WEIGHT[k] + sum(w for pair, w in PAIR.items() if k in pair) for k in KEYS]
    assert found.log_odds
    np.testing.assert_allclose(found.node_effect, expected, atol=1e-9)
    np.testing.assert_allclose(found.edge_effect, [PAIR.get(pair, 0.0) for pair in PAIRS], atol=1e-9)
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp(-5.75)))
    np.testing.assert_allclose(found.without_node[1], 1 / (1 + np.exp(-(5.75 - 5.0))))


def test_a_score_that_is_no_probability_is_compared_as_it_is() -> None:
    found = occlude([graph(KEYS, PAIRS)], logits)[0]
    assert not found.log_odds
    np.testing.assert_allclose(found.node_effect[1], 5.0)


def test_scores_of_exactly_one_have_finite_effects() -> None:
    found = occlude([graph(KEYS, PAIRS)], lambda graphs: np.ones(len(graphs)))[0]
    assert found.node_effect.tolist() == [0.0] * len(KEYS)
    assert found.fidelity is not None
    assert (found.fidelity.top, found.fidelity.random, found.fidelity.beaten) == (0.0, 0.0, 0.0)


def sure(graphs: Sequence[Data]) -> np.ndarray:
    """As ``probabilities``, of windows that are as good as certain."""
    return 1 / (1 + np.exp(-14.0 - logits(graphs)))


def test_what_carried_the_surest_alarms_is_found() -> None:
    found = occlude([graph(KEYS, PAIRS)], sure)[0]
    assert found.score > 1 - 1e-8
    np.testing.assert_allclose(found.node_effect[1], 5.0, rtol=1e-4)


def test_no_id_is_named_by_the_rounding_of_a_score() -> None:
    """In float32 these scores are 1, and 1 less a few steps; those steps would be log-odds of 0.7 and more."""
    found = occlude([graph(KEYS, PAIRS)], lambda graphs: sure(graphs).astype(np.float32).astype(np.float64))[0]
    assert 0 < 1 - found.without_node.min() < 1e-6
    assert found.node_effect.tolist() == [0.0] * len(KEYS)


@pytest.mark.parametrize(("effect", "said"), [(0.0, True), (-0.2, True), (0.0004, True), (0.0005, False), (2.0, False)])
def test_that_no_id_carried_the_score_is_said(effect: float, said: bool) -> None:
    assert bool(carried_by_none({"ids": [{"effect": effect}, {"effect": -1.0}]})) is said
    assert not carried_by_none({"ids": []})


def test_deleting_the_ids_named_takes_more_than_deleting_random_ones(found: Occlusion) -> None:
    fidelity = found.fidelity
    assert fidelity is not None
    assert (fidelity.deleted, fidelity.draws) == (DELETED, DRAWS)
    # ids 2, 4 and 6 (with 5 the runner-up): 3.75 of their own and both transitions
    assert fidelity.top == pytest.approx(6.75)
    assert fidelity.random < fidelity.top
    assert fidelity.beaten > 0.8
    assert faithfulness([vars(fidelity)]).startswith(
        "The ids at the top carried the score more than other ids of the window do. Without the first 3 ids of the "
        "list the score changes by \u22126.750, without as many ids drawn"
    )


def test_the_ids_named_are_compared_with_random_ids() -> None:
    """The last 21 graphs scored are those without the highest ids and those without random ones: each again."""
    scored: list[Data] = []

    def remembered(graphs: Sequence[Data]) -> np.ndarray:
        scored.extend(graphs)
        return logits(graphs)

    fidelity = occlude([graph(KEYS, PAIRS)], remembered)[0].fidelity
    assert fidelity is not None
    top, *random = scored[-1 - DRAWS :]
    assert set(KEYS) - set(top.key.tolist()) == {2, 4, 6}
    taken = logits([graph(KEYS, PAIRS)])[0] - logits(random)
    assert fidelity.random == pytest.approx(taken.mean())
    assert fidelity.beaten == np.mean(taken < fidelity.top)
    missing = [set(KEYS) - set(one.key.tolist()) for one in random]
    assert {len(ids) for ids in missing} == {DELETED}
    assert set().union(*missing) == set(KEYS)  # the highest ids among them
    assert len({frozenset(ids) for ids in missing}) > DRAWS / 3


def test_an_explanation_that_names_the_wrong_ids_is_found_out() -> None:
    """A score that only falls when all of three other ids are gone: no single deletion shows which."""

    def hidden(graphs: Sequence[Data]) -> np.ndarray:
        return np.array([0.9 if {4, 5, 6} & set(g.key.tolist()) else 0.1 for g in graphs])

    found = occlude([graph(KEYS, PAIRS)], hidden)[0].fidelity
    assert found is not None
    assert found.top == 0.0
    assert "Do not rely on the order of these ids" in faithfulness([vars(found)])


def test_one_id_at_least_stays() -> None:
    fidelity = occlude([graph((2, 3, 4), [(2, 4), (4, 3)])], probabilities)[0].fidelity
    assert fidelity is not None
    assert fidelity.deleted == 2


def test_several_graphs_are_told_apart_and_the_same_each_time() -> None:
    graphs = [graph((1, 2), [(1, 2)], 7), graph(KEYS, PAIRS, 8), graph((2,), [(2, 2)], 9)]
    first, second, single = occlude(graphs, probabilities)
    np.testing.assert_allclose(first.node_effect, [0.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(second.node_effect[1], 5.0)
    assert np.isnan(single.node_effect).tolist() == [True]
    assert single.fidelity is None
    assert single.edge_effect.tolist() == [0.0]
    again = occlude(graphs[1:2], probabilities)[0]
    assert again.fidelity == second.fidelity


def test_nothing_to_explain() -> None:
    assert occlude([], probabilities) == []
    assert "could not be tested" in faithfulness([])


def test_an_average_is_named_as_one_only_over_several_windows(found: Occlusion) -> None:
    assert found.fidelity is not None
    one = vars(found.fidelity)
    assert "average" not in faithfulness([one])
    assert "on average over 2 windows" in faithfulness([one, one])
