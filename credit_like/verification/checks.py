"""Check: one thing that a run claims, what it was compared with, and what is false of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Sentences shown of one check; the others are counted.
_AT_MOST = 8
#: Numbers above this are compared as closely as this one: a relative 1e-9 of a time since 1970 would be 2 seconds.
_LARGE = 1e6


@dataclass(frozen=True)
class Check:
    """``name`` holds when ``problems`` is empty; ``compared`` says in words what was compared, and how much of it."""

    name: str
    compared: str
    problems: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not self.problems


#: What a check gives: what was compared, and what is false.
Finding = tuple[str, list[str]]


def timed(name: str, check: Callable[[], Finding]) -> Check:
    """Run one check. What cannot even be compared, because the run's files do not fit together, is false."""
    started = time.perf_counter()
    try:
        compared, problems = check()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        compared, problems = "could not be compared", [f"{type(error).__name__}: {error}"]
    return Check(name, compared, tuple(problems), time.perf_counter() - started)


def differences(claimed: Any, found: Any, where: str = "", tolerance: float = 1e-9) -> Iterator[str]:
    """Every leaf of plain data where ``claimed`` is not what was ``found``, by its path.

    A key that only ``claimed`` has is "not verified": nothing here recomputes it, so nothing here may let it pass.
    """
    if isinstance(claimed, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys([*claimed, *found]):
            path = f"{where}.{name}" if where else str(name)
            if name not in found:
                yield f"not verified: {path}"
            elif name not in claimed:
                yield f"{path} is missing; it is {_shown(found[name])}"
            else:
                yield from differences(claimed[name], found[name], path, tolerance)
    elif isinstance(claimed, list | tuple) and isinstance(found, list | tuple):
        if len(claimed) != len(found):
            yield f"{where} has {len(claimed)} entries; there are {len(found)}"
        for number, (one, other) in enumerate(zip(claimed, found, strict=False)):
            yield from differences(one, other, f"{where}[{number}]", tolerance)
    elif not _same(claimed, found, tolerance):
        yield f"{where} is {_shown(claimed)}; it should be {_shown(found)}"


def _same(one: Any, other: Any, tolerance: float) -> bool:
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers) and not isinstance(one, bool):
        size = min(max(abs(one), abs(other)), _LARGE)
        return one == other or abs(one - other) <= tolerance * max(1.0, size)
    return type(one) is type(other) and one == other


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def shortened(problems: Sequence[str]) -> list[str]:
    """The first problems of a check, and how many more there are."""
    more = len(problems) - _AT_MOST
    return [*problems[:_AT_MOST], *([f"and {more:,} more"] if more > 0 else [])]


def many(count: int, what: str) -> str:
    """``1 window``, ``2,000 windows``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
