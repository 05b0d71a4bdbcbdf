"""The parts of the fusion: reward, policy, replay buffer, ridges and the two agents' rules of learning."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from credit_like.models.fusion import (
    ANOMALY,
    EITHER,
    GAT,
    DoubleDQN,
    FusionPolicy,
    FusionReward,
    LinUCBNetwork,
    NeuralLinUCB,
    QNetwork,
    ReplayBuffer,
    RidgeArms,
    Transitions,
)
from credit_like.models.fusion.ridge import unsureness

seeds = st.integers(0, 2**31 - 1)


def decisions(n: int, seed: int, width: int = 3, actions: int = 4) -> Transitions:
    rng = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(n, width, generator=rng),
        torch.randint(actions, (n,), generator=rng),
        torch.randn(n, generator=rng),
        torch.randn(n, width, generator=rng),
        torch.rand(n, generator=rng) < 0.2,
    )


# Reward -------------------------------------------------------------------------------------------------------------


@given(seed=seeds)
def test_the_parts_of_a_reward_sum_to_it_and_one_outcome_is_paid(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    fused = torch.rand(40, 21, generator=rng, dtype=torch.float64)
    attack = torch.randint(2, (40,), generator=rng)
    reward = FusionReward(0.4, 1.5, 0.25, -0.5, -3.0, 0.3)
    parts = reward.components(fused, attack)
    assert torch.equal(reward(fused, attack), sum(parts.values()))
    outcomes = [part != 0 for name, part in parts.items() if name != "confidence"]
    assert bool((torch.stack(outcomes).sum(dim=0) == 1).all())
    assert bool((parts["confidence"][attack == 0] == 0).all())
    assert bool((parts["confidence"] > 0).eq(parts["true_positive"] > 0).all())


def test_a_score_at_the_threshold_is_no_alarm_and_the_surest_hit_earns_the_whole_bonus() -> None:
    reward = FusionReward(0.5, 1.0, 0.2, -1.0, -2.0, 0.2)
    assert reward(torch.tensor([0.5, 1.0, 0.5, 0.6]), torch.tensor([1, 1, 0, 0])).tolist() == pytest.approx(
        [-2.0, 1.2, 0.2, -1.0]
    )


# Policy -------------------------------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """The same values whatever the state."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.register_buffer("given", torch.tensor(values))

    def forward(self, state: Tensor) -> Tensor:
        return self.given.repeat(len(state), 1)


def test_the_fused_score_is_the_mixture_by_the_chosen_alpha_or_an_expert_s_alone() -> None:
    policy = FusionPolicy(2, Fixed([0.0, 3.0, 1.0, 2.0, 0.0]), actions=5)
    columns = torch.tensor([[0.2, 0.8], [1.0, 0.0]], dtype=torch.float64)
    assert policy.alphas.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert policy.fused(columns)[0].tolist() == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8])
    assert policy(columns).tolist() == pytest.approx([0.35, 0.75])
    for rule, expected in ((ANOMALY, [0.2, 1.0]), (GAT, [0.8, 0.0]), (EITHER, [0.8, 1.0])):
        policy.rule.fill_(rule)
        assert policy(columns).tolist() == pytest.approx(expected)


@given(seed=seeds, rate=st.sampled_from([0.01, 0.1, 0.3]), threshold=st.sampled_from([0.2, 0.5, 0.9]))
def test_an_aligned_expert_decides_as_it_would_alone_at_its_rate(seed: int, rate: float, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((60, 2)) ** rng.integers(1, 6), int(rng.integers(1, 6)))  # with ties, 0 and 1
    columns = torch.from_numpy(np.hstack([scores, rng.standard_normal((60, 1))]))
    benign = torch.from_numpy(rng.random(60) < 0.6)
    policy = FusionPolicy(3, Fixed([0.0] * 21), threshold=threshold)
    policy.fit(columns, benign, rate)
    aligned = policy.aligned(columns)
    assert bool(((aligned >= 0) & (aligned <= 1)).all())
    for expert in (ANOMALY, GAT):
        alone = columns[:, expert] > policy.points[expert]
        assert torch.equal(aligned[:, expert] > threshold, alone)
        assert int(alone[benign].sum()) <= max(1, int((int(benign.sum()) + 1) * rate))
        order = columns[:, expert].argsort(stable=True)
        assert bool((aligned[order, expert].diff() >= 0).all())
    assert torch.equal(policy.fused(columns)[:, [0, -1]] > threshold, aligned > threshold)


