"""credit-like report RUN: write report.html anew from the files of a run; no logs and no checkpoint are needed."""

from __future__ import annotations

import sys
from pathlib import Path

from applications import _arguments
from applications._cli import run
from applications._run import CONFIG, EXPLANATIONS, FACTS, LOG, REPORT, SCORES, open_run, read_json, read_metrics
from credit_like.evaluation import read_scores, write_report
from credit_like.graphs import check_certificate


def main(argv: list[str]) -> None:
    options = _arguments.report(argv)
    print(f"report: {report_run(options.run, options.trainer)}")


def report_run(folder: Path, trainer: str | None = None) -> Path:
    """Write the report of the run in ``folder``. Raises UserError when one of its files is missing or not whole."""
    run = open_run(folder, trainer)
    facts = read_json(run.folder / FACTS)
    log, explained = run.folder / LOG, run.folder / EXPLANATIONS
    name, kind = run.folder.resolve().name, run.job.trainer.type
    return write_report(
        run.folder / REPORT,
        title=f"{kind if name == kind else f'{name}: {kind}'} on {run.job.data.path.name}",
        metrics=read_metrics(run.folder),
        scores=read_scores(run.folder / SCORES),
        certificate=run.certificate,
        problems=check_certificate(run.certificate),
        config_text=(run.folder / CONFIG).read_text(encoding="utf-8"),
        training_log=log if log.is_file() and log.stat().st_size else None,
        environment=facts["environment"],
        throughput=facts["throughput"],
        explanations=read_json(explained) if explained.is_file() else None,
    )


if __name__ == "__main__":
    sys.exit(run(main))
