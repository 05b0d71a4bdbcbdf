"""write_log: a capture as a text log, and beside it what its lines have no place for."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from credit_like.can._whole_file import whole_file
from credit_like.can.captures import AttackInterval, Capture
from credit_like.can.errors import LogError
from credit_like.can.frames import FrameTable
from credit_like.can.intervals import families_by_interval
from credit_like.can.metadata import INJECTION_METADATA
from credit_like.can.writers import LABELLED, WRITERS
from credit_like.config import ConfigError, closest

#: The format that a file name stands for; ``.gz`` may follow.
SUFFIXES = {".log": "candump", ".csv": "can_train_and_test", ".asc": "asc", ".trc": "trc"}


def output_format(path: str | Path, format: str | None = None) -> str:
    """The name in ``WRITERS`` of the format to write ``path`` in: ``format`` where it is given, else by the suffix.

    Raises ConfigError for a format or a suffix that no writer has.
    """
    if format is not None:
        name = format.lower().replace("-", "_")
        if name not in WRITERS:
            raise ConfigError(f"No writer is named {format!r}{closest(name, WRITERS)}; known: {', '.join(WRITERS)}.")
        return name
    suffix = Path(_unpacked(Path(path))).suffix.lower()
    if suffix not in SUFFIXES:
        ways = " or ".join(f"{ending} ({name})" for ending, name in SUFFIXES.items())
        raise ConfigError(
            f"{path}: the format does not follow from the name; end it in {ways}, or name one of the formats "
            f"{', '.join(WRITERS)}."
        )
    return SUFFIXES[suffix]


def labels_path(log: str | Path) -> Path:
    """Where the labels of a log lie whose lines have no place for them: ``drive.log.gz`` -> ``drive.labels.gz``."""
    log = Path(log)
    plain = _unpacked(log)
    return log.with_name(Path(plain).stem + ".labels" + log.name[len(plain) :])


def write_log(
    capture: Capture, path: str | Path, format: str | None = None, *, targets: Sequence[str] = (), source: str = ""
) -> list[Path]:
    """Write a labelled capture as a text log; returns the files written, the log first.

    ``injection_metadata.json`` in the log's folder gets an entry for it: counts, vehicle, and the family and times of
    every attack, from which ``read_log`` fills in what the format does not hold. Entries of other logs stay. Where the
    format has no place for labels and the capture has attacks, ``labels_path(path)`` holds a line 0 or 1 a frame.
    Files that are there are replaced, each as a whole.

    Args:
        capture: frames with labels, and the intervals of its attacks.
        path: the log; gzipped where it ends in ``.gz``.
        format: a name in ``WRITERS``; by the suffix where left out.
        targets: for the entry: the ids that each interval's attack used, as text.
        source: for the entry: what the capture was made from.

    Raises:
        UserError: as ``output_format`` and the writer of the format, and when metadata or labels cannot be written or
            are damaged.
    """
    path = Path(path)
    name = output_format(path, format)
    WRITERS[name](capture.frames, path)
    files = [path]
    labels = labels_path(path)
    if name not in LABELLED and capture.intervals:
        with whole_file(labels) as file:
            file.write(np.where(capture.frames.label == 1, b"1\n", b"0\n").tobytes())
        files.append(labels)
    else:
        labels.unlink(missing_ok=True)
    entry = metadata_entry(capture.frames, capture.intervals, targets)
    if source:
        entry["source"] = source
    if capture.vehicle:
        entry["vehicle"] = capture.vehicle
    return [*files, _enter(path, entry)]


def metadata_entry(
    frames: FrameTable, intervals: Sequence[AttackInterval], targets: Sequence[str] = ()
) -> dict[str, Any]:
    """The entry of a log in ``injection_metadata.json``, in the form of the data sets that have such a file.

    Beside their fields, ``"types"`` has the family of every interval. Seconds count from the first frame. Raises
    ValueError for a table without frames.
    """
    if not len(frames):
        raise ValueError("a log without frames has no entry")
    origin = float(frames.t[0])
    attack = int((frames.label == 1).sum())
    entry: dict[str, Any] = {
        "frames": len(frames),
        "attack": attack,
        "normal": len(frames) - attack,
        "ids": len(np.unique(frames.key)),
        "seconds": round(float(frames.t[-1]) - origin, 2),
    }
    if intervals:
        families = [interval.family for interval in intervals]
        entry |= {
            "type": families[0] if len(set(families)) == 1 else "mixed",
            "types": families,
            # A microsecond on either side, because the log's times are rounded to that.
            "injection_interval": [
                [max(round(interval.start - origin - 1e-6, 6), 0.0), round(interval.stop - origin + 1e-6, 6)]
                for interval in intervals
            ],
            "injection_id": list(targets),
        }
    return entry


def with_labels_beside(capture: Capture) -> Capture:
    """``capture`` with the labels that ``write_log`` put beside its log, where its lines hold none; else as it is.

    Raises LogError for a label file that does not fit the log, and where the log is said to hold attacks and no label
    file says in which frames.
    """
    frames, labels = capture.frames, labels_path(capture.source.path)
    if (frames.label >= 0).any() or not (capture.intervals or labels.is_file()):
        return capture
    if not labels.is_file():
        raise LogError(
            f"{capture.source.path}: {INJECTION_METADATA} says that it holds attacks, and {labels.name}, which would "
            "say in which frames, is not there. Bring that file, or take a log whose format has labels."
        )
    lines = _lines_of(labels, len(frames))
    if len(lines) != len(frames) or not set(lines) <= {b"0", b"1"}:
        raise LogError(
            f"{labels}: must hold 0 or 1 for each of the log's {len(frames)} frames; it has {len(lines)} lines. "
            "Bring the file that belongs to the log."
        )
    label = (np.array(lines) == b"1").astype(np.int8)
    return replace(capture, frames=families_by_interval(replace(frames, label=label), capture.intervals))


def _lines_of(labels: Path, count: int) -> list[bytes]:
    """The lines of a label file; no more of it is read than ``count`` lines need."""
    open_labels = gzip.open if labels.suffix.lower() == ".gz" else open
    try:
        with open_labels(labels, "rb") as file:
            return bytes(file.read(3 * count + 3)).split()
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(f"{labels}: cannot be read ({error}); bring the file that belongs to the log") from error


def _unpacked(path: Path) -> str:
    """The file name without ``.gz``."""
    return path.stem if path.suffix.lower() == ".gz" else path.name


def _enter(log: Path, entry: dict[str, Any]) -> Path:
    """Add the entry of ``log`` to the metadata file in its folder, which is made where it is missing."""
    file = log.parent / INJECTION_METADATA
    with _alone_in(log.parent):
        entries: Any = {}
        if file.exists():
            try:
                entries = json.loads(file.read_text("utf-8"))
            except (OSError, ValueError) as error:
                raise LogError(f"{file}: cannot be read ({error}); mend it or move it away") from error
            if not isinstance(entries, dict):
                raise LogError(f"{file}: must be a mapping of logs to what is known of them; mend it or move it away")
        with whole_file(file) as out:
            out.write((json.dumps(entries | {log.name: entry}, indent=1) + "\n").encode())
    return file


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Other processes that enter a log in the same folder wait, so that no entry is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
