"""Tau-normalisation of a classifier's last layer (Kang et al., ICLR 2020, section 4.3), for rare classes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from credit_like.training.callbacks.base import Callback
from credit_like.training.checkpoint import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer

_LAYER = re.compile(r"(?:^|\.)fc_layers\.(\d+)\.weight$")


@torch.no_grad()
def apply_tau_norm(weight: Tensor, tau: float) -> Tensor:
    """Divide each row of ``weight`` [classes, features] by its 2-norm to the power ``tau``, in place; returns it.

    0 changes nothing, 1 makes unit rows; norms are clamped at 1e-12. Raises ValueError for anything but two dimensions.
    """
    if weight.ndim != 2:
        raise ValueError(f"apply_tau_norm needs a matrix [classes, features]; got shape {tuple(weight.shape)}")
    norms = weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return weight.div_(norms**tau)


class TauNormCallback(Callback):
    """At the end of fit, tau-normalise the last layer of the best checkpoint and save it again, digest and all.

    That file is for testing and prediction from then on: no run is resumed from it.
    The last layer is the ``fc_layers.N.weight`` with the highest N; averaged weights are normalised likewise. Raises
    KeyError when the model has no such layer.
    """

    main_process_only = True

    def __init__(self, tau: float = 0.5) -> None:
        self.tau = tau

    def on_fit_end(self, trainer: BaseTrainer, model: nn.Module) -> None:
        path = trainer.save_loc / trainer.best_name
        state = read_checkpoint(path)
        if state.get("tau_norm") is not None:
            return  # a resume of a finished run must not divide twice
        parts: list[dict[str, Any]] = [state["model"], *([state["ema"]["shadow"]] if state["ema"] else [])]
        for weights in parts:
            apply_tau_norm(weights[last_layer(weights)], self.tau)
        state["tau_norm"], state["altered_by"] = self.tau, type(self).__name__
        write_checkpoint(path, state)


def last_layer(weights: dict[str, Any]) -> str:
    """The name of the highest ``fc_layers.N.weight``. Raises KeyError where there is none."""
    found = {int(match[1]): name for name in weights if (match := _LAYER.search(name))}
    if not found:
        raise KeyError(f"no fc_layers.N.weight among {len(weights)} weights, so there is nothing to tau-normalise")
    return found[max(found)]
