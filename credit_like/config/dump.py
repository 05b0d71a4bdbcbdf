"""Settings -> YAML that load_config reads back to equal settings."""

from __future__ import annotations

from typing import Any

import yaml

from credit_like.config.schema import Settings
from credit_like.config.yaml_nodes import add_core_scalars


class _Dumper(yaml.SafeDumper):
    """Writes with the scalars of YAML 1.2, so that the text ``'1e-3'`` is quoted and stays text when read back."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True  # the loader refuses aliases; equal values are written out


def _list(dumper: _Dumper, items: list[Any]) -> yaml.Node:
    short = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    # In double quotes line breaks of every kind are escaped; elsewhere YAML folds some of them into spaces.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


add_core_scalars(_Dumper)
_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def dump_config(settings: Settings) -> str:
    """The resolved configuration, every default written out, in the order of the schema.

    Settings whose type has no JSON form are not supported (pydantic's ``PydanticSerializationError``).
    """
    data = settings.model_dump(mode="json")
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=100)


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``."""
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        path: value
        for name, part in data.items()
        for path, value in flat(part, f"{prefix}.{name}" if prefix else name).items()
    }
