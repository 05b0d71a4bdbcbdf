"""The section on the top alarms: which ids and transitions carried the score, and the frames around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from credit_like.evaluation.report.markup import Cell, Html, details, join, section, table, tag
from credit_like.evaluation.report.words import count, effect, family, number, percent, plural, set_name

#: The least effect that a table shows.
_FELT = 0.0005


def explanations(content: Mapping[str, Any]) -> Html:
    """The explained alarms of ``explanations.json``, and whether the explanations can be believed."""
    listed = content["explanations"]
    if not listed:
        return section("explanations", "Why it alarmed", tag("p", "No window of a test set alarmed."))
    log_odds = all(x["log_odds"] for x in listed)
    text = (
        "Each of these windows was scored again without one id, and without one transition, at a time: what the score "
        "loses is what that id or transition carried. "
        + (
            "Effects are in log-odds: 2.2 takes a score of 0.9 to 0.5. "
            if log_odds
            else "Effects are in the score's own unit. "
        )
        + "It says what the detector looked at, not what an attacker did."
    )
    tested = [x["fidelity"] for x in listed if x["fidelity"]]
    parts = [tag("p", text), tag("p", faithfulness(tested, "log-odds" if log_odds else "score"))]
    parts += [_alarm(entry, unfolded=position == 0) for position, entry in enumerate(listed)]
    return section("explanations", "Why it alarmed", *parts)


def faithfulness(found: Sequence[Mapping[str, Any]], unit: str = "score") -> str:
    """Can the list of ids be relied on: does the score fall more without its first ids than without random ones;
    ``unit`` names what the effects are measured in."""
    if not found:
        return "Whether this list can be relied on could not be tested: the windows hold one id each."
    top, random, beaten = (sum(x[name] for x in found) / len(found) for name in ("top", "random", "beaten"))
    deleted, draws = max(x["deleted"] for x in found), sum(x["draws"] for x in found)
    first = "the first id" if deleted == 1 else f"the first {deleted} ids"
    verdict = (
        "The ids at the top carried the score more than other ids of the window do."
        if top > random and beaten > 0.5
        else "Do not rely on the order of these ids: random ids of the window carried the score as much."
    )
    amount = "" if unit == "score" else f" {unit}"
    mean = "" if len(found) == 1 else f" on average over {plural(len(found), 'window')}"
    return (
        f"{verdict} Without {first} of the list the score changes by {effect(-top)}{amount}{mean}, without as many ids "
        f"drawn at random by {effect(-random)}{amount}; it falls more without the first in {percent(beaten)} of "
        f"{count(draws)} draws."
    )


def share(listed: int, there: int | None, what: str) -> str:
    """``8 of 41 ids``; of explanations that do not say how many there are, ``8 ids``."""
    return f"{count(listed)}{'' if there is None else f' of {count(there)}'} {what}"


def carried_by_none(entry: Mapping[str, Any]) -> str:
    """That no id of an explanation lowers the score when it is taken out, in a sentence; empty where one does."""
    if not entry["ids"] or entry["ids"][0]["effect"] >= _FELT:
        return ""
    return "The score does not fall whichever id is taken out: none carried it alone, and their order says nothing."


def _alarm(entry: Mapping[str, Any], *, unfolded: bool) -> Html:
    title = (
        f"{family(entry['kind'])}: {entry['capture']} ({set_name(entry['split'])}), "
        f"{entry['t_start']:.3f} to {entry['t_end']:.3f} s, score {number(entry['score'])}"
    )
    alone = carried_by_none(entry)
    if entry["ids"]:
        first = entry["ids"][0]
        title += ", by no id alone" if alone else f", most by {first['id']} {first['name']}".rstrip()
    labelled = labels_ids(entry)
    ids = [
        [
            f"{x['id']} {x['name']}".rstrip(),
            *_numbers(x["frames"], x["score_without"], x["effect"]),
            *([attack_share(x)] if labelled else []),
        ]
        for x in entry["ids"]
    ]
    transitions = [
        [f"{x['source']} \u2192 {x['target']}", *_numbers(x["count"], x["score_without"], x["effect"])]
        for x in entry["transitions"]
    ]
    columns = ["Score without it", "Effect"]
    content = [
        tag("p", alone, class_="note") if alone else "",
        table(_listed_ids(entry), ["Id", "Frames", *columns, *(["Labelled attack"] if labelled else [])], ids)
        if ids
        else tag("p", "The window holds one id only."),
        table(
            share(len(transitions), entry.get("transitions_in_window"), "transitions: those with the highest effects"),
            ["Transition", "Times", *columns],
            transitions,
        )
        if transitions
        else tag("p", "The window holds no transition."),
        _frames(entry["frames"]),
    ]
    shown = details(title, join(content), class_="alarm")
    return Html(shown.replace("<details", "<details open", 1)) if unfolded else shown


def _listed_ids(entry: Mapping[str, Any]) -> str:
    listed, there = len(entry["ids"]), entry.get("ids_in_window")
    if there is None:
        return share(listed, there, "ids: those with the highest effects")
    if listed == there:
        return f"All {share(listed, None, 'ids')} of the window"
    which = "those with the highest effects, that with most frames" + (
        ", and all with frames labelled attack" if labels_ids(entry) else ""
    )
    return share(listed, there, f"ids: {which}")


def labels_ids(entry: Mapping[str, Any]) -> bool:
    """Whether the labels of an id's frames are known; explanations of older versions do not say."""
    return any(x.get("attack_frames") is not None for x in entry["ids"])


def attack_share(x: Mapping[str, Any]) -> str:
    """How many of an id's frames are labelled attack."""
    attacks = x["attack_frames"]
    return "not known" if attacks is None else f"{count(attacks)} of {count(x['frames'])}"


def _numbers(times: int, without: float, change: float) -> list[Cell]:
    return [Cell(count(times), times), Cell(number(without), without), Cell(effect(change), change)]


def _frames(frames: Sequence[Mapping[str, Any]]) -> Html:
    named = any(x["signals"] for x in frames)
    labelled = any(x.get("attack") is not None for x in frames)
    rows = [
        [
            f"{x['t']:.6f}",
            f"{x['id']} {x['name']}".rstrip(),
            tag("code", x["data"] or "\u2013"),
            *(["attack" if x["attack"] else ""] if labelled else []),
            *([", ".join(f"{name} = {value}" for name, value in x["signals"].items())] if named else []),
        ]
        for x in frames
    ]
    columns = ["Time (s)", "Id", "Payload", *(["Label"] if labelled else []), *(["Signals"] if named else [])]
    return table("Frames around the first of the highest id", columns, rows, sortable=False)
