"""What every reader of a binary format guarantees, held against python-can's readers."""

from __future__ import annotations

import gzip
import logging
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import can
import numpy as np
import pytest

from credit_like.can import ERROR, EXTENDED, FD, READERS, REMOTE, Capture, FrameTable, LogError, read_log
from credit_like.can.readers import RecordReader
from credit_like.can.readers._base import DamagedFile
from credit_like.can.readers._mf4_process import blocks_of
from tests.can.messages import assert_like_messages
from tests.contracts.python_can_process import NothingSaid, PythonCan, said_by_python_can
from tests.contracts.record_samples import SAMPLES, write_mf4

MUTATIONS, SOAKED = 300, 2500
RECORD_READERS = sorted(name for name, reader in READERS.items() if issubclass(reader, RecordReader))
every_reader = pytest.mark.parametrize("name", RECORD_READERS)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("can", "asammdf"):
        caplog.set_level(logging.CRITICAL, logger)


@pytest.fixture(scope="module")
def python_can() -> Iterator[PythonCan]:
    made = PythonCan()
    yield made
    made.end()


def sample(name: str, folder: Path, level: int) -> Path:
    suffix, write, _ = SAMPLES[name]
    path = folder / f"drive{level}{suffix}"
    write(path, level)
    return path


def bad_records(captures: list[Capture]) -> list[int]:
    return [d.line for d in captures[0].source.defects if d.line and not d.reason.startswith("time runs backwards")]


