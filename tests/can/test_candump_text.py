"""What candump shows on a screen, and clocks that count from line to line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from credit_like.can import ERROR, EXTENDED, FD, REMOTE, Capture, LogError, read_log


def read(folder: Path, lines: list[str], **options: object) -> Capture:
    path = folder / "drive.log"
    path.write_text("\n".join(lines) + "\n")
    (capture,) = read_log(path, **options)  # type: ignore[arg-type]
    return capture


def test_kinds_of_frames(tmp_path: Path) -> None:
    capture = read(
        tmp_path,
        [
            " (100.000000)  can0  123   [0] ",
            " (100.100000)  can0  7FF   [1]  0a",
            " (100.200000)  vcan0  00000123   [8]  01 02 03 04 05 06 07 08   '........'",
            " (100.300000)  can0  TX - -  1FFFFFFF   [2]  41 7E   'A~'",
            " (100.400000)  can0  123   [0]  remote request",
            " (100.500000)  can0  RX B E  123  [08]  00 01 02 03 04 05 06 07",
            " (100.600000)  can0  20000080   [8]  00 00 00 00 00 00 00 00   ERRORFRAME",
            "\tbus-error",
            " (100.700000)  can0  123  [64]  " + " ".join(["5A"] * 64),
        ],
    )
    frames = capture.frames
    assert frames.id.tolist() == [0x123, 0x7FF, 0x123, 0x1FFFFFFF, 0x123, 0x123, 0x80, 0x123]
    assert frames.flags.tolist() == [0, 0, EXTENDED, EXTENDED, REMOTE, FD, ERROR, FD]
    assert frames.length.tolist() == [0, 1, 8, 2, 0, 8, 8, 64]
    assert frames.bus.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert [(defect.line, defect.reason) for defect in capture.source.defects] == [
        (8, "no CAN frame but another event")
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (" (1.5)  can0  123   [2]  01", "not as many bytes as its length field"),
        (" (1.5)  can0  123   [9]  01 02 03 04 05 06 07 08 09", "payload length is not a number in range"),
        (" (1.5)  can0  123  [09]  01 02 03 04 05 06 07 08 09", "cannot hold that many"),
        (" (1.5)  can0  123   [2]  01 0203", "text after the end"),
        (" (1.5)  can0  123   [1]  41   'B'", "two columns that repeat each other disagree"),
        (" (1.5)  can0  123  [08]  remote request", "frame type or flags"),
        ("  can0  123   [1]  01", "time is not a plain number"),
        (" (2023-03-15 00:35:52.415482)  can0  123   [1]  01", "time is not a plain number"),
        (" (1.5)  can0  12   [1]  01", "id is not a hexadecimal number"),
        (" (1.5)  can0  123   [1  01", "payload length is not a number"),
        (" (1.5)  can0  123   01 02", "is missing or is not separated"),
    ],
)
def test_reasons(line: str, reason: str, tmp_path: Path) -> None:
    good = " (1.0)  can0  123   [1]  01"
    capture = read(tmp_path, [good, line, good.replace("1.0", "2.0")], max_bad_lines=0.5)
    assert len(capture.frames) == 2
    assert [(defect.line, reason in defect.reason) for defect in capture.source.defects] == [(2, True)]


def test_dates_are_utc(tmp_path: Path) -> None:
    capture = read(
        tmp_path,
        [
            " (1970-01-01 00:00:00.000000)  can0  123   [1]  01",
            " (2000-02-29 12:00:00.250000)  can0  123   [1]  01",
            " (2023-03-15 00:35:52.415482)  can0  123   [1]  01",
        ],
    )
    assert capture.frames.t.tolist() == [0.0, 951825600.25, 1678840552.415482]


@pytest.mark.parametrize("date", ["2023-02-29", "2023-13-01", "2023-00-10", "2023-04-31", "1969-12-31", "9999-01-01"])
def test_days_that_are_not_are_no_times(date: str, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="the time is not a plain number"):
        read(tmp_path, [f" ({date} 00:00:00.000000)  can0  123   [1]  01"], format="candump_text")


def test_a_log_without_times_has_no_clock(tmp_path: Path) -> None:
    lines = ["  can0  123   [2]  01 02"] * 5
    with pytest.raises(LogError, match=r"has no clock, .* with --assume-rate or data.assume_rate"):
        read(tmp_path, lines)
    assert read(tmp_path, lines, assume_rate=1000).frames.t.tolist() == [0, 0.001, 0.002, 0.003, 0.004]


class TestGaps:
    """-td, on a screen and in a log file."""

    GAPS = (np.random.default_rng(5).integers(1, 3000, 400) / 1e6).tolist()

    def lines(self, form: str) -> list[str]:
        return [form.format(gap) for gap in [0.0, *self.GAPS]]

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ("({:017.6f}) can0 123#0102", "candump_delta"),
            (" ({:010.6f})  can0  123   [2]  01 02", "candump_text_delta"),
        ],
    )
    def test_add_up_without_drift(self, form: str, name: str, tmp_path: Path) -> None:
        capture = read(tmp_path, self.lines(form))
        assert capture.source.format == name
        assert "their times are gaps" in capture.source.reason
        micros = np.concatenate(([0], np.cumsum(np.rint(np.array(self.GAPS) * 1e6))))
        np.testing.assert_array_equal(capture.frames.t, micros / 1e6)
        (smaller,) = read_log(tmp_path / "drive.log", block_bytes=100)
        np.testing.assert_array_equal(smaller.frames.t, capture.frames.t)

    def test_a_line_that_is_no_frame_passes_its_gap_on(self, tmp_path: Path) -> None:
        lines = ["(0.0) can0 123#", "(0.5) can0 123#0", "(0.1) can0 123#", "garbage", "(0.1) can0 123#"]
        capture = read(tmp_path, lines, format="candump_delta", max_bad_lines=0.5)
        assert capture.frames.t.tolist() == [0.0, 0.6, 0.7]

    def test_times_that_are_no_gaps_are_defects(self, tmp_path: Path) -> None:
        lines = ["(0.0) can0 123#", "(1678840552.4) can0 123#", "(0.1) can0 123#"]
        capture = read(tmp_path, lines, format="candump_delta", max_bad_lines=0.5)
        assert capture.frames.t.tolist() == [0.0, 0.1]
        assert capture.source.defects[0].line == 2

    def test_a_shuffled_log_is_not_taken_for_gaps(self, tmp_path: Path) -> None:
        times = np.random.default_rng(0).permutation(200)
        with pytest.raises(LogError, match="time runs backwards by"):
            read(tmp_path, [f"({t}.0) can0 123#" for t in times])
