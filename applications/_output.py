"""The file that a verb writes where the user says: one rule for all verbs, which docs/configuration.md tells."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def add_output(
    made: argparse.ArgumentParser, metavar: str, help: str, *, required: bool = True, default: Path | None = None
) -> None:
    """Give a verb ``-o FILE [--force]``."""
    made.add_argument("-o", "--output", metavar=metavar, type=Path, required=required, default=default, help=help)
    made.add_argument(
        "--force",
        action="store_true",
        help="replace a file that is there and no earlier result of this command; never one that it reads",
    )


def no_result(path: Path) -> bool:
    """For verbs that write logs: one that is there could be the only recording of a drive."""
    return False


def require_writable(
    path: Path, reads: Iterable[Path], *, force: bool, is_result: Callable[[Path], bool] = no_result
) -> None:
    """Raises UserError when ``path`` cannot be written or must not be replaced: before minutes of work.

    ``reads`` are the files and folders that the command reads: none of them is replaced, by whatever name or link.
    A file for which ``is_result`` holds is an earlier result of the same verb, and replaced; any other with ``force``.
    """
    from credit_like.config import UserError  # not above, so that `--help` does not wait for pydantic

    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.parent} to write {path.name} in; make it first")
    if not path.exists():
        return
    reads = list(reads)
    for file in reads:
        if file.is_file() and file.samefile(path):
            raise UserError(f"{path} is {_as_read(file, path)}, which this command reads; name another file")
    if is_result(path):
        return
    for folder in reads:
        for file in _files_in(folder):
            if file.samefile(path):
                raise UserError(f"{path} is {_as_read(file, path)}, which this command reads; name another file")
    if not force:
        raise UserError(f"{path} is there already; name another file, or replace it with --force")


def _as_read(file: Path, path: Path) -> str:
    return "a file" if file == path else f"the same file as {file}"


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (file for name in names if (file := Path(parent, name)).is_file())
