"""Metadata files beside logs: ROAD's ``capture_metadata.json``, ``injection_metadata.json``, and CrySyS's one a log.

``capture_metadata.json`` stands in the folder of its logs and names them without suffix. ``injection_metadata.json``
stands there or in one of the three folders above, and names them by their path from itself. CrySyS's has the name of
its log, with ``.json`` in place of the suffix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_like.can.errors import LogError
from credit_like.can.families import attack_family

CAPTURE_METADATA, INJECTION_METADATA = "capture_metadata.json", "injection_metadata.json"

#: How a metadata file says which log it speaks of.
_HOW_NAMED = {
    CAPTURE_METADATA: "their names without suffix, in its own folder",
    INJECTION_METADATA: "their paths from its own folder",
}

#: A metadata file of one log has a few kB; of larger ones only the start is looked at, to tell that it is none.
_MAX_MARKER_BYTES = 1 << 20


@dataclass(frozen=True)
class Declared:
    """What a metadata file says of one log.

    ``file`` is its name; ``intervals`` are (start, stop) of the attacks in seconds from the log's first frame;
    ``families`` names each interval's family (``"types"`` in the file) where attacks of several alternate, else it is
    empty and ``family`` holds for all. ``normal`` means that there is none; ``frames`` is the number of frames, or
    None. ``target`` and ``data`` are the id and the payload that were injected, as written: hexadecimal, ``X`` for any
    digit, "" where there is none.
    """

    file: str
    family: str = ""
    intervals: tuple[tuple[float, float], ...] = ()
    families: tuple[str, ...] = ()
    normal: bool = False
    frames: int | None = None
    vehicle: str = ""
    target: str = ""
    data: str = ""


def declared_for(log: Path) -> Declared | None:
    """What metadata says of ``log``; None where there is none.

    Raises LogError when a metadata file is not JSON, or its entry for the log is not of the form above.
    """
    for file, key in _places(log):
        entry, where = _entry(file, key)
        if entry is not None:
            word = key if file.name == CAPTURE_METADATA else _text(entry, "type", where)
            return _declared(entry, where, family=attack_family(word) if word else "")
    return _from_markers(_marker_file(log))


def is_metadata(path: Path) -> bool:
    """Whether the file is metadata of logs beside it, and no log itself."""
    if path.name in (CAPTURE_METADATA, INJECTION_METADATA):
        return True
    return path.suffix == ".json" and _has_markers(path)


def unused_metadata(files: Mapping[str, Path], logs: Iterable[Path]) -> list[str]:
    """A note for each of the metadata ``files``, by name, that speaks of none of the ``logs``: it may be in the wrong
    place, and then labels are missing. Raises LogError as ``declared_for`` does.
    """
    used = {file.absolute() for file in map(_metadata_of, logs) if file is not None}
    return [
        f"{name}: metadata that speaks of no log here; it names logs by {_HOW_NAMED.get(file.name, 'its own name')}"
        for name, file in files.items()
        if file.absolute() not in used
    ]


def _metadata_of(log: Path) -> Path | None:
    """The file that ``declared_for(log)`` reads."""
    for file, key in _places(log):
        if _entry(file, key)[0] is not None:
            return file
    file = _marker_file(log)
    return file if file != log and file.is_file() and _has_markers(file) else None


def _places(log: Path) -> Iterator[tuple[Path, str]]:
    """Files that may speak of a log, the nearest first, and the name that they would give it."""
    yield log.parent / CAPTURE_METADATA, log.name.partition(".")[0]
    for folder in list(log.absolute().parents)[:4]:
        yield folder / INJECTION_METADATA, log.absolute().relative_to(folder).as_posix()


def _marker_file(log: Path) -> Path:
    """``S-1-1-benign.log.gz`` -> ``S-1-1-benign.json``; names of that set have dots in them."""
    plain = log.with_suffix("") if log.suffix.lower() in (".gz", ".zip", ".zst") else log
    return plain.with_suffix(".json")


def _has_markers(file: Path) -> bool:
    """Whether a file beside a log speaks of it as CrySyS does; other JSON files are not our affair."""
    try:
        with file.open("rb") as start:
            text = start.read(_MAX_MARKER_BYTES)
    except OSError:
        return False
    return b'"label"' in text and b'"markers"' in text


def _from_markers(file: Path) -> Declared | None:
    """``label`` benign means normal; a marker that says ``Start`` begins an attack, the next ``End`` ends it."""
    if not file.is_file() or not _has_markers(file):
        return None
    where = str(file)
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LogError(f"{file}: cannot be read ({error}); mend it or remove the file") from error
    markers = content.get("markers") if isinstance(content, dict) else None
    if not isinstance(markers, list) or not all(_is_marker(marker) for marker in markers):
        raise LogError(f"{file}: markers must be a list of time and description, got {markers!r}; mend it or remove it")
    starts = [marker["time"] for marker in markers if marker["description"].startswith("Start")]
    ends = [marker["time"] for marker in markers if marker["description"].startswith("End")]
    if len(starts) != len(ends) or len(starts) + len(ends) != len(markers):
        raise LogError(f"{file}: every attack needs a marker of its start and one of its end; mend it or remove it")
    intervals = [_intervals([start, end], where)[0] for start, end in zip(sorted(starts), sorted(ends), strict=True)]
    return Declared(
        file=file.name, intervals=tuple(intervals), normal=content.get("label") == "benign" and not intervals
    )


def _is_marker(marker: Any) -> bool:
    return (
        isinstance(marker, dict)
        and isinstance(marker.get("time"), int | float)
        and isinstance(marker.get("description"), str)
    )


def _entry(file: Path, key: str) -> tuple[dict[str, Any] | None, str]:
    where = f"{file}, entry {key!r}"
    if not file.is_file():
        return None, where
    try:
        content = json.loads(file.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise LogError(f"{file}:{error.lineno}: not valid JSON ({error.msg}); mend it or remove the file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"{file}: cannot be read ({error}); mend it or remove the file") from error
    entry = content.get(key) if isinstance(content, dict) else None
    if entry is not None and not isinstance(entry, dict):
        raise LogError(f"{where}: must be a mapping, got {entry!r}; mend it or remove the entry")
    return entry, where


def _declared(entry: dict[str, Any], where: str, family: str) -> Declared:
    intervals = _intervals(entry.get("injection_interval"), where)
    frames = entry.get("frames")
    if not isinstance(frames, int | None) or isinstance(frames, bool):
        raise LogError(f"{where}: frames must be a whole number, got {frames!r}; mend it or remove the entry")
    target = entry.get("injection_id")
    return Declared(
        file=Path(where.partition(", entry")[0]).name,
        family=family,
        intervals=intervals,
        families=_families(entry.get("types"), len(intervals), where),
        normal=entry.get("attack") == 0 and not intervals,
        frames=frames,
        vehicle=_text(entry, "vehicle", where),
        target=target if isinstance(target, str) else "",
        data=_text(entry, "injection_data_str", where),
    )


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise LogError(f"{where}: {key} must be a text, got {value!r}; mend it or remove the entry")
    return value or ""


def _families(value: object, count: int, where: str) -> tuple[str, ...]:
    """A list of words, one an interval, or null."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) != count or not all(isinstance(word, str) for word in value):
        raise LogError(
            f"{where}: types must be a list of attack families, one for each of the {count} injection intervals, got "
            f"{value!r}; mend it or remove the entry"
        )
    return tuple(attack_family(word) for word in value)


def _intervals(value: Any, where: str) -> tuple[tuple[float, float], ...]:
    """``[start, stop]``, a list of those, or null."""
    if value is None:
        return ()
    pairs = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    for pair in pairs:
        good = isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, int | float) for x in pair)
        if not good or not 0 <= pair[0] <= pair[1]:
            raise LogError(
                f"{where}: injection_interval must be [start, stop] in seconds from the first frame, or a list of "
                f"those, got {pair!r}; mend it or remove the entry"
            )
    return tuple((float(start), float(stop)) for start, stop in pairs)
