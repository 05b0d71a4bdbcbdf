"""credit-like verify: whichever value of the certificate or of the metrics is changed, a check says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.applications.tampering import Edit, Evidence, edited, false_checks, forged

#: The check that answers for each part of a certificate. ``format`` and ``version`` say how to read it; what the docs
#: name as not checked (sentences, how a split was planned, a file format's digest) is missing here.
ANSWERABLE = {
    "format": "certificate",
    "version": "certificate",
    "files": "logs",
    "duplicates": "logs",
    "settings": "settings",
    "embargo": "settings",
    "groups": "groups",
    "intervals": ("row intervals", "rows and counts"),
    "disjointness": "disjointness",
    "run_overlap": "frame runs",
    "vocabulary": "vocabulary",
    "scaler": "scaler",
    "store": "row intervals",
    "rows": "rows and counts",
    "counts": "rows and counts",
}

#: ``groups.captures.offset`` is of a capture alone in its group: nothing depends on it.
NOT_CHECKED = {
    "digest", "reason", "notes", "layouts", "policy", "store.digest", "files.path", "groups.captures.offset",
}  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of plain data are; of each list its first entry stands for all."""
    entries = (
        value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    )
    if not isinstance(value, dict | list):
        yield path
    for key, part in entries:
        yield from leaves(part, (*path, key))


def other(value: Any) -> Any:
    """Another value of the same type, plausible at first sight."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return {"benign training windows": "all training windows"}.get(value, f"{value}0" if value is not None else 1.5)


def changed_at(path: tuple[Any, ...]) -> Edit:
    def edit(certificate: dict[str, Any]) -> None:
        part: Any = certificate
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = other(part[path[-1]])

    return edit


@pytest.mark.slow
def test_every_value_of_a_certificate_is_answered_for(evidence: Evidence) -> None:
    """Each is changed alone, and the digest made anew as a forger would."""
    claims, dataset, detector = evidence
    unseen, known = [], set(claims.certificate) - NOT_CHECKED
    assert known == set(ANSWERABLE)
    for path in leaves(claims.certificate):
        if path[0] in NOT_CHECKED or ".".join(x for x in path if isinstance(x, str)) in NOT_CHECKED:
            continue
        touched = replace(claims, certificate=forged(claims.certificate, changed_at(path)))
        checks = ANSWERABLE[path[0]]
        if not false_checks(touched, dataset, detector, [checks] if isinstance(checks, str) else checks):
            unseen.append(path)
    assert not unseen, unseen


@pytest.mark.slow
def test_every_value_of_the_metrics_is_answered_for(evidence: Evidence) -> None:
    claims, dataset, detector = evidence
    unseen, kinds = [], {_kind(path): path for path in leaves(claims.metrics) if "undefined" not in path}
    for path in kinds.values():
        if path[-1] in ("no_interval", "assumption") or path == ("settings", "alarm", "n"):
            continue  # sentences; and 1 of the last 2 is every one, as 1 of 1 is
        touched = replace(claims, metrics=edited(claims.metrics, changed_at(path)))
        if not false_checks(touched, dataset, detector, ["metrics"]):
            unseen.append(path)
    assert not unseen, unseen


def _kind(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """The path without the names of test sets, families and controls: one of each kind is enough."""
    named = ("test_sets", "families", "controls", "raw_weights")
    return tuple(key for i, key in enumerate(path) if i == 0 or path[i - 1] not in named)
