"""The report: one HTML file that opens without network, in light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_like.config.files import replacing
from credit_like.evaluation.report import alarms, frames, sections
from credit_like.evaluation.report import certificate as certificate_view
from credit_like.evaluation.report.comparison import write_comparison
from credit_like.evaluation.report.fusion import fusion
from credit_like.evaluation.report.glossary import glossary
from credit_like.evaluation.report.markup import tag
from credit_like.evaluation.report.page import page
from credit_like.evaluation.report.promise import promise
from credit_like.evaluation.report.summary import summary
from credit_like.evaluation.report.weights import weights
from credit_like.evaluation.scores import Scores

__all__ = ["write_comparison", "write_report"]


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
            promise(metrics, scores),
            frames.by_frame(metrics),
            fusion(metrics),
            sections.controls(metrics),
            weights(metrics),
            sections.curves(metrics, scores),
            sections.course(metrics, scores),
            *([alarms.explanations(explanations)] if explanations else []),
        ]
    body += [
        sections.training(training_log),
        certificate_view.certificate(certificate),
        sections.setting(config_text, environment, throughput),
        glossary(),
    ]
    with replacing(path) as temporary:
        temporary.write_text(page(title, body, _ANCHORS), encoding="utf-8")
    return path


_ANCHORS = {
    "summary": "Summary",
    "attacks": "Results by attack",
    "promise": "False alarms",
    "frames": "Results by frame",
    "fusion": "Fusion",
    "controls": "Controls",
    "weights": "Averaged weights",
    "curves": "Curves and scores",
    "alarms": "Alarms in time",
    "explanations": "Why it alarmed",
    "training": "Training",
    "certificate": "Split certificate",
    "configuration": "Configuration",
    "environment": "Environment",
    "words": "Words",
}
