"""Dispatch: one table of events, two vocabularies, one order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from credit_like.config import closest
from credit_like.training.callbacks import Callback
from credit_like.training.hooks import MainProcessHook

if TYPE_CHECKING:
    from torch import nn

    from credit_like.training.batch_loop import BatchLoop

#: Every event in the order in which a run meets it: its ``on_*`` name, its short name ("" where it has none).
LIFECYCLE = (
    ("on_fit_start", "before_fit"),
    ("on_train_epoch_start", "before_epoch"),
    ("on_train_batch_start", ""),
    ("", "before_step"),
    ("", "after_pred"),
    ("", "after_loss"),
    ("on_after_backward", "after_backward"),
    ("", "after_step"),
    ("on_train_batch_end", ""),
    ("on_validation_start", "before_valid"),
    ("on_validation_end", ""),
    ("on_train_epoch_end", "after_epoch"),
    ("on_fit_end", "after_fit"),
    ("on_cancel", "after_cancel"),
    ("on_exception", ""),
)
EVENT_NAMES = frozenset(name for pair in LIFECYCLE for name in pair if name)
_SHORT = {short for _, short in LIFECYCLE if short}
#: What a method is called with, by its event's name.
ARGUMENTS = {
    name: ("trainer",) if name in _SHORT else tuple(inspect.signature(getattr(Callback, name)).parameters)[1:]
    for name in EVENT_NAMES
}
_POINT = {name: long or short for long, short in LIFECYCLE for name in (long, short) if name}

Listener = Callable[..., Any]
H = TypeVar("H")
_MISSING: Any = object()


class Dispatcher:
    """Calls what listens to an event, lower ``ord`` first; resolved once, so that unused events cost nothing.

    Raises TypeError for a class in place of an instance, for an object that listens to nothing, and for one that
    defines both names of one event, or a method that an event's arguments do not fit: now, and not after a day.
    """

    def __init__(self, hooks: Iterable[Any], rank: int = 0) -> None:
        self.hooks = sorted(hooks, key=lambda hook: getattr(hook, "ord", 0))
        self._listeners: dict[str, list[Listener]] = {name: [] for name in EVENT_NAMES}
        self._table: dict[str, list[Any]] = {long or short: [] for long, short in LIFECYCLE}
        for place, hook in enumerate(self.hooks):
            if any(hook is other for other in self.hooks[:place]):
                raise TypeError(
                    f"one {type(hook).__name__} is given twice, and would be called twice; make two, or give it once"
                )
            names = _listened(hook)
            if rank != 0 and (isinstance(hook, MainProcessHook) or getattr(hook, "main_process_only", False)):
                continue
            for name in names:
                point = _POINT[name]
                self._table[point].append(hook)
                self._listeners[point].append(_called(getattr(hook, name), name in _SHORT))
        for long, short in LIFECYCLE:
            if long and short:
                self._listeners[short] = self._listeners[long]

    def __call__(self, event: str, trainer: BatchLoop, model: nn.Module, *arguments: Any) -> None:
        for listener in self._listeners[event]:
            listener(trainer, model, *arguments)

    def get(self, cls: type[H], default: Any = _MISSING) -> H:
        """The first hook that is a ``cls``. Raises KeyError where there is none and no default is given."""
        for hook in self.hooks:
            if isinstance(hook, cls):
                return hook
        if default is _MISSING:
            raise KeyError(
                f"no {cls.__name__} among the hooks: {', '.join(type(h).__name__ for h in self.hooks) or 'none'}"
            )
        return default  # type: ignore[no-any-return]

    def describe(self) -> str:
        """A Markdown table of what runs when and in what order."""
        lines = ["| Lifecycle Point | Hook | Order |", "|---|---|---|"]
        for long, short in LIFECYCLE:
            point = " / ".join(name for name in (long, short) if name)
            listening = self._table[long or short]
            lines += [f"| {point} | {type(hook).__name__} | {getattr(hook, 'ord', 0)} |" for hook in listening]
            if not listening:
                lines.append(f"| {point} | (none) | |")
        return "\n".join(lines)

    def state_dict(self) -> dict[str, Any]:
        """The state of every hook that has one, by its place among the hooks of its class."""
        return {name: hook.state_dict() for name, hook in self._stateful()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Each hook takes back its state; one that was not there when it was saved starts afresh."""
        for name, hook in self._stateful():
            if name in state:
                hook.load_state_dict(state[name])

    def _stateful(self) -> list[tuple[str, Any]]:
        named, counts = [], dict[str, int]()
        for hook in self.hooks:
            kind = type(hook).__qualname__
            counts[kind] = counts.get(kind, 0) + 1
            if hasattr(hook, "state_dict") and hasattr(hook, "load_state_dict"):
                named.append((f"{kind}:{counts[kind]}", hook))
        return named


class FacedDispatcher(Dispatcher):
    """The dispatcher of a face: its hooks get the face, not the engine behind it."""

    def __init__(self, hooks: Iterable[Any], rank: int, face: Any) -> None:
        super().__init__(hooks, rank)
        self._face = face

    def __call__(self, event: str, trainer: Any, model: nn.Module, *arguments: Any) -> None:
        super().__call__(event, self._face, model, *arguments)


def _listened(hook: Any) -> list[str]:
    """The events that ``hook`` defines itself, in the order of the lifecycle."""
    if isinstance(hook, type):
        raise TypeError(f"pass an instance, not the class {hook.__name__}: {hook.__name__}(...)")
    names = []
    for long, short in LIFECYCLE:
        defined = [name for name in (long, short) if name and _defines(hook, name)]
        if len(defined) == 2:
            raise TypeError(f"{type(hook).__name__} defines both {long} and {short}, which are one event; keep one")
        names += defined
    for name in names:
        _require_fit(hook, name)
    for name in dir(type(hook)):
        if name.startswith(("on_", "before_", "after_")) and name not in EVENT_NAMES and callable(getattr(hook, name)):
            raise TypeError(
                f"{type(hook).__name__}.{name} is no event{closest(name, EVENT_NAMES)}; see docs/lifecycle.md"
            )
    if not names and not isinstance(hook, Callback):
        raise TypeError(f"{type(hook).__name__} listens to no event; events: {', '.join(sorted(EVENT_NAMES))}")
    return names


def _require_fit(hook: Any, name: str) -> None:
    try:
        inspect.signature(getattr(hook, name)).bind(*ARGUMENTS[name])
    except TypeError as error:
        given = ", ".join(ARGUMENTS[name])
        raise TypeError(f"{type(hook).__name__}.{name} is called with ({given}), which do not fit: {error}") from None
    except ValueError:  # a function of C, which does not tell
        return


def _defines(hook: Any, name: str) -> bool:
    method = getattr(hook, name, None)
    return callable(method) and getattr(type(hook), name, None) is not getattr(Callback, name, _MISSING)


def _called(method: Listener, is_short: bool) -> Listener:
    """Short names get the trainer only."""
    if not is_short:
        return method
    return lambda trainer, *_: method(trainer)
