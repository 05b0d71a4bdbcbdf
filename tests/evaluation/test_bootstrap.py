"""Block-bootstrap samples are those of resampled windows, and blocks are stretches of shared bus time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from credit_like.evaluation import bootstrap


def repeated(weights: np.ndarray, block: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    """The windows as often as their block was drawn."""
    times = weights[block].astype(int)
    return [np.repeat(column, times) for column in columns]


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.8]), st.integers(0, 4)), min_size=8, max_size=40
    ),
    st.integers(0, 1000),
)
def test_samples_are_the_figures_of_the_windows_drawn(windows: list[tuple[bool, float, int]], seed: int) -> None:
    attack, score, block = (np.array(column) for column in zip(*windows, strict=True))
    weights = bootstrap.resamples(5, 6, seed)
    auroc = bootstrap.auroc_samples(weights, attack, score, block)
    decisions = bootstrap.decision_samples(weights, attack, score > 0.3, block)
    for i, drawn in enumerate(weights):
        a, s = repeated(drawn, block, attack, score)
        if a.any() and not a.all():
            assert auroc[i] == pytest.approx(roc_auc_score(a, s))
        else:
            assert np.isnan(auroc[i])
        if a.any():
            assert decisions["f1"][i] == pytest.approx(f1_score(a, s > 0.3))
            assert decisions["recall"][i] == pytest.approx(np.mean(s[a] > 0.3))
        if not a.all() and len(a):
            assert decisions["fpr"][i] == pytest.approx(np.mean(s[~a] > 0.3))


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.5, 0.8]), st.integers(0, 4)),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 1000),
)
def test_counts_stand_for_as_many_frames(ids: list[tuple[int, int, float, int]], seed: int) -> None:
    hit, quiet, score, block = (np.array(column) for column in zip(*ids, strict=True))
    weights = bootstrap.resamples(5, 6, seed)
    found = bootstrap.auroc_samples_of_counts(weights, hit.astype(float), quiet.astype(float), score, block)
    frames = np.repeat(np.arange(len(ids)), hit + quiet)
    attack = np.concatenate([np.arange(h + q) < h for h, q in zip(hit, quiet, strict=True)]).astype(np.bool_)
    expected = bootstrap.auroc_samples(weights, attack, score[frames], block[frames])
    np.testing.assert_allclose(found, expected)


def test_a_round_draws_as_many_blocks_as_there_are() -> None:
    weights = bootstrap.resamples(7, 50, seed=3)
    assert (weights.sum(axis=1) == 7).all()
    assert not (weights == 1).all()
    assert (weights == bootstrap.resamples(7, 50, seed=3)).all()


def test_blocks_are_stretches_of_the_clock_that_a_group_shares() -> None:
    group = np.array([0, 0, 0, 1, 1, 0])
    t = np.array([100.0, 104.9, 105.1, 100.0, 109.0, 109.9])
    block = bootstrap.time_blocks(group, t, 5.0)
    assert block.tolist() == [0, 0, 1, 2, 3, 1]
    late = bootstrap.time_blocks(np.array([0, 1, 1, 1]), np.array([0.0, 3.0, 7.9, 8.0]), 5.0)
    assert late.tolist() == [0, 1, 1, 2]  # a drive's first block begins where the drive does


def test_the_rarer_class_says_how_many_blocks_there_are() -> None:
    attack, block = np.array([1, 1, 1, 0, 0, 0]) == 1, np.array([0, 1, 1, 1, 2, 3])
    assert bootstrap.blocks_of_both(attack, block) == bootstrap.blocks_of_both(~attack, block) == 2


def test_a_long_recording_is_cut_into_no_more_than_the_most_blocks() -> None:
    block = bootstrap.time_blocks(np.zeros(10_000, np.int64), np.arange(10_000.0), 5.0)
    assert 100 <= len(np.unique(block)) <= bootstrap.MAX_BLOCKS
    assert (np.diff(block) >= 0).all()


def test_copies_of_a_drive_add_no_evidence() -> None:
    """Ten captures of one drive give the interval of the one; taken for drives of their own they would claim more."""
    rng = np.random.default_rng(0)
    t = np.arange(0, 200, 0.5)
    attack = rng.random(len(t)) < 0.3
    score = rng.normal(attack * 1.0, 1.0)
    copies = np.arange(10).repeat(len(t))
    spread = {}
    for name, group in (("one", np.zeros(len(t), np.int64)), ("shared", copies * 0), ("apart", copies)):
        times = len(group) // len(t)
        a, s, clock = (np.tile(x, times) for x in (attack, score, t))
        block = bootstrap.time_blocks(group, clock, 5.0)
        weights = bootstrap.resamples(int(block.max()) + 1, 400, 0)
        low, high = bootstrap.percentile_interval(bootstrap.auroc_samples(weights, a, s, block)) or (0, 0)
        spread[name] = high - low
    assert spread["shared"] == pytest.approx(spread["one"])
    assert spread["apart"] < 0.6 * spread["one"]


def test_too_few_blocks_are_named() -> None:
    block = np.arange(10)
    attack = block < 3
    assert bootstrap.too_few_blocks(attack, block) == "attack windows lie in fewer than 5 stretches of time (3)"
    assert bootstrap.too_few_blocks(~attack, block) == "benign windows lie in fewer than 5 stretches of time (3)"
    assert bootstrap.too_few_blocks(block < 5, block) == ""


def test_an_interval_needs_half_of_the_rounds() -> None:
    assert bootstrap.percentile_interval(np.array([np.nan, np.nan, np.nan, 1.0])) is None
    assert bootstrap.percentile_interval(np.array([0.5, 0.5, np.nan])) == (0.5, 0.5)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Recall of windows whose luck comes in stretches; blocks as long as the stretches."""
    covered, rounds = 0, 200
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        seen = rng.random(60).repeat(10) < 0.7
        block = np.arange(60).repeat(10)
        attack = np.ones(600, np.bool_)
        samples = bootstrap.decision_samples(bootstrap.resamples(60, 300, seed), attack, seen, block)["recall"]
        low, high = bootstrap.percentile_interval(samples) or (1, 0)
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / rounds <= 0.99


