"""A detector that holds each id against its own benign traffic: the classifier gets three numbers more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from credit_like.models import GAT, Detector, OwnTraffic

COLUMNS, IDS = 4, 6


class _Vocabulary(nn.Module):
    def forward(self, key: Tensor) -> Tensor:
        return torch.where(key < IDS - 1, key + 1, 0)


class _AsItIs(nn.Module):
    def forward(self, x: Tensor, edge_attr: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return x, edge_attr


def window(seed: int, *, shift: float = 0.0, unknown: bool = False) -> Data:
    """All known ids once, each at its own level; ``shift`` moves them all, ``unknown`` adds an id never met."""
    rng = torch.Generator().manual_seed(seed)
    key = torch.tensor([*range(IDS - 1), *([99] if unknown else [])])
    x = key[:, None].clamp(max=IDS) + 0.1 * torch.randn(len(key), COLUMNS, generator=rng) + shift
    ring = torch.stack([torch.arange(len(key)), torch.arange(len(key)).roll(-1)])
    return Data(x=x, key=key, edge_index=ring, edge_attr=torch.ones(len(key), 2))


def batch(*windows: Data) -> Batch:
    return Batch.from_data_list(list(windows))


def detector() -> Detector:
    torch.manual_seed(0)
    network = GAT(num_ids=IDS, node_features=COLUMNS, edge_features=2, width=8, heads=2, fc=(4,), beside=3)
    made = Detector(_Vocabulary(), _AsItIs(), network, OwnTraffic(IDS, [[0, 1], [2, 3]])).eval()
    made.fit_on_benign([batch(*(window(seed) for seed in range(40))), batch(*(window(seed) for seed in range(40, 80)))])
    return made


def beside(of: Detector, *windows: Data) -> Tensor:
    """What the classifier gets beside the pooled embedding."""
    return of.embed(batch(*windows))[:, -OwnTraffic.width :]


def test_the_statistics_are_in_units_of_benign_windows() -> None:
    units = beside(detector(), *(window(seed) for seed in range(80)))
    torch.testing.assert_close(units.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    assert units[:, 0].std(correction=0).item() == pytest.approx(1.0, abs=1e-3)
    assert not units[:, 2].any()


def test_what_is_unusual_shows_whatever_the_attack() -> None:
    made = detector()
    benign, moved, strange = beside(made, window(100), window(100, shift=0.5), window(100, unknown=True))
    assert moved[0] > benign[0] + 3
    assert strange[2] == 10.0
    assert (beside(made, window(1, shift=1e6)).abs() <= 10.0).all()


def test_a_window_does_not_depend_on_the_others_of_its_batch() -> None:
    made, windows = detector(), [window(1), window(2, shift=0.3), window(3, unknown=True)]
    together = made(batch(*windows))
    alone = torch.cat([made(batch(one)) for one in windows])
    torch.testing.assert_close(together, alone)


def test_a_node_alone_is_judged_without_the_ids_that_are_not_there() -> None:
    made = detector()
    logits = made.node_logits(batch(window(1), window(2)))
    assert logits.shape == (2 * (IDS - 1), 2)
    made.own.share.fill_(0.5)  # presence alone rests on it
    torch.testing.assert_close(made.node_logits(batch(window(1), window(2))), logits)


def test_a_state_dict_brings_the_statistics_along() -> None:
    made = detector()
    network = GAT(num_ids=IDS, node_features=COLUMNS, edge_features=2, width=8, heads=2, fc=(4,), beside=3)
    empty = Detector(_Vocabulary(), _AsItIs(), network, OwnTraffic(IDS, [[0, 1], [2, 3]])).eval()
    empty.load_state_dict(made.state_dict())
    assert torch.equal(empty(batch(window(5, shift=0.2))), made(batch(window(5, shift=0.2))))


def test_without_own_traffic_nothing_is_fitted() -> None:
    network = GAT(num_ids=IDS, node_features=COLUMNS, edge_features=2, width=8, heads=2, fc=(4,))
    plain = Detector(_Vocabulary(), _AsItIs(), network)
    plain.fit_on_benign(iter(()))
    assert not any(name.startswith("own") for name in plain.state_dict())


def test_no_benign_window_is_an_error() -> None:
    made = detector()
    with pytest.raises(ValueError, match="there is none"):
        made.fit_on_benign([])


def test_graphs_of_several_unknown_ids_are_as_finite_as_others() -> None:
    own = OwnTraffic(3, [[0, 1]])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=generator)
    ids, graph = torch.tensor([0, 0, 1, 2]).repeat(10), torch.arange(10).repeat_interleave(4)
    own.fit([(x, ids, 10)])
    assert torch.isfinite(own(x, ids, graph, 10)).all()


def test_the_compiled_distances_are_torchs() -> None:
    made = detector()
    assert made.own is not None
    ids = torch.arange(700) % IDS
    x = (torch.randn(700, COLUMNS, generator=torch.Generator().manual_seed(1)) + ids[:, None]).requires_grad_()
    by_torch = made.own.distances(x, ids)
    assert by_torch.requires_grad
    torch.testing.assert_close(made.own.distances(x.detach(), ids), by_torch.detach(), rtol=1e-12, atol=1e-12)
    with pytest.raises(IndexError, match="row 1 is of id 6, but there are statistics of 6 ids"):
        made.own.distances(x.detach(), ids + 5)
    with pytest.raises(IndexError, match=r"columns are in 0..2; got \[0, 1, 2, 3\]"):
        made.own.distances(x.detach()[:, :3], ids)
    with pytest.raises(ValueError, match=r"4 columns in groups of \[2, 2\], ids \[699\], .* do not fit x \[700, 4\]"):
        made.own.distances(x.detach(), ids[1:])


def test_looking_lends_torchs_threads_and_gives_them_back_after_an_error_too() -> None:
    made, given = detector(), batch(*(window(seed) for seed in range(300)))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        expected = made(given), made.node_logits(given), made.embed(given)
        with torch.no_grad():
            found = made(given), made.node_logits(given), made.embed(given)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert torch.get_num_threads() == 3
        given.key = given.key[1:]
        with torch.no_grad(), pytest.raises(ValueError, match="ids"):
            made(given)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
