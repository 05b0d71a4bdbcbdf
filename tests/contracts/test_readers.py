"""What every reader guarantees, held against every reader in the package and, for what it says, a plain reference."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from credit_like.can import READERS as ALL_READERS
from credit_like.can import Capture, FrameTable, LogError, open_log, read_log
from credit_like.can.readers import TextReader
from credit_like.can.scan import ReaderScan
from tests.contracts.line_references import REFERENCES
from tests.contracts.reference_parts import EVENT, NOTHING, WRONG_LABEL, Frame
from tests.contracts.variants import VARIANTS

READERS = {name: reader for name, reader in ALL_READERS.items() if issubclass(reader, TextReader)}
MUTATIONS, SOAKED = 300, 2500
every_reader = pytest.mark.parametrize("name", sorted(READERS))


def example_lines(name: str, copies: int = 1) -> list[bytes]:
    """Header (once) and lines of the reader's example, repeated with the clock moved on; without line ends."""
    reader = READERS[name]
    lines = reader.example.rstrip(b"\n").split(b"\n")
    header = lines[:1] if reader.header else []
    return header + lines[len(header) :] * copies


class Said(NamedTuple):
    """The reference's word on a whole log."""

    frames: list[Frame]
    bad: int
    events: int
    wrong_label: bool


def said_by(name: str, content: bytes) -> Said:
    reader, reference = READERS[name], REFERENCES[name]()
    lines = content.split(b"\n")
    terminated = lines[-1] == b""
    frames: list[Frame] = []
    bad = events = 0
    seen = False
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b" \t\r")
        if not line and len(raw) <= 4096:
            continue
        first, seen = not seen, True
        if first and len(raw) <= 4096 and reader.header is not None and line.strip().lower() == reader.header:
            continue
        said = None if len(raw) > 4096 else reference(line)
        if said is NOTHING:
            continue
        if said is EVENT:
            events += 1
            continue
        if number == len(lines) and not terminated and (reader.needs_line_end or said in (None, WRONG_LABEL)):
            continue
        if said is WRONG_LABEL:
            return Said(frames, bad, events, True)
        if said is None:
            bad += 1
        else:
            frames.append(said)  # type: ignore[arg-type]
    return Said(frames, bad, events, False)


def frames_of(captures: list[Capture]) -> list[Frame]:
    table = FrameTable.concatenate([capture.frames for capture in captures])
    payloads = [bytes(row[:n]) for row, n in zip(table.payload, table.length, strict=True)]
    assert not any(row[n:].any() for row, n in zip(table.payload, table.length, strict=True))
    columns = (table.t.tolist(), table.id.tolist(), table.flags.tolist(), payloads, table.label.tolist())
    return list(zip(*columns, strict=True))


def assert_frames(found: list[Frame], expected: list[Frame], content: bytes) -> None:
    """Equal in everything; times of less than a nanosecond, where no clock is that good, only to the last bit or so."""
    assert [frame[1:] for frame in found] == [frame[1:] for frame in expected], content
    for (left, *_), (right, *_) in zip(found, expected, strict=True):
        assert left == right or (right < 1e-9 and abs(left - right) <= max(1e-15 * right, 1e-22)), content


def bad_lines(captures: list[Capture]) -> list[int]:
    skipped = ("time runs backwards", "the last line has no line end", "no CAN frame but another event")
    return [d.line for d in captures[0].source.defects if d.line and not d.reason.startswith(skipped)]


def events(captures: list[Capture]) -> int:
    """How many lines were passed over as events."""
    for defect in captures[0].source.defects:
        if defect.reason == "no CAN frame but another event":
            return 1
        if "are no CAN frames but other events" in defect.reason:
            return int(defect.reason.split()[0])
    return 0


def assert_same(left: list[Capture], right: list[Capture]) -> None:
    assert [capture.name for capture in left] == [capture.name for capture in right]
    for a, b in zip(left, right, strict=True):
        for column in ("t", "id", "flags", "bus", "length", "payload", "label", "attack"):
            np.testing.assert_array_equal(getattr(a.frames, column), getattr(b.frames, column))
        assert a.source.defects == b.source.defects
        assert a.intervals == b.intervals


def write(folder: Path, content: bytes, name: str = "drive.log") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def messy(name: str) -> bytes:
    """Good lines with bad, blank and overlong ones between, both line ends, and a last line without any."""
    lines = example_lines(name, 6)
    lines[3:3] = [b"", b"\xff\xfe not a frame", b" \t ", b"x" * 5000]
    lines.insert(9, b"\0" * 7)
    text = b"\n".join(lines[:12]) + b"\r\n" + b"\r\n".join(lines[12:])
    return b"\xef\xbb\xbf" + text