def test_states_are_standardised_with_what_was_fitted_and_cut_off() -> None:
    columns = torch.tensor([[0.1, 0.2, 1.0, 7.0], [0.3, 0.6, 3.0, 7.0]], dtype=torch.float64)
    policy = FusionPolicy(4, Fixed([0.0] * 21))
    policy.fit(columns, torch.tensor([True, False]), 0.0)
    assert policy.state(columns)[:, :4].tolist() == [pytest.approx([-1, -1, -1, 0]), pytest.approx([1, 1, 1, 0])]
    assert policy.state(columns)[:, 4:].tolist() == [pytest.approx([-0.8, -0.6]), pytest.approx([-0.4, 0.2])]
    far = columns.clone()
    far[0, 2] = 1e9
    assert float(policy.state(far)[0, 2]) == 5.0


@pytest.mark.parametrize("wrong", [{"columns": 1}, {"actions": 1}, {"threshold": 0.0}, {"threshold": 1.0}])
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a fusion needs both experts' scores"):
        FusionPolicy(**{"columns": 2, "agent": nn.Identity(), **wrong})


# Replay buffer --------------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 12), max_size=8), capacity=st.integers(1, 10))
def test_a_replay_buffer_holds_the_last_so_many(sizes: list[int], capacity: int) -> None:
    buffer, rewards = ReplayBuffer(capacity, 3, follows=True), []
    for number, size in enumerate(sizes):
        new = decisions(size, number)
        buffer.add(new)
        rewards += new.reward.tolist()
    known = buffer.everything()
    assert len(buffer) == len(known.action) == min(capacity, len(rewards))
    assert sorted(known.reward.tolist()) == sorted(rewards[-capacity:])
    other = ReplayBuffer(capacity, 3, follows=True)
    other.load_state_dict(buffer.state_dict())
    for mine in (buffer, other):
        mine.add(decisions(2, 99))
    assert all(torch.equal(a, b) for a, b in zip(buffer.everything(), other.everything(), strict=True))


def test_an_empty_or_foreign_buffer_is_named() -> None:
    with pytest.raises(ValueError, match="nothing can be drawn from an empty replay buffer"):
        ReplayBuffer(4, 3).sample(1)
    full = ReplayBuffer(8, 3)
    full.add(decisions(8, 1))
    with pytest.raises(ValueError, match="holds 4 states of width 3; the saved one has 8 of width 3"):
        ReplayBuffer(4, 3).load_state_dict(full.state_dict())


# Ridges ---------------------------------------------------------------------------------------------------------------


