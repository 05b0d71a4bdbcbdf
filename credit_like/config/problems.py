"""Problem: one thing wrong with a configuration, and the report that lists them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from credit_like.config.errors import ConfigError

KeyPath = tuple[str | int, ...]

COMMAND_LINE = "command line"
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Place:
    """Where a value was written: ``conf/gat.yml:12``, or ``command line: trainer.epochs=3``.

    ``line`` counts from 1; 0 means that the source as a whole is meant.
    """

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One broken rule; ``str()`` gives its line of the report: place, dotted path, rule and value received."""

    place: Place
    path: KeyPath
    rule: str

    def __str__(self) -> str:
        name = dotted(self.path)
        # "command line: trainer.lr=x" names the key already.
        if not name or str(self.place).startswith(f"{COMMAND_LINE}: {name}="):
            return f"{self.place}: {self.rule}"
        return f"{self.place}: {name}: {self.rule}"


def dotted(path: KeyPath) -> str:
    """``("trainer", "betas", 0)`` -> ``"trainer.betas.0"``, the form that an override on the command line takes."""
    return ".".join(str(part) for part in path)


def show(value: Any) -> str:
    """``value`` as a YAML author knows it (``true``, ``null``, ``'text'``), cut where it is long."""
    if isinstance(value, dict):
        return "a section of keys"
    text = (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def config_error(problems: Iterable[Problem]) -> ConfigError:
    """The one error that carries every problem: those in files by line, those of the command line after them."""
    found = sorted(
        dict.fromkeys(problems), key=lambda problem: (problem.place.source.startswith(COMMAND_LINE), problem.place.line)
    )
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return ConfigError("\n".join([f"{count} in the configuration:", *(f"  {problem}" for problem in found)]))
