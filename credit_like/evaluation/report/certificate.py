"""The split certificate as people read it: what decides first, long lists folded away, the whole of it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from credit_like.evaluation.report.markup import Cell, Html, breakable, definitions, details, section, table, tag
from credit_like.evaluation.report.words import count, number

#: Entries that decide whether figures can be trusted; they stand first, and open.
_FIRST = ("policy", "reason", "notes", "embargo", "disjointness", "counts")


def certificate(content: Mapping[str, Any] | None) -> Html:
    """The section of the certificate, whatever it holds: one that is not valid is shown too, beside what is wrong."""
    if content is None:
        return section("certificate", "Split certificate", tag("p", "This run has no split certificate."))
    text = (
        "What each split saw, as it can be checked from the raw logs: file digests, raw row intervals, captures that "
        "share traffic, and the digests of what was fitted on training data."
    )
    ordered = {name: content[name] for name in (*_FIRST, *content) if name in content}
    short = {name: value for name, value in ordered.items() if _is_plain(value) or _is_pair(value)}
    parts: list[object] = [tag("p", text), definitions({_title(name): _titled(value) for name, value in short.items()})]
    for name, value in ordered.items():
        if name not in short:
            shown = _shown(_title(name), value)
            parts.append(tag("div", shown, class_="part") if name in _FIRST else details(_title(name), shown))
    parts.append(details("The whole certificate as JSON", _json(content)))
    return section("certificate", "Split certificate", *parts)


def _shown(title: str, value: object) -> Html:
    """A list of records, or a mapping of records, as a table; other mappings as names and values; the rest as JSON."""
    if isinstance(value, list) and value and all(isinstance(record, Mapping) and record for record in value):
        return _records(title, value)
    if isinstance(value, Mapping) and value and all(isinstance(record, Mapping) for record in value.values()):
        return _records(title, [{"": name, **record} for name, record in value.items()])
    if isinstance(value, Mapping):
        return definitions(
            {_title(str(name)): entry if _is_plain(entry) else _json(entry) for name, entry in value.items()}
        )
    return _json(value)


def _records(title: str, records: list[Mapping[str, Any]]) -> Html:
    columns = list(dict.fromkeys(name for record in records for name in record))
    rows = [[_cell(record.get(name, "")) for name in columns] for record in records]
    return table(title, [_title(name) or "Split" for name in columns], rows)


def _cell(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return Cell(count(value) if isinstance(value, int) else number(value), value)
    if isinstance(value, Mapping) and all(_is_plain(entry) for entry in value.values()):
        return tag("span", ", ".join(f"{name} {entry}" for name, entry in value.items()), class_="prose")
    if isinstance(value, str):
        return breakable(value) if len(value) < 60 else tag("code", value, class_="digest")
    return tag("code", json.dumps(value, ensure_ascii=False), class_="prose")


def _is_plain(value: object) -> bool:
    return (
        not isinstance(value, Mapping | list)
        or value == []
        or (isinstance(value, list) and all(isinstance(entry, str) for entry in value) and len(value) < 20)
    )


def _is_pair(value: object) -> bool:
    """Whether a mapping is so short that it may stand among the plain entries."""
    return isinstance(value, Mapping) and len(value) < 3 and all(_is_plain(entry) for entry in value.values())


def _json(value: object) -> Html:
    return tag("pre", tag("code", json.dumps(value, indent=2, ensure_ascii=False)), tabindex="0")


def _titled(value: object) -> object:
    return {_title(str(name)): entry for name, entry in value.items()} if isinstance(value, Mapping) else value


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
