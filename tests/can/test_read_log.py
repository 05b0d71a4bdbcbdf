"""read_log: recognising, clocks, captures, packing, and what it refuses."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zstandard

from credit_like.can import COLUMNS, FrameTable, LogError, UnknownFormatError, open_log, read_log
from credit_like.can.readers import _stream

CANDUMP = "".join(f"({t / 100:.6f}) can0 {0x100 + t % 5:03X}#{t:08X}\n" for t in range(1, 301))


def log(folder: Path, content: str | bytes, name: str = "drive.log") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class TestRecognising:
    def test_says_what_and_why_whatever_the_name(self, tmp_path: Path) -> None:
        (capture,) = read_log(log(tmp_path, CANDUMP, "drive.csv"))
        assert capture.source.format == "candump"
        assert capture.source.reason == "50 of its first 50 lines have the form '(seconds) interface ID#DATA'"
        assert capture.name == "drive.csv"
        assert capture.frames.capture_names == ("drive.csv",)

    def test_damaged_first_lines_do_not_matter(self, tmp_path: Path) -> None:
        (capture,) = read_log(log(tmp_path, "# a note\n\n" + CANDUMP), max_bad_lines=0.01)
        assert [defect.line for defect in capture.source.defects] == [1]

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            ("Dear all,\nfind attached the log.\n", "its first line is 'Dear all,'"),
            (b"\x7fELF\0\0\0\0" * 99, "binary content"),
        ],
    )
    def test_unknown_content_is_refused_with_the_known_formats(
        self, content: str | bytes, kind: str, tmp_path: Path
    ) -> None:
        with pytest.raises(UnknownFormatError, match=r"drive\.log: no log of a known format \(") as caught:
            read_log(log(tmp_path, content))
        assert kind in str(caught.value)
        assert "\n  candump             (seconds) interface ID#DATA\n" in str(caught.value)

    def test_a_misspelt_format_is_refused_with_the_closest(self, tmp_path: Path) -> None:
        with pytest.raises(LogError, match=r"no reader is named 'candmp' \(did you mean 'candump'\?\)"):
            read_log(log(tmp_path, CANDUMP), format="candmp")

    def test_a_format_asked_for_is_used(self, tmp_path: Path) -> None:
        with pytest.raises(LogError, match=r"300 of 300 lines \(100\.000%\) are no frames of DAGA CSV"):
            read_log(log(tmp_path, CANDUMP), format="daga")


class TestClock:
    def test_time_running_backwards_starts_a_capture_and_says_so(self, tmp_path: Path) -> None:
        first, second = read_log(log(tmp_path, CANDUMP * 2))
        assert (first.name, second.name) == ("drive.log", "drive.log#2")
        assert second.frames.capture_names == ("drive.log#2",)
        assert len(first.frames) == len(second.frames) == 300
        assert first.source == second.source
        assert first.source.frames == 600
        (defect,) = first.source.defects
        assert defect.line == 301
        assert defect.reason == "time runs backwards by 2.99 s: a new capture starts here"

    def test_time_that_never_runs_forward_for_long_is_refused(self, tmp_path: Path) -> None:
        lines = [f"({t}.0) can0 123#" for t in np.random.default_rng(0).permutation(200)]
        with pytest.raises(LogError, match=r"drive\.log:\d+: time runs backwards by .* sort the log by time"):
            read_log(log(tmp_path, "\n".join(lines) + "\n"))

    @pytest.mark.parametrize(("restarts", "frames", "read"), [(16, 40, True), (17, 40, False), (17, 17_000, True)])
    def test_how_often_time_may_run_backwards(self, restarts: int, frames: int, read: bool, tmp_path: Path) -> None:
        parts = np.array_split(np.arange(frames), restarts + 1)
        lines = [f"({t}.0) can0 123#\n" for part in parts for t in range(1, len(part) + 1)]
        path = log(tmp_path, "".join(lines))
        if read:
            assert len(read_log(path)) == restarts + 1
            return
        with pytest.raises(LogError, match=r"time runs backwards by \d+ s, and so it does 17 times in 40 frames"):
            read_log(path)

    def test_a_clock_that_stands_still_needs_a_rate(self, tmp_path: Path) -> None:
        path = log(tmp_path, "(0.000000) can0 123#00\n" * 5)
        with pytest.raises(LogError, match=r"has no clock, .* with --assume-rate or data.assume_rate"):
            read_log(path)
        (capture,) = read_log(path, assume_rate=100)
        assert capture.frames.t.tolist() == [0, 0.01, 0.02, 0.03, 0.04]
        assert capture.source.defects[0].reason == "the log has no clock; 100 frames a second are assumed"


class TestBadLines:
    def test_are_counted_with_line_and_reason(self, tmp_path: Path) -> None:
        lines = [f"({t}.0) can0 123#00" for t in range(3000)]
        lines[1234] = "garbage"
        (capture,) = read_log(log(tmp_path, "\n".join(lines) + "\n"))
        assert len(capture.frames) == 2999
        assert [defect.line for defect in capture.source.defects] == [1235]

    def test_beyond_the_share_the_log_is_refused_with_examples(self, tmp_path: Path) -> None:
        content = CANDUMP + "oops\n" * 7
        with pytest.raises(LogError) as caught:
            read_log(log(tmp_path, content))
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'drive.log'}: 7 of 307 lines (2.280%) are no frames of candump -L")
        assert "line 301: a field is missing or is not separated as this format does it: 'oops'" in message
        assert message.count("line 30") == 5
        assert message.endswith("or allow more with --max-bad-lines or data.max_bad_lines")
        assert len(read_log(log(tmp_path, content), max_bad_lines=0.03)[0].frames) == 300

    def test_exactly_the_share_is_allowed(self, tmp_path: Path) -> None:
        lines = ["oops", *(f"({t}.0) can0 123#00" for t in range(999))]
        (capture,) = read_log(log(tmp_path, "\n".join(lines) + "\n"), format="candump")
        assert len(capture.frames) == 999
        with pytest.raises(LogError, match=r"1 of 999 lines \(0\.100%\) are no frames"):
            read_log(log(tmp_path, "\n".join(lines[:-1]) + "\n"), format="candump")


class TestRefusals:
    def test_missing_folder_and_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(LogError, match=r"nowhere\.log: no such file; check the path"):
            read_log(tmp_path / "nowhere.log")
        with pytest.raises(LogError, match="is a folder; give a log in it"):
            read_log(tmp_path)
        with pytest.raises(LogError, match=r"cannot be read .*; check the path and its rights"):
            read_log(log(tmp_path, CANDUMP) / "below")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "drive.log")
        with pytest.raises(LogError, match="not a regular file"):
            read_log(tmp_path / "drive.log")

    @pytest.mark.parametrize("damage", ["cut", "bit", "tail"])
    def test_damaged_gzip(self, damage: str, tmp_path: Path) -> None:
        packed = bytearray(gzip.compress(CANDUMP.encode()))
        if damage == "cut":
            del packed[-9:]
        elif damage == "bit":
            packed[-6] ^= 1  # in the checksum
        else:
            packed += b"tail"
        with pytest.raises(LogError, match=r"drive\.log: the compressed file is damaged"):
            read_log(log(tmp_path, bytes(packed)))


class TestZip:
    def write(self, folder: Path, members: dict[str, str | bytes]) -> Path:
        path = folder / "drives.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    def test_several_logs_are_captures_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"b.log": CANDUMP, "a/a.log": CANDUMP.replace("can0", "can1"), "README": "read me"})
        captures = read_log(path)
        assert [capture.name for capture in captures] == ["drives.zip/a/a.log", "drives.zip/b.log"]
        assert "README" in captures[0].source.defects[-1].reason
        assert captures[1].source.path.endswith("drives.zip/b.log")

    def test_names_lead_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        path = self.write(tmp_path / "in", {"../../evil.log": CANDUMP, "/etc/evil.log": CANDUMP})
        before = sorted(tmp_path.rglob("*"))
        assert len(read_log(path)) == 2
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("members", [{}, {f"{n}.log": CANDUMP for n in range(257)}])
    def test_too_few_or_too_many_members(self, members: dict[str, str | bytes], tmp_path: Path) -> None:
        with pytest.raises(LogError, match=rf"drives\.zip: the zip holds {len(members)} files"):
            read_log(self.write(tmp_path, members))

    def test_nothing_but_other_files(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownFormatError, match=r"drives\.zip: none of the 2 files in the zip is a log"):
            read_log(self.write(tmp_path, {"README": "read me", "LICENSE": "do what you like"}))

    def test_damaged(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"drive.log": CANDUMP})
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(LogError, match=r"drives\.zip: the zip is damaged or cut short"):
            read_log(path)
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 255
        path.write_bytes(flipped)
        with pytest.raises(LogError, match=r"drives\.zip/drive\.log: the compressed file is damaged"):
            read_log(path)


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_damaged_packing_gives_the_same_frames_or_a_refusal(packing: str, tmp_path: Path) -> None:
    path = log(tmp_path, gzip.compress(CANDUMP.encode()))
    if packing == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("drive.log", CANDUMP)
    whole = path.read_bytes()
    (expected,) = read_log(path)
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        at = int(rng.integers(len(damaged)))
        damaged[at : at + int(rng.integers(3))] = rng.bytes(int(rng.integers(3)))
        path.write_bytes(damaged)
        try:
            (capture,) = read_log(path)
        except LogError:
            refused += 1
            continue
        np.testing.assert_array_equal(capture.frames.payload, expected.frames.payload)
        np.testing.assert_array_equal(capture.frames.t, expected.frames.t)
    assert refused > 200


@pytest.mark.parametrize("packing", ["gz", "zip", "zst", "gz in a zip", "gz of gz in a zip"])
def test_a_bomb_is_refused_before_it_goes_off(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stream, "_FREE_BYTES", 1 << 20)
    bomb = CANDUMP.encode() + b" " * (8 << 20)
    path = log(tmp_path, zstandard.compress(bomb) if packing == "zst" else gzip.compress(bomb))
    if "zip" in packing:
        content = gzip.compress(bomb) if "gz" in packing else bomb
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("drive.log", gzip.compress(content) if "gz of" in packing else content)
    if packing == "gz of gz in a zip":
        with pytest.raises(UnknownFormatError, match="no log of a known format"):  # packed twice: not gone into
            read_log(path, block_bytes=1 << 16)
        return
    assert path.stat().st_size * _stream.MAX_EXPANSION < len(bomb)
    with pytest.raises(LogError, match=r"unpacks to more than 250 times its size, as no CAN log does"):
        read_log(path, block_bytes=1 << 16)


def test_many_small_bombs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file in the zip unpacks to more than is allowed, all together do."""
    monkeypatch.setattr(_stream, "_FREE_BYTES", 1 << 20)
    path = tmp_path / "drives.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"{number}.log", CANDUMP.encode() + b" " * (900 << 10))
    allowed = max(1 << 20, path.stat().st_size * _stream.MAX_EXPANSION)
    assert 900 << 10 < allowed < 9 * (900 << 10)
    with pytest.raises(LogError, match=r"drives\.zip/\d\.log: unpacks to more than 250 times its size"):
        read_log(path, block_bytes=1 << 16)


