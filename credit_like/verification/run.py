"""verify: every claim of a run held against the raw logs, one check after another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from credit_like.can.captures import Capture
from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Check, timed
from credit_like.verification.claims import Claims, DeployedDetector
from credit_like.verification.run_checks import RunChecks

#: What is checked, in this order.
CHECKS = (
    *("certificate", "settings", "logs", "row intervals", "rows and counts", "disjointness", "hold-outs", "groups"),
    *("frame runs", "vocabulary", "scaler", "windows of scores", "scores", "best epoch", "metrics"),
)


def verify(
    claims: Claims,
    captures: Sequence[Capture],
    duplicates: Sequence[tuple[str, str]],
    detector: DeployedDetector,
    *,
    sample: int = 100,
    seed: int = 0,
    only: Collection[str] = CHECKS,
) -> Iterator[Check]:
    """The checks of a run, each as soon as it is done; the run holds when all do.

    ``captures`` and ``duplicates`` are what the readers find in the raw logs. ``sample`` windows, drawn with ``seed``,
    are scored again through the slow reference builder. ``only`` names those of ``CHECKS`` to do; ``metrics`` gives a
    check for each part of metrics.json. Memory: the frames, and some 8 KB a benign training window.
    """
    logs = CertificateChecks(claims.certificate, claims.data, captures, duplicates)
    run = RunChecks(claims, logs, detector, sample, seed)
    methods = (
        *(logs.certificate, logs.settings, logs.logs, logs.intervals, logs.counts, logs.disjointness, logs.hold_outs),
        *(logs.groups, logs.frame_runs, run.vocabulary, run.scaler, run.windows_of_scores, run.scores, run.best_epoch),
    )
    for name, method in zip(CHECKS[:-1], methods, strict=True):
        if name in only:
            yield timed(name, method)
    if CHECKS[-1] in only:
        yield from run.metrics()
