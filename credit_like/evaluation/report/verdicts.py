"""What a comparison says in words, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Callable

from credit_like.evaluation.comparison import Comparison, Difference, Pair, Repetitions
from credit_like.evaluation.report.words import MINUS, alike, count, decimals, listing, percent, plural, ratio

#: How each compared figure is called and written.
NAMES = {
    "auroc": "AUROC",
    "share_found": "Attacks found",
    "f1": "F1",
    "recall": "Recall",
    "fpr": "FPR",
    "false_alarms_per_hour": "False alarms/h",
}


#: So many pairs of runs get a verdict in words; the tables hold all.
TOLD = 6


def told(comparison: Comparison) -> tuple[Pair, ...]:
    """The pairs that get a verdict in words: all of few, else those of the run with the highest AUROC, so many."""
    if len(comparison.pairs) <= TOLD:
        return comparison.pairs
    return tuple(pair for pair in comparison.pairs if pair.first is comparison.runs[0])[:TOLD]


def tested(comparison: Comparison) -> str:
    """What the runs were tested on."""
    first = comparison.runs[0].metrics["overall"]
    names = listing([run.name for run in comparison.runs])
    return (
        f"{names} were tested on the same {plural(first['windows']['windows'], 'window')} of bus traffic from "
        f"{plural(len(first['captures']), 'capture')}, with {plural(first['events']['events'], 'attack')}. "
        "None of them saw any of it before."
    )


def headline(pair: Pair) -> tuple[str, str]:
    """(one sentence on which run tells attacks from normal traffic better, style of its panel)."""
    figure = pair.parts[0].differences["auroc"]
    first, second = pair.first.name, pair.second.name
    if figure.value is None:
        return f"{first} and {second} cannot be ranked: the test windows are of one class.", "panel warn"
    if figure.interval is None:
        return f"There is too little test traffic to tell {first} from {second} by more than chance.", "panel warn"
    if figure.beyond_chance:
        return f"{first} tells attacks from normal traffic better than {second}, beyond chance.", "panel good"
    return f"{first} and {second} are not shown to differ in telling attacks from normal traffic.", "panel"


def evidence(pair: Pair, coverage: float) -> str:
    """The figures behind the headline, and what the two do at their thresholds; ``coverage`` is that of intervals."""
    part = pair.parts[0]
    figure, sentences = part.differences["auroc"], []
    if figure.first is not None and figure.second is not None:
        write = alike((figure.first, figure.second))
        spread = f", {percent(coverage)} interval {interval(figure)}" if figure.interval else f"; {part.no_interval}"
        sentences.append(
            f"AUROC {write(figure.first)} against {write(figure.second)}, "
            f"a difference of {written(figure, figure.first - figure.second)}{spread}."
        )
    found = [run.metrics["overall"]["events"] for run in (pair.first, pair.second)]
    if found[0]["events"]:
        sentences.append(
            f"At their thresholds {pair.first.name} found {count(found[0]['found'])} of "
            f"{plural(found[0]['events'], 'attack')} and {pair.second.name} {count(found[1]['found'])}"
            f"{_chance(part.differences['share_found'])}."
        )
    alarms = part.differences["false_alarms_per_hour"]
    if alarms.value is not None:
        sentences.append(
            f"False alarms an hour: {_written('false_alarms_per_hour', alarms.first)} against "
            f"{_written('false_alarms_per_hour', alarms.second)}{_chance(alarms)}."
        )
    return " ".join(sentences)


def verdict(figure: Difference, first: str, second: str) -> str:
    """Which of the two a difference speaks for, in a table cell."""
    if figure.value is None:
        return "undefined"
    if figure.interval is None:
        return "too little traffic"
    if not figure.beyond_chance:
        return "within chance"
    return f"{first if figure.first_is_better else second} better"


def interval(figure: Difference) -> str:
    """``+0.01 to +0.03``, in the figure's own unit."""
    assert figure.interval is not None
    return f"{written(figure, figure.interval[0])} to {written(figure, figure.interval[1])}"


def written(figure: Difference, value: float) -> str:
    """A difference with its sign, and with no more decimals than the figures that it is between."""
    if figure.figure == "false_alarms_per_hour":
        return ("\u2212" if value < 0 else "+") + count(abs(value)) if value else "0"
    if figure.figure in ("fpr", "share_found"):
        return ("\u2212" if value < 0 else "+") + percent(abs(value)).replace("%", "pp") if value else "0"
    places = decimals((figure.first, figure.second))
    shown = f"{value:+.{places}f}".replace("-", MINUS)
    return shown[1:] if float(f"{value:.{places}f}") == 0 else shown


def mean_and_std(name: str, found: tuple[float, float]) -> tuple[str, str]:
    """The mean and the standard deviation of a figure over seeds, to four decimals where it is no rate."""
    if name in ("fpr", "share_found", "false_alarms_per_hour"):
        return _written(name, found[0]), _written(name, found[1])
    return f"{found[0]:.4f}", f"{found[1]:.4f}"


def repetitions(group: Repetitions) -> str:
    """Runs that differ in their seed only, in one sentence."""
    shown = []
    for name in ("auroc", "f1", "fpr"):
        found = group.mean_and_std(name)
        said = "undefined" if found is None else "\u00a0\u00b1\u00a0".join(mean_and_std(name, found))
        if found is not None and found[1] == 0:
            said = f"{mean_and_std(name, found)[0]} in each"
        shown.append(f"{NAMES[name]} {said}")
    names = listing([run.name for run in group.runs])
    return f"Over the {len(group.runs)} seeds of {names}, which differ in nothing else: {', '.join(shown)}."


def _written(name: str, value: float | None) -> str:
    write: Callable[[float], str] = {"false_alarms_per_hour": count, "fpr": percent, "share_found": percent}.get(
        name, ratio
    )
    return "undefined" if value is None else write(value)


def _chance(figure: Difference) -> str:
    """Whether a difference can be told from chance, as the end of a sentence."""
    if not figure.value:
        return ""
    if figure.interval is None:
        return " (too little traffic to say whether by chance)"
    return ", a difference beyond chance" if figure.beyond_chance else ", a difference within chance"
