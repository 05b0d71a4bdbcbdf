"""The tables of the report: test sets, attack families, controls, events, confusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from credit_like.evaluation.controls import CONTROLS
from credit_like.evaluation.fusion import EXPERTS
from credit_like.evaluation.report.markup import Cell, Html, breakable, join, pointer, table, tag
from credit_like.evaluation.report.words import count, family, percent, plural, raised, ratio, seconds, set_name, signed
from credit_like.evaluation.retrained import RETRAINED

#: Longest list of events that the page prints: the missed ones first, then the slowest.
EVENT_ROWS = 200

_EVENT_COLUMNS = ("Attacks found", "Median time to alarm")
WINDOW_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "AUROC": ("auroc", ratio),
    "AUPRC": ("auprc", ratio),
    "Precision": ("precision", ratio),
    "Recall": ("recall", ratio),
    "F1": ("f1", ratio),
    "MCC": ("mcc", ratio),
    "Recall at FPR 0.01": ("recall_at_fpr_1e2", ratio),
    "Recall at FPR 0.001": ("recall_at_fpr_1e3", ratio),
}
SET_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "Precision at recall 0.95": ("precision_at_recall_95", ratio),
    "Calibration error": ("calibration_error", ratio),
    "FPR": ("fpr", percent),
    "False alarms/h": ("false_alarms_per_hour", count),
    "False-alarm windows/h": ("false_alarm_windows_per_hour", count),
}
_COUNTED = {
    "Attack windows that {raised}": "true_positive",
    "Attack windows that {stayed}": "false_negative",
    "Benign windows that {raised}": "false_positive",
    "Benign windows that {stayed}": "true_negative",
    "Windows left out": "left_out",
}


def test_set_table(metrics: Mapping[str, Any]) -> Html:
    """Every test set, and all of them together where there are several: a column each, a row for each figure."""
    sets = _sets(metrics)
    events = [_events(part["events"], f"{path}/events") for _, part, path in sets]
    rows: list[list[object]] = [[name, *(found[i] for found in events)] for i, name in enumerate(_EVENT_COLUMNS)]
    for title, (key, write) in (WINDOW_COLUMNS | SET_COLUMNS).items():
        rows.append([title, *(figure_cell(part["windows"], key, f"{path}/windows", write) for _, part, path in sets)])
    words = {"raised": raised(metrics["settings"]), "stayed": _stayed(metrics["settings"])}
    for title, key in _COUNTED.items():
        rows.append(
            [title.format(**words), *(count_cell(part["windows"], key, f"{path}/windows") for _, part, path in sets)]
        )
    columns = ["Figure", *(set_name(name) for name, _, _ in sets)]
    return tag("div", table("Figures of the attack class by test set", columns, rows, sortable=False), class_="fit")


def without_frames(part: Mapping[str, Any]) -> bool:
    """Whether an attack family has attacks and no window with a frame of it, as where an id is silenced."""
    return part["windows"]["attack"] == 0 and part["events"]["events"] > 0


def family_table(metrics: Mapping[str, Any]) -> Html:
    """Every attack family of every test set."""
    several, rows = len(metrics["test_sets"]) > 1, []
    for name, part in metrics["test_sets"].items():
        for attack, figures in part["families"].items():
            path = pointer("test_sets", name, "families", attack)
            windows = figures["windows"]
            rows.append(
                [
                    family(attack),
                    *([_wide(set_name(name))] if several else []),
                    *_events(figures["events"], f"{path}/events"),
                    *(
                        Cell("\u2013", note="no window holds a frame of this attack")
                        if without_frames(figures)
                        else figure_cell(windows, key, f"{path}/windows", write)
                        for key, write in WINDOW_COLUMNS.values()
                    ),
                    *(count_cell(windows, key, f"{path}/windows") for key in ("attack", "benign")),
                ]
            )
    if not rows:
        return tag("p", "The test sets hold no attack.")
    columns = ["Attack", *(["Test set"] if several else []), *_EVENT_COLUMNS, *WINDOW_COLUMNS]
    shown = table("Figures by attack family", [*columns, "Attack windows", "Benign windows"], rows)
    return tag("div", shown, class_="dense")


def control_table(metrics: Mapping[str, Any]) -> Html:
    """The model and every control on the windows of all test sets."""
    overall = metrics["overall"]
    kept = {"AUROC": ("auroc", ratio), "F1": ("f1", ratio), "Recall": ("recall", ratio), "FPR": ("fpr", percent)}
    rows: list[list[object]] = [
        [
            "this model",
            *(
                figure_cell(overall["windows"], key, pointer("overall", "windows"), write)
                for key, write in kept.values()
            ),
            Cell("\u2013"),
            Cell("\u2013"),
            _prose("the detector of this report"),
        ]
    ]
    experts, retrained = (
        {name: what for name, what in known.items() if name in overall["controls"]} for known in (EXPERTS, RETRAINED)
    )
    for name, what in (experts | CONTROLS | retrained).items():
        figures = overall["controls"].get(name)
        if figures is None:
            rows.append([name, *[Cell("not fitted")] * 6, _prose(f"{what} (needs attack windows in training)")])
            continue
        path, interval = pointer("overall", "controls", name), figures["difference_interval"]
        difference = figures["difference"]
        rows.append(
            [
                name,
                *(figure_cell(figures, key, path, write) for key, write in kept.values()),
                *difference_cells(difference, interval, f"{path}/difference"),
                _prose(what),
            ]
        )
    columns = ["Detector", *kept, "Model's AUROC minus this", "95 % interval", "What it is"]
    return table("The model beside control detectors", columns, rows)


def confusion_table(windows: Mapping[str, Any], settings: Mapping[str, Any]) -> Html:
    """Counts at the threshold in use; shaded by the share of their row."""
    rows = []
    for label, kinds in {
        "attack": ("true_positive", "false_negative"),
        "benign": ("false_positive", "true_negative"),
    }.items():
        total = sum(windows[kind] for kind in kinds)
        cells = [tag("th", f"{label} windows", scope="row")]
        for kind in kinds:
            share = windows[kind] / total if total else 0.0
            right = kind.startswith("true")
            cells.append(
                tag(
                    "td",
                    tag("span", count(windows[kind]), class_="big"),
                    tag("span", percent(share) if total else "none", class_="note"),
                    class_="right" if right else "wrong",
                    style=f"--share: {share:.3f}",
                    data_figure=pointer("overall", "windows", kind),
                    data_value=repr(windows[kind]),
                )
            )
        rows.append(tag("tr", *cells))
    names = ("alarmed", "quiet") if settings["alarm"]["n"] == 1 else ("above the threshold", "not above")
    head = tag("tr", tag("td"), *(tag("th", name, scope="col") for name in names))
    return tag(
        "table",
        tag("caption", "Windows of all test sets by what they were and what the detector said"),
        tag("thead", head),
        tag("tbody", *rows),
        class_="confusion",
    )


def meanings(windows: Mapping[str, Any], settings: Mapping[str, Any]) -> Html:
    """What the counts amount to, in words."""
    did = raised(settings)
    words = {
        "precision": f"of the windows that {did}, the share that were attacks",
        "recall": f"of the attack windows, the share that {did}",
        "fpr": f"of the benign windows, the share that {did}",
        "mcc": "Matthews correlation: 1 is perfect, 0 is chance, whatever the mix of classes",
        "calibration_error": "how far the score is from the chance of an attack, on average",
    }
    names = {"fpr": "False-positive rate", "mcc": "MCC", "calibration_error": "Calibration error"}
    entries = []
    for key, meaning in words.items():
        value, figure = windows[key], pointer("overall", "windows", key)
        shown = ratio(value) if value is not None else f"undefined: {windows['undefined'][key]}"
        meaning = meaning if value is not None else f"({meaning})"
        number = tag("strong", shown, data_figure=figure, data_value=None if value is None else repr(value))
        entries.append(tag("div", tag("dt", names.get(key, key.capitalize())), tag("dd", number, " ", meaning)))
    return tag("dl", *entries, class_="meanings")


def event_table(events: Sequence[Mapping[str, Any]]) -> Html:
    """Attack intervals, the missed ones first, then the slowest to be found."""
    ranked = sorted(enumerate(events), key=lambda x: (x[1]["found"], -(x[1]["time_to_alarm"] or 0.0)))
    rows = [
        [
            family(event["family"]),
            _wide(breakable(event["capture"])),
            _wide(set_name(event["test_set"])),
            Cell(f"{event['start']:.3f}", event["start"]),
            Cell(seconds(event["stop"] - event["start"]), event["stop"] - event["start"]),
            Cell(count(event["windows"]), event["windows"], pointer("events", position, "windows")),
            "yes" if event["found"] else tag("strong", "missed", class_="missed"),
            Cell(
                "\u2013" if event["time_to_alarm"] is None else seconds(event["time_to_alarm"]),
                event["time_to_alarm"],
                pointer("events", position, "time_to_alarm"),
            ),
        ]
        for position, event in ranked[:EVENT_ROWS]
    ]
    if not rows:
        return tag("p", "The test sets hold no attack interval.")
    columns = ["Attack", "Capture", "Test set", "Start (s, its clock)", "Length", "Windows", "Found", "Time to alarm"]
    parts = [table(f"Attacks ({plural(len(events), 'interval')})", columns, rows)]
    if len(events) > EVENT_ROWS:
        parts.append(
            tag("p", f"The first {EVENT_ROWS} are shown; metrics.json beside this report has all.", class_="note")
        )
    return join(parts)


def _stayed(settings: Mapping[str, Any]) -> str:
    return "stayed quiet" if settings["alarm"]["n"] == 1 else "were not"


def _prose(text: str) -> Html:
    return tag("span", text, class_="prose")


def _wide(name: str) -> Html:
    return tag("span", name, class_="wide")


def _sets(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    found = [(name, part, pointer("test_sets", name)) for name, part in metrics["test_sets"].items()]
    return [("all test sets", metrics["overall"], pointer("overall")), *found] if len(found) > 1 else found


def count_cell(windows: Mapping[str, Any], key: str, path: str) -> Cell:
    """A count of windows or frames; ``path`` is where its set stands in ``metrics.json``."""
    return Cell(count(windows[key]), windows[key], f"{path}/{key}")


def figure_cell(figures: Mapping[str, Any], key: str, path: str, write: Callable[[float], str]) -> Cell:
    """A figure with its interval, or ``undefined`` with the reason on hover and for screen readers."""
    value = figures[key]
    if value is None:
        reason = figures["undefined"].get(key, "")
        return Cell(tag("span", "undefined", tag("span", f": {reason}", class_="unseen"), class_="none"), note=reason)
    interval = figures.get("intervals", {}).get(key)
    shown: object = write(value)
    if interval:
        shown = join([shown, tag("span", f"{write(interval[0])} to {write(interval[1])}", class_="interval")])
    return Cell(shown, value, f"{path}/{key}")


def difference_cells(difference: float | None, interval: Sequence[float] | None, path: str) -> list[Cell]:
    """A difference of two AUROCs and its interval; ``path`` is its place in ``metrics.json``."""
    undefined = tag("span", "undefined", class_="none")
    return [
        Cell(undefined) if difference is None else Cell(signed(difference), difference, path),
        Cell(f"{signed(interval[0])} to {signed(interval[1])}" if interval else undefined),
    ]


def _events(events: Mapping[str, Any], path: str) -> list[Cell]:
    delay, share = events["time_to_alarm_median"], events["share_found"]
    return [
        Cell(
            f"{count(events['found'])} of {count(events['events'])}" if events["events"] else "none to find",
            share,
            f"{path}/share_found" if share is not None else "",
        ),
        Cell(
            "\u2013" if delay is None else seconds(delay),
            delay,
            f"{path}/time_to_alarm_median" if delay is not None else "",
            events["undefined"].get("time_to_alarm_median", ""),
        ),
    ]
