"""The log that a verb writes: its options, its checks before any work, and what is said of the files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from applications._output import add_output, require_writable


def add_new_log(made: argparse.ArgumentParser) -> None:
    """Give a verb ``-o LOG [--format NAME] [--force]``."""
    add_output(made, "LOG", "the log to write; .gz packs it")
    made.add_argument(
        "--format",
        metavar="NAME",
        help="candump, candump_text, can_train_and_test, hcrl_csv, hcrl_text, daga, asc, trc or crysys (candump with "
        "label columns); without it .log is candump, .csv can_train_and_test, .asc and .trc themselves",
    )


def new_log_format(options: argparse.Namespace, reads: Sequence[Path] = ()) -> str:
    """The format to write ``-o`` in. ``reads`` are the logs that the command reads.

    Raises UserError when no format follows from the options, or the log or its label file cannot be written or must not
    be replaced.
    """
    from credit_like.can.metadata import INJECTION_METADATA
    from credit_like.can.write_log import labels_path, output_format

    reads = [file for log in reads for file in (log, labels_path(log), log.with_name(INJECTION_METADATA))]
    for file in (options.output, labels_path(options.output)):
        require_writable(file, reads, force=options.force)
    return output_format(options.output, options.format)


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
