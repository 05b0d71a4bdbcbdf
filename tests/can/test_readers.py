"""What the single formats say: ids, flags, labels, clocks, and the traps that their data sets set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.can import ERROR, EXTENDED, FD, READERS, REMOTE, FrameTable, LogError, read_log
from credit_like.can.readers._numbers import read_seconds


def read(folder: Path, text: str, name: str = "drive.log", **options: object) -> FrameTable:
    """The frames of a log with this text, which must be one capture."""
    path = folder / name
    path.write_text(text, newline="")
    (capture,) = read_log(path, **options)  # type: ignore[arg-type]
    return capture.frames


def payloads(frames: FrameTable) -> list[str]:
    return [row[:n].tobytes().hex() for row, n in zip(frames.payload, frames.length, strict=True)]


@given(st.floats(0, 1e11, exclude_max=True, allow_subnormal=False))
def test_times_are_read_as_python_reads_them(value: float) -> None:
    for text in (repr(value), f"{value:.6f}", f"{value:.9e}"):
        found, stop = read_seconds(np.frombuffer(text.encode(), np.uint8), 0, len(text), 0)
        if float(text) >= 1e11:
            assert stop == -1
        else:
            assert stop == len(text)
            assert found == pytest.approx(float(text), rel=0 if value > 1e-5 else 4e-16, abs=1e-22)


@pytest.mark.parametrize("text", ["", ".", "5.", ".5", "-1.0", "+1", "nan", "inf", "1e", "1e+", "1e11", "9" * 30])
def test_what_is_no_time_is_not_read(text: str) -> None:
    _, stop = read_seconds(np.frombuffer((text + " ").encode(), np.uint8), 0, len(text), 0)
    assert stop == -1


class TestCandump:
    def test_kinds_of_frames(self, tmp_path: Path) -> None:
        lines = [
            "(100.000000) can0 123#",
            "(100.100000) can0 7FF#00",
            "(100.200000) can0 00000123#0102030405060708",
            "(100.300000) can0 1FFFFFFF#aB",
            "(100.400000) can0 123#R",
            "(100.500000) can0 18DAF110#R8",
            "(100.600000) can0 20000080#0000000000000000",
            "(100.700000) can0 123##0",
            "(100.800000) can0 18DAF110##3" + "5A" * 64,
        ]
        frames = read(tmp_path, "\n".join(lines) + "\n")
        assert frames.id.tolist() == [0x123, 0x7FF, 0x123, 0x1FFFFFFF, 0x123, 0x18DAF110, 0x80, 0x123, 0x18DAF110]
        assert frames.flags.tolist() == [0, 0, EXTENDED, EXTENDED, REMOTE, EXTENDED | REMOTE, ERROR, FD, EXTENDED | FD]
        assert frames.length.tolist() == [0, 1, 8, 1, 0, 0, 8, 0, 64]
        assert payloads(frames)[2:4] == ["0102030405060708", "ab"]
        assert frames.payload.shape == (9, 64)
        assert len(set(frames.key[[0, 2]].tolist())) == 2, "11- and 29-bit ids with the same number stay apart"
        assert frames.label.tolist() == [-1] * 9

    def test_interfaces_are_numbered_by_name_wherever_they_first_appear(self, tmp_path: Path) -> None:
        lines = ["(1.0) can1 001#", "(1.1) vcan0 002#", "(1.2) can0 003#", "(1.3) can1 004#"]
        assert read(tmp_path, "\n".join(lines) + "\n").bus.tolist() == [1, 2, 0, 1]
        assert read(tmp_path, "(1.0) can1 001#\n(1.1) can1 002#\n").bus.tolist() == [0, 0]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("(1.5) can0 12#00", "id is not a hexadecimal number"),
            ("(1.5) can0 800#00", "does not fit 11 or 29 bits"),
            ("(1.5) can0 40000000#00", "does not fit 11 or 29 bits"),
            ("(1.5) can0 123#0", "not whole bytes"),
            ("(1.5) can0 123#001122334455667788", "cannot hold that many"),
            ("(1.5) can0 123##0" + "00" * 9, "cannot hold that many"),
            ("(1.5) can0 123##0" + "00" * 65, "cannot hold that many"),
            ("(1.5) can0 123##", "frame type or flags"),
            ("(1.5) can0 123#R9", "text after the end"),
            ("(1.5) can0 123#00 X", "text after the end"),
            ("(1.5) a-very-long-interface 123#00", "interface is not a name"),
            ("(1,5) can0 123#00", "is missing or is not separated"),
            ("(now) can0 123#00", "time is not a plain number"),
            ("can0 123#00", "is missing or is not separated"),
        ],
    )
    def test_reasons(self, line: str, reason: str, tmp_path: Path) -> None:
        path = tmp_path / "drive.log"
        path.write_text(f"(1.0) can0 123#00\n{line}\n(2.0) can0 123#00\n")
        (capture,) = read_log(path, max_bad_lines=0.5)
        assert len(capture.frames) == 2
        (defect,) = capture.source.defects
        assert defect.line == 2
        assert reason in defect.reason

    def test_a_last_line_without_end_is_named_and_not_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "drive.log"
        path.write_text("(1.0) can0 123#0011\n(2.0) can0 123#00")
        (capture,) = read_log(path)
        assert len(capture.frames) == 1
        assert [(d.line, "cut short" in d.reason) for d in capture.source.defects] == [(2, True)]


class TestLabels:
    def test_an_unknown_label_is_refused_with_its_line(self, tmp_path: Path) -> None:
        message = r"drive\.csv:3: unknown label in '1\.2,001,,2'; can-train-and-test CSV knows 0, 1; correct the label"
        with pytest.raises(LogError, match=message):
            read(tmp_path, "timestamp,arbitration_id,data_field,attack\n1.1,001,,0\n1.2,001,,2\n", "drive.csv")
        with pytest.raises(LogError, match=r"drive\.csv:2: unknown label in '1\.2,0001,1,00,N'; HCRL CSV knows R, T"):
            read(tmp_path, "1.1,0001,0,R\n1.2,0001,1,00,N\n", "drive.csv")

    def test_families_come_from_file_names_and_intervals_from_labels(self, tmp_path: Path) -> None:
        rows = [f"{t},0{100 + i},0,{'T' if 2 <= t <= 3 or t > 5 else 'R'}" for i, t in enumerate(np.arange(0, 6, 0.5))]
        path = tmp_path / "DoS_dataset.csv"
        path.write_text("\n".join(rows) + "\n")
        (capture,) = read_log(path)
        assert capture.frames.attack_names == ("", "dos")
        assert (capture.frames.attack == (capture.frames.label == 1)).all()
        assert [(i.family, i.start, i.stop) for i in capture.intervals] == [("dos", 2.0, 3.0), ("dos", 5.5, 5.5)]

    def test_hcrl_text_is_normal_by_its_name_only(self, tmp_path: Path) -> None:
        text = "".join(f"Timestamp: {t}.5        ID: 0316    000    DLC: 1    5f\n" for t in range(3))
        assert read(tmp_path, text, "normal_run_data.txt").label.tolist() == [0, 0, 0]
        assert read(tmp_path, text, "DoS_attack_dataset.txt").label.tolist() == [-1, -1, -1]


class TestDaga:
    HEADER = "timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY\n"

    def test_traps(self, tmp_path: Path) -> None:
        lines = ["0.0,10,64,0,0,FALSE", "9e-06,1E0,64,1E0,111100000,True", "0.00044,1,16,1,1,False"]
        frames = read(tmp_path, self.HEADER + "\n".join(lines) + "\n", "V40_03.can.txt")
        assert frames.id.tolist() == [0x10, 0x1E0, 0x1]
        assert frames.t.tolist() == [0.0, 9e-6, 0.00044]
        assert payloads(frames) == ["00" * 8, "00000000000001e0", "0001"]
        assert frames.label.tolist() == [0, 1, 0]

    def test_the_binary_column_guards_the_hexadecimal_one(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text(self.HEADER + "0.0,10,64,1E0,111100000,False\n0.1,10,64,1E,111100000,False\n0.2,10,0,,,False\n")
        (capture,) = read_log(path, max_bad_lines=0.5)
        assert [(d.line, d.reason) for d in capture.source.defects] == [
            (3, "two columns that repeat each other disagree")
        ]

    def test_vehicle_is_in_the_file_name(self, tmp_path: Path) -> None:
        for name, vehicle in (("lowestID_V40_03.can.txt", "V40"), ("drive.csv", "")):
            path = tmp_path / name
            path.write_text(self.HEADER + "0.0,10,0,,,FALSE\n0.1,10,0,,,FALSE\n")
            assert read_log(path)[0].vehicle == vehicle


class TestRoad:
    LINES = "".join(f"({1e9 + t:.6f}) can0 {i}#{d}\n" for t, i, d in [
        (0.0, "285", "FFFF"), (1.0, "285", "FFFF"), (1.5, "286", "FFFF"), (2.0, "285", "FF00"), (2.5, "285", "FFFF00"),
        (3.0, "285", "FFFF"), (3.1, "285", "FFFF"),
    ])  # fmt: skip

    def labels(self, folder: Path, name: str = "attack", **entry: object) -> list[int]:
        (folder / "capture_metadata.json").write_text(json.dumps({name: entry}))
        frames = read(folder, self.LINES, f"{name}.log")
        return frames.label.tolist()

    def test_interval_id_and_payload_make_an_attack(self, tmp_path: Path) -> None:
        entry = {"injection_interval": [1.0, 3.0]}
        one_id = self.labels(tmp_path, **entry, injection_id="0x285", injection_data_str="FFFF")
        assert one_id == [0, 1, 0, 0, 0, 1, 0]
        any_id = self.labels(tmp_path, **entry, injection_id="XXX", injection_data_str="FFXX")
        assert any_id == [0, 1, 1, 1, 0, 1, 0]

    def test_a_suspension_has_an_interval_and_no_attack_frame(self, tmp_path: Path) -> None:
        entry = {"injection_interval": [1.0, 3.0], "injection_id": "0x284", "injection_data_str": None}
        (tmp_path / "capture_metadata.json").write_text(json.dumps({"suspension_attack_1": entry}))
        path = tmp_path / "suspension_attack_1.log"
        path.write_text(self.LINES)
        (capture,) = read_log(path)
        assert not capture.frames.label.any()
        assert [(i.family, i.start, i.stop) for i in capture.intervals] == [("suspension", 1e9 + 1, 1e9 + 3)]

    def test_without_an_interval_only_ambient_is_normal(self, tmp_path: Path) -> None:
        (tmp_path / "ambient").mkdir()
        assert self.labels(tmp_path / "ambient", injection_interval=None) == [0] * 7
        assert self.labels(tmp_path, injection_interval=None) == [-1] * 7

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"injection_interval": [3, 1]}, r"entry 'attack': injection_interval must be \[start, stop\] in seconds"),
            ({"injection_interval": [1, 3], "injection_id": "?", "injection_data_str": "FF"}, "injection_id of attack"),
            ({"injection_interval": [1, 3], "injection_id": "1", "injection_data_str": "FXF"}, "injection_data_str of"),
            ({"frames": "7"}, "frames must be a whole number, got '7'"),
            ({"injection_interval": [1, 3], "injection_data_str": 7}, "injection_data_str must be a text, got 7"),
        ],
    )
    def test_metadata_of_another_form_is_refused(self, entry: dict[str, object], message: str, tmp_path: Path) -> None:
        with pytest.raises(LogError, match=message):
            self.labels(tmp_path, **entry)

    def test_metadata_that_is_no_json_is_refused_with_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "capture_metadata.json").write_text('{\n "attack": {,}\n}')
        with pytest.raises(LogError, match=r"capture_metadata\.json:2: not valid JSON"):
            read(tmp_path, self.LINES, "attack.log")


class TestCrysys:
    def test_either_label_makes_an_attack(self, tmp_path: Path) -> None:
        ends = ["False\tFalse", "1\tFalse", "False\tTrue", "0\t0"]
        text = "".join(f"({t}.0) can0 110#0220 {end}\n" for t, end in enumerate(ends))
        frames = read(tmp_path, text, "S-1-1-malicious-CONST-msg-mod-0x410.log")
        assert frames.label.tolist() == [0, 1, 1, 0]
        assert frames.attack_names == ("", "masquerade")


class TestTrc:
    def test_milliseconds_types_and_widths(self, tmp_path: Path) -> None:
        text = (
            ";$FILEVERSION=1.1\r\n;$STARTTIME=45789.8882079051\r\n;\r\n"
            "     1)         0.1  Rx         0410  2  0C 00 \r\n"
            "     2)         1.7  Tx     00000410  0 \r\n"
            "     3)     35740.2  Rx         0100  8  RTR\r\n"
            "     4)     35741    Warng  FFFFFFFF  4  00 00 00 08  BUSHEAVY\r\n"
        )
        frames = read(tmp_path, text, "drive.trc")
        assert frames.t.tolist() == [0.0001, 0.0017, 35.7402]
        assert frames.flags.tolist() == [0, EXTENDED, REMOTE]
        assert payloads(frames) == ["0c00", "", ""]


def test_every_format_is_documented() -> None:
    rows = (Path(__file__).parents[2] / "docs" / "formats.md").read_text().splitlines()
    for reader in READERS.values():
        (row,) = (row for row in rows if row.startswith(f"| `{reader.name}` |"))
        assert f"`{reader.shape}`" in row or "the same" in row
