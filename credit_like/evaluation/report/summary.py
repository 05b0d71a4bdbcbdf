"""The first screen: what was tested, whether the figures can be trusted, the five main ones, and the threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from credit_like.evaluation.controls import LOOKUP, TIMING
from credit_like.evaluation.fusion import ANOMALY_ALONE, EXPERTS, GAT_ALONE
from credit_like.evaluation.report.markup import Html, join, pointer, tag
from credit_like.evaluation.report.words import (
    TOO_LITTLE,
    count,
    family,
    listing,
    number,
    percent,
    plural,
    raised,
    ratio,
    seconds,
    signed,
)
from credit_like.evaluation.retrained import RETRAINED


def summary(metrics: Mapping[str, Any] | None, problems: Sequence[str]) -> Html:
    """The summary section; with ``problems`` it holds no figure of a test set, only why."""
    if problems:
        return join([_refused(problems)])
    if metrics is None or metrics["overall"] is None:
        return tag("p", "There is no test set, so there is nothing to judge the detector by.", class_="lead")
    overall = metrics["overall"]
    return join(
        [
            tag("p", _tested(overall, metrics["test_sets"]), class_="lead"),
            *(tag("p", note, class_="panel warn") for note in _counted_again(metrics["groups"], overall["captures"])),
            tag(
                "p",
                tag("strong", "Split certificate valid."),
                " No raw frame is in two splits; the threshold comes from validation. ",
                tag("a", "Details", href="#certificate"),
                class_="panel good",
            ),
            _cards(metrics),
            tag("p", "New to these words? ", tag("a", "What they mean", href="#words"), class_="note"),
            tag("p", _threshold(metrics), class_="panel" if _is_kept(metrics) else "panel warn"),
            _controls(overall["controls"], metrics.get("fusion")),
        ]
    )


def _refused(problems: Sequence[str]) -> Html:
    return tag(
        "div",
        tag("p", tag("strong", "The split certificate is not valid, so no test figure is printed.")),
        tag("p", "A figure on data that training may have seen says nothing about new traffic. What is wrong:"),
        tag("ul", *(tag("li", problem) for problem in problems)),
        class_="panel bad",
        role="alert",
    )


def _counted_again(groups: Sequence[Mapping[str, float]], tested: Sequence[str]) -> Iterator[str]:
    """A sentence on each group of tested captures that share recorded traffic."""
    for group in groups:
        names = [name for name in tested if name in group]
        if len(names) > 1:
            yield (
                f"{listing(names)} share recorded traffic. What they share is counted in each of them, in the numbers "
                "of windows, attacks and false alarms too; for the threshold and the intervals no copy is evidence of "
                "its own."
            )


def _tested(overall: Mapping[str, Any], test_sets: Mapping[str, Any]) -> Html:
    windows, families = overall["windows"], [family(name) for name in overall["families"]]
    parts = [
        f"The detector was tested on {plural(windows['windows'], 'window')} of bus traffic from "
        f"{plural(len(overall['captures']), 'capture')}"
    ]
    if len(test_sets) > 1:
        parts.append(f", in {len(test_sets)} test sets")
    attacks = overall["events"]["events"]
    parts.append(f", with {plural(attacks, 'attack')}" if attacks else ", with no attack")
    if families:
        parts.append(
            f" of {plural(len(families), 'kind')}: {listing(families)}" if len(families) > 1 else f" ({families[0]})"
        )
    parts.append(". Neither training nor calibration saw any of it. ")
    events = overall["events"]
    if events["events"]:
        found = {0: "none", events["events"]: "all"}.get(events["found"], count(events["found"]))
        parts.append(f"It found {found}")
        if events["time_to_alarm_median"] is not None:
            parts.append(f", half of them within {seconds(events['time_to_alarm_median'])} of their start")
        parts.append(". ")
        missed = [
            f"{part['events']['events'] - part['events']['found']} of {part['events']['events']} {family(name)}"
            for name, part in overall["families"].items()
            if part["events"]["found"] < part["events"]["events"]
        ]
        if missed:
            parts.append(f"It missed {listing(missed)}. ")
    else:
        parts.append("Without an attack, detection could not be judged. ")
    alarms = windows["false_alarms_per_hour"]
    if alarms is not None:
        false = round(alarms * windows["benign_hours"])
        parts.append(
            f"In {seconds(3600 * windows['benign_hours'])} of normal traffic it raised "
            f"{plural(false, 'false alarm') if false else 'no false alarm'}."
        )
    return join(parts)


def _cards(metrics: Mapping[str, Any]) -> Html:
    windows, events = metrics["overall"]["windows"], metrics["overall"]["events"]
    cards = [
        _card("Window AUROC", windows, "auroc", "how well scores part attacks from the rest: 1 is perfect, 0.5 chance"),
        _card("F1, attack class", windows, "f1", "precision and recall in one: 1 is perfect"),
        _card("Recall", windows, "recall", f"share of the attack windows that {raised(metrics['settings'])}"),
    ]
    alarms, figure = windows["false_alarms_per_hour"], pointer("overall", "windows", "false_alarms_per_hour")
    note = windows["undefined"].get("false_alarms_per_hour") or (
        f"{percent(windows['fpr'])} of benign windows {raised(metrics['settings'])}"
    )
    cards.append(_shown("False alarms an hour", "undefined" if alarms is None else count(alarms), alarms, figure, note))
    share = events["share_found"]
    value = "none to find" if share is None else f"{count(events['found'])} of {count(events['events'])}"
    delay = events["time_to_alarm_p90"]
    note = (
        f"nine in ten of them within {seconds(delay)}"
        if delay is not None
        else "the test sets hold no attack"
        if share is None
        else ""
    )
    cards.append(_shown("Attacks found", value, share, pointer("overall", "events", "share_found"), note))
    return tag("div", *cards, class_="cards")


def _card(title: str, windows: Mapping[str, Any], name: str, note: str) -> Html:
    value = windows[name]
    if value is None:
        note = windows["undefined"][name]
    elif name in windows["intervals"]:
        low, high = windows["intervals"][name]
        spread = tag("span", f"95 % interval {ratio(low)} to {ratio(high)}", class_="spread")
        return _shown(title, ratio(value), value, pointer("overall", "windows", name), join([note, spread]))
    return _shown(title, ratio(value), value, pointer("overall", "windows", name), note)


def _shown(title: str, text: str, value: float | None, figure: str, note: object) -> Html:
    shown = tag(
        "p",
        text,
        class_="value" if value is not None else "value none",
        data_figure=figure,
        data_value=None if value is None else repr(value),
    )
    return tag("div", tag("p", title, class_="name"), shown, tag("p", note, class_="note"), class_="card")


def _threshold(metrics: Mapping[str, Any]) -> Html:
    """What the threshold is, what it promises, and what the test sets show of the promise."""
    calibration, measured = metrics["calibration"], metrics["overall"]["windows"]["fpr"]
    windows = plural(calibration["windows"], "benign validation window")
    alarm, threshold = metrics["settings"]["alarm"], number(calibration["threshold"])
    single = alarm["n"] == 1
    rule = (
        f"A window whose score is above {threshold} alarms."
        if single
        else f"A window alarms when its score and at least {alarm['k']} of the last {alarm['n']} are above {threshold}."
    )
    parts: list[object] = [tag("strong", rule), f" This threshold was set on {windows}{_not_used(metrics)}. "]
    if calibration["promised"]:
        falsely = "alarm falsely" if single else "are above it, and no more alarm"
        parts.append(f"It promises that at most {percent(calibration['promised_fpr'])} of benign windows {falsely}")
    else:
        parts.append(
            f"Asked for was a false-alarm rate of {percent(calibration['requested_fpr'])}: not promised. "
            f"So many windows can promise no less than {percent(calibration['promised_fpr'])}"
        )
    parts.append(f" (about {count(calibration['promised_per_hour'])} windows an hour)")
    if measured is not None:
        parts.append(f"; measured on test: {percent(measured)}")
        if _breaks_promise(metrics):
            parts.append(", clearly more: the test traffic is not like that of validation")
        elif measured > calibration["promised_fpr"]:
            known = "fpr" in metrics["overall"]["windows"]["intervals"]
            parts.append(", which is more" + (", perhaps by chance" if known else f"; {TOO_LITTLE}"))
    parts.append(". ")
    if measured is not None:
        parts += [tag("a", "Why, and what to do" if not _is_kept(metrics) else "Details", href="#promise"), " "]
    parts.append(tag("span", calibration["assumption"], class_="note"))
    return join(parts)


def _not_used(metrics: Mapping[str, Any]) -> str:
    """Why the threshold was set on fewer benign windows than validation holds; empty where it was not."""
    used, benign = metrics["calibration"]["windows"], metrics["validation"]["benign"]
    if used == benign:
        return ""
    return (
        f", those of {listing(metrics['calibration']['captures'])}; the other {count(benign - used)} are of captures "
        "that share recorded traffic with one of these, and would count it again"
    )


def _breaks_promise(metrics: Mapping[str, Any]) -> bool:
    """Whether the whole interval of the measured rate is above the promised one."""
    interval = metrics["overall"]["windows"]["intervals"].get("fpr")
    return interval is not None and interval[0] > metrics["calibration"]["promised_fpr"]


def _is_kept(metrics: Mapping[str, Any]) -> bool:
    measured, calibration = metrics["overall"]["windows"]["fpr"], metrics["calibration"]
    return calibration["promised"] and (measured is None or measured <= calibration["promised_fpr"])


def _controls(controls: Mapping[str, Any], fusion: Mapping[str, Any] | None = None) -> Html:
    verdict, evidence, kind = against_controls(controls, fusion)
    details = tag("a", "Details", href="#controls") if kind else ""
    return tag("p", tag("strong", verdict), f" {evidence} ", details, class_=f"panel {kind}".rstrip())


def against_controls(controls: Mapping[str, Any], fusion: Mapping[str, Any] | None = None) -> tuple[str, str, str]:
    """(does the model beat what simple means reach; by how much; good, warn or bad, or empty where nothing was
    compared). A fusion that uses one expert alone is that expert, and is held against all else."""
    known = {name: figures for name, figures in controls.items() if figures["difference"] is not None}
    same = {"gat": GAT_ALONE, "anomaly": ANOMALY_ALONE}.get(fusion["rule"] if fusion else "", "")
    if same in known and len(known) > 1:
        del known[same]
        use = f"Its policy was not shown to be better on validation, so this fusion uses {same}. "
    else:
        use = ""
    if not known:
        why = "no control was scored" if not controls else "the windows are of one class"
        return "Controls:", f"not compared, {why}.", ""
    name, best = max(known.items(), key=lambda item: item[1]["auroc"])
    verdict, kind, named = control_verdict(known)
    which = f"The best of the {len(known)}, {_rival(name)}, reaches"
    if named != name:  # the highest is beaten, another with a wider interval is not
        which, best = f"Not clearly beaten: {_rival(named)}, which reaches", known[named]
    interval, difference = best["difference_interval"], best["difference"]
    spread = (
        f"95 % interval {signed(interval[0])} to {signed(interval[1])}"
        if interval
        else "too little traffic for an interval"
    )
    reached = f"{which} AUROC {ratio(best['auroc'])}; the model's differs from it by {signed(difference)} ({spread})."
    return verdict, f"{use}{reached}", kind


def control_verdict(known: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, str]:
    """(whether the model beats every one of the controls, none of them undefined; good, warn or bad; the control that
    speaks most against it)."""
    best = max(known, key=lambda name: known[name]["auroc"])
    doubtful = [name for name in known if not _beaten(known[name])]
    if not doubtful:
        return "The model beats every control.", "good", best
    interval = known[best]["difference_interval"]
    if interval is not None and interval[1] < 0:
        return "A control beats the model.", "bad", best
    named = best if best in doubtful else max(doubtful, key=lambda name: known[name]["auroc"])
    return "The model is not shown to beat every control.", "warn", named


def _beaten(control: Mapping[str, Any]) -> bool:
    """Whether the whole interval of the model's lead lies above 0."""
    return control["difference_interval"] is not None and control["difference_interval"][0] > 0


def _rival(name: str) -> str:
    """A control, or an expert of a fusion, as the sentence names it."""
    if name in RETRAINED:
        return f"the same {name}"
    if name in EXPERTS:
        return f"the expert {name}"
    return {LOOKUP: "an id look-up table", TIMING: "timing alone"}.get(name, f"{name} without the graph")
