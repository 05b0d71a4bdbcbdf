"""Arguments: what a caller gives to a trainer, refused in words where it cannot be what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from credit_like.config import ConfigError
from credit_like.training.loggers import Logger
from credit_like.training.progress import say


def require_conf(conf: Any) -> None:
    """Raises ConfigError for anything but a mapping."""
    if not isinstance(conf, Mapping):
        raise ConfigError(f"conf must be a mapping, as with save_loc and a trainer section; got {_named(conf)}")


def trainer_section(conf: Any, settings: Iterable[str]) -> dict[str, Any]:
    """``conf["trainer"]``; a name of ``settings`` beside it is said to have no effect there.

    Raises ConfigError where ``conf``, or this section of it, is no mapping.
    """
    require_conf(conf)
    if misplaced := [name for name in settings if name in conf]:
        say(
            f"conf has {', '.join(misplaced)} beside its section trainer, where the engine does not look: put it inside"
        )
    section = conf.get("trainer") or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"conf['trainer'] must be a mapping of settings; got {_named(section)}")
    return dict(section)


def require_parts(model: Any, callbacks: Any, loggers: Any) -> None:
    """Raises TypeError for a model that is no module, for parts in no list, and for a logger that lacks a method."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"a trainer's model is a torch.nn.Module; got {_named(model)}")
    for name, parts in (("callbacks", callbacks), ("loggers", loggers)):
        if not isinstance(parts, list | tuple):
            raise TypeError(f"{name} are a list, of one too: {name}=[...]; got {_named(parts)}")
    for logger in loggers:
        if isinstance(logger, type) or not isinstance(logger, Logger):
            raise TypeError(f"a logger has start, log_batch, log_epoch and close; got {_named(logger)}")


def require_optimizer(optimizer: Any, model: nn.Module) -> None:
    """Raises TypeError for what is no optimizer, and for one that holds no weight of ``model``."""
    if optimizer is None:
        raise TypeError("fit needs an optimizer over trainer.model's parameters")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit needs a torch optimizer over trainer.model's parameters; got {_named(optimizer)}")
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise TypeError(
            "none of the optimizer's parameters is one of trainer.model's, which would never learn: make the optimizer "
            "from trainer.model.parameters(), after the trainer (trainer.mode: fsdp puts others in their place)"
        )


def require_scheduler(scheduler: Any) -> None:
    """Raises TypeError for what cannot be a schedule of torch's. None is no schedule."""
    if scheduler is None:
        return
    if isinstance(scheduler, type | Optimizer) or not all(
        callable(getattr(scheduler, method, None)) for method in ("step", "state_dict", "load_state_dict")
    ):
        raise TypeError(
            f"a scheduler is one of torch.optim.lr_scheduler, made of the optimizer; got {_named(scheduler)}. One by "
            "name goes into the setting trainer.scheduler.scheduler_type"
        )


def require_loss(loss: Any) -> None:
    """Raises TypeError for anything but a tensor of one element."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"optimize needs the loss as a tensor, not {_named(loss)}: leave .item() and float() out")
    if loss.numel() != 1:
        raise TypeError(f"optimize needs a loss of one element, got the shape {tuple(loss.shape)}: take its mean")


def require_gradient(loss: Tensor) -> None:
    """Raises RuntimeError for a loss that no weight would learn from."""
    if not loss.requires_grad:
        raise RuntimeError(
            "the loss depends on no weight that is trained: it was detached, made of integers or under no_grad, or "
            "every weight that it goes through has requires_grad=False"
        )


def require_results(returned: Any, method: str) -> None:
    """Raises TypeError where a subclass's ``method`` returned something else than a mapping or None."""
    if returned is not None and not isinstance(returned, Mapping):
        raise TypeError(f"{method} must return a dict of results, or None; got {_named(returned)}")


def _named(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} and not an instance"
    if isinstance(value, bool | int | float | str | list | None) and len(repr(value)) <= 40:
        return f"{value!r} ({type(value).__name__})"
    return f"a {type(value).__name__}"
