"""EMATracker against its formulas, for every dtype, and against what other trackers get wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from credit_like.training import EMATracker
from tests.training.toys import Net, frozen

FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
values = st.floats(-100, 100, width=32)
decays = st.floats(0, 1)


class One(nn.Module):
    """One parameter of any dtype, settable."""

    def __init__(self, value: float = 0.0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value], dtype=dtype))

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)


class Mixed(nn.Module):
    """Parameters of four dtypes, float and integer and bool buffers, a tied pair and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        for dtype in FLOATS:
            self.register_parameter(str(dtype).replace("torch.", "p_"), nn.Parameter(torch.randn(3, 2).to(dtype)))
        self.register_buffer("running", torch.randn(4))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("scratch", torch.randn(2), persistent=False)
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.tied = self.p_float32
        self.wave = nn.Parameter(torch.randn(2, dtype=torch.complex64))

    def move(self) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
            self.running.add_(1.0)
            self.count.add_(1)
            self.mask.logical_not_()


def weights(model: nn.Module) -> Any:
    return frozen({**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())})


def effective(decay: float, step: int) -> float:
    return min(decay, (1 + step) / (10 + step))


# Formulas -------------------------------------------------------------------------------------------------------------


@given(values, decays, st.integers(1, 30))
def test_of_a_constant_is_the_constant_bit_for_bit(value: float, decay: float, steps: int) -> None:
    model = One(value, torch.float32)
    ema = EMATracker(model, decay)
    for _ in range(steps):
        ema.update(model)
    assert torch.equal(ema.shadow["weight"], model.weight)


@given(values, values, decays, st.integers(1, 30))
def test_of_two_values_is_the_closed_form(old: float, new: float, decay: float, steps: int) -> None:
    """shadow = new + (old - new) * product of the decays."""
    model = One(old)
    ema = EMATracker(model, decay)
    model.set(new)
    for _ in range(steps):
        ema.update(model)
    left = math.prod(effective(decay, step) for step in range(1, steps + 1))
    assert float(ema.shadow["weight"]) == pytest.approx(new + (old - new) * left, rel=1e-12, abs=1e-10)


@given(st.lists(values, min_size=2, max_size=20), decays)
def test_follows_the_recursion_and_stays_in_the_convex_hull(series: list[float], decay: float) -> None:
    model = One(series[0])
    ema, expected = EMATracker(model, decay), series[0]
    for step, value in enumerate(series[1:], start=1):
        model.set(value)
        ema.update(model)
        d = effective(decay, step)
        expected = d * expected + (1 - d) * value
        assert ema.step == step
        assert float(ema.shadow["weight"]) == pytest.approx(expected, rel=1e-12, abs=1e-10)
        slack = 1e-12 * max(map(abs, series))
        assert min(series[: step + 1]) - slack <= float(ema.shadow["weight"]) <= max(series[: step + 1]) + slack


def test_the_ends_of_decay() -> None:
    follows, stays = One(1.0), One(1.0)
    zero, one = EMATracker(follows, 0.0), EMATracker(stays, 1.0)
    for model in (follows, stays):
        model.set(5.0)
    for _ in range(3):
        zero.update(follows)
        one.update(stays)
    assert float(zero.shadow["weight"]) == 5.0
    warm_up = math.prod((1 + step) / (10 + step) for step in (1, 2, 3))  # 1.0 is only an upper bound
    assert float(one.shadow["weight"]) == pytest.approx(5.0 - 4.0 * warm_up)


@pytest.mark.parametrize("decay", [-0.1, 1.1, math.nan])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\]; got"):
        EMATracker(One(), decay)


def test_update_every_counts_every_call_and_averages_at_some() -> None:
    model = One(0.0)
    ema = EMATracker(model, 0.5, update_every=3)
    model.set(1.0)
    seen = []
    for _ in range(6):
        ema.update(model)
        seen.append(float(ema.shadow["weight"]))
    assert ema.step == 6
    assert seen[:2] == [0.0, 0.0]
    assert seen[2] == seen[3] == seen[4] == pytest.approx(1 - effective(0.5, 3))
    assert seen[5] == pytest.approx(1 - effective(0.5, 3) * effective(0.5, 6))


