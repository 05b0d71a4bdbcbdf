"""What pydantic found wrong, in words for the author of the YAML: place, dotted path, expected and received."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from credit_like.config.errors import closest
from credit_like.config.problems import COMMAND_LINE, KeyPath, Place, Problem, dotted, show
from credit_like.config.yaml_nodes import Document, holds

#: A key of another section is meant where the names are as alike as this: batchsize and batch_size are 0.95.
_SAME = 0.9

_LIST, _SECTION = "a list", "a section of keys"
_EXPECTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "none_required": "null",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _SECTION,
    "mapping_type": _SECTION,
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "a value greater than {gt}",
    "greater_than_equal": "a value of at least {ge}",
    "less_than": "a value less than {lt}",
    "less_than_equal": "a value of at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
}
_MAX_LISTED = 12  # beyond this a list of valid keys hides the message


@dataclass(frozen=True)
class _Finding:
    """One pydantic error, located in the data; ``union`` is the path at which pydantic tried several types."""

    path: KeyPath
    union: KeyPath | None
    kind: str
    expected: str
    rule: str
    received: str


def explain(error: ValidationError, document: Document, schema: type[BaseModel], *, defaults: bool) -> list[Problem]:
    """One Problem for each thing wrong with ``document``.

    ``defaults`` says whether errors about the schema's own defaults count; those about values in the document
    always do. Settings which the reader of the YAML has complained about already are left out.
    """
    known = {problem.path for problem in document.problems if problem.path}
    findings = []
    for details in error.errors():
        finding = _locate(dict(details), document)
        of_data = finding.kind in ("missing", "extra_forbidden") or _same(details["input"], document, finding.path)
        if (defaults or of_data) and finding.path not in known:
            findings.append(finding)
    return [_problem(finding, document, schema) for finding in _merge_unions(findings)]


def _problem(finding: _Finding, document: Document, schema: type[BaseModel]) -> Problem:
    rule, place = _rule(finding, schema), document.place(finding.path)
    if overrides := _overrides_in(finding, document):  # they broke the rule, and not the line of their section
        if place.line:
            rule += f" (its section: {place})"
        place = Place(f"{COMMAND_LINE}: {' '.join(overrides)}")
    return Problem(place, finding.path, rule)


def _overrides_in(finding: _Finding, document: Document) -> list[str]:
    """Of a rule between the settings of a section: the overrides of those that it names, of all where it names none."""
    if finding.kind not in ("value_error", "assertion_error") or not isinstance(document.get(*finding.path), dict):
        return []
    depth, head = len(finding.path), f"{COMMAND_LINE}: "
    below = {
        path: place.source.removeprefix(head)
        for path, place in document.places.items()
        if len(path) > depth and path[:depth] == finding.path and place.source.startswith(head)
    }
    named = [text for path, text in below.items() if re.search(rf"\b{re.escape(str(path[depth]))}\b", finding.rule)]
    return list(dict.fromkeys(named or below.values()))


def _locate(details: dict[str, Any], document: Document) -> _Finding:
    value: Any = document.data
    path: KeyPath = ()
    union: KeyPath | None = None
    kind, parts = details["type"], details["loc"]
    for position, part in enumerate(parts):
        if holds(value, part):
            value, path = value[part], (*path, part)
        elif kind == "missing" and position == len(parts) - 1:
            path = (*path, part)
        elif part == "[key]":  # the key itself, not the value under it, is wrong
            break
        else:  # the name of a type that pydantic tried
            union = path if union is None else union
    # 0, not 0.0, as the bound of a number
    context = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in details.get("ctx", {}).items()}
    expected = _EXPECTED.get(kind, "").format_map(context)
    if kind in ("literal_error", "enum") and isinstance(details["input"], str):
        expected += closest(details["input"], re.findall(r"'([^']*)'", str(context["expected"])))
    rule = str(context["error"]) if kind in ("value_error", "assertion_error") else str(details["msg"])
    received = "" if isinstance(details["input"], dict) and not expected else show(details["input"])
    return _Finding(path, union, kind, expected, rule, received)


def _same(received: Any, document: Document, path: KeyPath) -> bool:
    # By repr: JSON has made new objects of equal values, and nan does not equal itself.
    return repr(received) in (repr(document.get(*path)), repr(path[-1]) if path else "")


def _merge_unions(findings: list[_Finding]) -> Iterator[_Finding]:
    """``int | list[int]`` gives an error for each type; say it once, or only how far the type that fits got."""
    done = set()
    for finding in findings:
        if finding.union is None:
            yield finding
            continue
        if finding.union in done:
            continue
        done.add(finding.union)
        members = [other for other in findings if other.union == finding.union]
        deeper = [other for other in members if len(other.path) > len(finding.union)]
        if deeper:
            yield from deeper
        elif all(other.expected for other in members):
            yield replace(finding, expected=", or ".join(dict.fromkeys(other.expected for other in members)))
        else:
            yield from members


def _rule(finding: _Finding, schema: type[BaseModel]) -> str:
    if finding.kind == "missing":
        return "required, but not given"
    if finding.kind == "extra_forbidden":
        return f"unknown key{_valid_keys(finding.path, schema)}"
    if finding.expected:
        return f"expected {finding.expected}, received {finding.received}"
    return f"{finding.rule} (received {finding.received})" if finding.received else finding.rule


def _valid_keys(path: KeyPath, schema: type[BaseModel]) -> str:
    name, here = str(path[-1]), _names_at(path[:-1], schema)
    if near := closest(name, here):
        return near
    elsewhere = {str(known[-1]): known for known in reversed(list(_all_paths(schema)))}
    if same := get_close_matches(name, elsewhere, n=1, cutoff=_SAME):
        return f" (did you mean {dotted(elsewhere[same[0]])!r}?)"
    return f"; valid here: {', '.join(here)}" if 0 < len(here) <= _MAX_LISTED else ""


def _names_at(path: KeyPath, schema: type[BaseModel]) -> list[str]:
    models = [schema]
    for part in path:
        below = [m for model in models if part in model.model_fields for m in _models_in(model.model_fields[str(part)])]
        models = below or models  # a position in a list of models, or a key of a mapping to them, stays at them
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _all_paths(schema: type[BaseModel], within: KeyPath = ()) -> Iterator[KeyPath]:
    for name, field in schema.model_fields.items():
        yield (*within, name)
        for model in _models_in(field):
            if len(within) < 4:  # a schema that holds itself would never end
                yield from _all_paths(model, (*within, name))


def _models_in(field: Any) -> list[type[BaseModel]]:
    annotation = getattr(field, "annotation", field)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
