"""What the benchmark of models prints, and the tables of docs/speed.md, made from benchmarks/results/models.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks._pages import filled
from benchmarks._stopwatch import PARTS
from benchmarks._timing import table

SIDES = OURS, THEIRS = "ours", "pyg_lightning"

Figures = dict[str, Any]


def speeds(name: str, found: Figures) -> tuple[str, ...]:
    """One row: graphs a second of ours and theirs and the ratio, in training and in use; AUROC of both."""
    row = [name]
    for what in ("training", "inference"):
        both = found[f"{what}_graphs_per_second"]
        theirs = both.get(THEIRS)
        row += [f"{both['ours']:,}", f"{theirs:,}" if theirs else "", f"{found['ratios'][what]:.2f}" if theirs else ""]
    return (*row, *(f"{value:.4f}" for value in (found["validation_auroc"].get(side, "") for side in SIDES) if value))


def shown(report: Figures) -> str:
    """Speeds and ratios, a row a model; where the time of a training step goes; the fusion's epochs."""
    targets, models = report["targets"], report["models"]
    lines = []
    if models:
        head = ("graphs a second", "training", "theirs", "times", "use", "theirs", "times", "AUROC", "theirs")
        aims = (
            "at least, for the default",
            "",
            "",
            f"{targets['training']}",
            "",
            "",
            f"{targets['inference']}",
            "",
            "",
        )
        rows = [speeds(name, found) for name, found in models.items()]
        lines += [table(head, [row + ("",) * (len(head) - len(row)) for row in rows] + [tuple(aims)]), ""]
        shares = [
            (f"{name}: {side}", *_shares(found, side))
            for name, found in models.items()
            for side in found["time_shares"]
        ]
        lines += [table(("a training step", "ms", *PARTS), shares), ""]
    for agent, found in report.get("fusion", {}).items():
        if isinstance(found, dict):
            lines.append(
                f"fusion, {agent}: an epoch over {report['fusion']['windows']:,} windows takes "
                f"{found['seconds_an_epoch']} s of one thread (at most {targets['fusion_seconds_an_epoch']})"
            )
    where = report["machine"]
    threads_ = f"{where['torch_threads']} of {where['cores']} cores, load average {where['load_average_before']} before"
    lines.append(f"{report['device']}, {threads_}; theirs: PyG under Lightning {report['lightning']}")
    return "\n".join(lines)


def with_tables(page: str, report: Figures) -> str:
    """``page`` with its tables made anew."""
    return filled(page, tables_of(report))


def tables_of(report: Figures) -> dict[str, str]:
    """The tables by name, in Markdown."""
    models, where = report["models"], report["machine"]
    speed = ["model", "training", "PyG", "times", "use", "PyG", "times", "AUROC", "PyG"]
    rows = [speeds(name, found) for name, found in models.items()]
    shares = [
        (name, "ours" if side == OURS else "PyG", *_shares(found, side))
        for name, found in models.items()
        for side in found["time_shares"]
    ]
    fusion = [
        (agent, f"{found['seconds_an_epoch']:.2f} s", f"{found['with_validation']:.2f} s")
        for agent, found in report["fusion"].items()
        if isinstance(found, dict)
    ]
    seen = report["windows"]
    return {
        "where": (
            f"{where['torch_threads']} threads on {where['cores']} cores; {seen['training']:,} training windows and "
            f"{seen['scored']:,} scored ones, of {seen['nodes_each']} nodes and {seen['edges_each']} edges on average; "
            f"Lightning {report['lightning']}."
        ),
        "speed": _markdown(speed, [row + ("",) * (len(speed) - len(row)) for row in rows]),
        "shares": _markdown(["model", "", "ms a step", *PARTS], shares),
        "fusion": _markdown(["agent", "an epoch", "with validation"], fusion),
    }


def _shares(found: Figures, side: str) -> tuple[str, ...]:
    share = found["time_shares"][side]
    return f"{found['milliseconds_a_step'][side]:.1f}", *(f"{share[part]:.0%}" for part in PARTS)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, rule, *rows])
