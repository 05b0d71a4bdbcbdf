"""The page that holds runs against each other: who finds more, by how much, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_like.config.files import replacing
from credit_like.evaluation._paired import windows_under_test
from credit_like.evaluation.comparison import SEED, Comparison, Difference, JudgedRun, Pair, Part, Repetitions
from credit_like.evaluation.figures import window_set
from credit_like.evaluation.report import charts
from credit_like.evaluation.report.markup import Cell, Html, details, join, section, table, tag
from credit_like.evaluation.report.page import page
from credit_like.evaluation.report.summary import against_controls
from credit_like.evaluation.report.verdicts import (
    NAMES,
    evidence,
    headline,
    interval,
    mean_and_std,
    repetitions,
    tested,
    told,
    verdict,
    written,
)
from credit_like.evaluation.report.words import alike, count, family, listing, number, percent, seconds, set_name
from credit_like.graphs.plan import TRAIN

#: So many runs get a sentence on their controls and a curve; the tables hold all.
SHOWN = 6

_ANCHORS = {
    "summary": "Summary",
    "figures": "Side by side",
    "seeds": "Over seeds",
    "differences": "Differences",
    "attacks": "By attack",
    "curves": "Curves",
    "settings": "What differs",
}


def write_comparison(
    path: Path,
    comparison: Comparison,
    *,
    title: str,
    throughput: Mapping[str, Mapping[str, Any]],
    reports: Mapping[str, str],
) -> Path:
    """Writes the comparison of at least two comparable runs to ``path`` and returns it; the file is whole or not there.

    ``throughput`` says of each run by name how fast it was; ``reports`` are the addresses of their own reports, seen
    from ``path``, of those that have one.
    Everything that comes from outside is escaped. Raises UserError when the file cannot be written.
    """
    path = Path(path)
    repeated = comparison.repetitions
    body = [
        _summary(comparison, title),
        _figures(comparison, reports),
        *([_seeds(repeated)] if repeated else []),
        _differences(comparison),
        _attacks(comparison),
        _curves(comparison),
        _settings(comparison, throughput),
    ]
    anchors = {name: shown for name, shown in _ANCHORS.items() if repeated or name != "seeds"}
    with replacing(path) as temporary:
        temporary.write_text(page(title, body, anchors), encoding="utf-8")
    return path


def _summary(comparison: Comparison, title: str) -> Html:
    parts = [
        tag("p", "Comparison of detectors", class_="eyebrow"),
        tag("h1", title),
        tag("p", tested(comparison), class_="lead"),
    ]
    pairs = told(comparison)
    for pair in pairs:
        sentence, style = headline(pair)
        parts.append(tag("p", tag("strong", sentence), " ", evidence(pair, comparison.coverage), class_=style))
    if len(pairs) < len(comparison.pairs):
        note = f"These are {len(pairs)} of {len(comparison.pairs)} pairs, those of the run with the highest AUROC. "
        parts.append(tag("p", note, tag("a", "All pairs", href="#differences"), class_="note"))
    parts += [tag("p", repetitions(group)) for group in comparison.repetitions]
    parts += [_controls(run) for run in comparison.runs[:SHOWN]]
    parts += [tag("p", note, class_="panel warn") for note in comparison.notes]
    for name, reasons in comparison.left_out.items():
        said = tag("ul", *(tag("li", reason) for reason in reasons))
        lead = tag("p", tag("strong", f"{name} is not comparable"), ", and none of its figures is shown here:")
        parts.append(tag("div", lead, said, class_="panel warn"))
    return tag("section", *parts, id="summary", class_="summary", aria_label="Summary")


def _controls(run: JudgedRun) -> Html:
    """Whether a run beats simple means, as its own report says."""
    said, evidence, kind = against_controls(run.metrics["overall"]["controls"], run.metrics.get("fusion"))
    return tag("p", tag("strong", f"{run.name}: {said}"), f" {evidence}", class_=f"panel {kind}".rstrip())


def _figures(comparison: Comparison, reports: Mapping[str, str]) -> Html:
    """The figures of each run, as its own report has them."""
    every = [run.metrics["overall"]["windows"] for run in comparison.runs]
    ways = {name: alike(one[name] for one in every) for name in ("auroc", "auprc", "precision", "recall", "f1")}
    raw = [(run.metrics["raw_weights"] or {"overall": {"auroc": None}})["overall"]["auroc"] for run in comparison.runs]
    rows = []
    for run in comparison.runs:
        windows, events = run.metrics["overall"]["windows"], run.metrics["overall"]["events"]
        delay = events["time_to_alarm_median"]
        rows.append(
            [
                tag("a", run.name, href=reports[run.name]) if run.name in reports else run.name,
                run.trainer,
                Cell(
                    f"{count(events['found'])} of {count(events['events'])}" if events["events"] else "none to find",
                    events["share_found"],
                ),
                Cell("\u2013" if delay is None else seconds(delay), delay),
                *(_own(windows, name, write) for name, write in ways.items()),
                _own(windows, "fpr", percent),
                _own(windows, "false_alarms_per_hour", count),
                _raw_auroc(run.metrics["raw_weights"], alike(raw)),
            ]
        )
    columns = ["Run", "Trainer", "Attacks found", "Median time to alarm", "AUROC", "AUPRC", "Precision", "Recall", "F1"]
    columns += ["FPR", "False alarms/h", "AUROC, raw weights"]
    note = (
        "Small print below a figure is its own 95 % block-bootstrap interval; it is not that of a difference. Raw "
        "weights are those before averaging: what they reach says whether averaging helped."
    )
    return section(
        "figures",
        "Side by side",
        tag("p", "All test windows together, each run at the threshold that its own validation windows gave."),
        table("Figures of the attack class by run", columns, rows),
        tag("p", note, class_="note"),
    )


def _seeds(repeated: Sequence[Repetitions]) -> Html:
    """Mean and standard deviation over seeds, of runs that differ in nothing else."""
    rows = []
    for group in repeated:
        names, seeds = listing([run.name for run in group.runs]), [str(run.settings[SEED]) for run in group.runs]
        rows.append([names, group.runs[0].trainer, ", ".join(seeds), *(_spread(group, name) for name in NAMES)])
    text = (
        "Runs that differ in nothing but their seed are one detector trained again. The mean and the standard "
        "deviation over seeds say how much of a figure is the luck of one training; the intervals of a run say what "
        "other traffic would have changed, and know nothing of other seeds."
    )
    columns = ["Runs", "Trainer", "Seeds", *NAMES.values()]
    return section(
        "seeds", "Over seeds", tag("p", text), table("Mean and standard deviation over seeds", columns, rows)
    )


def _spread(group: Repetitions, name: str) -> Cell:
    found = group.mean_and_std(name)
    if found is None:
        return Cell(tag("span", "undefined", class_="none"))
    mean, std = mean_and_std(name, found)
    return Cell(join([mean, tag("span", f"\u00b1 {std}" if found[1] else "in each", class_="interval")]), found[0])


def _own(windows: Mapping[str, Any], name: str, write: Callable[[float], str]) -> Cell:
    value = windows[name]
    if value is None:
        return Cell(tag("span", "undefined", class_="none"), note=windows["undefined"][name])
    known = windows["intervals"].get(name)
    small = tag("span", f"{write(known[0])} to {write(known[1])}", class_="interval") if known else ""
    return Cell(join([write(value), small]), value)


def _raw_auroc(raw: Mapping[str, Any] | None, write: Callable[[float], str]) -> Cell:
    if raw is None:
        return Cell("not averaged")
    figures = raw["overall"]
    value = figures["auroc"]
    if value is None:
        return Cell(tag("span", "undefined", class_="none"), note=figures["undefined"]["auroc"])
    return Cell(write(value), value)


def _differences(comparison: Comparison) -> Html:
    """Every two runs on all test windows."""
    pairs = len(comparison.pairs)
    text = (
        "Both runs of a row are drawn by the same resamples of stretches of bus time, so that an easy stretch counts "
        "for both. A difference is beyond chance when its whole interval lies on one side of 0."
    )
    if pairs > 1:
        text += (
            f" With {pairs} pairs each interval holds {percent(comparison.coverage)} instead of 95 %, so that all "
            "statements about one figure hold together with 95 %."
        )
    rows = [
        [
            f"{pair.first.name} minus {pair.second.name}",
            *(
                _difference(pair.parts[0].differences[name], pair, pair.parts[0])
                for name in ("auroc", "share_found", "recall", "f1", "fpr", "false_alarms_per_hour")
            ),
        ]
        for pair in comparison.pairs
    ]
    order = ("auroc", "share_found", "recall", "f1", "fpr", "false_alarms_per_hour")
    shown = table("Differences on all test windows", ["Runs", *(NAMES[name] for name in order)], rows)
    note = "For FPR and false alarms less is better, for all others more. pp: percentage points."
    return section("differences", "Differences", tag("p", text), shown, tag("p", note, class_="note"))


def _difference(figure: Difference, pair: Pair, part: Part) -> Cell:
    if figure.value is None:
        return Cell(tag("span", "undefined", class_="none"))
    said = verdict(figure, pair.first.name, pair.second.name)
    style = "interval clear" if figure.beyond_chance else "interval"
    small = [tag("span", interval(figure), class_="interval")] if figure.interval else []
    shown = join([written(figure, figure.value), *small, tag("span", said, class_=style)])
    return Cell(shown, figure.value, note="" if figure.interval else part.no_interval)


def _attacks(comparison: Comparison) -> Html:
    """Every two runs by test set and by attack family."""
    several = len(comparison.runs[0].metrics["test_sets"]) > 1
    names: tuple[str, ...] = ("auroc", "share_found", "recall")
    if several:  # false alarms are those of a test set, whatever the attack
        names = (*names, "false_alarms_per_hour")
    rows = []
    for pair in comparison.pairs:
        for part in pair.parts[1:]:
            rows.append(
                [
                    f"{pair.first.name} minus {pair.second.name}",
                    family(part.family) if part.family else "all",
                    *([tag("span", set_name(part.test_set), class_="wide")] if several else []),
                    *(
                        Cell("\u2013", note="false alarms are counted by test set, whatever the attack")
                        if part.family and name == "false_alarms_per_hour"
                        else _difference(part.differences[name], pair, part)
                        for name in names
                    ),
                ]
            )
    if not rows:
        return section("attacks", "By attack", tag("p", "The test sets hold no attack."))
    columns = ["Runs", "Attack", *(["Test set"] if several else []), *(NAMES[name] for name in names)]
    text = (
        "Where one run is better than another. An attack's windows are held against the benign windows of the captures "
        "that hold it. With many rows some differences look like more than chance by chance: read them as hints."
    )
    return section(
        "attacks",
        "By attack",
        tag("p", text),
        table("Differences by attack family and test set", columns, rows),
        tag("h3", "The figures themselves"),
        _family_figures(comparison, several),
    )


def _family_figures(comparison: Comparison, several: bool) -> Html:
    rows = []
    for name, part in comparison.runs[0].metrics["test_sets"].items():
        for attack in part["families"]:
            shown = [run.metrics["test_sets"][name]["families"][attack]["windows"]["auroc"] for run in comparison.runs]
            cells = []
            for run in comparison.runs:
                figures = run.metrics["test_sets"][name]["families"][attack]
                events = figures["events"]
                cells.append(
                    Cell(
                        f"{events['found']} of {events['events']}" if events["events"] else "none to find",
                        events["share_found"],
                    )
                )
                cells.append(_own(figures["windows"], "auroc", alike(shown)))
            rows.append([family(attack), *([tag("span", set_name(name), class_="wide")] if several else []), *cells])
    columns = [f"{run.name}: {what}" for run in comparison.runs for what in ("attacks found", "AUROC")]
    return table("Figures by attack family", ["Attack", *(["Test set"] if several else []), *columns], rows)


def _curves(comparison: Comparison) -> Html:
    """ROC and precision-recall of the first so many runs, on the windows that they share."""
    chosen = comparison.runs[:SHOWN]
    frames = [windows_under_test(run.scores) for run in chosen]
    windows = window_set(frames[0], ())
    counted = windows.attack | windows.benign
    figures = chosen[0].metrics["overall"]["windows"]
    if figures["auroc"] is None:
        return section("curves", "Curves", tag("p", f"Undefined: {figures['undefined']['auroc']}."))
    named = {run.name: frame["score"].to_numpy()[counted] for run, frame in zip(chosen, frames, strict=True)}
    attack = windows.attack[counted]
    both = tag("div", charts.roc(attack, named), charts.precision_recall(attack, named), class_="charts")
    note = f"The {SHOWN} runs with the highest AUROC." if len(comparison.runs) > SHOWN else ""
    return section("curves", "Curves", *([tag("p", note)] if note else []), both)


def _settings(comparison: Comparison, throughput: Mapping[str, Mapping[str, Any]]) -> Html:
    """Settings in which the runs differ, and what they cost."""
    settings = {run.name: run.settings for run in comparison.runs}
    names = list(settings)
    listed = dict.fromkeys(key for name in names for key in settings[name])
    keys = [key for key in listed if not key.startswith("hpo.")]  # a search that a run may be given changes no run
    differing = [key for key in keys if any(settings[name].get(key) != settings[names[0]].get(key) for name in names)]
    rows = [[tag("code", key), *(_value(settings[name].get(key)) for name in names)] for key in differing]
    costs = list(dict.fromkeys(key for name in names for key in throughput[name]))
    parts = [
        table("Settings that differ", ["Setting", *names], rows)
        if rows
        else tag("p", "The runs were configured alike."),
        tag("h3", "What they cost"),
        table(
            "Throughput",
            ["Measure", *names],
            [[key, *(throughput[name].get(key, "\u2013") for name in names)] for key in costs],
        )
        if costs
        else tag("p", "Not recorded."),
        details("Thresholds and certificates", _certificates(comparison.runs)),
    ]
    return section("settings", "What differs between the runs", *parts)


def _value(value: object) -> Html:
    return tag("code", "\u2013" if value is None else str(value) or "none", class_="wide")


def _certificates(runs: Sequence[JudgedRun]) -> Html:
    """What each run's threshold promises, and the digests of what it was split from."""
    rows = []
    for run in runs:
        promised, certificate = run.metrics["calibration"]["promised_fpr"], run.certificate
        trained = sum(part["windows"] for part in certificate["intervals"] if part["split"] == TRAIN)
        digests = (certificate["store"]["digest"], certificate["digest"])
        rows.append(
            [
                run.name,
                Cell(number(run.threshold), run.threshold),
                Cell(percent(promised), promised),
                Cell(count(trained), trained),
                certificate["policy"],
                *(tag("code", digest, class_="digest") for digest in digests),
            ]
        )
    columns = ["Run", "Threshold", "FPR promised", "Training windows", "Split by", "Graph store", "Certificate"]
    return table("Thresholds and split certificates", columns, rows)
