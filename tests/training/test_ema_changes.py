"""EMATracker beside a model that changes behind it: tensors replaced, moved, grown or gone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from credit_like.training import EMATracker
from tests.training.test_ema import One, effective


def test_tensors_that_were_replaced_are_found_again() -> None:
    """``.to()`` and ``.double()`` may replace the tensors behind the parameters."""
    model = One(1.0, torch.float32)
    ema = EMATracker(model, 0.5)
    model.weight = nn.Parameter(torch.tensor([3.0]))
    ema.update(model)
    assert float(ema.shadow["weight"]) == pytest.approx(3 - 2 * effective(0.5, 1))
    model.double()
    model.weight = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    ema.update(model)
    assert float(ema.shadow["weight"]) == pytest.approx(3 - 2 * effective(0.5, 1) * effective(0.5, 2))
    assert ema.shadow["weight"].dtype == torch.float32


def test_data_that_was_replaced_behind_a_parameter_is_followed() -> None:
    """As ``.double()`` and ``vector_to_parameters`` do: the parameter stays the same object."""
    model = One(1.0, torch.float32)
    ema = EMATracker(model, 0.0)
    for value, change in (
        (3.0, lambda: None),
        (4.0, model.double),
        (5.0, lambda: nn.utils.vector_to_parameters(torch.tensor([7.0], dtype=torch.float64), model.parameters())),
        (6.0, lambda: setattr(model.weight, "data", torch.zeros(1, dtype=torch.float64))),
        (7.0, model.bfloat16),
    ):
        change()
        nn.init.constant_(model.weight, value)
        ema.update(model)
        assert float(ema.shadow["weight"]) == value
    assert ema.shadow["weight"].dtype == torch.float32


def test_a_part_that_changed_its_dtype_alone_is_an_error_that_says_so() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    ema = EMATracker(model, 0.0)
    model[1].half()
    with pytest.raises(RuntimeError, match="a part of the model has changed its dtype or device since the tracker was"):
        ema.update(model)


def test_a_buffer_that_was_reassigned_is_found_again() -> None:
    model = nn.BatchNorm1d(2)
    ema = EMATracker(model, 0.0)
    model.running_mean = torch.full((2,), 7.0)
    ema.update(model)
    assert torch.equal(ema.shadow["running_mean"], torch.full((2,), 7.0))


def test_a_model_that_grew_or_shrank_is_refused() -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    ema = EMATracker(model)
    model.append(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="was not in the model"):
        ema.swap(model)
    with pytest.raises(TypeError, match="no longer in the model"):
        ema.swap(nn.Sequential())