@every_reader
class TestEveryReader:
    def test_has_a_reference(self, name: str) -> None:
        assert name in REFERENCES, f"add {name} to tests/contracts/line_references.py"

    def test_reads_its_example(self, name: str, tmp_path: Path) -> None:
        reader = READERS[name]
        path = write(tmp_path, reader.example)
        (tmp_path / "capture_metadata.json").write_text(json.dumps({"drive": {}} if name == "road" else {}))
        captures = read_log(path)
        assert captures[0].source.format == name
        assert captures[0].source.reason
        assert captures[0].source.frames == sum(len(capture.frames) for capture in captures)
        assert frames_of(captures) == said_by(name, reader.example).frames
        assert not bad_lines(captures)

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
    def test_blocks_do_not_show(self, name: str, size: int, tmp_path: Path) -> None:
        path = write(tmp_path, messy(name))
        whole = read_log(path, format=name, max_bad_lines=1)
        said = said_by(name, messy(name).removeprefix(b"\xef\xbb\xbf"))
        assert frames_of(whole) == said.frames
        assert len(bad_lines(whole)) == said.bad >= 3
        assert events(whole) == said.events
        assert_same(read_log(path, format=name, max_bad_lines=1, block_bytes=size), whole)

    @pytest.mark.parametrize("packing", ["gz", "zip", "zip of gz"])
    def test_packing_does_not_show(self, name: str, packing: str, tmp_path: Path) -> None:
        content = b"\n".join(example_lines(name, 5)) + b"\n"
        plain = read_log(write(tmp_path, content), format=name, name="x")
        packed = tmp_path / f"drive.{packing[:3]}"
        if packing == "gz":
            packed.write_bytes(gzip.compress(content))
        else:
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("drive.log", gzip.compress(content) if packing == "zip of gz" else content)
        captures = read_log(packed, format=name, name="x")
        assert_same(captures, plain)
        assert captures[0].source.sha256 == plain[0].source.sha256

    def test_every_line_is_counted_once(self, name: str, tmp_path: Path) -> None:
        """As a frame, a bad line, an event, a header or comment, or the last line that may be cut."""
        contents = [mutated(messy(name), np.random.default_rng([seed, *name.encode()])) for seed in range(40)]
        read = 0
        for content in [READERS[name].example, messy(name), *contents]:
            (log,) = open_log(write(tmp_path, content), name, max_bad_lines=1, block_bytes=200)
            assert isinstance(log, ReaderScan)
            try:
                frames = sum(map(len, log.frames()))
            except LogError:
                continue
            read += 1
            found = log.findings
            text = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
            lines = sum(len(line) > 4096 or bool(line.rstrip(b" \t\r")) for line in text)
            skipped = found.events + found.passed + (found.cut is not None)
            assert frames + found.bad_lines + skipped == lines, content
            assert frames == found.rows == sum(capture.frames for capture in log.captures())
        assert read > 20

    def test_line_ends_do_not_show(self, name: str, tmp_path: Path) -> None:
        lines = example_lines(name, 3)
        unix = read_log(write(tmp_path, b"\n".join(lines) + b"\n"), format=name, name="x")
        windows = read_log(write(tmp_path, b"\r\n".join(lines) + b"\r\n"), format=name, name="x")
        assert_same(unix, windows)

    @pytest.mark.parametrize("junk", [b"\0\0\0\0", b"\xff\xfe\xfd", b"caf\xe9", b"{}", b"-"])
    def test_junk_is_a_defect_with_its_line(self, name: str, junk: bytes, tmp_path: Path) -> None:
        lines = example_lines(name, 2)
        lines.insert(4, junk)
        captures = read_log(write(tmp_path, b"\n".join(lines) + b"\n"), format=name, max_bad_lines=0.5)
        assert bad_lines(captures) == [5]

    def test_too_many_bad_lines_are_refused_by_name(self, name: str, tmp_path: Path) -> None:
        lines = [*example_lines(name), b"this is no frame"]
        path = write(tmp_path, b"\n".join(lines) + b"\n")
        with pytest.raises(
            LogError, match=rf"drive\.log: 1 of \d+ lines .* more than 0\.100%.* line {len(lines)}: .*this"
        ):
            read_log(path, format=name)

    @pytest.mark.parametrize("content", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf"])
    def test_an_empty_log_is_refused_by_name(self, name: str, content: bytes, tmp_path: Path) -> None:
        with pytest.raises(LogError, match=r"drive\.log: (is empty|holds no frame)"):
            read_log(write(tmp_path, content), format=name)

    def test_a_cut_gzip_is_refused_by_name(self, name: str, tmp_path: Path) -> None:
        packed = gzip.compress(b"\n".join(example_lines(name, 200)) + b"\n")
        path = write(tmp_path, packed[: len(packed) // 2])
        with pytest.raises(LogError, match=r"drive\.log: the compressed file is damaged, cut short"):
            read_log(path, format=name, max_bad_lines=1)

    def test_a_cut_log_loses_at_most_its_last_line(self, name: str, tmp_path: Path) -> None:
        content = READERS[name].example
        whole = said_by(name, content).frames
        for end in range(len(content) * 2 // 3, len(content)):
            frames = frames_of(read_log(write(tmp_path, content[:end]), format=name))
            assert frames == whole[: len(frames)]
            assert len(frames) >= len(said_by(name, content[:end].rpartition(b"\n")[0] + b"\n").frames)

    def test_mutated_logs_give_right_frames_or_a_named_refusal(self, name: str, tmp_path: Path) -> None:
        sweep(name, range(MUTATIONS), tmp_path)

    @pytest.mark.slow
    def test_many_mutated_logs_give_right_frames_or_a_named_refusal(self, name: str, tmp_path: Path) -> None:
        sweep(name, range(MUTATIONS, MUTATIONS + SOAKED), tmp_path)


def sweep(name: str, seeds: range, folder: Path) -> None:
    """Every damaged log is read exactly as the reference reads it, or refused by name."""
    bases = [b"\n".join(example_lines(name, 4)) + b"\n", *VARIANTS.get(name, ())]
    read = 0
    for seed in seeds:
        content = mutated(bases[seed % len(bases)], np.random.default_rng([seed, *name.encode()]))
        path = write(folder, content)
        said = said_by(name, content.removeprefix(b"\xef\xbb\xbf"))
        captures, error = outcome(path, name)
        if error:
            assert "drive.log" in error
            assert said.wrong_label or not said.frames or "no clock" in error, content
            continue
        assert not said.wrong_label, content
        assert_frames(frames_of(captures), said.frames, content)
        assert len(bad_lines(captures)) == said.bad, content
        assert events(captures) == said.events, content
        read += 1
    assert read > len(seeds) / 2


def outcome(path: Path, name: str) -> tuple[list[Capture], str]:
    try:
        return read_log(path, format=name, max_bad_lines=1), ""
    except LogError as error:
        return [], str(error)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The log with one to three things done to it that happen to logs, or that someone might try."""
    for _ in range(rng.integers(1, 4)):
        lines = content.split(b"\n")
        row = int(rng.integers(len(lines)))
        line = bytearray(lines[row])
        at = int(rng.integers(len(line) + 1))
        odd = [0, 9, 10, 13, 32, 34, 35, 43, 44, 45, 46, 48, 49, 82, 84, 101, 128, 195, 255, *b"9aAfFgGXx"]
        match int(rng.integers(14)):
            case 0:
                del line[at:]
            case 1:
                del line[:at]
            case 2:
                del line[at : at + int(rng.integers(1, 4))]
            case 3:
                line[at:at] = bytes([odd[rng.integers(len(odd))]])
            case 4:
                line[at : at + 1] = bytes([odd[rng.integers(len(odd))]])
            case 5:
                line = line * 2
            case 6:
                lines.insert(row, bytes(line))
            case 7:
                for separator in (b",", b" ", b"#"):
                    fields = bytes(line).split(separator)
                    if len(fields) > 2:
                        rng.shuffle(fields)
                        line = bytearray(separator.join(fields))
                        break
            case 8:
                line[at:at] = b"9" * int(rng.integers(1, 30))
            case 9:
                line[at:at] = bytes(line[at : at + int(rng.integers(1, 20))])
            case 10:
                line = bytearray(bytes(line).swapcase())
            case 11:
                others = READERS[sorted(READERS)[rng.integers(len(READERS))]].example.split(b"\n")
                lines.insert(row, others[rng.integers(len(others))])
            case 12:
                line[at:at] = rng.bytes(int(rng.integers(1, 8)))
            case _:
                line[at:at] = b" " * int(rng.integers(1, 6000))
        lines[row] = bytes(line)
        content = b"\n".join(lines)
    return content[: int(rng.integers(len(content)))] if rng.random() < 0.1 else content


def test_a_new_reader_is_covered_by_being_defined() -> None:
    assert {"candump", "can_train_and_test", "crysys", "daga", "hcrl_csv", "hcrl_text", "road", "trc"} <= set(READERS)
    assert all(reader.name == name for name, reader in READERS.items())
