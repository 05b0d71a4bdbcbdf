"""Defects of averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from credit_like.training import EMATracker, ema
from tests.training import test_ema, test_ema_state, test_fit
from tests.training.mutations.mutation import Defects

defects = Defects()


@defects.noticed_by(
    lambda folder, _: test_fit.test_raw_weights_are_back_after_an_exception_in_validation(folder),
    "averaged weights stay in the model after an exception in validation",
)
def averages_stay(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def averaged(self: EMATracker, model: nn.Module) -> Iterator[None]:
        self.swap(model)
        yield
        self.swap(model)

    patch.setattr(EMATracker, "averaged", averaged)


@defects.noticed_by(
    lambda folder, _: test_ema.test_each_tensor_is_averaged_in_its_own_precision(),
    "mixed dtypes are averaged in the first tensor's",
)
def first_dtype(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ema, "_full_precision", lambda dtype: dtype if dtype.is_complex else torch.float32)


@defects.noticed_by(
    lambda folder, _: test_ema.test_integer_and_bool_buffers_are_copied(), "integer buffers are averaged"
)
def integers_averaged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EMATracker, "_averages", lambda self, value: True)
    patch.setattr(ema, "_full_precision", lambda dtype: dtype if dtype.is_complex else torch.float64)


@defects.noticed_by(
    lambda folder, _: test_ema_state.test_a_state_dict_does_not_alias_the_shadow(),
    "a state dict aliases the live shadow",
)
def aliasing_state(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        EMATracker, "state_dict", lambda self: {"shadow": self.shadow, "decay": self.decay, "step": self.step}
    )
