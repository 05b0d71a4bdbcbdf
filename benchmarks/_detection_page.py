"""The tables of docs/detection.md, made from benchmarks/results/detection.json."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from benchmarks._detection_cells import INJECTED, KNOWN, NEW_ATTACK, NEW_VEHICLE, SETS
from benchmarks._pages import filled
from credit_like.evaluation import CONTROLS

SETTINGS = (KNOWN, NEW_ATTACK, NEW_VEHICLE, INJECTED)

#: Difference of two AUROC values up to which neither is ahead.
LEVEL = 5e-4

_NAMES = {
    "gat": "GAT",
    "dgi_ocgin": "DGI-OCGIN",
    "rl_fusion": "RL fusion",
    "either": "either of both",
    "gat_transfer": "GAT of no vehicle",
    "gat_plain": "GAT without own traffic",
}


def with_tables(page: str, report: dict[str, Any]) -> str:
    """``page`` with its tables made anew from ``report``."""
    return filled(page, tables_of(report))


def tables_of(report: dict[str, Any]) -> dict[str, str]:
    """The tables by name, in Markdown."""
    known, attacks, vehicles, injected = (_of(report, setting) for setting in SETTINGS)
    return {
        "run": _run(report),
        "verdict": _verdicts(report),
        "standings": _standings(report),
        "known_auroc": _table(report, known, "auroc"),
        "known_f1": _table(report, known, "f1"),
        "families": _families(report, known),
        "attacks": _table(report, attacks, "auroc"),
        "attacks_f1": _table(report, attacks, "f1"),
        "vehicles": _table(report, vehicles, "auroc"),
        "vehicles_f1": _table(report, vehicles, "f1"),
        "injected": _table(report, injected, "auroc"),
        "injected_f1": _table(report, injected, "f1"),
        "injected_families": _families(report, injected),
        "averages": _averages(report),
        "refused": _refused(report),
    }


def best_of(division: dict[str, Any]) -> tuple[str, float, str, float] | None:
    """(best model, its AUROC, best control, its AUROC); None where one side has no defined figure."""
    models = {name: part["auroc"]["mean"] for name, part in division["models"].items() if part["auroc"]}
    controls = {name: part["auroc"] for name, part in division["controls"].items() if part["auroc"] is not None}
    if not models or not controls:
        return None
    model, control = max(models, key=lambda x: models[x]), max(controls, key=lambda x: controls[x])
    return model, models[model], control, controls[control]


def _of(report: dict[str, Any], setting: str) -> list[dict[str, Any]]:
    return [division for division in report["divisions"] if division["setting"] == setting]


def _run(report: dict[str, Any]) -> str:
    machine = report["machine"]
    changed = f", with {', '.join(f'`{x}`' for x in report['overrides'])}" if report["overrides"] else ""
    return (
        f"Seeds: {_seeds(report)}. Models: {', '.join(_NAMES[x] for x in report['models'])}{changed}. "
        f"{machine['cores']} cores ({machine['processor']})."
    )


def _seeds(report: dict[str, Any]) -> str:
    """``"3"``, or where some cells were run with fewer seeds than others ``"1 to 3"``."""
    return _range({part["seeds"] for division in report["divisions"] for part in division["models"].values()})


def _range(counts: Collection[int]) -> str:
    return " to ".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else "none"


def _verdicts(report: dict[str, Any]) -> str:
    """Who is ahead, in words, one line a question."""
    lines = []
    for setting in SETTINGS:
        judged = [(division, best) for division in _of(report, setting) if (best := best_of(division))]
        if not judged:
            lines.append(f"- **{setting}**: not run.")
            continue
        parts: dict[str, list[str]] = {"a model": [], "neither": [], "a control": []}
        for division, best in judged:
            model, own, control, other = best
            shown = f"{_what(division)} ({_NAMES[model]} {own:.4f}, {control} {other:.4f})"
            parts[ahead(best)].append(shown)
        lines.append(
            f"- **{setting}**: of {len(judged)}, a model is ahead in {len(parts['a model'])}, neither in "
            f"{len(parts['neither'])}, a control in {len(parts['a control'])}"
            + "".join(
                f".\n  - {what}: {'; '.join(parts[name])}"
                for name, what in (("a control", "a control is ahead"), ("neither", "level"))
                if parts[name]
            )
            + "."
        )
    return "\n".join(lines)


def ahead(best: tuple[str, float, str, float]) -> str:
    """``"a model"`` or ``"a control"``, whichever ``best_of`` shows to be better; ``"neither"`` within ``LEVEL``."""
    _, own, _, other = best
    if abs(own - other) <= LEVEL:
        return "neither"
    return "a model" if own > other else "a control"


def _standings(report: dict[str, Any]) -> str:
    """Of each model alone against the best control of each division: ahead, level and behind."""
    rows = []
    for setting in SETTINGS:
        cells = []
        for model in report["models"]:
            counts = {"a model": 0, "neither": 0, "a control": 0}
            for division in _of(report, setting):
                best = best_of({**division, "models": {k: v for k, v in division["models"].items() if k == model}})
                if best:
                    counts[ahead(best)] += 1
            cells.append(" / ".join(map(str, counts.values())) if any(counts.values()) else "-")
        rows.append([setting, *cells])
    return _markdown(["", *(_NAMES[x] for x in report["models"])], rows)


def _table(report: dict[str, Any], divisions: Sequence[dict[str, Any]], figure: str) -> str:
    """A row a division, a column a model and a control; the best mean of a row is bold."""
    if not divisions:
        return "Not run."
    models = [x for x in report["models"] if any(x in d["models"] for d in divisions)]
    controls = [x for x in CONTROLS if any(x in d["controls"] for d in divisions)]
    rows = []
    for division in divisions:
        cells = {name: (division["models"].get(name) or {}).get(figure) for name in models}
        cells |= {name: _single(division["controls"].get(name), figure) for name in controls}
        means = [cell["mean"] for cell in cells.values() if cell]
        seeds = _range({part["seeds"] for part in division["models"].values()})
        rows.append(
            [_what(division), seeds, _found(division), *(_cell(cell, max(means, default=0)) for cell in cells.values())]
        )
    return _markdown(["", "seeds", "attacks found", *(_NAMES[x] for x in models), *controls], rows)


def _families(report: dict[str, Any], divisions: Sequence[dict[str, Any]]) -> str:
    """AUROC of each attack family of each set, by model."""
    rows = []
    for division in divisions:
        kinds = sorted({kind for part in division["models"].values() for kind in part["families"]})
        for kind in kinds:
            cells = [(division["models"].get(x) or {"families": {}})["families"].get(kind) for x in report["models"]]
            means = [cell["mean"] for cell in cells if cell]
            shown = [_cell(cell, max(means, default=0)) for cell in cells]
            rows.append([_what(division), kind.replace("_", " "), *shown])
    return _markdown(["", "attack", *(_NAMES[x] for x in report["models"])], rows) if rows else "Not run."


def _averages(report: dict[str, Any]) -> str:
    """Averaged weights beside raw ones, for each model that averages."""
    rows = [
        [
            f"{division['setting']}: {_what(division)}",
            _NAMES[name],
            _cell(part["auroc"]),
            _cell(part["raw_weights_auroc"]),
        ]
        for division in report["divisions"]
        for name, part in division["models"].items()
        if part["raw_weights_auroc"]
    ]
    return _markdown(["", "model", "averaged", "raw"], rows) if rows else "No model averages its weights."


def _refused(report: dict[str, Any]) -> str:
    lines = [
        f"- {division['setting']}: {_what(division)}, {_NAMES[name]}: {why}"
        for division in report["divisions"]
        for name, why in division["refused"].items()
    ]
    return "\n".join(lines) or "None."


def _what(division: dict[str, Any]) -> str:
    if division["setting"] == NEW_VEHICLE:
        return SETS[division["held_out"]]
    held = f", {division['held_out'].replace('_', ' ')}" if division["held_out"] else ""
    return SETS[division["sets"][0]] + held


def _found(division: dict[str, Any]) -> str:
    counts = [f"{part['events_found']['mean']:.3g}" for part in division["models"].values() if part["events_found"]]
    return f"{' / '.join(counts)} of {division['events']}"


def _single(control: dict[str, Any] | None, figure: str) -> dict[str, float] | None:
    return None if control is None or control[figure] is None else {"mean": control[figure], "std": 0.0}


def _cell(value: dict[str, float] | None, best: float = 2.0) -> str:
    if value is None:
        return "-"
    text = f"{value['mean']:.4f}" + (f" +- {value['std']:.4f}" if value["std"] else "")
    return f"**{text}**" if value["mean"] >= best else text


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
