"""verify: every claim of a run held against the raw logs, one check after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import cast

from credit_like.can.captures import Capture
from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Check, Finding, timed
from credit_like.verification.claims import Claims, DeployedDetector, Expert, FusingDetector
from credit_like.verification.fusion_checks import FusionChecks
from credit_like.verification.graphs_again import GraphsAgain
from credit_like.verification.run_checks import RunChecks
from credit_like.verification.score_checks import ScoreChecks

#: What is checked, in this order; ``experts`` and ``policy`` of a fusion alone.
CHECKS = (
    *("certificate", "settings", "logs", "row intervals", "rows and counts", "disjointness", "hold-outs", "groups"),
    *("frame runs", "experts", "vocabulary", "scaler", "policy", "windows of scores", "scores", "raw scores"),
    *("scores of ids", "controls", "best epoch", "metrics"),
)


def verify(
    claims: Claims,
    captures: Sequence[Capture],
    duplicates: Sequence[tuple[str, str]],
    detector: DeployedDetector,
    experts: Mapping[str, Expert] | None = None,
    *,
    sample: int = 100,
    seed: int = 0,
    only: Collection[str] = CHECKS,
) -> Iterator[Check]:
    """The checks of a run, each as soon as it is done; the run holds when all do.

    ``captures`` and ``duplicates`` are what the readers find in the raw logs. ``experts`` are those of a fusion, by
    name; then ``detector`` is a ``FusingDetector``, and vocabulary, scaler and best epoch are checked of each expert.
    ``sample`` windows, drawn with ``seed``, are scored again through the slow reference builder. ``only`` names those
    of ``CHECKS`` to do; ``metrics`` gives a check for each part of metrics.json. Memory: the frames, and some 20 KB a
    training window and 10 KB another one.
    """
    logs = CertificateChecks(claims.certificate, claims.data, captures, duplicates)
    graphs = GraphsAgain(logs)
    run = RunChecks(claims, logs, graphs, detector)
    scored = ScoreChecks(claims, logs, graphs, detector, sample, seed)
    fusion = FusionChecks(claims, logs, graphs, cast(FusingDetector, detector), experts) if experts else None
    methods: dict[str, Callable[[], Finding]] = {
        "certificate": logs.certificate,
        "settings": logs.settings,
        "logs": logs.logs,
        "row intervals": logs.intervals,
        "rows and counts": logs.counts,
        "disjointness": logs.disjointness,
        "hold-outs": logs.hold_outs,
        "groups": logs.groups,
        "frame runs": logs.frame_runs,
    }
    if fusion is None:
        methods |= {"vocabulary": run.vocabulary, "scaler": run.scaler}
    else:
        methods["experts"] = fusion.certificates
        for name, part in fusion.parts.items():
            checks = {"vocabulary": part.vocabulary, "scaler": part.scaler, "best epoch": part.best_epoch}
            methods |= {f"{name}: {check}": method for check, method in checks.items()}
        methods["policy"] = fusion.policy
    methods |= {
        "windows of scores": scored.windows_of_scores,
        "scores": scored.scores,
        "raw scores": scored.raw_scores,
        "scores of ids": scored.id_scores,
        "controls": scored.controls,
        "best epoch": run.best_epoch,
    }
    for name, method in methods.items():
        if name.rpartition(": ")[2] in only:
            yield timed(name, method)
    if "metrics" in only:
        yield from run.metrics(apart=("fusion",) if fusion else ())
        if fusion:
            yield fusion.metrics()
