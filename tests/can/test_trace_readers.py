"""The logs of PEAK's and Vector's tools, and python-can's own word on what its writers wrote."""

from __future__ import annotations

import logging
from pathlib import Path

import can
import numpy as np
import pytest
from can.io.trc import TRCFileVersion

from credit_like.can import ERROR, EXTENDED, FD, REMOTE, Capture, FrameTable, LogError, read_log
from tests.can.messages import assert_like_messages, messages


def read(folder: Path, text: str, name: str = "drive.trc", **options: object) -> Capture:
    path = folder / name
    path.write_bytes(text.encode())
    (capture,) = read_log(path, **options)  # type: ignore[arg-type]
    return capture


def payloads(frames: FrameTable) -> list[str]:
    return [row[:n].tobytes().hex() for row, n in zip(frames.payload, frames.length, strict=True)]


class TestTrc:
    @pytest.mark.parametrize("version", [TRCFileVersion.V1_0, TRCFileVersion.V2_1])
    def test_what_python_can_wrote(self, version: TRCFileVersion, tmp_path: Path) -> None:
        plain = [m for m in messages(200, seed=3) if not (m.is_error_frame or m.is_remote_frame or m.is_fd)]
        path = tmp_path / "drive.trc"
        with can.TRCWriter(path) as writer:
            writer.file_version = version
            for message in plain:
                writer.on_message_received(message)
        (capture,) = read_log(path)
        assert not capture.source.defects
        with can.LogReader(path) as reader:
            said = list(reader)
            began = reader.start_time  # type: ignore[attr-defined]
        assert_like_messages(capture.frames, said, began.timestamp() if began else 0.0)
        assert len(capture.frames) == len(plain)

    def test_every_version_says_the_same(self, tmp_path: Path) -> None:
        texts = {
            "1.0": "1) 10 0300 2 0C 00\n2) 12 18DAF110 0\n3) 17 0100 8 RTR\n",
            "1.1": "1) 10.0 Rx 0300 2 0C 00\n2) 12.0 Tx 18DAF110 0\n3) 17.0 Rx 0100 8 RTR\n",
            "1.2": "1) 10.0 1 Rx 0300 2 0C 00\n2) 12.0 1 Tx 18DAF110 0\n3) 17.0 1 Rx 0100 8 RTR\n",
            "1.3": "1) 10.0 1 Rx 0300 - 2 0C 00\n2) 12.0 1 Tx 18DAF110 - 0\n3) 17.0 1 Rx 0100 - 8 RTR\n",
            "2.0": "1 10.0 DT 0300 Rx 2 0C 00\n2 12.0 DT 18DAF110 Tx 0\n3 17.0 RR 0100 Rx 8\n",
            "2.1": "1 10.0 DT 1 0300 Rx - 2 0C 00\n2 12.0 DT 1 18DAF110 Tx - 0\n3 17.0 RR 1 0100 Rx - 8\n",
        }
        for version, body in texts.items():
            capture = read(tmp_path, f";$FILEVERSION={version}\n;$STARTTIME=45789.8\n;\n{body}")
            assert capture.source.reason == f"its header says $FILEVERSION={version}"
            assert capture.frames.t.tolist() == [0.010, 0.012, 0.017]
            assert capture.frames.id.tolist() == [0x300, 0x18DAF110, 0x100]
            assert capture.frames.flags.tolist() == [0, EXTENDED, REMOTE]
            assert payloads(capture.frames) == ["0c00", "", ""]
        assert len(read(tmp_path, texts["1.0"]).frames) == 3, "without a version it is 1.0"

    def test_can_fd_buses_errors_and_events_of_version_2(self, tmp_path: Path) -> None:
        text = (
            ";$FILEVERSION=2.1\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n"
            "1 1059.9 FD 1 0300 Rx - 10 " + " ".join(["0A"] * 16) + "\n"
            "2 1060.0 BI 3 18DAF110 Rx - 2 01 02\n"
            "3 1061.0 ER 1 - Rx - 5 04 00 02 00 00\n"
            "4 1062.0 ST 1 - Rx - 4 00 00 00 08\n"
            "5 1063.0 EV 1 something\n"
        )
        capture = read(tmp_path, text)
        assert capture.frames.flags.tolist() == [FD, FD | EXTENDED, ERROR]
        assert capture.frames.length.tolist() == [16, 2, 5]
        assert capture.frames.bus.tolist() == [0, 1, 0]
        assert [d.reason for d in capture.source.defects] == [
            "2 lines are no CAN frames but other events, the first is line 6"
        ]

    def test_other_columns_and_versions(self, tmp_path: Path) -> None:
        text = ";$FILEVERSION=2.0\n;$COLUMNS=O,B,T,x,l,I,D\n5.0 2 DT anything 1 0300 7F\n"
        assert payloads(read(tmp_path, text).frames) == ["7f"]
        with pytest.raises(LogError, match=r"no log of a known format \(its first line is ';\$FILEVERSION=3\.0'\)"):
            read(tmp_path, ";$FILEVERSION=3.0\n1) 10.0 Rx 0300 2 0C 00\n")


