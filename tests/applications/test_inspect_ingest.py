"""credit-like inspect and ingest: what a user reads, and what both refuse."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from applications.__main__ import main
from applications._plot import plot
from credit_like.can import read_dataset, read_log, simulate, write_candump


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive with an attack, a copy of it, a log of two captures on two buses, and a file that is no log."""
    logs = tmp_path_factory.mktemp("made") / "logs"
    (logs / "more").mkdir(parents=True)
    write_candump(simulate("sedan", 12, seed=1), logs / "drive.log")
    attack = ["--attack", "dos", "--start", "4", "--seconds", "2"]
    assert main(["inject", str(logs / "drive.log"), *attack, "-o", str(logs / "dos.csv")]) == 0
    (logs / "more" / "copy.csv.gz").write_bytes(gzip.compress((logs / "dos.csv").read_bytes()))
    lines = [f"({start + k / 100:.6f}) can{k % 2} 18DAF110#{k:02X}\n" for start in (2e9, 1e9) for k in range(99)]
    (logs / "two.log").write_text("".join(lines))
    (logs / "notes.txt").write_text("a good drive\n")
    return logs


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "logs")


def output(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> list[str]:
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) == 0
    return capsys.readouterr().out.splitlines()


class TestInspect:
    def test_a_page_says_what_there_is(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = output(capsys, "inspect", folder / "dos.csv")
        frames = read_log(folder / "dos.csv")[0].frames
        assert lines[:3] == [
            str(folder / "dos.csv"),
            "format    can_train_and_test: its first line is the header",
            "          'timestamp,arbitration_id,data_field,attack'",
        ]
        said = {line[:10].strip(): line[10:] for line in lines}
        assert said["frames"].startswith(f"{len(frames):,} in 12.0 s, ")
        assert said["labels"].endswith(f", {(frames.label == 1).sum():,} attack (dos {(frames.label == 1).sum():,})")
        assert said["attacks"] == "1: dos 4.0 to 6.0 s"
        assert said["defects"] == "none"
        assert f"{len(np.unique(frames.key))} ids of 11 bits" in said["bus 0"]
        busiest = next(number for number, line in enumerate(lines) if line.startswith("busiest"))
        assert lines[busiest + 1].split()[:3] == ["0x000", "0", f"{(frames.id == 0).sum():,}"]

    def test_the_plot_shows_the_flood_above_its_marks(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = output(capsys, "inspect", folder / "dos.csv")
        row = next(number for number, line in enumerate(lines) if line.startswith("traffic"))
        top, marks = lines[row + 1], lines[row + 7]
        high = {column for column, sign in enumerate(top) if column > 9 and sign not in " |"}
        marked = {column for column, sign in enumerate(marks) if sign == "^"}
        assert len(high & marked) >= 10
        assert len(high - marked) <= 1

    def test_it_fits_80_columns_and_its_pages_are_in_order(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = output(capsys, "inspect", folder, "--bitrate", "250000")
        paths = [line for line in lines if line.startswith(str(folder))]
        assert [Path(path).name for path in paths] == ["dos.csv", "drive.log", "copy.csv.gz", "two.log"]
        assert max(len(line) for line in lines if line not in paths and not line.startswith("note:")) <= 80
        assert any("at 250 kbit/s" in line for line in lines)
        assert lines[-1] == "note: not logs: notes.txt"

    def test_many_files_that_are_no_logs_are_named_on_several_lines(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = [f"a rather long name of a picture-{k}.txt" for k in range(9)]
        for name in names:
            (folder / name).write_text("a picture")
        lines = output(capsys, "inspect", folder)
        note = lines[next(row for row, line in enumerate(lines) if line.startswith("note: not logs: ")) :]
        assert len(note) > 3
        assert max(map(len, note)) <= 80
        told = " ".join(line.strip() for line in note)
        assert told == f"note: not logs: {', '.join([*names, 'notes.txt'])}"

    def test_captures_buses_and_defects(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = output(capsys, "inspect", folder / "two.log")
        assert [line for line in lines if line.startswith("capture ")] == ["capture two.log", "capture two.log#2"]
        assert sum(line.startswith("bus ") for line in lines) == 4
        assert any(
            line.startswith("clock     2033-05-18 03:33:20 to 03:33:20 UTC; longest silence 1") for line in lines
        )
        assert lines[-3:] == [
            "defects   1",
            "          line 100: time runs backwards by 1e+09 s: a new capture starts here",
            "",
        ]

    def test_a_log_of_one_frame(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        log = tmp_path / "one.log"
        log.write_text("(1678840552.415482) can0 285#0000000000000D94\n")
        lines = output(capsys, "inspect", log)
        assert lines[2:6] == [
            "frames    1 in 0.0 s",
            "clock     2023-03-15 00:35:52 to 00:35:52 UTC",
            "kinds     1 data; 8 payload bytes",
            "bus 0     load 0.0% at 500 kbit/s; 1 id of 11 bits",
        ]

    def test_a_log_without_a_clock_or_of_another_format(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = tmp_path / "still.log"
        log.write_text("(5.000000) can0 123#00\n" * 50 + "what\n")
        assert main(["inspect", str(log)]) == 1
        assert "allow more with --max-bad-lines or data.max_bad_lines" in capsys.readouterr().err
        assert main(["inspect", str(log), "--max-bad-lines", "0.1"]) == 1
        assert "how many frames a second to assume with --assume-rate" in capsys.readouterr().err
        lines = output(capsys, "inspect", log, "--max-bad-lines", "0.1", "--assume-rate", "10", "--format", "candump")
        assert "format    candump: asked for by name" in lines
        assert "          the log has no clock; 10 frames a second are assumed" in lines

    def test_where_only_ascii_can_be_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Ascii:
            encoding = "ascii"

        monkeypatch.setattr("sys.stdout", Ascii())
        lines = plot([0, 5, 10], "0 s", "3 s", rows=2)
        assert lines == ["     10 |  |", "      0 | ||", "         0 s3 s"]


class TestIngest:
    def test_a_folder_becomes_one_file_that_is_read_like_it(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "frames.parquet"
        lines = output(capsys, "ingest", folder, "-o", out)
        assert lines[:3] == [
            "note: two.log:100: time runs backwards by 1e+09 s: a new capture starts here",
            "note: not logs: notes.txt",
            "note: more/copy.csv.gz has the content of dos.csv, which is used once",
        ]
        before, after = read_dataset(folder, progress=False).captures, read_dataset(out, progress=False).captures
        frames = sum(len(capture.frames) for capture in before)
        assert lines[3].startswith(f"{out}: {frames:,} frames of 4 capture(s) in 3 log(s), ")
        assert [c.name for c in after] == [f"frames.parquet/{c.name}" for c in before]
        for one, other in zip(after, before, strict=True):
            assert one.source.sha256 == other.source.sha256
            assert np.array_equal(one.frames.payload, other.frames.payload)
            assert np.array_equal(one.frames.t, other.frames.t)
            assert one.intervals == other.intervals

    def test_logs_of_one_name_are_told_apart(self, folder: Path, tmp_path: Path) -> None:
        (folder / "more" / "two.log").write_text("".join(f"({k}.5) can0 123#{k:02X}\n" for k in range(9)))
        out = tmp_path / "frames.parquet"
        assert main(["ingest", str(folder / "two.log"), str(folder / "more" / "two.log"), "-o", str(out)]) == 0
        names = [capture.name for capture in read_log(out)]
        assert names == [f"frames.parquet/{name}" for name in ("two.log", "two.log#2", "more/two.log")]

    @pytest.mark.parametrize(
        ("argv", "code", "message"),
        [
            (["{}/drive.log", "-o", "{}/x.csv"], 2, "--output must end in .parquet; got "),
            (["{}/drive.log", "-o", "{}/no/x.parquet"], 1, "/no to write x.parquet in; make it first"),
            (
                ["{}/drive.log", "-o", "{}/old.parquet"],
                1,
                "is there already; name another file, or replace it",
            ),
            (
                ["{}/drive.log", "-o", "{}/x.parquet", "--format", "candmp"],
                2,
                "no reader is named 'candmp' (did you",
            ),
            (
                ["{}/drive.log", "-o", "{}/x.parquet", "--max-bad-lines", "2"],
                2,
                "--max-bad-lines: expected a number, 0 to 1; got '2'",
            ),
            (["{}/drive.log", "-o", "{}/x.parquet", "--assume-rate", "0"], 2, "--assume-rate: expected a numb"),
            (
                ["{}/notes.txt", "-o", "{}/x.parquet"],
                1,
                "notes.txt: no log of a known format (its first line is '",
            ),
            (["{}/none", "-o", "{}/x.parquet"], 1, "none: no such file; check the path"),
            (["{}/empty", "-o", "{}/x.parquet"], 1, "empty: no log in there; give the folder that holds the logs"),
        ],
    )
    def test_what_is_refused(
        self, folder: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "old.parquet").write_text("an old one")
        (folder / "empty").mkdir()
        before = sorted(folder.iterdir())
        assert main(["ingest", *(argument.format(folder) for argument in argv)]) == code
        assert message in capsys.readouterr().err
        assert sorted(folder.iterdir()) == before
        assert (folder / "old.parquet").read_text() == "an old one"