@every_reader
class TestEveryRecordReader:
    def test_has_samples(self, name: str) -> None:
        assert name in SAMPLES, f"add {name} to tests/contracts/record_samples.py"

    def test_reads_what_python_can_wrote(self, name: str, tmp_path: Path) -> None:
        for level in SAMPLES[name][2]:
            path = sample(name, tmp_path, level)
            (capture,) = read_log(path.rename(tmp_path / "any name"))
            assert capture.source.format == name
            assert capture.source.reason.startswith("it begins with")
            assert not capture.source.defects
            said = said_by_python_can((tmp_path / "any name").rename(path), 1000)
            assert_like_messages(capture.frames, said, said[0].timestamp - capture.frames.t[0])
            assert all((capture.frames.flags & kind).any() for kind in (REMOTE, ERROR, FD, EXTENDED))

    def test_packing_does_not_show(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = sample(name, tmp_path, SAMPLES[name][2][0])
        (plain,) = read_log(path, name="x")
        copies = tmp_path / "copies"
        copies.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(copies))
        (tmp_path / "drive.gz").write_bytes(gzip.compress(path.read_bytes()))
        with zipfile.ZipFile(tmp_path / "drive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../../drive.bin", path.read_bytes())
        for packed in ("drive.gz", "drive.zip"):
            (capture,) = read_log(tmp_path / packed, name="x")
            assert capture.source.sha256 == plain.source.sha256
            for column in ("t", "id", "flags", "bus", "length", "payload", "label"):
                np.testing.assert_array_equal(getattr(capture.frames, column), getattr(plain.frames, column))
        assert not list(copies.iterdir()), "the unpacked copy is gone"

    def test_no_room_to_unpack_is_a_clear_error(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = sample(name, tmp_path, SAMPLES[name][2][0])
        (tmp_path / "drive.gz").write_bytes(gzip.compress(path.read_bytes()))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(LogError, match=r"drive\.gz: cannot be unpacked to the folder for temporary files .*TMPDIR"):
            read_log(tmp_path / "drive.gz")

    def test_an_empty_or_headless_file_is_refused_by_name(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "drive.bin"
        for content in (b"", b"  \n", READERS[name].magic, b"some text"):  # type: ignore[attr-defined]
            path.write_bytes(content)
            with pytest.raises(LogError, match=r"drive\.bin: "):
                read_log(path, format=name)

    def test_mutated_files_give_right_frames_or_a_named_refusal(
        self, name: str, tmp_path: Path, python_can: PythonCan
    ) -> None:
        sweep(name, range(MUTATIONS), tmp_path, python_can)

    @pytest.mark.slow
    def test_many_mutated_files_give_right_frames_or_a_named_refusal(
        self, name: str, tmp_path: Path, python_can: PythonCan
    ) -> None:
        sweep(name, range(MUTATIONS, MUTATIONS + SOAKED), tmp_path, python_can)


def test_a_file_that_its_recorder_did_not_finish_is_read_whole(tmp_path: Path) -> None:
    """Without numbers of records and lengths of data, which a recorder writes last (ASAM MDF 4.1)."""
    path = tmp_path / "drive.mf4"
    write_mf4(path, 0)
    (whole,) = read_log(path)
    content = bytearray(path.read_bytes())
    content[:8], content[60:62] = b"UnFinMF ", b"\x05\x00"
    for block in re.finditer(b"##CG", bytes(content)):
        content[block.start() + 80 : block.start() + 88] = bytes(8)
    for block in re.finditer(b"##DT", bytes(content)):
        content[block.start() + 8 : block.start() + 16] = (24).to_bytes(8, "little")
    path.write_bytes(content)
    (capture,) = read_log(path)
    assert capture.source.format == "mf4"
    assert "its recorder did not finish it" in capture.source.reason
    for column in ("t", "id", "flags", "bus", "length", "payload"):
        np.testing.assert_array_equal(getattr(capture.frames, column), getattr(whole.frames, column))


@pytest.mark.parametrize("ending", ["read", "refused", "given up"])
def test_a_file_that_its_recorder_did_not_finish_leaves_no_copy(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asammdf copies such a file before it reads it (ASAM MDF 4.1: UnFinMF, and flags at byte 60)."""
    path = tmp_path / "drive.mf4"
    write_mf4(path, 0, 21_000 if ending == "given up" else 60)
    content = bytearray(path.read_bytes())
    content[:8], content[60:62] = b"UnFinMF ", b"\x01\x00"
    path.write_bytes(content[: len(content) // 2] if ending == "refused" else content)
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    blocks = blocks_of(path)
    if ending == "refused":
        with pytest.raises(DamagedFile):
            list(blocks)
    elif ending == "read":
        assert sum(len(block) for block in blocks if not isinstance(block, int)) == 60
    else:
        next(blocks)
        assert list(copies.glob("*/*drive.mf4")), "the copy is there while it is read"
        blocks.close()
    assert not list(copies.iterdir())


def sweep(name: str, seeds: range, folder: Path, python_can: PythonCan) -> None:
    """Every damaged file is read as python-can reads it, as far as it is whole, or refused by name."""
    suffix, _, levels = SAMPLES[name]
    bases = [sample(name, folder, level).read_bytes() for level in levels]
    path = folder / f"damaged{suffix}"
    read = 0
    for seed in seeds:
        path.write_bytes(mutated(bases[seed % len(bases)], np.random.default_rng([seed, *name.encode()])))
        try:
            captures = read_log(path, format=name, max_bad_lines=1)
        except LogError as error:
            assert path.name in str(error)  # noqa: PT017 - most are refused, some are read
            continue
        assert_right(path, captures, seed, python_can)
        read += 1
    assert read > len(seeds) / 50


def assert_right(path: Path, captures: list[Capture], seed: int, python_can: PythonCan) -> None:
    """The frames are those of python-can, in its order; only records that are said to be bad may be missing."""
    frames = [content for capture in captures for content in contents(capture.frames)]
    bad = len(bad_records(captures))
    try:
        said = [content_of(message) for message in python_can.messages(path, len(frames) + bad)]
    except NothingSaid:
        return
    rest = iter(said)
    assert all(any(same(frame, one) for one in rest) for frame in frames), seed
    assert len(said) <= len(frames) + bad, seed


def same(frame: tuple[object, ...], said: tuple[object, ...]) -> bool:
    """Whether they are equal, but that python-can takes an id for one of 29 bits where an MDF file says neither."""
    return frame == said or (said[1:2] == (True,) and frame == (said[0], False, *said[2:]) and int(said[0]) <= 0x7FF)  # type: ignore[call-overload]


def contents(frames: FrameTable) -> list[tuple[object, ...]]:
    found = []
    for id, flags, length, payload in zip(frames.id, frames.flags, frames.length, frames.payload, strict=True):
        if flags & ERROR:
            found.append(("error",))
        else:
            kinds = tuple(bool(flags & kind) for kind in (EXTENDED, REMOTE, FD))
            found.append((int(id), *kinds, payload[:length].tobytes()))
    return found


def content_of(message: can.Message) -> tuple[object, ...]:
    if message.is_error_frame:
        return ("error",)
    data = b"" if message.is_remote_frame else bytes(message.data)
    return message.arbitration_id, message.is_extended_id, message.is_remote_frame, message.is_fd, data


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to three things done to it."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(damaged) + 1))
        match int(rng.integers(7)):
            case 0:
                damaged[at : at + 1] = bytes([damaged[at] ^ 1 << int(rng.integers(8))]) if at < len(damaged) else b""
            case 1:
                damaged[at : at + 8] = rng.bytes(8)
            case 2:
                damaged[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                del damaged[at : at + int(rng.integers(1, 40))]
            case 4:
                damaged[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"LOBJ"])
            case 5:
                damaged[at:at] = damaged[at : at + int(rng.integers(1, 300))]
            case _:
                if rng.random() < 0.3:
                    del damaged[at:]
    return bytes(damaged)
