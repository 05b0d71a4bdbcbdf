"""The split certificate as people read it: what decides first, long lists folded away, the whole of it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from credit_like.evaluation.report.markup import Cell, Html, breakable, definitions, details, join, section, table, tag
from credit_like.evaluation.report.words import count, number

#: Entries that decide whether figures can be trusted; they stand first, and open.
_FIRST = ("policy", "reason", "notes", "embargo", "disjointness", "counts")

#: What the entries are, where their names alone do not say it; every other name is shown as it is written.
_NAMES = {
    "policy": "Split by",
    "reason": "Why so",
    "embargo": "Least distance of two splits of one drive (s)",
    "disjointness": "Overlap of the splits",
    "overlapping_rows": "Raw rows in two splits",
    "smallest_gap": "Smallest distance found (s)",
    "counts": "Windows of each split",
    "families": "Attack windows by kind",
    "overlapping": "Overlap an attack without a frame of it",
    "duplicates": "Files of the same content, used once",
    "files": "Log files",
    "settings": "What was asked of the split",
    "groups": "Captures that share recorded traffic",
    "layouts": "How each group was split, and why",
    "intervals": "Raw rows of each split",
    "run_overlap": "Traffic of validation and test that training holds too",
    "vocabulary": "Ids known to the model: fitted on training only",
    "scaler": "Scaling of features: fitted on training only",
    "refit_digest": "Digest when fitted again",
    "store": "Graph store",
    "outside_plan": "Windows outside the plan",
    "rows": "Where every raw row went",
    "t_start": "Start (s)",
    "t_stop": "Stop (s)",
    "offset": "Clock offset (s)",
    "spread": "Clock spread (s)",
    "shared": "Share of its traffic that others hold",
    "in_train": "Share that training holds",
    "by_capture": "By capture",
}
#: What an entry means when it is null.
_NOTHING = {"smallest_gap": "no drive is divided"}


def certificate(content: Mapping[str, Any] | None) -> Html:
    """The section of the certificate, whatever it holds: one that is not valid is shown too, beside what is wrong."""
    if content is None:
        return section("certificate", "Split certificate", tag("p", "This run has no split certificate."))
    text = (
        "Which traffic the detector learned from, was calibrated on and was tested on, and that these were kept apart. "
        "All of it can be checked from the raw logs."
    )
    ordered = {name: content[name] for name in (*_FIRST, *content) if name in content}
    short = {name: value for name, value in ordered.items() if _is_plain(value) or _is_pair(value)}
    parts: list[object] = [tag("p", text), definitions({_title(name): _titled(value) for name, value in short.items()})]
    for name, value in ordered.items():
        if name == "rows" and isinstance(value, Mapping):  # there the embargo is a number of rows, not of seconds
            value = {"between two splits" if key == "embargo" else key: rows for key, rows in value.items()}
        if name == "run_overlap":
            value = _by_capture(value)
        if name not in short:
            shown = _shown(_title(name), value)
            parts.append(tag("div", shown, class_="part") if name in _FIRST else details(_title(name), shown))
    parts.append(details("The whole certificate as JSON", _json(content), class_="raw"))
    return section("certificate", "Split certificate", *parts)


def _shown(title: str, value: object) -> Html:
    """A list of records, or a mapping of records, as a table; other mappings as names and values; the rest as JSON."""
    if _is_records(value):
        return _records(title, cast("list[Mapping[str, Any]]", value))
    if isinstance(value, Mapping) and value and all(isinstance(record, Mapping) for record in value.values()):
        return _records(title, [{"": name, **record} for name, record in value.items()])
    if isinstance(value, Mapping):
        return definitions(_readable(value))
    return _json(value)


def _readable(value: Mapping[str, Any]) -> dict[str, object]:
    """A mapping with names for people; mappings in it likewise, other parts that are not plain as JSON."""
    return {
        _title(str(name)): _NOTHING.get(name, entry)
        if entry is None
        else entry
        if _is_plain(entry)
        else _readable(entry)
        if isinstance(entry, Mapping)
        else _json(entry)
        for name, entry in value.items()
    }


def _by_capture(overlap: object) -> object:
    """What the splits repeat of training, a record for each split and capture; anything else as it is."""
    try:
        return [{"split": "by chance", "capture": "", "in_train": cast(Any, overlap)["chance"]}] + [
            {"split": split, "capture": capture, "in_train": share}
            for split, shared in cast(Any, overlap)["splits"].items()
            for capture, share in {"all of them": shared["in_train"], **shared["by_capture"]}.items()
        ]
    except (KeyError, TypeError, AttributeError):  # a certificate that is not valid is shown too
        return overlap


def _unfolded(records: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A record that holds one list of records becomes a row for each of them, numbered by the record it was in."""
    found: list[Mapping[str, Any]] = []
    for number_, record in enumerate(records, 1):
        lists = [name for name, value in record.items() if _is_records(value)]
        if len(lists) != 1:
            return records
        rest = {name: value for name, value in record.items() if name != lists[0]}
        found += [{"number": number_, **inner, **rest} for inner in record[lists[0]]]
    return found


def _is_records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(record, Mapping) and record for record in value)


def _records(title: str, records: list[Mapping[str, Any]]) -> Html:
    records = _unfolded(records)
    columns = list(dict.fromkeys(name for record in records for name in record))
    rows = [[_cell(record.get(name, "")) for name in columns] for record in records]
    return table(title, [_title(name) or "Split" for name in columns], rows)


def _cell(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float) and abs(value) >= 1e5:  # seconds of a clock that counts from 1970
        return Cell(f"{value:.3f}", value)
    if isinstance(value, int | float):
        return Cell(count(value) if isinstance(value, int) else number(value), value)
    if isinstance(value, Mapping) and all(_is_plain(entry) for entry in value.values()):
        return tag("span", ", ".join(f"{name} {entry}" for name, entry in value.items()) or "none", class_="prose")
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tag("span", join([breakable(", ".join(value) or "none")]), class_="prose")
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
    return _readable(value) if isinstance(value, Mapping) else value


def _title(name: str) -> str:
    known = _NAMES.get(name)
    return known or (name.replace("_", " ").capitalize() if name.isidentifier() else name)
