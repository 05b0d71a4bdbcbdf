"""model_card.md: what somebody needs to know who is handed a detector, taken from the files of its run.

Its parts follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from applications._fusion import EXPERTS, is_fusion
from applications._licence import Licence
from applications._registry import learns_from_benign
from applications._run import BEST, CARD, REPORT, WEIGHTS, Run, read_json
from credit_like.graphs.plan import FUSION, TRAIN

_FIGURES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "fpr": "false-positive rate",
    "false_alarms_per_hour": "false alarms an hour",
}


def model_card(
    run: Run,
    metrics: Mapping[str, Any],
    weights: Mapping[str, str],
    licences: Sequence[Licence],
    environment: Mapping[str, str],
    parameters: int,
) -> str:
    """The card as Markdown. ``weights`` is the metadata of the weights file, ``parameters`` the size of the model."""
    job, certificate = run.job, run.certificate
    parts = [
        f"# Model card: {run.folder.resolve().name}",
        f"A `{job.trainer.type}` detector of intrusions in CAN traffic, {parameters:,} parameters, made with "
        f"credit-like {environment['credit-like']} and torch {environment['torch']}. Figures with curves and timelines "
        f"are in `{REPORT}`.",
        "## Intended use",
        f"To raise alarms on logs of the vehicle(s) it was trained on: {_vehicles(certificate)}. It scores windows of "
        f"{job.data.window.window} frames; a window whose score is above {metrics['calibration']['threshold']:.6g} is "
        "an alarm. An alarm is for an analyst to look at. Not for: stopping messages on a driving car, traffic of "
        "other vehicles or buses, or evidence of who attacked.",
        "## Weights",
        f"The file `{WEIGHTS}` holds the {weights['weights']} weights of `{BEST}` (SHA-256 "
        f"`{weights['checkpoint_sha256']}`), those that every figure below is about.",
        "## Data",
        _licences(licences),
        f"Split certificate: digest `{certificate['digest']}`, policy {certificate['policy']} "
        f"({certificate['reason']}).",
        _files(certificate["files"]),
        *_other_runs(run),
        "## Figures",
        *_figures(metrics),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(run, metrics)),
    ]
    return "\n\n".join(parts) + "\n"


def _other_runs(run: Run) -> list[str]:
    """The runs that this one needs to score anything, or has learnt from."""
    if is_fusion(run.trainer):
        experts = read_json(run.folder / EXPERTS)["experts"]
        rows = [
            (name, facts["trainer"], Path(facts["folder"]).name, f"`{facts['checkpoint_sha256']}`")
            for name, facts in experts.items()
        ]
        return [
            "## Experts",
            f"It mixes the scores of two detectors and needs them to score anything; its weights are a policy, learnt "
            f"from these two and of no use with others. Each has a `{CARD}` of its own.",
            _table(("Expert", "Trainer", "Run", f"SHA-256 of its {BEST}"), rows),
        ]
    teacher, curriculum = (getattr(run.job.trainer, name, None) for name in ("teacher", "curriculum"))
    lessons = [f"imitated `{teacher.name}`"] if teacher else []
    lessons += [f"took from `{curriculum.name}` which normal windows are hard"] if curriculum else []
    return [f"It learnt from another run too: {', '.join(lessons)}."] if lessons else []


def _vehicles(certificate: Mapping[str, Any]) -> str:
    names = sorted({file["vehicle"] for file in certificate["files"] if file["vehicle"]})
    return ", ".join(names) or "the logs do not name it"


def _licences(licences: Sequence[Licence]) -> str:
    if not licences:
        return "Licence of the data: none is stated beside the logs. Ask their owner before this model is passed on."
    stated = "\n".join(f"- {licence.source}: {_cell(licence.text)}" for licence in licences)
    return f"Licence of the data, as stated beside the logs:\n\n{stated}"


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (file["capture"], file["vehicle"] or "not named", file["format"], f"{file['frames']:,}", f"`{file['sha256']}`")
        for file in files
    ]
    return _table(("Capture", "Vehicle", "Format", "Frames", "SHA-256"), rows)


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    overall, calibration = metrics["overall"], metrics["calibration"]
    if overall is None:
        return ["There is no test set, so nothing is known of how good this detector is."]
    sets = dict(metrics["test_sets"])
    if len(sets) > 1:
        sets["all test sets"] = overall
    rows = [
        (name, figure, *_value(part["windows"], key)) for name, part in sets.items() for key, figure in _FIGURES.items()
    ]
    found = [
        (family, *_value(part["windows"], "auroc"), f"{part['events']['found']} of {part['events']['events']}")
        for family, part in overall["families"].items()
    ]
    rivals = [("this model", *_value(overall["windows"], "auroc"), _value(overall["windows"], "f1")[0], "")]
    others = dict(overall["controls"])
    if metrics["raw_weights"]:
        others["its raw weights"] = metrics["raw_weights"]["overall"]
    for name, part in others.items():
        difference = "undefined" if part["difference"] is None else f"{part['difference']:+.4f}"
        rivals.append((name, _value(part, "auroc")[0], "", _value(part, "f1")[0], difference))
    return [
        f"On windows that neither training nor calibration saw. The threshold comes from {calibration['windows']:,} "
        f"benign validation windows; it {'promises' if calibration['promised'] else 'can promise no less than'} a "
        f"false-alarm rate of {calibration['promised_fpr']:.4g} a benign window. {calibration['assumption']}",
        _table(("Test set", "Figure", "Value", "95 % interval"), rows),
        _table(("Attack", "AUROC", "95 % interval", "Attacks found"), found)
        if found
        else "The test sets hold no attack.",
        "Beside simple means on the same windows:",
        _table(("Detector", "AUROC", "95 % interval", "F1", "Model's AUROC minus this"), rivals),
    ]


def _value(figures: Mapping[str, Any], name: str) -> tuple[str, str]:
    value = figures[name]
    if value is None:
        return f"undefined: {figures['undefined'][name]}", ""
    interval = figures.get("intervals", {}).get(name)
    return f"{value:.4f}", f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def _limits(run: Run, metrics: Mapping[str, Any]) -> list[str]:
    certificate, overall = run.certificate, metrics["overall"]
    limits = [
        f"{_trained_on(run)} Other attacks, other vehicles and other driving may look benign to it, or benign traffic "
        "like an attack.",
        "Attacks of which no frame is in a window (a silenced id, between its messages) can be seen by absence only.",
        *certificate["notes"],
    ]
    if overall is None:
        return limits
    missed = {
        name: part["events"]["events"] - part["events"]["found"]
        for name, part in overall["families"].items()
        if part["events"]["found"] < part["events"]["events"]
    }
    limits += [f"Missed in the test sets: {number} attack(s) of the kind {name}." for name, number in missed.items()]
    better = [name for name, part in overall["controls"].items() if (part["difference"] or 0) < 0]
    limits += [f"A simple control ranks the test windows better: {name}." for name in better]
    if overall["windows"]["no_interval"]:
        limits.append(f"The figures have no intervals: {overall['windows']['no_interval']}.")
    if len(certificate["groups"]) < 2:
        limits.append("All captures share one drive: the figures say nothing of another day, driver or road.")
    return limits


def _trained_on(run: Run) -> str:
    trained = run.certificate["counts"][TRAIN]
    if learns_from_benign(run.trainer):
        return f"Trained on {trained['benign']:,} benign windows and on no attack."
    families = ", ".join(sorted(trained["families"])) or "none"
    if is_fusion(run.trainer):
        learnt = run.certificate["counts"][FUSION]
        families = ", ".join(sorted({*trained["families"], *learnt["families"]})) or "none"
        return (
            f"The policy was trained on {learnt['benign']:,} benign and {learnt['attack']:,} attack windows, which no "
            f"expert was trained on; its experts on {trained['benign']:,} benign and {trained['attack']:,} attack "
            f"windows at most. Attacks seen: {families}."
        )
    return (
        f"Trained on {trained['benign']:,} benign and {trained['attack']:,} attack windows; attacks seen: {families}."
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()
