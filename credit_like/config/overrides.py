"""Dotted overrides from the command line: ``trainer.epochs=3 model.hidden=64 data.path=~/logs``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from credit_like.config.problems import COMMAND_LINE, KeyPath, Place, Problem, dotted, show
from credit_like.config.yaml_nodes import Document, holds, parse_value


def apply_overrides(document: Document, overrides: Iterable[str]) -> None:
    """Write ``overrides`` into ``document``, in order; of two for one key the later holds.

    Each is ``dotted.key=value``. The value is YAML on one line (``3``, ``1e-3``, ``[1, 2]``, ``{kind: robust}``;
    empty means null) and takes the place of what stood there; a section is replaced whole. A number in the key is a
    position in a list that is there already; a key that holds dots itself (``hpo.space.optimizer.lr.low``) is reached
    where it is there already, too.

    What is wrong (no ``key=value``, no YAML, a way through a value that is no section) is left in
    ``document.problems``, so that one report shows it with everything else.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        source = f"{COMMAND_LINE}: {override}"
        if not equals or not all(key.split(".")) or key != key.strip():
            rule = "an override is written section.key=value, without spaces around the ="
            document.problems.append(Problem(Place(source), (), rule))
            continue
        _set(document, key.split("."), text, source)


def _set(document: Document, names: list[str], text: str, source: str) -> None:
    parent: Any = document.data
    path: KeyPath = ()
    while names:
        name, names = _next(parent, names)
        part = _part(parent, name)
        if part is None:
            below = "positions" if isinstance(parent, list) else "keys"
            rule = f"{dotted(path)} is {show(parent)}, which has no {below} like {name!r}"
            document.problems.append(Problem(Place(source), (), rule))
            return
        path = (*path, part)
        if not names:
            break
        if isinstance(parent, dict) and parent.get(name) is None:
            parent[name] = {}
            document.places[path] = Place(source)
        parent = parent[part]
    for replaced in [known for known in document.places if known[: len(path)] == path]:
        del document.places[replaced]
    parent[path[-1]] = parse_value(text, source, path, document)


def _next(parent: Any, names: list[str]) -> tuple[str, list[str]]:
    """The next key of ``parent``, as many names as it has among its own keys, and the names that are left."""
    for count in range(len(names), 1, -1):
        if isinstance(parent, dict) and (joined := ".".join(names[:count])) in parent:
            return joined, names[count:]
    return names[0], names[1:]


def _part(parent: Any, name: str) -> str | int | None:
    """``name`` as a key of ``parent``, or as a position in it; None where ``parent`` has no such thing."""
    if isinstance(parent, dict):
        return name
    return int(name) if name.isdecimal() and holds(parent, int(name)) else None
