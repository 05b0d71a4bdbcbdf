"""Preparation: what settings do to a model before anything else sees it. Names of weights stay as they are."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from credit_like.config import ConfigError
from credit_like.training.progress import say
from credit_like.training.settings import TrainerSettings


def prepared(model: nn.Module, settings: TrainerSettings) -> nn.Module:
    """``model`` itself, with gradient checkpointing switched on and compiled in place where that is asked for.

    Compiling happens at the first forward pass, for each shape, mode and precision that it meets anew. Raises
    ConfigError where the model cannot do what is asked.
    """
    if settings.ensemble_size > 1 and not any(isinstance(module, _DropoutNd) for module in model.modules()):
        say(
            f"trainer.ensemble_size is {settings.ensemble_size}, but {type(model).__name__} has no module such as "
            "nn.Dropout that it could switch on: unless something else in it is random, all passes are the same"
        )
    if settings.gradient_checkpointing:
        enable = getattr(model, "gradient_checkpointing_enable", None)
        if not callable(enable):
            raise ConfigError(
                f"trainer.gradient_checkpointing is true, but {type(model).__name__} has no method "
                "gradient_checkpointing_enable(): give it one, after which it runs its blocks through "
                "torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False), or leave the setting out"
            )
        enable()
    if settings.compile:
        if type(model).__module__.startswith("torch.nn."):
            raise ConfigError(
                f"trainer.compile is true, but the model is a bare torch.nn.{type(model).__name__}, which torch leaves "
                "uncompiled without a word; call it from the forward() of a class of your own"
            )
        model.compile()  # not torch.compile(model), whose wrapper puts a prefix before the name of each weight
    return model
