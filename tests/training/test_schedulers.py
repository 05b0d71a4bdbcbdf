"""Schedules by name: their values, their unit, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from credit_like.config import ConfigError
from credit_like.training import SchedulerSettings, build_scheduler
from credit_like.training.schedulers import BATCH_LEVEL, EPOCH_LEVEL, steps_each_batch

NAMES = EPOCH_LEVEL + BATCH_LEVEL


def optimizer(lr: float = 1.0) -> Optimizer:
    return SGD(nn.Linear(1, 1).parameters(), lr)


def rates(name: str, steps: int, epochs: int = 10, metric: float = 1.0, **settings: Any) -> list[float]:
    opt = optimizer()
    schedule = build_scheduler(opt, SchedulerSettings(scheduler_type=name, **settings), epochs)
    seen = []
    for _ in range(steps):
        seen.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step(*([metric] if name == "plateau" else []))
    return seen


def test_no_name_is_no_schedule() -> None:
    assert build_scheduler(optimizer(), SchedulerSettings(), 3) is None


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"'cosine-anealing' is not known \(did you mean 'cosine-annealing'\?\); choose"
    ):
        build_scheduler(optimizer(), SchedulerSettings(scheduler_type="cosine-anealing"), 3)


@given(st.integers(1, 30), st.integers(0, 5), st.floats(0, 1))
def test_lambda_warms_up_and_ends_at_its_floor(total: int, warmup: int, floor: float) -> None:
    seen = rates("lambda", total + 3, epochs=total, warmup=warmup, min_factor=floor)
    assert seen[:warmup] == pytest.approx([(step + 1) / (warmup + 1) for step in range(min(warmup, total + 3))])
    falling = seen[warmup:]
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))
    if total > warmup:
        assert falling[0] == pytest.approx(1.0)
        assert seen[total] == pytest.approx(floor, abs=1e-12)
        assert seen[-1] == pytest.approx(floor, abs=1e-12)  # and stays there


def test_lambda_half_way() -> None:
    assert rates("lambda", 9, epochs=8)[4] == pytest.approx(0.5)


def test_cosine_annealing_is_torch_s() -> None:
    seen = rates("cosine-annealing", 11, epochs=10, min_factor=0.1)
    assert seen == pytest.approx([0.1 + 0.9 * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(11)])


def test_warm_restarts() -> None:
    seen = rates("cosine-annealing-restarts", 8, first_period=2, period_factor=2)
    assert [step for step, rate in enumerate(seen) if rate == 1.0] == [0, 2, 6]


def test_linear_warmup_cosine_counts_steps() -> None:
    seen = rates("linear-warmup-cosine", 11, warmup=2, total=10)
    assert seen[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert seen[6] == pytest.approx(0.5)
    assert seen[10] == pytest.approx(0.0, abs=1e-12)


def test_linear_warmup_cosine_needs_its_length() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.scheduler\.total is 0: linear-warmup-cosine needs the number of"):
        build_scheduler(optimizer(), SchedulerSettings(scheduler_type="linear-warmup-cosine"), 3)


def test_plateau_in_both_directions() -> None:
    assert rates("plateau", 4, patience=0, factor=0.5) == [1.0, 1.0, 0.5, 0.25]
    opt = optimizer()
    schedule = build_scheduler(opt, SchedulerSettings(scheduler_type="plateau", patience=0, factor=0.5), 3, "max")
    for metric in (1.0, 2.0, 3.0):
        schedule.step(metric)
    assert opt.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_of_each(name: str) -> None:
    schedule = build_scheduler(optimizer(), SchedulerSettings(scheduler_type=name, total=9), 3)
    assert steps_each_batch(schedule, name) == (name in BATCH_LEVEL)


def test_the_unit_of_a_caller_s_own() -> None:
    opt = optimizer()
    assert steps_each_batch(lr_scheduler.OneCycleLR(opt, 0.1, 10), "")
    assert steps_each_batch(lr_scheduler.CosineAnnealingWarmRestarts(opt, 5), "")
    assert not steps_each_batch(lr_scheduler.StepLR(opt, 3), "")
    assert steps_each_batch(lr_scheduler.StepLR(opt, 3), "linear-warmup-cosine")  # named: per step, whatever it is


@pytest.mark.parametrize("name", NAMES)
def test_states_come_back(name: str) -> None:
    settings = SchedulerSettings(scheduler_type=name, total=20, first_period=3, patience=1)
    first, second = optimizer(), optimizer()
    a, b = (build_scheduler(opt, settings, 10) for opt in (first, second))
    argument = [1.0] if name == "plateau" else []
    for _ in range(5):
        first.step()
        a.step(*argument)
    second.load_state_dict(first.state_dict())
    b.load_state_dict(a.state_dict())
    for _ in range(5):
        for opt, schedule in ((first, a), (second, b)):
            opt.step()
            schedule.step(*argument)
        assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]
    assert torch.tensor(first.param_groups[0]["lr"]).isfinite()
