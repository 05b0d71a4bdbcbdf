"""EMATracker's state dict, and the context that puts averaged weights into a model and takes them out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from credit_like.training import EMATracker
from tests.training.test_ema import Mixed, One, effective
from tests.training.toys import frozen

# State ----------------------------------------------------------------------------------------------------------------


def test_a_state_dict_does_not_alias_the_shadow() -> None:
    model = One(1.0)
    ema = EMATracker(model, 0.5)
    state = ema.state_dict()
    model.set(9.0)
    ema.update(model)
    assert float(state["shadow"]["weight"]) == 1.0
    state["shadow"]["weight"].fill_(-1.0)
    assert float(ema.shadow["weight"]) != -1.0


def test_loading_does_not_alias_and_takes_decay_and_step() -> None:
    model = One(1.0)
    ema, other = EMATracker(model, 0.5), EMATracker(One(2.0), 0.9)
    ema.update(model)
    state = ema.state_dict()
    other.load_state_dict(state)
    assert (other.decay, other.step) == (0.5, 1)
    state["shadow"]["weight"].fill_(-1.0)
    assert float(other.shadow["weight"]) == 1.0
    other.update(One(5.0))
    assert float(state["shadow"]["weight"]) == -1.0


def test_a_resumed_tracker_goes_on_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = Mixed()
    ema = EMATracker(model, 0.7)
    for _ in range(3):
        model.move()
        ema.update(model)
    again = EMATracker(model, 0.1)
    again.load_state_dict(ema.state_dict())
    for _ in range(3):
        model.move()
        ema.update(model)
        again.update(model)
    assert frozen(again.state_dict()) == frozen(ema.state_dict())


def test_a_state_of_another_model_is_refused() -> None:
    ema = EMATracker(nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"another model: missing \['bias', 'weight'\], unexpected \['wrong'\]"):
        ema.load_state_dict({"shadow": {"wrong": torch.zeros(1)}, "decay": 0.5, "step": 1})
    with pytest.raises(ValueError, match=r"'weight' has shape \(1, 3\); need \(1, 2\)"):
        ema.load_state_dict(EMATracker(nn.Linear(3, 1)).state_dict())


# The context ----------------------------------------------------------------------------------------------------------


def moved(decay: float = 0.9) -> tuple[One, EMATracker]:
    model = One(1.0)
    ema = EMATracker(model, decay)
    model.set(2.0)
    ema.update(model)
    return model, ema


def test_averaged_restores_after_an_exception() -> None:
    model, ema = moved()

    def fail() -> None:
        with ema.averaged(model):
            assert model.weight.item() == pytest.approx(2 - effective(0.9, 1))
            assert ema.swapped
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert model.weight.item() == 2.0
    assert not ema.swapped


def test_averaged_does_not_nest_nor_save_nor_update_inside() -> None:
    model, ema = moved()
    state = ema.state_dict()
    with ema.averaged(model):
        with pytest.raises(RuntimeError, match="does not nest"), ema.averaged(model):
            pass
        with pytest.raises(RuntimeError, match="swap them back first"):
            ema.state_dict()
        with pytest.raises(RuntimeError, match="swap the averaged weights back first"):
            ema.load_state_dict(state)
        with pytest.raises(RuntimeError, match="swap them back first"):
            ema.update(model)
    assert model.weight.item() == 2.0


def test_averaged_does_nothing_before_the_first_update() -> None:
    model = One(1.0)
    ema = EMATracker(model)
    model.set(2.0)
    with ema.averaged(model):
        assert model.weight.item() == 2.0
    assert float(ema.shadow["weight"]) == 1.0


def test_parameters_stay_the_same_objects() -> None:
    """An optimizer holds the parameters: a swap must exchange values, not tensors."""
    model, ema = moved()
    parameter: Tensor = model.weight
    address = parameter.data_ptr()
    with ema.averaged(model):
        assert model.weight is parameter
        assert model.weight.data_ptr() == address
