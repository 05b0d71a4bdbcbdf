"""The section of a fusion: which rule is in use and why, the ways to decide side by side, and the alphas chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from credit_like.evaluation.fusion import COMPARED, ORACLE
from credit_like.evaluation.report.axes import Axis, Series, chart
from credit_like.evaluation.report.markup import Cell, Html, figure, join, pointer, section, table, tag
from credit_like.evaluation.report.words import count, listing, number, percent, ratio, signed

_IN_USE = {"policy": "policy", "gat": "GAT alone", "anomaly": "anomaly alone", "either": "either"}
#: The rows that can be in use; ``either`` is only where the configuration asks for it.
_CANDIDATES = ("policy", "GAT alone", "anomaly alone")


def fusion(metrics: Mapping[str, Any]) -> Html:
    """Of a run that fuses two detectors; nothing for any other."""
    found = metrics.get("fusion")
    if found is None:
        return Html("")
    parts = [tag("p", _verdict(found)), tag("p", _terms(found), class_="note")]
    parts += (
        [_table(found, "test", "Test windows"), tag("p", _passed_over(found), class_="note")] if found["test"] else []
    )
    parts += [_table(found, "validation", "Validation windows: they decided what is in use")]
    if found["test"]:
        parts.append(tag("div", _alphas(found), class_="charts"))
    return section("fusion", "Fusion of two experts", *parts)


def _verdict(found: Mapping[str, Any]) -> Html:
    rows = found["validation"]
    experts = [_IN_USE[found["rule"]]] if found["rule"] in ("gat", "anomaly") else ["GAT alone", "anomaly alone"]
    best = max(experts, key=lambda name: rows[name]["reward"])
    agent = found["agent"]
    if found["rule"] == "policy":
        text = f"In use: the policy ({agent}). On validation windows it had {_beside(rows, 'policy', best)}"
    elif found["rule"] == "either":
        text = (
            "In use, as the configuration asks: an alarm of either expert. On validation windows it had "
            f"{_beside(rows, 'either', best)}"
        )
    else:
        text = (
            f"In use: {best}. The policy ({agent}) was not shown to be better on validation windows both in what it "
            f"earns and in how it ranks, so it is not used: it had {_beside(rows, 'policy', best)}"
        )
    if not found["test"]:
        return tag("strong", f"{text}.")
    regret = found["test"]["policy"]["regret"]
    return join([tag("strong", f"{text}."), f" Its regret on the test windows is {ratio(regret)} a window."])


def _beside(rows: Mapping[str, Any], name: str, other: str) -> str:
    """``"+0.012 reward a window and +0.003 AUROC beside GAT alone"``; no AUROC where it is undefined."""
    one, two = rows[name], rows[other]
    ranks = "" if None in (one["auroc"], two["auroc"]) else f" and {signed(one['auroc'] - two['auroc'])} AUROC"
    return f"{signed(one['reward'] - two['reward'])} reward a window{ranks} beside {other}"


def _terms(found: Mapping[str, Any]) -> str:
    worth = ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in found["rewards"].items())
    return (
        f"A score is (1 - alpha) x anomaly + alpha x GAT, and an alarm is a score above {found['threshold']:g}, in "
        "training, validation and here, but not in other parts of this report, which go by the calibrated threshold. "
        f"What a decision is worth: {worth} (at most, where an attack alarms). Since "
        "labels tell the reward of every alpha, the regret is measured against the best alpha of each window; a "
        "classifier is no mixture, and may do better than any. Experts: "
        f"GAT is {found['experts']['gat']}, anomaly is {found['experts']['anomaly']}; their own reports say which "
        f"ids carried an alarm.{_P_VALUES if found['experts']['anomaly'] == 'dgi_ocgin' else ''}"
    )


#: Why an expert that is used alone has not quite the AUROC of its own report.
_P_VALUES = (
    " The anomaly expert's score here is 1 - p, the share of benign windows that are nearer to the centre: windows "
    "between the same two of those share a score. Its own report ranks by the distance itself, so the AUROCs differ a "
    "little."
)


def _passed_over(found: Mapping[str, Any]) -> str:
    """Which rows can be in use at all, and which of the others do better on test than what is."""
    used = _IN_USE[found["rule"]]
    rows = found["test"]
    others = [name for name in rows if name not in (*_CANDIDATES, used, ORACLE)]
    text = (
        "Only the policy and the two experts alone are candidates for use (either, where the configuration asks for "
        "it); all other rows are there to compare with, and are not used even where they are better. "
    )
    better = [
        f"{name} ({ratio(rows[name]['auroc'])})"
        for name in others
        if None not in (rows[name]["auroc"], rows[used]["auroc"]) and rows[name]["auroc"] > rows[used]["auroc"]
    ]
    if better:
        text += f"Of those a higher AUROC on test than what is in use ({used}, {ratio(rows[used]['auroc'])}): "
        text += f"{listing(better)}."
    return text


def _table(found: Mapping[str, Any], part: str, caption: str) -> Html:
    rows = []
    for name, figures in found[part].items():
        path = pointer("fusion", part, name)
        shown = {key: _cell(figures, key, path) for key in ("auroc", "precision", "recall", "f1", "fpr")}
        what = COMPARED[name] + (f" ({found['best_fixed_alpha']:.2f})" if name == "best fixed alpha" else "")
        rows.append(
            [
                name + (" (in use)" if name == _IN_USE[found["rule"]] else ""),
                Cell(signed(figures["reward"]), figures["reward"], f"{path}/reward"),
                Cell(signed(figures["regret"]), figures["regret"], f"{path}/regret"),
                *shown.values(),
                tag("span", what, class_="prose"),
            ]
        )
    columns = ["Decided by", "Mean reward", "Regret", "AUROC", "Precision", "Recall", "F1", "FPR", "What it is"]
    return table(caption, columns, rows)


def _cell(figures: Mapping[str, Any], key: str, path: str) -> Cell:
    value = figures[key]
    if value is None:
        reason = figures["undefined"][key]
        return Cell(tag("span", "undefined", tag("span", f": {reason}", class_="unseen"), class_="none"), note=reason)
    return Cell(percent(value) if key == "fpr" else ratio(value), value, f"{path}/{key}")


def _alphas(found: Mapping[str, Any]) -> Html:
    """How often the policy gives each alpha, as shares of either class."""
    alphas = np.array(found["alphas"])
    counts = {"benign": np.array(found["benign_by_alpha"]), "attack": np.array(found["attack_by_alpha"])}
    half = (alphas[1] - alphas[0]) / 2
    edges = np.concatenate([alphas - half, alphas[-1:] + half])
    series = []
    for name, counted in counts.items():
        if counted.sum():
            share = counted / counted.sum()
            series.append(Series(f"{name} windows", np.repeat(edges, 2)[1:-1], np.repeat(share, 2), name, area=True))
    image = chart(
        "Windows by the alpha that the policy gives them",
        Axis("alpha: 0 anomaly alone, 1 GAT alone", float(edges[0]), float(edges[-1])),
        Axis("share of its class", 0, 1),
        series,
    )
    rows = [
        [f"{alpha:.2f}", *(Cell(count(int(c[i])), float(c[i])) for c in counts.values())]
        for i, alpha in enumerate(alphas)
    ]
    data = table("Test windows by alpha", ["alpha", *counts], rows)
    most = int((counts["benign"] + counts["attack"]).argmax())
    share = (counts["benign"] + counts["attack"])[most] / max(1, sum(int(c.sum()) for c in counts.values()))
    caption = f"{percent(float(share))} of the test windows get alpha {alphas[most]:.2f}, the most frequent one."
    if found["rule"] != "policy":
        caption += " This is what the policy would do; it is not in use."
    return figure("Windows by alpha", image, caption, data)