@given(
    seed=seeds, sizes=st.lists(st.integers(0, 90), min_size=1, max_size=3), penalty=st.sampled_from([0.1, 1.0, 20.0])
)
def test_ridges_taken_in_by_batches_equal_those_solved_at_once(seed: int, sizes: list[int], penalty: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    arms, m = 4, 5
    batched, parts = RidgeArms(arms, m, penalty=penalty), []
    for size in sizes:
        x = torch.randn(size, m, generator=rng)
        action = torch.randint(arms - 1, (size,), generator=rng)  # the last arm never gets anything
        reward = torch.randn(size, generator=rng)
        batched.update(x, action, reward)
        parts.append((x, action, reward))
    x, action, reward = (torch.cat(part) for part in zip(*parts, strict=True))
    again = RidgeArms(arms, m, penalty=penalty)
    again.update(torch.randn(30, m, generator=rng), torch.zeros(30, dtype=torch.int64), torch.ones(30))
    again.refit(x, action, reward)
    for arm in range(arms):
        mine = x[action == arm].double()
        precision = penalty * torch.eye(m, dtype=torch.float64) + mine.T @ mine
        theta = torch.linalg.solve(precision, mine.T @ reward[action == arm].double())
        for ridge in (batched, again):
            assert torch.allclose(ridge.inverse[arm], precision.inverse(), rtol=1e-8, atol=1e-10)
            assert torch.allclose(ridge.theta[arm], theta, rtol=1e-8, atol=1e-10)
    probe = torch.randn(3, m, generator=rng, dtype=torch.float64)
    expected = torch.stack([(probe @ inverse * probe).sum(dim=1).sqrt() for inverse in batched.inverse], dim=1)
    assert torch.allclose(unsureness(probe, batched.inverse), expected)


def test_one_sample_is_the_sherman_morrison_formula() -> None:
    ridge, x = RidgeArms(1, 3, penalty=2.0), torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    before = ridge.inverse[0].clone()
    ridge.update(x, torch.tensor([0]), torch.tensor([3.0]))
    v = before @ x[0]
    assert torch.allclose(ridge.inverse[0], before - torch.outer(v, v) / (1 + x[0] @ v))


# Agents ---------------------------------------------------------------------------------------------------------------


def test_epsilon_falls_with_the_windows_seen_and_decides_what_is_drawn() -> None:
    torch.manual_seed(0)
    agent = DoubleDQN(QNetwork(3, 4, [8]), start=1.0, end=0.1, windows=100)
    state = torch.randn(4000, 3)
    greedy = agent.network(state).argmax(dim=1)
    assert agent.epsilon == 1.0
    assert float((agent.act(state) == greedy).float().mean()) == pytest.approx(0.25, abs=0.03)
    agent.observe(decisions(100, 1))
    assert agent.epsilon == pytest.approx(0.1 + 0.9 / np.e)
    agent.observe(decisions(10_000, 1))
    assert float((agent.act(state) == greedy).float().mean()) == pytest.approx(0.9 + 0.1 / 4, abs=0.02)


def test_double_q_learning_lets_the_network_choose_and_the_target_network_value() -> None:
    torch.manual_seed(0)
    agent = DoubleDQN(QNetwork(3, 4, [8]), discount=0.5, target_every=2)
    agent.target = copy.deepcopy(QNetwork(3, 4, [8]))
    sample = decisions(50, 1)
    seen: list[Tensor] = []
    agent.loss(sample, lambda value, target: seen.append(target) or value.sum())
    best = agent.network(sample.following).argmax(dim=1)
    valued = agent.target(sample.following)[torch.arange(50), best]
    assert torch.allclose(seen[0], sample.reward + 0.5 * valued * ~sample.last)
    buffer = ReplayBuffer(8, 3)
    before = copy.deepcopy(agent.target.state_dict())
    agent.after_step(buffer)
    assert all(torch.equal(before[name], value) for name, value in agent.target.state_dict().items())
    agent.after_step(buffer)
    assert all(torch.equal(agent.network.state_dict()[n], value) for n, value in agent.target.state_dict().items())


def test_without_a_discount_the_target_is_the_reward() -> None:
    seen: list[Tensor] = []
    sample = decisions(9, 1)
    DoubleDQN(QNetwork(3, 4)).loss(sample, lambda value, target: seen.append(target) or value.sum())
    assert torch.equal(seen[0], sample.reward)


def test_what_the_ridges_know_survives_a_refit_of_the_network() -> None:
    """After the network has moved, the ridges are those of the same decisions in its new features."""
    torch.manual_seed(0)
    network = LinUCBNetwork(3, 4, [8], features=5)
    agent, buffer, known = NeuralLinUCB(network, refit_every=2, penalty=0.5), ReplayBuffer(200, 3), decisions(150, 1)
    without = known._replace(following=known.state[:0], last=known.last[:0])
    agent.observe(without)
    buffer.add(without)
    with torch.no_grad():
        for weight in network.encoder.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    stale = agent.arms.theta
    agent.after_step(buffer)
    assert torch.equal(agent.arms.theta, stale)
    agent.after_step(buffer)
    fresh = RidgeArms(4, 6, penalty=0.5)
    fresh.update(network.augmented(known.state), known.action, known.reward)
    assert not torch.allclose(fresh.theta, stale)
    assert torch.allclose(agent.arms.theta, fresh.theta)
    agent.end_epoch(buffer)
    probe = torch.randn(7, 3)
    x = network.augmented(probe)
    assert torch.allclose(network(probe), x @ fresh.theta.T - unsureness(x, fresh.inverse))


def test_linucb_tries_what_it_does_not_know_and_draws_among_equals() -> None:
    torch.manual_seed(0)
    network = LinUCBNetwork(3, 4, [8], features=5)
    agent, state = NeuralLinUCB(network), torch.randn(400, 3)
    assert torch.bincount(agent.act(state), minlength=4).min() > 60  # nothing is known: all are equal
    nowhere = state[:0]
    for action in (0, 1, 3):
        agent.observe(Transitions(state, torch.full((400,), action), torch.zeros(400), nowhere, torch.zeros(0)))
    assert set(agent.act(state).tolist()) == {2}