def test_zstd(tmp_path: Path) -> None:
    packed = zstandard.compress(CANDUMP[:6000].encode()) + zstandard.compress(CANDUMP[6000:].encode())
    (capture,) = read_log(log(tmp_path, packed))
    (plain,) = read_log(log(tmp_path, CANDUMP))
    assert capture.source.sha256 == plain.source.sha256
    with pytest.raises(LogError, match="the compressed file is damaged, cut short"):
        read_log(log(tmp_path, packed[:-9]))


class TestBlocks:
    """open_log: the same as read_log, in pieces."""

    def test_blocks_together_are_the_whole(self, tmp_path: Path) -> None:
        path = log(tmp_path, CANDUMP * 2)
        (scan,) = open_log(path, block_bytes=1000)
        blocks = list(scan.frames())
        assert len(blocks) > 15
        assert {block.capture_names for block in blocks} == {("drive.log",), ("drive.log#2",)}
        for facts, capture in zip(scan.captures(), read_log(path), strict=True):
            own = FrameTable.concatenate([block for block in blocks if block.capture_names == (facts.name,)])
            assert facts.with_frames(own).source == capture.source
            for column in COLUMNS:
                np.testing.assert_array_equal(getattr(own, column), getattr(capture.frames, column))

    def test_a_log_can_be_read_again(self, tmp_path: Path) -> None:
        (scan,) = open_log(log(tmp_path, CANDUMP))
        first = sum(len(block) for block in scan.frames())
        assert sum(len(block) for block in scan.frames()) == first == 300
        assert scan.captures()[0].frames == 300

    def test_what_depends_on_the_whole_log_is_refused_at_its_end(self, tmp_path: Path) -> None:
        (scan,) = open_log(log(tmp_path, CANDUMP + "oops\n" * 7))
        blocks = scan.frames()
        assert len(next(blocks)) == 300
        with pytest.raises(LogError, match="7 of 307 lines"):
            next(blocks)

    def test_a_still_clock_is_known_before_the_first_block(self, tmp_path: Path) -> None:
        path = log(tmp_path, "(5.000000) can0 123#00\n" * 50)
        (scan,) = open_log(path, assume_rate=10, block_bytes=64)
        assert np.concatenate([block.t for block in scan.frames()]).tolist() == [n / 10 for n in range(50)]
        (scan,) = open_log(log(tmp_path, "(5.000000) can0 123#00\n" * 9 + "(6.000000) can0 123#00\n"), assume_rate=10)
        assert np.concatenate([block.t for block in scan.frames()]).tolist() == [5.0] * 9 + [6.0]

    def test_damage_without_end_is_counted_and_not_kept(self, tmp_path: Path) -> None:
        path = log(tmp_path, CANDUMP + "oops\n" * 20_000 + "(9.0) can0 123#0\n" * 7)
        (capture,) = read_log(path, max_bad_lines=1)
        assert len([defect for defect in capture.source.defects if defect.line]) == 10_000
        counted = {defect.reason for defect in capture.source.defects if not defect.line}
        assert counted == {
            "10000 more lines are no frames: a field is missing or is not separated as this format does it",
            "7 more lines are no frames: the payload is not whole bytes of two hexadecimal digits each",
        }
        with pytest.raises(LogError, match=r"time runs backwards by 2\.99 s, and so it does 10000 or more times in"):
            read_log(log(tmp_path, "(3.00) can0 123#\n(0.01) can0 123#\n" * 10_001), max_bad_lines=1)
