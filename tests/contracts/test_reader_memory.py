"""What a log costs to read in blocks does not grow with the log, whatever its format and packing."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import zstandard

from credit_like.can import READERS as ALL_READERS
from credit_like.can import open_log, scan, simulate, write_candump
from credit_like.can.readers import TextReader, blf
from tests.contracts.record_samples import write_blf
from tests.contracts.test_readers import said_by

READERS = {name: reader for name, reader in ALL_READERS.items() if issubclass(reader, TextReader)}
BLOCK, TIMES = 1 << 14, 20
#: Part by which a log twenty times as long may cost more: a decompressor's buffers fill up.
MORE = 0.25


def peak(path: Path, name: str | None = None) -> tuple[int, int]:
    """Frames in the log, and bytes that it took at most to read them one block after another."""

    def read() -> int:
        (log,) = open_log(path, name, block_bytes=BLOCK)
        count = sum(len(frames) for frames in log.frames())
        assert sum(capture.frames for capture in log.captures()) == count
        return count

    read()  # loads what was compiled
    tracemalloc.start()
    count = read()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, most


def assert_flat(short: Path, long: Path, name: str | None = None) -> None:
    (few, little), (many, much) = peak(short, name), peak(long, name)
    assert many > 0.9 * TIMES * few
    assert much <= (1 + MORE) * little
    assert many * 16 > 1.5 * much, "what the frames of the long log take is more"


def last_frame(name: str) -> bytes:
    """The last line of a reader's example that is a frame."""
    example = READERS[name].example
    known = len(said_by(name, example).frames)
    lines = example.rstrip(b"\n").split(b"\n")
    return next(line for line in lines[::-1] if len(said_by(name, example + line + b"\n").frames) > known)


@pytest.mark.parametrize("name", sorted(READERS))
def test_of_lines(name: str, tmp_path: Path) -> None:
    """The example, and its last frame again and again: later by its gap, or at the same time."""
    line = last_frame(name) + b"\n"
    once = 5 * BLOCK // len(line)
    for path, times in (("short", once), ("long", TIMES * once)):
        (tmp_path / path).write_bytes(READERS[name].example + line * times)
    assert_flat(tmp_path / "short", tmp_path / "long", name)


@pytest.mark.parametrize("packing", ["gz", "zip", "zst"])
def test_of_packed_lines(packing: str, tmp_path: Path) -> None:
    paths = []
    for seconds in (4, TIMES * 4):
        plain, packed = tmp_path / "drive.log", tmp_path / f"{seconds}.{packing}"
        write_candump(simulate("sedan", seconds, seed=1), plain)
        if packing == "gz":
            packed.write_bytes(gzip.compress(plain.read_bytes()))
        elif packing == "zst":
            packed.write_bytes(zstandard.compress(plain.read_bytes()))
        else:
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.write(plain, "in/drive.log")
        paths.append(packed)
    assert_flat(*paths)


def test_of_records_in_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((blf, "_BLOCK"), (scan, "BLOCK_BYTES"), (scan, "HEAD_BYTES")):
        monkeypatch.setattr(module, name, BLOCK // 4)
    for path, count in (("short", 600), ("long", TIMES * 600)):
        write_blf(tmp_path / path, 6, count)
    assert_flat(tmp_path / "short", tmp_path / "long")