def test_until_start_step_the_shadow_is_a_plain_copy() -> None:
    model = One(0.0)
    ema = EMATracker(model, 0.9, start_step=2)
    for value in (1.0, 2.0):
        model.set(value)
        ema.update(model)
        assert float(ema.shadow["weight"]) == value
    model.set(3.0)
    ema.update(model)
    assert 2.0 < float(ema.shadow["weight"]) < 3.0


# Dtypes, devices, buffers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_double_swap_is_bit_exact(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Net().to(dtype)
    ema = EMATracker(model, 0.9)
    for _ in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ema.update(model)
    raw, shadow = weights(model), frozen(ema.shadow)
    ema.swap(model)
    assert weights(model) != raw
    ema.swap(model)
    assert weights(model) == raw
    assert frozen(ema.shadow) == shadow


def test_double_swap_of_a_model_of_many_dtypes_is_bit_exact() -> None:
    torch.manual_seed(0)
    model = Mixed()
    ema = EMATracker(model, 0.9)
    for _ in range(4):
        model.move()
        ema.update(model)
    raw, shadow = weights(model), frozen(ema.shadow)
    for _ in range(3):
        ema.swap(model)
        inside = weights(model)
        assert inside != raw
        assert {key: entry[0] for key, entry in inside.items()} == {key: entry[0] for key, entry in raw.items()}
        ema.swap(model)
        assert weights(model) == raw
        assert frozen(ema.shadow) == shadow


def test_each_tensor_is_averaged_in_its_own_precision() -> None:
    """Mixed dtypes must not be cast to those of the first tensor."""
    torch.manual_seed(0)
    model = Mixed()
    ema = EMATracker(model, 0.9)
    before = {name: value.clone() for name, value in ema.shadow.items()}
    model.move()
    ema.update(model)
    d = effective(0.9, 1)
    wide = {"p_float64": torch.float64, "wave": torch.complex64}
    for name in ("p_float32", "p_float64", "p_bfloat16", "p_float16", "running", "wave"):
        shadow, value = ema.shadow[name], getattr(model, name).detach()
        assert shadow.dtype == wide.get(name, torch.float32)
        expected = d * before[name].to(torch.complex128) + (1 - d) * value.to(torch.complex128)
        tolerance = 1e-14 if name == "p_float64" else 1e-6
        torch.testing.assert_close(shadow.to(torch.complex128), expected, rtol=tolerance, atol=tolerance)


def test_a_half_precision_model_still_averages_small_steps() -> None:
    """In bfloat16 itself 1 + 0.001 is 1: the average would never move."""
    model = One(1.0, torch.bfloat16)
    ema = EMATracker(model, 0.999)
    ema.step = 100_000
    model.set(2.0)
    for _ in range(10):
        ema.update(model)
    assert float(ema.shadow["weight"]) == pytest.approx(2 - 0.999**10, abs=1e-5)


def test_integer_and_bool_buffers_are_copied() -> None:
    torch.manual_seed(0)
    model = Mixed()
    ema = EMATracker(model, 0.9)
    for _ in range(5):
        model.move()
        ema.update(model)
    assert ema.shadow["count"].dtype == torch.int64
    assert torch.equal(ema.shadow["count"], model.count)
    assert torch.equal(ema.shadow["mask"], model.mask)
    assert not torch.equal(ema.shadow["running"], model.running)


def test_float_buffers_can_be_copied() -> None:
    torch.manual_seed(0)
    model = Mixed()
    ema = EMATracker(model, 0.9, buffers="copy")
    model.move()
    ema.update(model)
    assert torch.equal(ema.shadow["running"], model.running)
    assert not torch.equal(ema.shadow["p_float32"], model.p_float32)
    with pytest.raises(ValueError, match="'average' or 'copy'; got 'skip'"):
        EMATracker(model, buffers="skip")  # type: ignore[arg-type]


