"""credit-like verify RUN [--data FOLDER]: hold every claim of a run against the raw logs, item by item."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from applications import _arguments
from applications._cli import EXIT_DONE, EXIT_FAILURE, run
from applications._compiling import say_when_compiling
from applications._deployed import BestDetector, FusionDetector
from applications._fusion import is_fusion
from applications._run import SCORES, Run, claimed_metrics, open_run
from credit_like.can import Capture, ReadSettings, read_dataset
from credit_like.config import UserError
from credit_like.verification import CHECKS, Check, Claims, Expert, read_scores_table, shortened, verify


def main(argv: list[str]) -> int:
    options = _arguments.verify(argv)
    checks = verify_run(
        options.run,
        data=options.data,
        sample=options.sample,
        seed=options.seed,
        trainer=options.trainer,
        only=options.only or CHECKS,
        overrides=options.overrides,
    )
    return EXIT_DONE if all(check.holds for check in checks) else EXIT_FAILURE


def verify_run(
    folder: Path,
    *,
    data: Path | None = None,
    sample: int = 100,
    seed: int = 0,
    trainer: str | None = None,
    only: Collection[str] = CHECKS,
    overrides: Sequence[str] = (),
) -> list[Check]:
    """Verify the run in ``folder`` and print each check as it is done; returns all of them.

    Raises UserError when the folder is no judged run or a fusion of two, when its best checkpoint does not match its
    digest, or when the logs cannot be read. A damaged file of the run is such an error; one that says what is not so is
    a false check.
    """
    started = time.perf_counter()
    say_when_compiling()
    run = open_run(folder, trainer, [*overrides, *([f"data.path={data}"] if data else [])])
    claims, experts = claims_of(run), None
    detector: BestDetector | FusionDetector
    if is_fusion(run.trainer):
        detector = FusionDetector(run)
        experts = experts_of(detector)
    else:
        detector = BestDetector(run)
    dataset = read_dataset(run.job.data.path, **run.job.data.model_dump(include=set(ReadSettings.model_fields)))
    print(f"{run.folder} against {run.job.data.path}: logs read in {time.perf_counter() - started:.1f} s")
    _require_some(dataset.captures, run)
    checks, found = [], (dataset.captures, dataset.duplicates)
    for check in verify(claims, *found, detector, experts, sample=sample, seed=seed, only=only):
        print(described(check))
        checks.append(check)
    if not checks:
        raise UserError(f"{folder} has nothing to check under {', '.join(only)}: that is for fusions of two runs")
    false = [check.name for check in checks if not check.holds]
    verdict = f"{len(false)} of {len(checks)} checks are FALSE: {', '.join(false)}" if false else "everything holds"
    print(f"{verdict} ({len(checks)} checks, {time.perf_counter() - started:.1f} s)")
    return checks


def _require_some(captures: Sequence[Capture], run: Run) -> None:
    """Raises UserError where the logs are others altogether: to call each claim false would say nothing."""
    known = {mark for file in run.certificate["files"] for mark in (file["capture"], file["sha256"])}
    if not any(known & {capture.name, capture.source.sha256} for capture in captures):
        raise UserError(
            f"{run.job.data.path} holds none of the {len(run.certificate['files'])} captures that {run.folder} was "
            "made from, neither by name nor by content; name the folder where they are now: --data FOLDER"
        )


def claims_of(run: Run) -> Claims:
    """What the files of a run say. Raises UserError when one is missing or damaged."""
    metrics, scores = claimed_metrics(run.folder), read_scores_table(run.folder / SCORES)
    return Claims(run.certificate, metrics, scores, run.job.data.model_dump(mode="json"))


def experts_of(detector: FusionDetector) -> dict[str, Expert]:
    """The two runs that a fusion mixes, as they are verified."""
    return {
        name: Expert(expert.certificate, expert.job.data.model_dump(mode="json"), detector.detectors[name])
        for name, expert in detector.experts.items()
    }


def described(check: Check) -> str:
    """One line a check, and one more for each thing that is false."""
    line = f"{'ok' if check.holds else 'FALSE':<6}{check.name:<29}{check.seconds:5.1f} s  {check.compared}"
    return "\n".join([line, *(f"        {problem}" for problem in shortened(check.problems))])


if __name__ == "__main__":
    sys.exit(run(main))
