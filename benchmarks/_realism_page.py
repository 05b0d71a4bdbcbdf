"""The tables of docs/realism.md, made from benchmarks/results/realism.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks._pages import filled


def with_tables(page: str, report: dict[str, Any]) -> str:
    """``page`` with every table between ``<!-- table: NAME -->`` and ``<!-- end -->`` made anew."""
    return filled(page, tables_of(report))


def tables_of(report: dict[str, Any]) -> dict[str, str]:
    """The tables by name, in Markdown."""
    return {
        "traffic": _traffic(report["traffic"]),
        "loggers": _table(
            ("", "jitter of an id", "back to back", "shorter than the frame"),
            [
                (name, _percent(row["jitter"]), _percent(row["back to back"]), _percent(row["shorter than the frame"]))
                for name, row in report["loggers"].items()
            ],
        ),
        "distance": _table(
            ("", "distance to the nearest (other) real car"),
            [(name, f"{value:.2f}") for name, value in report["distance"].items()],
        ),
        "auroc": _table(
            ("features", "logger", "same vehicles", "new vehicles", "lowest and highest tenth"),
            [
                (group, logger, f"{row['same vehicles']:.3f}", f"{row['new vehicles']:.2f}", _range(row["tenths"]))
                for logger, groups in report["auroc"].items()
                for group, row in groups.items()
            ],
        ),
        "yardsticks": _yardsticks(report["yardsticks"]),
    }


def _traffic(rows: dict[str, dict[str, float]]) -> str:
    columns = (
        "ids",
        "frames/s",
        "bus load",
        "id entropy",
        "jitter",
        "changing payloads",
        "constant ids",
        "constant bytes",
    )
    return _table(
        ("", *columns, "longest gap"),
        [
            (
                name,
                f"{row['ids']:.0f}",
                f"{row['frames a second']:.0f}",
                _percent(row["bus load"]),
                f"{row['id entropy']:.1f} bits",
                _percent(row["jitter"]),
                _percent(row["changing payloads"]),
                _percent(row["constant ids"]),
                _percent(row["constant bytes"]),
                f"{row['longest gap'] * 1e3:.1f} ms",
            )
            for name, row in rows.items()
        ],
    )


def _yardsticks(found: dict[str, Any]) -> str:
    rows = [
        (f"{car}, among real cars", f"{value:.3f}", "", "")
        for car, value in found["one real car from the others"].items()
    ]
    halves = found["real cars from real cars"]
    rows.append(("three real cars, from three others", "", f"{halves['new vehicles']:.2f}", _range(halves["tenths"])))
    return _table(("told apart", "same vehicles", "new vehicles", "lowest and highest tenth"), rows)


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
