"""read_dataset: a file, or a folder with whatever lies in it, as captures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from credit_like.can.captures import Capture, SourceFile
from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.metadata import is_metadata, unused_metadata
from credit_like.can.read import read_log

#: Unpacking, hashing and parsing release the GIL, so that two files at a time keep two cores busy.
_THREADS = 2

#: So many lines of a log are named in its notes.
_SHOWN = 5


@dataclass(frozen=True)
class Dataset:
    """The captures of one file or folder, in the order of their paths.

    ``duplicates`` are (left out, kept): names of files with the same unpacked content, which is used once. ``notes``
    say, a line each, which files are no logs and which defects the logs have. ``root`` is the path as given.
    """

    captures: tuple[Capture, ...]
    duplicates: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    root: str


def read_dataset(
    path: str | Path,
    progress: bool = True,
    max_bad_lines: float = 0.001,
    format: str | None = None,
    assume_rate: float | None = None,
) -> Dataset:
    """All logs in ``path``, recursively; the layouts of DAGA, HCRL, can-train-and-test and ROAD, or loose logs.

    A capture is named by its file's path from ``path`` (by the file name where ``path`` is a file). Files that are no
    logs are noted and left out; hidden ones are not looked at. Links to folders are not followed. The other arguments
    are those of ``read_log``, for every log; with a ``format`` every file but metadata is taken for such a log.

    Raises:
        LogError: ``path`` is missing, or holds no log; a log in it cannot be read (see :func:`read_log`): nothing is
            left out silently, so mend or remove it.
    """
    root = Path(path)
    read = partial(read_log, format=format, max_bad_lines=max_bad_lines, assume_rate=assume_rate)
    files = log_files(root) if root.is_dir() else []
    metadata = {name: root / name for name in files if is_metadata(root / name)}
    files = [name for name in files if name not in metadata]
    outcomes = zip(files, _read_all(root, files, progress, read), strict=True) if root.is_dir() else [("", read(root))]
    logs: list[Path] = []
    notes: list[str] = []
    duplicates: list[tuple[str, str]] = []
    found: list[Capture] = []
    kept: dict[str, str] = {}
    for name, outcome in outcomes:
        if isinstance(outcome, UnknownFormatError):
            notes.append(f"{name}: {outcome.why}")
            continue
        logs.append(root / name)
        notes += defect_notes([capture.source for capture in outcome])
        for source in dict.fromkeys(capture.source for capture in outcome):  # several in a zip or a Parquet file
            own = [capture for capture in outcome if capture.source == source]
            if source.sha256 in kept:
                duplicates.append((own[0].name, kept[source.sha256]))
            else:
                kept[source.sha256] = own[0].name
                found += own
    if not found:
        looked_at = len(files) + len(metadata)
        seen = "".join(f"\n  {note}" for note in notes[:5])
        lacks = (
            f"none of the files in this folder (looked at: {looked_at}) is a log" if looked_at else "no file is there"
        )
        raise LogError(
            f"{root}: {lacks}; put recordings of a CAN bus there (candump, Vector .asc or .blf, PCAN .trc, .mf4, "
            f".parquet, or the CSV of a public data set: docs/formats.md), or name the folder that holds them{seen}"
        )
    notes += unused_metadata(metadata, logs)
    return Dataset(tuple(found), tuple(duplicates), tuple(notes), str(path))


def log_files(root: Path) -> list[str]:
    """All files of a folder but hidden ones: paths from ``root``, with ``/`` between folders, in an order that does not
    depend on the file system. Raises LogError for a folder that cannot be listed.
    """
    names = []
    for folder, subfolders, files in os.walk(root, onerror=_refuse_folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        names += [(Path(folder) / name).relative_to(root).as_posix() for name in files if not name.startswith(".")]
    return sorted(names)


def _refuse_folder(error: OSError) -> None:
    raise LogError(f"{error.filename}: cannot be listed ({error.strerror}); check its rights") from error


def _read_all(
    root: Path, names: list[str], progress: bool, reader: Callable[..., list[Capture]]
) -> Iterator[list[Capture] | UnknownFormatError]:
    def read(name: str) -> list[Capture] | UnknownFormatError:
        try:
            return reader(root / name, name=name)
        except UnknownFormatError as error:
            return error

    sizes = [(root / name).lstat().st_size for name in names]
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=sum(sizes),
            desc="reading logs",
            unit="B",
            unit_scale=True,
            delay=2,
            disable=None if progress else True,  # None: no bar where stderr is no terminal
        ) as bar,
    ):
        try:
            for size, outcome in zip(sizes, pool.map(read, names), strict=True):
                bar.update(size)
                yield outcome
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def defect_notes(sources: Iterable[SourceFile]) -> Iterator[str]:
    """One line a defect: those of a whole log, the first of its lines, and how many more lines there are."""
    for source in dict.fromkeys(sources):
        lines = [defect for defect in source.defects if defect.line]
        for defect in lines[:_SHOWN]:
            yield f"{source.path}:{defect.line}: {defect.reason}"
        if len(lines) > _SHOWN:
            yield f"{source.path}: {len(lines) - _SHOWN} more such lines"
        yield from (f"{source.path}: {defect.reason}" for defect in source.defects if not defect.line)