def test_what_is_no_state_is_left_out() -> None:
    model = Mixed()
    assert set(EMATracker(model).shadow) == set(model.state_dict()) - {"tied"}
    assert "scratch" not in EMATracker(model).shadow


def test_tied_weights_move_as_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    old = model[0].weight.detach().clone()
    ema = EMATracker(model, 0.9)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    ema.update(model)
    assert list(ema.shadow) == ["0.weight", "0.bias", "1.bias"]
    torch.testing.assert_close(ema.shadow["0.weight"], old + (1 - effective(0.9, 1)))
    with ema.averaged(model):
        assert model[1].weight is model[0].weight
        torch.testing.assert_close(model[1].weight.detach(), old + (1 - effective(0.9, 1)))


@pytest.mark.parametrize("form", [spectral_norm, parametrizations.spectral_norm])
def test_power_iteration_vectors_are_left_out(form: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(form(nn.Linear(4, 3)), nn.Linear(3, 1))
    ema = EMATracker(model, 0.5)
    assert not [name for name in ema.shadow if name.endswith(("_u", "_v"))]
    assert len(ema.shadow) == 4
    for _ in range(3):
        model(torch.randn(8, 4)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)
        ema.update(model)
    vectors = {name: value.clone() for name, value in model.named_buffers()}
    assert len(vectors) == 2
    with ema.averaged(model):
        for name, value in model.named_buffers():
            assert torch.equal(value, vectors[name])
            assert float(value.norm()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_over_the_same_memory_are_exchanged_once(dtype: torch.dtype) -> None:
    """A parameter made of another one's ``.data`` is another object; exchanged twice, the raw weights would be lost."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Parameter(torch.full((3,), 2.0, dtype=dtype))
            self.two = nn.Parameter(self.one.data)
            self.register_buffer("three", self.one.data)

    model = Shared()
    ema = EMATracker(model, decay=0.5)
    with torch.no_grad():
        model.one.fill_(7.0)
    ema.update(model)
    raw, shadow = frozen(model.state_dict()), frozen(ema.shadow)
    for _ in range(2):
        with ema.averaged(model):
            assert frozen(model.one) == frozen(model.two) == frozen(model.three) != raw["one"]
        assert frozen(model.state_dict()) == raw
        assert frozen(ema.shadow) == shadow


def test_a_parameter_that_only_looks_like_a_power_vector_is_averaged() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query_u = nn.Parameter(torch.zeros(1))
            self.register_buffer("query_v", torch.zeros(1))

    assert set(EMATracker(Attention()).shadow) == {"query_u", "query_v"}


def test_a_wrapped_model_is_averaged_under_its_own_names() -> None:
    net = nn.Linear(2, 1)
    ema = EMATracker(nn.DataParallel(net))
    assert list(ema.shadow) == ["weight", "bias"]
    ema.update(net)


def test_the_shadow_can_live_elsewhere() -> None:
    """Where it lives: what a second device computes, only `test_groups_of_devices` can tell."""
    model = nn.Linear(2, 1)
    elsewhere, following = EMATracker(model, device="meta"), EMATracker(model)
    elsewhere.update(model)
    assert {value.device.type for value in elsewhere.shadow.values()} == {"meta"}
    following.update(model.to("meta"))
    assert {value.device.type for value in following.shadow.values()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_groups_of_devices() -> None:
    model = nn.ModuleDict({"cpu": nn.Linear(2, 1), "gpu": nn.Linear(2, 1).cuda()})
    for device in (None, "cpu"):
        ema = EMATracker(model, 0.9, device=device)
        raw = weights(model)
        ema.update(model)
        ema.swap(model)
        ema.swap(model)
        assert weights(model) == raw
