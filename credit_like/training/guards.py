"""Guards: whoever steps the optimizer, the scaler or the scheduler past ``optimize`` is told where they did it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.optim import Optimizer

_NOT_THE_CALLER = (str(Path(torch.__file__).parent), __file__)


@contextmanager
def engine_steps_only(
    optimizer: Optimizer, scaler: Any, scheduler: Any, engine_is_stepping: Callable[[], bool]
) -> Iterator[None]:
    """Inside, ``optimizer.step``, ``scaler.step``, ``scaler.update`` and ``scheduler.step`` are the engine's alone.

    Raises RuntimeError from the call that breaks this, naming its file and line.
    """

    def refuse(what: str) -> None:
        if not engine_is_stepping():
            raise RuntimeError(
                f"{what}() was called at {_caller(sys._getframe(1))}; in a trainer only "
                "self.optimize(loss) steps: it keeps accumulation, clipping, EMA and the schedule right"
            )

    with ExitStack() as stack:
        hook = optimizer.register_step_pre_hook(lambda *_: refuse("optimizer.step"))
        stack.callback(hook.remove)
        for owner, names in ((scaler, ("step", "update")), (scheduler, ("step",))):
            if owner is not None:
                stack.enter_context(_watched(owner, names, refuse))
        yield


@contextmanager
def _watched(owner: Any, names: tuple[str, ...], refuse: Callable[[str], None]) -> Iterator[None]:
    """``owner`` as an instance of a subclass that asks first; an attribute would end up in its ``state_dict``."""
    kind = type(owner)

    def asking(name: str) -> Callable[..., Any]:
        def step(self: Any, *arguments: Any, **named: Any) -> Any:
            refuse(f"{kind.__name__}.{name}")
            return getattr(kind, name)(self, *arguments, **named)

        return step

    owner.__class__ = type(kind.__name__, (kind,), {name: asking(name) for name in names})
    try:
        yield
    finally:
        owner.__class__ = kind


def _caller(frame: FrameType | None) -> str:
    """File and line of the nearest frame that is neither torch's nor ours."""
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_CALLER):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"
