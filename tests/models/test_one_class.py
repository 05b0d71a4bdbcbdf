"""The one-class head, its guard, p-values and own traffic against closed forms; each bad input has its error."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from credit_like.models import ConformalTail, OneClassHead, OwnTraffic
from credit_like.models.conformal import CAPACITY, hill_index
from credit_like.models.one_class import CollapseError, one_class_loss, require_spread, total_variance


def fitted(embeddings: torch.Tensor, **choice: object) -> OneClassHead:
    head = OneClassHead(embeddings.shape[1], **choice)
    head.fit(embeddings, "ab", "cd")
    return head


def test_centre_and_euclidean_score() -> None:
    head = fitted(torch.tensor([[0.0, 2.0], [4.0, 2.0]]), whiten=False)
    assert head.centre.tolist() == [2.0, 2.0]
    assert head(torch.tensor([[2.0, 2.0], [5.0, 6.0]])).tolist() == [0.0, 25.0]


def test_whitened_score_is_the_mahalanobis_distance_under_the_shrunk_covariance() -> None:
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(500, 3, generator=rng, dtype=torch.float64) @ torch.tensor(
        [[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.3, 0.2, 0.1]], dtype=torch.float64
    )
    covariance = torch.cov(z.t(), correction=0)
    shrunk = 0.9 * covariance + 0.1 * torch.diag(covariance.diagonal())
    deviation = z - z.mean(dim=0)
    expected = (deviation @ torch.linalg.inv(shrunk) * deviation).sum(dim=1)
    torch.testing.assert_close(fitted(z, shrinkage=0.1)(z), expected)


def test_a_direction_without_spread_counts_for_much_but_not_without_bound() -> None:
    z = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
    moved = float(fitted(z)(torch.tensor([[2.0, 7.1]])))
    assert math.isfinite(moved)
    assert moved > 1e4


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.zeros(0, 2), "mean of benign training graphs, and there is none"),
        (torch.zeros(3, 2), "centre of 3 benign graphs is all zeros"),
        (torch.tensor([[1.0, math.nan], [1.0, 2.0]]), "1 of 2 benign graphs have an embedding that is not finite"),
        (torch.ones(3, 5), r"embeddings must be float\[n, 2\]; got \[3, 5\]"),
    ],
)
def test_no_centre_of_nothing(embeddings: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OneClassHead(2).fit(embeddings)


def test_no_score_before_the_fit_and_digests_tell_whose_centre_it_is() -> None:
    with pytest.raises(RuntimeError, match="has no centre yet"):
        OneClassHead(2)(torch.ones(1, 2))
    head = fitted(torch.tensor([[0.0, 2.0], [4.0, 2.0]]))
    assert head.belongs_to("ab")
    assert head.belongs_to("ab", "cd")
    assert not head.belongs_to("ab", "ce")
    assert not head.belongs_to("ac", "cd")
    twin = OneClassHead(2)
    twin.load_state_dict(head.state_dict())
    assert twin.belongs_to("ab", "cd")


def test_one_class_loss_is_the_mean_squared_distance() -> None:
    assert float(one_class_loss(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2))) == 5.0


def test_the_guard_fires_when_one_class_training_collapses() -> None:
    """With a bias the trivial optimum is reached; the guard says so. Without one it is not within reach."""
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(1)) + 1.0
    torch.manual_seed(0)
    network = nn.Linear(4, 4, bias=True)
    before, centre = total_variance(network(x)), network(x).detach().mean(dim=0)
    require_spread(network(x), before, 0.01)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        one_class_loss(network(x), centre).backward()
        optimizer.step()
    with pytest.raises(CollapseError, match="the embeddings have collapsed"):
        require_spread(network(x), before, 0.01)


def test_the_guard_fires_on_embeddings_that_are_not_finite() -> None:
    with pytest.raises(CollapseError):
        require_spread(torch.full((3, 2), math.nan), 1.0, 0.0)


def test_p_values_within_the_calibration_scores() -> None:
    tail = ConformalTail()
    tail.fit(torch.tensor([3.0, 1.0, 2.0, 2.0]))
    assert tail(torch.tensor([0.5, 1.0, 2.0, 2.5, 3.0])).tolist() == [1.0, 1.0, 0.8, 0.4, 0.4]


def test_p_values_beyond_the_largest_follow_the_pareto_tail_and_do_not_saturate() -> None:
    scores = torch.arange(1, 101, dtype=torch.float64)
    tail = ConformalTail()
    tail.fit(scores)
    index = sum(math.log(s / 90) for s in range(91, 101)) / 10  # the 10 largest, over the one below them
    assert hill_index(scores) == pytest.approx(index)
    assert float(tail(torch.tensor([200.0]))) == pytest.approx(2 ** (-1 / index) / 101)
    far = tail(torch.tensor([101.0, 200.0, 400.0, 1000.0]))
    assert bool((far.diff() < 0).all())
    assert bool((far > 0).all())


@pytest.mark.parametrize("spread", [0.05, 0.3, 2.0])
def test_the_scores_of_loud_attacks_still_differ(spread: float) -> None:
    """They are a thousand to a million times as far as any benign window; ``1 - p`` must not be 1 for all of them."""
    scores = torch.linspace(0, 1, 5000, dtype=torch.float64).mul(spread).exp()
    tail = ConformalTail()
    tail.fit(scores)
    anomaly = 1.0 - tail(scores[-1] * torch.logspace(0, 6, 100, dtype=torch.float64))
    assert bool((anomaly.diff() > 0).all())
    assert float(anomaly[-1]) < 1.0


def test_more_calibration_scores_than_are_kept() -> None:
    tail = ConformalTail()
    tail.fit(torch.rand(CAPACITY + 100, generator=torch.Generator().manual_seed(0)))
    assert int(tail.count) == CAPACITY
    assert float(tail(torch.tensor([0.5]))) == pytest.approx(0.5, abs=0.03)


def test_equal_calibration_scores_and_zeros_give_p_values() -> None:
    for score in (0.0, 5.0):
        tail = ConformalTail()
        tail.fit(torch.full((30,), score))
        p = tail(torch.tensor([score, score + 1.0]))
        assert float(p[0]) == 1.0
        assert 0.0 <= float(p[1]) <= 1 / 31


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "p-values are taken against benign calibration graphs, and there is none"),
        ([1.0, math.nan], "finite and not negative"),
        ([-1.0], "finite and not negative"),
    ],
)
def test_no_p_values_against_nothing(scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConformalTail().fit(torch.tensor(scores))
    with pytest.raises(RuntimeError, match="no calibration scores yet"):
        ConformalTail()(torch.tensor([1.0]))


def own_traffic() -> tuple[OwnTraffic, torch.Tensor, torch.Tensor]:
    """100 graphs of id 1 (spread 1, every graph) and of id 2 (spread 5, every second graph)."""
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randn(100, 2, generator=rng), 5.0 * torch.randn(50, 2, generator=rng) + 20.0
    x, ids = torch.cat([first, second]), torch.cat([torch.ones(100), torch.full((50,), 2)]).long()
    own = OwnTraffic(3, [[0], [1]])
    own.fit([(x[:80], ids[:80], 60), (x[80:], ids[80:], 40)])
    return own, first, second


def test_own_traffic_measures_each_id_by_itself() -> None:
    own, _, second = own_traffic()
    assert own.share.tolist() == pytest.approx([0.5 / 101, 100.5 / 101, 50.5 / 101])
    torch.testing.assert_close(own.centre[2], second.double().mean(dim=0))
    near, far = own.distances(torch.tensor([[20.0, 20.0], [20.0, 20.0]]), torch.tensor([2, 1]))
    assert float(near.max()) < 0.5
    assert float(far.min()) > 5.0


def test_own_traffic_in_closed_form() -> None:
    own, first, _ = own_traffic()
    x, ids = first[:2], torch.tensor([1, 0])
    d = own.distances(x, ids)
    conduct, presence, unknown = own(x, ids, torch.zeros(2, dtype=torch.int64), 1)[0].tolist()
    assert conduct == pytest.approx(float((1 + d).prod(dim=1).sqrt().mean().log()))
    share = own.share
    assert presence == pytest.approx(float(-share[1].log() - (1 - share[2]).log()))
    assert unknown == 0.5


def test_own_traffic_of_nothing() -> None:
    with pytest.raises(ValueError, match="of benign training graphs, and there is none"):
        OwnTraffic(3, [[0]]).fit([])
    with pytest.raises(ValueError, match="must be finite"):
        OwnTraffic(3, [[0]]).fit([(torch.tensor([[math.nan]]), torch.tensor([1]), 1)])
    with pytest.raises(ValueError, match="one or more groups of columns"):
        OwnTraffic(3, [])
