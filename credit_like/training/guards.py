"""Guards: whoever steps the optimizer, the scaler or the scheduler past ``optimize`` is told where they did it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.optim import Optimizer


@contextmanager
def engine_steps_only(
    optimizer: Optimizer, scaler: Any, scheduler: Any, engine_is_stepping: Callable[[], bool]
) -> Iterator[None]:
    """Inside, ``optimizer.step``, ``scaler.step``, ``scaler.update`` and ``scheduler.step`` are the engine's alone.

    Raises RuntimeError from the call that breaks this, naming its file and line.
    """

    def refuse(what: str, depth: int) -> None:
        if not engine_is_stepping():
            frame = sys._getframe(depth)
            raise RuntimeError(
                f"{what}() was called at {frame.f_code.co_filename}:{frame.f_lineno}; in a trainer only "
                "self.optimize(loss) steps: it keeps accumulation, clipping, EMA and the schedule right"
            )

    with ExitStack() as stack:
        hook = optimizer.register_step_pre_hook(lambda *_: refuse("optimizer.step", 4))
        stack.callback(hook.remove)
        for owner, name in ((scaler, "step"), (scaler, "update"), (scheduler, "step")):
            if owner is not None:
                stack.enter_context(_watched(owner, name, refuse))
        yield


@contextmanager
def _watched(owner: Any, name: str, refuse: Callable[[str, int], None]) -> Iterator[None]:
    original = getattr(owner, name)
    own_attribute = name in vars(owner)

    def step(*arguments: Any, **named: Any) -> Any:
        refuse(f"{type(owner).__name__}.{name}", 3)
        return original(*arguments, **named)

    setattr(owner, name, step)
    try:
        yield
    finally:
        if own_attribute:
            setattr(owner, name, original)
        else:
            delattr(owner, name)
