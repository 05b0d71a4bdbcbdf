"""load_config: a YAML and overrides -> settings that passed their schema, or one report of all that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from credit_like.config.errors import ConfigError, closest
from credit_like.config.explain import explain
from credit_like.config.overrides import apply_overrides
from credit_like.config.problems import config_error
from credit_like.config.schema import Settings
from credit_like.config.shipped import shipped_configs
from credit_like.config.yaml_nodes import MAX_BYTES, Document, parse_document

S = TypeVar("S", bound=Settings)


def load_config(source: str | Path, schema: type[S], overrides: Sequence[str] = ()) -> S:
    """Read a configuration, apply ``overrides`` and validate the whole.

    Values are never guessed: ``"3"`` is no integer, ``1`` no switch, and 3.0 no integer either; an integer is good
    where a number is asked for.

    Args:
        source: a file, or the bare name of a shipped configuration (``"gat"``).
        schema: the Settings class of the whole file.
        overrides: ``dotted.key=value`` texts, see :func:`~credit_like.config.overrides.apply_overrides`.

    Raises:
        ConfigError: one report of everything that is wrong in the file and in the overrides, each with its place,
            dotted path, rule, and the value received. Rules between several settings of one section are looked at
            only when each setting is valid alone.
    """
    return validate(read_config(source, overrides), schema)


def read_config(source: str | Path, overrides: Sequence[str] = ()) -> Document:
    """The first half of :func:`load_config`: for a job that must look at its data to know its schema.

    Raises:
        ConfigError: there is no such file, or it is not YAML; other problems wait in the document for ``validate``.
    """
    path = find_config(source)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} is no configuration: it is larger than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line} is no configuration: it is not UTF-8 text") from None
    document = parse_document(text, str(path))
    apply_overrides(document, overrides)
    return document


def validate(document: Document, schema: type[S]) -> S:
    """The second half of :func:`load_config`; raises the same ConfigError."""
    problems = list(document.problems)
    try:
        # JSON mode is where pydantic's strictness still lets a list be a tuple, and text a path or an enum.
        # What only Python can give (a Path, where a trainer is made without a YAML) is left to the second look.
        schema.model_validate_json(json.dumps(document.data, default=repr), strict=True)
    except ValidationError as error:
        problems += explain(error, document, schema, defaults=False)
    if problems:
        raise config_error(problems)
    try:
        # Strictness must not reach the schema's own defaults (a Path is no JSON text), so they are validated here.
        return schema.model_validate(document.data)
    except ValidationError as error:
        raise config_error(explain(error, document, schema, defaults=True)) from None


def find_config(source: str | Path) -> Path:
    """The file that ``source`` means: a bare name is a shipped configuration, anything else a path.

    Raises:
        ConfigError: there is no such file; the message has the closest one that exists.
    """
    shipped = shipped_configs()
    if str(source) in shipped:
        return shipped[str(source)]
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; a configuration is one YAML file")
    near = closest(str(source), [*shipped, *_yaml_files(path.parent)])
    if not near and path.stem in shipped:
        near = f" (did you mean {path.stem!r}?)"
    raise ConfigError(f"there is no configuration {str(source)!r}{near}; shipped: {', '.join(shipped) or 'none'}")


def _yaml_files(folder: Path) -> Iterable[str]:
    return [str(path) for suffix in ("*.yml", "*.yaml") for path in folder.glob(suffix)]
