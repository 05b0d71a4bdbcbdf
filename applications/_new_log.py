"""The log that a verb writes: its options, its checks before any work, and what is said of the files."""

from __future__ import annotations

import argparse
from pathlib import Path

from credit_like.config import UserError


def add_new_log(made: argparse.ArgumentParser) -> None:
    """Give a verb ``-o LOG [--format NAME] [--force]``."""
    made.add_argument("-o", "--out", type=Path, required=True, metavar="LOG", help="the log to write; .gz packs it")
    made.add_argument(
        "--format",
        metavar="NAME",
        help="candump, candump_text, can_train_and_test, hcrl_csv, hcrl_text, daga, asc, trc or crysys (candump with "
        "label columns); without it .log is candump, .csv can_train_and_test, .asc and .trc themselves",
    )
    made.add_argument("--force", action="store_true", help="replace the log where it is there already")


def new_log_format(options: argparse.Namespace) -> str:
    """The format to write ``-o`` in.

    Raises UserError when no format follows from the options, the folder is missing, or the log or its label file is
    there and ``--force`` is not given: before minutes of work.
    """
    from credit_like.can.write_log import labels_path, output_format

    path: Path = options.out
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it")
    name = output_format(path, options.format)
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.parent} to write {path.name} in; make it first")
    for file in (path, labels_path(path)):
        if file.exists() and not options.force:
            raise UserError(f"{file} is there already; name another log, or replace it with --force")
    return name


def describe(files: list[Path], format: str, attacks: int) -> str:
    """What lies in the files that ``write_log`` wrote, a line each."""
    from credit_like.can import READERS
    from credit_like.can.write_log import labels_path
    from credit_like.can.writers import LABELLED

    log, metadata = files[0], files[-1]
    if format in LABELLED:
        holds = f"{READERS[format].title}, every frame with its label"
    else:
        holds = f"{READERS[format].title}, which has no place for labels"
    lines = [f"{log}: {holds}"]
    if labels_path(log) in files:
        lines.append(f"{labels_path(log)}: the labels, 0 or 1, a line a frame")
    known = "family and times of the attacks" if attacks else "that there is no attack"
    lines.append(f"{metadata}: {known}; read with the log")
    return "\n".join(lines)