def test_the_interval_of_a_figure_is_as_wide_as_few_blocks_ask_for() -> None:
    """Eight stretches, as a short drive has: the plain percentile interval misses the truth far too often."""
    covered = {"plain": 0, "widened": 0}
    for seed in range(400):
        rng = np.random.default_rng(seed)
        share = np.clip(rng.normal(0.7, 0.1, 8), 0, 1)  # of the windows that a stretch's recall is made of
        counts = (1000 * share, np.zeros(8), 1000 * (1 - share), np.ones(8))
        samples = bootstrap.samples_of_counts(bootstrap.resamples(8, 300, seed), *counts)
        for name, interval in (
            ("plain", bootstrap.percentile_interval(samples["recall"])),
            ("widened", bootstrap.intervals(samples, 8)["recall"]),
        ):
            assert interval is not None
            covered[name] += interval[0] <= 0.7 <= interval[1]
    assert covered["plain"] < 0.91 * 400
    assert covered["widened"] > 0.92 * 400


def test_captures_outside_the_groups_are_groups_of_their_own() -> None:
    clocks = bootstrap.shared_clocks(["a", "b", "c", "d"], [{"b": 0.0, "c": 2.5}])
    assert clocks["b"] == (0, 0.0)
    assert clocks["c"] == (0, 2.5)
    assert len({group for group, _ in clocks.values()}) == 3


def test_few_blocks_ask_for_wider_intervals() -> None:
    wider = [bootstrap.expanded_coverage(0.95, blocks) for blocks in (5, 20, 200, 100_000)]
    assert wider == sorted(wider, reverse=True)
    assert wider[-1] == pytest.approx(0.95, abs=1e-4)
    # Means of n normal values: the percentile interval of their resamples is normal with the spread of n draws.
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 5))
    half = stats.norm.ppf((1 + wider[0]) / 2) * values.std(axis=1) / np.sqrt(5)
    assert np.mean(np.abs(values.mean(axis=1)) <= half) == pytest.approx(0.95, abs=0.006)
