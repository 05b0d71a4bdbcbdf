"""The report: one HTML file that opens without network, in light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from credit_like.config.files import replacing
from credit_like.evaluation.report import alarms, frames, sections
from credit_like.evaluation.report import certificate as certificate_view
from credit_like.evaluation.report.markup import Html, safe, tag
from credit_like.evaluation.report.summary import summary
from credit_like.evaluation.scores import Scores

__all__ = ["write_report"]


def write_report(
    path: Path,
    *,
    title: str,
    metrics: Mapping[str, Any] | None,
    scores: Scores | None,
    certificate: Mapping[str, Any] | None,
    problems: Sequence[str],
    config_text: str,
    training_log: Path | None,
    environment: Mapping[str, Any],
    throughput: Mapping[str, Any],
    explanations: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the report of a run to ``path`` and returns it; the file is whole or not there.

    ``metrics`` is what ``evaluate`` gave for ``scores``; ``problems`` what is wrong with the certificate. With any
    problem, or without a certificate, no figure of a test set is in the file, and the first screen says why; then
    ``metrics`` and ``scores`` are not read. ``config_text`` is the resolved YAML, ``training_log`` a
    ``training_log.csv``, ``environment`` and ``throughput`` are names with values to show as they are (values may be
    mappings). ``explanations`` is what ``explain`` gave. Everything that comes from outside is escaped.

    Raises UserError when the file cannot be written.
    """
    path = Path(path)
    wrong = list(problems) or ([] if certificate is not None else ["this run has no split certificate"])
    heading = [tag("p", "Detector report", class_="eyebrow"), tag("h1", title)]
    body = [tag("section", *heading, summary(metrics, wrong), id="summary", class_="summary", aria_label="Summary")]
    if not wrong and metrics is not None and metrics["overall"] is not None and scores is not None:
        body += [
            sections.results(metrics),
            frames.by_frame(metrics),
            sections.controls(metrics),
            sections.curves(metrics, scores),
            sections.course(metrics, scores),
            *([alarms.explanations(explanations)] if explanations else []),
        ]
    body += [
        sections.training(training_log),
        certificate_view.certificate(certificate),
        sections.setting(config_text, environment, throughput),
    ]
    with replacing(path) as temporary:
        temporary.write_text(_page(title, body), encoding="utf-8")
    return path


def _page(title: str, body: Sequence[Html]) -> str:
    """The whole document, with its style and script inside."""
    here = files(__package__)
    style, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    content = "\n".join(body)
    links = [
        tag("li", tag("a", name, href=f"#{anchor}")) for anchor, name in _ANCHORS.items() if f'id="{anchor}"' in content
    ]
    menu = tag("nav", tag("ul", *links), aria_label="Sections")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{safe(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#summary">Skip to the summary</a>\n{menu}\n<main>\n{content}\n</main>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


_ANCHORS = {
    "summary": "Summary",
    "attacks": "Results by attack",
    "frames": "Results by frame",
    "controls": "Controls",
    "curves": "Curves and scores",
    "alarms": "Alarms in time",
    "explanations": "Why it alarmed",
    "training": "Training",
    "certificate": "Split certificate",
    "configuration": "Configuration",
    "environment": "Environment",
}
