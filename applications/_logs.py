"""The logs that a command line names: files, and the files of folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit_like.can import LogScan, ReadSettings


def open_logs(paths: Sequence[Path], reading: ReadSettings) -> tuple[dict[str, LogScan], list[str]]:
    """The logs in files and folders by name, not yet read; and which files of the folders are none, and why.

    A log is named by its path from the deepest folder that holds all, a single one by its file name; those of a zip by
    their names in it, too. Raises LogError for a file that is no log and was named as one, a folder without logs, and
    whatever cannot be opened.
    """
    from credit_like.can import LogError, UnknownFormatError, open_log
    from credit_like.can.dataset import log_files
    from credit_like.can.metadata import is_metadata, unused_metadata

    files = dict.fromkeys(
        file for path in paths for file in ([path / name for name in log_files(path)] if path.is_dir() else [path])
    )
    parents = {os.path.abspath(path if path.is_dir() else path.parent) for path in paths}
    root = Path(os.path.commonpath(parents))
    logs: dict[str, LogScan] = {}
    notes: list[str] = []
    metadata: dict[str, Path] = {}
    found: list[Path] = []
    for file in files:
        name = Path(os.path.abspath(file)).relative_to(root).as_posix()
        if is_metadata(file) and file not in paths:
            metadata[name] = file
            continue
        try:
            scans = open_log(file, **reading.model_dump(), name=name)
        except UnknownFormatError as error:
            if file in paths:
                raise
            notes.append(f"{name}: {error.why}")
            continue
        found.append(file)
        logs |= {f"{name}/{Path(scan.label).relative_to(file)}" if len(scans) > 1 else name: scan for scan in scans}
    if not logs:
        seen = "".join(f"\n  {note}" for note in notes[:5])
        raise LogError(f"{', '.join(map(str, paths))}: no log in there; give the folder that holds the logs{seen}")
    return logs, notes + unused_metadata(metadata, found)


def print_notes(notes: Sequence[str]) -> None:
    """What the reader says of the files, those that are no logs in one line."""
    others = [note.split(":")[0] for note in notes if "no log of a known format" in note]
    for note in notes:
        if note.split(":")[0] not in others:
            print(f"note: {note}")
    if others:
        named = f"note: not logs: {', '.join(others)}"
        print(fill(named, 80, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False))
