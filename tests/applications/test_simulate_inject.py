"""credit-like simulate and inject: logs out of nothing, attacks in them, and what both refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from applications.__main__ import main
from credit_like.can import VEHICLES, read_dataset, read_log, simulate
from credit_like.can.write_log import with_labels_beside


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drives") / "drive.log"
    assert main(["simulate", "--vehicle", "sedan", "--minutes", "0.25", "--seed", "1", "-o", str(path)]) == 0
    return path


def test_a_drive_is_the_simulators_own(drive: Path) -> None:
    (read,) = read_log(drive)
    expected = simulate("sedan", 15, seed=1)
    assert np.array_equal(read.frames.payload, expected.payload)
    assert np.abs(read.frames.t - expected.t).max() < 1e-6
    assert (read.frames.label == 0).all()
    assert read.vehicle == "sedan"


def test_what_is_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--minutes", "0.1", "-o", str(tmp_path / "d.log")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("ids in 0.1 min of a simulated sedan; bus load 39%")
    assert lines[1] == f"{tmp_path}/d.log: candump -L, which has no place for labels"
    assert lines[2] == f"{tmp_path}/injection_metadata.json: that there is no attack; read with the log"


@pytest.mark.parametrize(
    ("name", "options", "format"),
    [
        ("a.csv", [], "can_train_and_test"),
        ("a.csv.gz", [], "can_train_and_test"),
        ("a.log", [], "candump"),
        ("a.log", ["--format", "crysys"], "crysys"),
        ("a.txt", ["--format", "hcrl_csv"], "hcrl_csv"),
        ("a.txt", ["--format", "hcrl_text"], "hcrl_text"),
        ("a.csv", ["--format", "daga"], "daga"),
        ("a.log", ["--format", "candump_text"], "candump_text"),
        ("a.asc", [], "asc"),
        ("a.trc.gz", [], "trc"),
    ],
)
def test_a_masquerade_in_every_format(drive: Path, tmp_path: Path, name: str, options: list[str], format: str) -> None:
    out = tmp_path / name
    attack = ["--attack", "masquerade", "--id", "0x1A0", "--start", "5", "--seconds", "3"]
    assert main(["inject", str(drive), *attack, "-o", str(out), *options]) == 0
    (read,) = read_log(out)
    assert read.source.format == format
    frames = with_labels_beside(read).frames
    assert set(frames.id[frames.label == 1]) == {0x1A0}
    assert np.abs((frames.label == 1).sum() - 150) <= 1
    (interval,) = read.intervals
    assert (interval.family, interval.declared) == ("masquerade", True)
    assert interval.start - frames.t[0] == pytest.approx(5, abs=3e-6)


@pytest.mark.parametrize("middle", ["first.csv", "first.log"])
def test_attacks_add_up(drive: Path, tmp_path: Path, middle: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / middle, tmp_path / "second.csv"
    attack = ["--attack", "dos", "--start", "9", "--seconds", "2"]
    assert main(["inject", str(drive), *attack, "-o", str(first)]) == 0
    assert main(["inject", str(first), "--attack", "suspension", "--id", "C1", "-o", str(second)]) == 0
    out = capsys.readouterr().out
    assert "dos (0x000) from 9 s to 11 s: 6,666 frames added, " in out
    assert "suspension (0x0C1) from 5 s to 8 s: 300 frames taken out, " in out
    (capture,) = read_dataset(second, progress=False).captures
    assert [interval.family for interval in capture.intervals] == ["suspension", "dos"]
    assert (capture.frames.label == 1).sum() == 6666
    assert set(np.array(capture.frames.attack_names)[capture.frames.attack]) == {"", "dos"}


def test_the_bus_of_a_simulated_truck_is_attacked_at_its_own_bit_rate(tmp_path: Path) -> None:
    truck, out = tmp_path / "truck.log", tmp_path / "out.csv"
    assert main(["simulate", "--vehicle", "truck", "--minutes", "0.2", "-o", str(truck)]) == 0
    assert main(["inject", str(truck), "--attack", "dos", "--seconds", "1", "-o", str(out)]) == 0
    frames = read_log(out)[0].frames
    shortest = np.diff(frames.t[frames.label == 1]).min()
    assert shortest > 100 / VEHICLES["truck"].bitrate


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["simulate", "-o", "{}/drive.log"], 1, "drive.log is there already; name another file, or replace it with --"),
        (["simulate", "-o", "{}"], 1, "is a folder; name a file in it"),
        (["simulate", "-o", "{}/no/x.log"], 1, "/no to write x.log in; make it first"),
        (["simulate", "-o", "{}/x.doc"], 2, "x.doc: the format does not follow from the name"),
        (
            ["simulate", "--vehicle", "trukc", "-o", "{}/x.log"],
            2,
            "--vehicle: there is no 'trukc' (did you mean 'truck'",
        ),
        (
            ["simulate", "--minutes", "-1", "-o", "{}/x.log"],
            2,
            "--minutes: expected a number (minutes), 0.002 to 360; ",
        ),
        (["inject", "{}/drive.log", "--attack", "masqerade", "-o", "{}/x.csv"], 2, "(did you mean 'masquerade'?)"),
        (
            ["inject", "{}/drive.log", "--attack", "dos", "--id", "0xZZ", "-o", "{}/x.csv"],
            2,
            "such as 0x1A0, up to 0x1FFFFFFF; got '0xZZ'",
        ),
        (
            ["inject", "{}/drive.log", "--attack", "suspension", "--id", "1A1", "-o", "{}/x.csv"],
            1,
            "Id 0x1A1 is not on bus 0 of this capture, so it cannot be attacked; the nearest",
        ),
        (
            ["inject", "{}/drive.log", "--attack", "dos", "--start", "13", "-o", "{}/x.csv"],
            1,
            "The dos from 13 s to 16 s leaves the capture, which is 14.99",
        ),
        (
            ["inject", "{}/drive.log", "--attack", "dos", "--seconds", "-1", "-o", "{}/x.csv"],
            2,
            "--seconds: expected a number (seconds) above 0; got '-1'",
        ),
        (
            ["inject", "{}/drive.log", "--attack", "replay", "--start", "3", "-o", "{}/x.csv"],
            2,
            "a replay with lag 4 s cannot start 3 s into the capture",
        ),
        (
            ["inject", "{}/drive.log", "--attack", "suspension", "--period", "1", "-o", "{}/x.csv"],
            2,
            "error: a suspension keeps the capture's own times; period has no meaning for it",
        ),
        (
            ["inject", "{}/drive.log", "--attack", "dos", "--payload", "ABC", "-o", "{}/x.csv"],
            2,
            "digits a byte, 8 byte",
        ),
        (["inject", "{}/no.log", "--attack", "dos", "-o", "{}/x.csv"], 1, "no.log: no such file"),
    ],
)
def test_what_is_refused(
    drive: Path, argv: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(drive.parent.iterdir())
    assert main([argument.format(drive.parent) for argument in argv]) == code
    assert message in capsys.readouterr().err
    assert sorted(drive.parent.iterdir()) == before


def test_force_replaces(tmp_path: Path) -> None:
    out = str(tmp_path / "x.log")
    (tmp_path / "x.labels").write_text("of another log\n")
    assert main(["simulate", "--minutes", "0.01", "-o", out]) == 1
    assert main(["simulate", "--minutes", "0.01", "-o", out, "--force"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["injection_metadata.json", "x.log"]


def test_a_log_of_several_captures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "two.log"
    times = [*range(1_600_000_100, 1_600_000_160), *range(1_600_000_000, 1_600_000_060)]
    log.write_text("".join(f"({t}.000000) can0 123#00\n" for t in times))
    assert main(["inject", str(log), "--attack", "dos", "-o", str(tmp_path / "x.csv")]) == 1
    assert "holds 2 captures (two.log, two.log#2); put each into a log of its own" in capsys.readouterr().err
