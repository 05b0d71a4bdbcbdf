"""credit-like compare RUN RUN ... [-o comparison.html]: finished runs side by side, with what chance explains."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from applications import _arguments
from applications._cli import run
from applications._folder import run_folder
from applications._output import require_writable
from applications._run import CERTIFICATE, CONFIG, FACTS, REPORT, SCORES, read_json, read_metrics
from applications._summary import comparison_summary
from credit_like.config import ConfigError, UserError, flat, read_config
from credit_like.evaluation import JudgedRun, compare, read_scores, write_comparison
from credit_like.evaluation.report.words import listing
from credit_like.graphs import check_certificate

#: The end of a comparison's title.
SIDE_BY_SIDE = "side by side"


def main(argv: list[str]) -> None:
    options = _arguments.compare(argv)
    require_writable(options.output, options.runs, force=options.force, is_result=is_comparison)
    if options.output.suffix not in (".html", ".htm"):
        raise ConfigError(f"--output must end in .html; got {options.output}")
    compare_runs(options.runs, options.output)


def compare_runs(folders: Sequence[Path], out: Path) -> Path:
    """Write the comparison of the runs in ``folders`` to ``out``, print it in short, and return ``out``.

    Raises ConfigError when fewer than two different runs are named, UserError when one of them is not judged yet, or
    when no two of them were tested on the same windows.
    """
    names = run_names(folders)
    comparison = compare([judged_run(folder, name) for folder, name in names.items()])
    if len(comparison.runs) < 2:
        reasons = [f"  {name}: {reason}" for name, listed in comparison.left_out.items() for reason in listed]
        raise UserError("no two of these runs can be compared:\n" + "\n".join(reasons))
    path = write_comparison(
        out,
        comparison,
        title=f"{listing([run.name for run in comparison.runs])} {SIDE_BY_SIDE}",
        throughput={name: read_json(folder / FACTS)["throughput"] for folder, name in names.items()},
        reports={
            name: quote(os.path.relpath(folder / REPORT, out.parent))
            for folder, name in names.items()
            if (folder / REPORT).is_file()
        },
    )
    print(f"{comparison_summary(comparison)}\nreport: {path}")
    return path


def is_comparison(path: Path) -> bool:
    """Whether ``path`` is a page that ``compare`` wrote."""
    with path.open(encoding="utf-8", errors="replace") as page:
        return re.search(f"<title>[^<]* {SIDE_BY_SIDE}</title>", page.read(100_000)) is not None


def run_names(folders: Sequence[Path]) -> dict[Path, str]:
    """A name for each run folder: its last parts, as many as tell it from the others.

    Raises ConfigError for fewer than two folders or one named twice, UserError for one that is no run folder.
    """
    paths = [Path(folder).resolve() for folder in folders]
    if len(paths) < 2:
        raise ConfigError("a comparison takes two runs or more: `credit-like compare RUN RUN ...`")
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise ConfigError(f"{folder} is named twice; a run is not compared with itself")
        run_folder(folder)
    depth = next(depth for depth in itertools.count(1) if len({path.parts[-depth:] for path in paths}) == len(paths))
    return {Path(folder): "/".join(path.parts[-depth:]) for folder, path in zip(folders, paths, strict=True)}


def judged_run(folder: Path, name: str) -> JudgedRun:
    """What `evaluate` left in ``folder``. Raises UserError when one of its files is missing or not whole."""
    certificate, settings = read_json(folder / CERTIFICATE), configuration(folder)
    return JudgedRun(
        name=name,
        trainer=str(settings.get("trainer.type", "not known")),
        settings=settings,
        metrics=read_metrics(folder),
        scores=read_scores(folder / SCORES),
        certificate=certificate,
        problems=check_certificate(certificate),
    )


def configuration(folder: Path) -> dict[str, Any]:
    """Dotted key -> value of the run's configuration, without the folders that it was given."""
    flattened = flat(read_config(folder / CONFIG).data)
    return {name: value for name, value in flattened.items() if name not in ("save_loc", "data.store")}


if __name__ == "__main__":
    sys.exit(run(main))