class TestAsc:
    def test_what_python_can_wrote(self, tmp_path: Path) -> None:
        path = tmp_path / "drive.asc"
        wrote = messages(300, seed=4)
        with can.ASCWriter(path) as writer:
            for message in wrote:
                writer.on_message_received(message)
        (capture,) = read_log(path)
        with can.LogReader(path) as reader:
            assert_like_messages(capture.frames, list(reader))
        assert len(capture.frames) == len(wrote)
        assert [defect.reason for defect in capture.source.defects] == ["no CAN frame but another event"]

    def test_decimal_numbers_and_gaps(self, tmp_path: Path) -> None:
        text = (
            "base dec timestamps relative\n"
            "0.500 1 291 Rx d 3 1 22 255\n0.250 1 Statistic: D 1\n0.250 2 417001744x Tx r\n0.5 1 291 Rx d 1 256\n"
        )
        capture = read(tmp_path, text, "drive.asc", max_bad_lines=0.5)
        assert capture.frames.t.tolist() == [0.5, 1.0]
        assert capture.frames.id.tolist() == [0x123, 0x18DAF110]
        assert payloads(capture.frames) == ["0116ff", ""]
        assert [defect.line for defect in capture.source.defects] == [5, 3]

    def test_classic_frames_on_a_can_fd_channel(self, tmp_path: Path) -> None:
        text = (
            "base hex timestamps absolute\n"
            "0.1 CANFD 1 Rx 321 Engine_Data 0 0 2 2 AB CD 0 0 0 0 0\n"
            "0.2 CANFD 1 Rx 321 0 0 2 2 AB CD 0 0 1000 0 0\n"
            "0.3 CANFD 1 Rx 321 0 0 8 0 0 0 10 0 0\n"
            "0.4 CANFD 1 Rx ErrorFrame Not Acknowledge error\n"
        )
        frames = read(tmp_path, text, "drive.asc").frames
        assert frames.flags.tolist() == [0, FD, REMOTE, ERROR]
        assert payloads(frames) == ["abcd", "abcd", "", ""]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("0.5 1 123 Rx d 2 01", "not as many bytes as its length field"),
            ("0.5 1 123 Rx d 1 01 02", "text after the end"),
            ("0.5 1 123 Rx d 1 1", "payload is not whole bytes"),
            ("0.5 1 EngineData Rx d 1 01", "id is not a hexadecimal number"),
            ("0.5 1 800 Rx d 1 01", "does not fit 11 or 29 bits"),
            ("0.5 1 20000000x Rx d 1 01", "does not fit 11 or 29 bits"),
            ("0.5 0 123 Rx d 1 01", "interface is not a name"),
            ("0.5 1 123 Xx d 1 01", "frame type or flags"),
            ("0.5 CANFD 1 Rx 123 0 0 9 8 01 02 03 04 05 06 07 08", "payload length is not a number in range"),
            ("0.5 CANFD 1 Rx 123 0 0 1 1 01 and more", "text after the end"),
            ("0.5 CANFD 1 Rx 123 0 0 9 12 00 01 02 03 04 05 06 07 08 09 0A 0B 0 0 0", "payload length is not"),
            ("what is this", "is missing or is not separated"),
        ],
    )
    def test_reasons(self, line: str, reason: str, tmp_path: Path) -> None:
        capture = read(
            tmp_path, f"base hex timestamps absolute\n0.1 1 123 Rx d 0\n{line}\n", "x.asc", max_bad_lines=0.5
        )
        assert len(capture.frames) == 1
        assert [(defect.line, reason in defect.reason) for defect in capture.source.defects] == [(3, True)]

    def test_events_are_counted_and_no_faults(self, tmp_path: Path) -> None:
        text = (
            "// a comment\nbase hex timestamps absolute\n0.0 Start of measurement\n0.1 1 123 TxRq d 0\n"
            "0.2 1 123 Tx d 0\n0.3 CAN 1 Status:chip status error passive\n0.4 LIN 1 something\nEnd Triggerblock\n"
        )
        capture = read(tmp_path, text, "drive.asc")
        assert np.allclose(capture.frames.t, [0.2])
        assert [d.reason for d in capture.source.defects] == [
            "4 lines are no CAN frames but other events, the first is line 3"
        ]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "can")
