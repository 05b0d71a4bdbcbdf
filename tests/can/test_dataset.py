"""read_dataset: layouts, names, duplicates, notes, metadata; and the counts of every real set that is at hand."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from credit_like.can import FAMILIES, Capture, FrameTable, LogError, attack_family, intervals_from_labels, read_dataset

HEADER = "timestamp,arbitration_id,data_field,attack\n"


def ctt(seed: int, attack: bool, frames: int = 50) -> str:
    rows = [
        f"{seed * 100 + t / 10:.6f},{0x100 + t % 7:03X},{t:04X},{int(attack and 20 <= t < 30)}" for t in range(frames)
    ]
    return HEADER + "\n".join(rows) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two logs in the layout of can-train-and-test, with metadata, a copy of one of them, and what lies about."""
    root = tmp_path / "set"
    (root / "train_01").mkdir(parents=True)
    (root / "test_01").mkdir()
    (root / "train_01" / "attack-free-1.csv").write_text(ctt(1, attack=False))
    (root / "test_01" / "fuzzing-1.csv").write_text(ctt(2, attack=True))
    (root / "test_01" / "copy.csv.gz").write_bytes(gzip.compress(ctt(1, attack=False).encode()))
    (root / "README.md").write_text("# a data set\n")
    (root / "empty.log").touch()
    (root / ".hidden.log").write_text("nothing that anyone should read")
    entry = {"type": "fuzzy", "frames": 50, "attack": 10, "injection_interval": [[1.9, 2.95]], "vehicle": "sedan"}
    metadata = {"test_01/fuzzing-1.csv": entry, "train_01/attack-free-1.csv": {"attack": 0, "frames": 50}}
    (root / "injection_metadata.json").write_text(json.dumps(metadata))
    return root


class TestFolder:
    def test_captures_are_named_by_path_in_stable_order(self, folder: Path) -> None:
        dataset = read_dataset(folder, progress=False)
        assert [capture.name for capture in dataset.captures] == ["test_01/copy.csv.gz", "test_01/fuzzing-1.csv"]
        assert dataset.root == str(folder)
        for capture in dataset.captures:
            assert capture.frames.capture_names == (capture.name,)
            assert not capture.frames.capture.any()

    def test_the_same_content_is_used_once_and_named(self, folder: Path) -> None:
        assert read_dataset(folder, progress=False).duplicates == (
            ("train_01/attack-free-1.csv", "test_01/copy.csv.gz"),
        )

    @pytest.mark.parametrize("whole", ["a folder with the zip", "the zip"])
    def test_the_same_content_twice_in_a_zip_is_used_once_too(self, whole: str, tmp_path: Path) -> None:
        log = ctt(1, attack=False)
        with zipfile.ZipFile(tmp_path / "drives.zip", "w") as archive:
            for name, content in (("a.csv", log), ("b.csv", ctt(2, attack=True)), ("c.csv", log)):
                archive.writestr(name, content)
        dataset = read_dataset(tmp_path / "drives.zip" if whole == "the zip" else tmp_path, progress=False)
        assert [capture.name for capture in dataset.captures] == ["drives.zip/a.csv", "drives.zip/b.csv"]
        assert dataset.duplicates == (("drives.zip/c.csv", "drives.zip/a.csv"),)

    def test_what_is_no_log_is_noted(self, folder: Path) -> None:
        notes = read_dataset(folder, progress=False).notes
        assert notes == (
            "README.md: no log of a known format (its first line is '# a data set')",
            "empty.log: is empty",
        )

    def test_metadata_is_noted_only_where_it_speaks_of_no_log_here(self, folder: Path) -> None:
        moved = folder / "test_01" / "injection_metadata.json"
        (folder / "injection_metadata.json").rename(moved)
        (folder / "capture_metadata.json").write_text('{"elsewhere": {}}')
        (folder / "test_01" / "gone.json").write_text('{"label": "benign", "markers": []}')
        sentence = "metadata that speaks of no log here; it names logs by"
        assert read_dataset(folder, progress=False).notes[2:] == (
            f"capture_metadata.json: {sentence} their names without suffix, in its own folder",
            f"test_01/gone.json: {sentence} its own name",
            f"test_01/injection_metadata.json: {sentence} their paths from its own folder",
        )

    def test_metadata_gives_family_intervals_and_vehicle(self, folder: Path) -> None:
        capture = read_dataset(folder, progress=False).captures[1]
        assert capture.frames.attack_names == ("", "fuzzing")
        assert capture.vehicle == "sedan"
        (interval,) = capture.intervals
        assert (interval.family, interval.start, interval.stop) == ("fuzzing", 200 + 1.9, 200 + 2.95)

    def test_another_number_of_frames_than_declared_is_noted(self, folder: Path) -> None:
        log = folder / "test_01" / "fuzzing-1.csv"
        log.write_text(ctt(2, attack=True, frames=40))
        notes = read_dataset(folder, progress=False).notes
        assert f"{log}: injection_metadata.json says 50 frames, 40 were read" in notes

    def test_every_interval_can_have_its_own_family(self, folder: Path) -> None:
        entry = {"injection_interval": [[1.9, 2.45], [2.45, 2.95]], "types": ["dos", "replay"]}
        (folder / "injection_metadata.json").write_text(json.dumps({"test_01/fuzzing-1.csv": entry}))
        capture = read_dataset(folder, progress=False).captures[1]
        families = [capture.frames.attack_names[code] for code in capture.frames.attack[capture.frames.label == 1]]
        assert families == ["dos"] * 5 + ["replay"] * 5
        assert [interval.family for interval in capture.intervals] == ["dos", "replay"]

    def test_defects_are_noted_with_file_and_line(self, folder: Path) -> None:
        with (folder / "test_01" / "fuzzing-1.csv").open("a") as log:
            log.write("300.0,001,0,0\n")
        notes = read_dataset(folder, progress=False, max_bad_lines=0.1).notes
        reason = "the payload is not whole bytes of two hexadecimal digits each"
        assert f"{folder / 'test_01' / 'fuzzing-1.csv'}:52: {reason}" in notes

    def test_how_to_read_holds_for_every_log(self, tmp_path: Path) -> None:
        for name in ("a.log", "b.log"):
            (tmp_path / name).write_text("what is this\n" * 60 + f"(5.000000) can0 12{name[0]}#00\n" * 40)
        with pytest.raises(LogError, match="none of the files in this folder"):
            read_dataset(tmp_path, progress=False)
        dataset = read_dataset(tmp_path, progress=False, format="candump", max_bad_lines=0.6, assume_rate=10)
        assert [capture.source.format for capture in dataset.captures] == ["candump"] * 2
        assert [capture.frames.t[-1] for capture in dataset.captures] == [3.9, 3.9]

    def test_a_damaged_log_is_refused_and_not_left_out(self, folder: Path) -> None:
        packed = folder / "test_01" / "copy.csv.gz"
        packed.write_bytes(packed.read_bytes()[:-4])
        with pytest.raises(LogError, match=r"copy\.csv\.gz: the compressed file is damaged"):
            read_dataset(folder, progress=False)

    def test_a_folder_without_any_log_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LogError, match=r"no file is there; put recordings of a CAN bus there \(candump, "):
            read_dataset(tmp_path)
        (tmp_path / "README").write_text("nothing here")
        with pytest.raises(
            LogError, match=r"none of the files in this folder \(looked at: 1\) is a log; put recordings"
        ):
            read_dataset(tmp_path)
        with pytest.raises(LogError, match="no such file"):
            read_dataset(tmp_path / "nowhere")

    def test_a_link_to_nowhere_is_refused(self, folder: Path) -> None:
        (folder / "gone.log").symlink_to(folder / "nowhere.log")
        with pytest.raises(
            LogError, match=r"gone\.log: is a link to .*nowhere\.log, which is not there; mend the link"
        ):
            read_dataset(folder, progress=False)

    def test_a_single_file_is_a_data_set(self, folder: Path) -> None:
        dataset = read_dataset(folder / "test_01" / "fuzzing-1.csv")
        assert [capture.name for capture in dataset.captures] == ["fuzzing-1.csv"]

    def test_moving_a_log_does_not_change_what_it_is(self, folder: Path, tmp_path: Path) -> None:
        before = read_dataset(folder, progress=False)
        shutil.copytree(folder, tmp_path / "elsewhere")
        after = read_dataset(tmp_path / "elsewhere", progress=False)
        assert [c.name for c in before.captures] == [c.name for c in after.captures]
        assert [c.source.sha256 for c in before.captures] == [c.source.sha256 for c in after.captures]


class TestIntervals:
    def test_pauses_split_and_families_stay_apart(self) -> None:
        t = np.array([0.0, 0.5, 1.0, 1.5, 2.6, 2.7, 3.0])
        label = np.array([0, 1, 1, 1, 1, 1, 0], np.int8)
        attack = np.array([0, 1, 2, 1, 1, 2, 0], np.int16)
        frames = FrameTable.build(
            t, np.zeros(7, np.int32), np.zeros((7, 8), np.uint8), np.zeros(7, np.uint8),
            label=label, attack=attack, attack_names=("", "dos", "replay"),
        )  # fmt: skip
        found = [(i.family, i.start, i.stop) for i in intervals_from_labels(frames)]
        assert found == [("dos", 0.5, 1.5), ("replay", 1.0, 1.0), ("dos", 2.6, 2.6), ("replay", 2.7, 2.7)]
        assert len(intervals_from_labels(frames, gap=2.0)) == 2

    def test_no_attack_no_interval(self) -> None:
        assert intervals_from_labels(FrameTable.empty()) == ()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("DoS-1.csv.gz", "dos"),
        ("fuzzing_attack_1.log.gz", "fuzzing"),
        ("Fuzzy_dataset.csv", "fuzzing"),
        ("gear_dataset.csv", "spoofing"),
        ("RPM_dataset.csv", "spoofing"),
        ("fabrication_attack_1", "spoofing"),
        ("fabrication_attack_1_masquerade", "masquerade"),
        ("suspension_attack_1", "suspension"),
        ("PayloadFuzzing", "payload_fuzzing"),
        ("MessageIDFuzzing", "fuzzing"),
        ("SingleIDReplay", "replay"),
        ("ArbitrarySequenceReplay", "sequence_replay"),
        ("DenialOfService", "dos"),
        ("sequence_replay", "sequence_replay"),
        ("max_speedometer_attack_1.log", "max_speedometer"),
        ("BusOff.csv", "bus_off"),
        ("attack_1.csv", "attack"),
    ],
)
def test_families(name: str, family: str) -> None:
    assert attack_family(name) == family
    assert attack_family("drive_01.csv", name) in (family, "drive")


def test_the_shared_families_are_their_own_names() -> None:
    assert [attack_family(family) for family in FAMILIES] == list(FAMILIES)


def table(readme: Path) -> dict[str, list[str]]:
    """Rows of the README's table by the file named in the first column: its other cells."""
    rows = {}
    for line in readme.read_text().splitlines():
        match = re.match(r"\| `([^`]+)`[^|]* \|(.*)\|$", line)
        if match:
            rows[match[1]] = [cell.strip() for cell in match[2].split("|")]
    return rows


def counts(capture: Capture) -> tuple[int, int, int]:
    label = capture.frames.label
    return int((label == 0).sum()), int((label == 1).sum()), len(np.unique(capture.frames.key))


def captures_of(folder: Path) -> dict[str, Capture]:
    if not folder.is_dir():
        pytest.skip(f"no real captures at {folder}")
    dataset = read_dataset(folder, progress=False)
    assert not dataset.duplicates
    assert all(not capture.source.defects for capture in dataset.captures)
    return {capture.name: capture for capture in dataset.captures}


class TestRealSets:
    """Frames, labels and ids as the README of each set gives them."""

    @pytest.mark.parametrize(
        ("name", "format"),
        [
            ("ralliart_hcrl_format", "hcrl_csv"),
            ("camaro_ctt_format", "can_train_and_test"),
            ("nissan350z_road_format", "road"),
        ],
    )
    def test_injected_sets(self, name: str, format: str, real_data: Path) -> None:
        captures = captures_of(real_data / name)
        expected = table(real_data / name / "README.md")
        assert set(captures) == set(expected)
        for file, (_, frames, normal, attack, ids, seconds, bursts, _) in expected.items():
            capture = captures[file]
            assert capture.source.format == ("hcrl_text" if file.startswith("normal_run") else format)
            assert len(capture.frames) == int(frames)
            assert counts(capture) == (int(normal), int(attack), int(ids))
            assert capture.frames.t[-1] - capture.frames.t[0] == pytest.approx(float(seconds), abs=0.01)
            assert len(capture.intervals) == int(bursts)
            attacks = capture.frames.t[capture.frames.label == 1]
            queued = 0.005  # a frame injected at the end of a burst waits for the bus
            inside = [(attacks >= i.start - 1e-5) & (attacks <= i.stop + queued) for i in capture.intervals]
            assert not len(attacks) or np.logical_or.reduce(inside).all()

    def test_daga(self, real_data: Path) -> None:
        captures = captures_of(real_data / "daga_v40")
        expected = table(real_data / "daga_v40" / "README.md")
        assert set(captures) == set(expected)
        families = {"dos", "fuzzing", "replay", "payload_fuzzing", "sequence_replay"}
        assert {n for capture in captures.values() for n in capture.frames.attack_names} == {"", *families}
        for file, (normal, attack, ids) in expected.items():
            assert counts(captures[file]) == (int(normal), int(attack), int(ids))
            assert captures[file].vehicle == "V40"
            assert (captures[file].frames.length == 8).all()

    def test_unlabelled_logs(self, real_data: Path) -> None:
        captures = captures_of(real_data / "canbuslogs_raw")
        expected = table(real_data / "canbuslogs_raw" / "README.md")
        assert set(captures) == set(expected)
        for file, (_, format, frames, ids, seconds) in expected.items():
            capture = captures[file]
            assert capture.source.format == ("trc" if ".trc" in format else "candump")
            assert (len(capture.frames), len(np.unique(capture.frames.key))) == (int(frames), int(ids))
            assert capture.frames.t[-1] - capture.frames.t[0] == pytest.approx(float(seconds), abs=0.06)
            assert (capture.frames.label == -1).all()

    def test_crysys(self, real_data: Path) -> None:
        captures = captures_of(real_data / "crysys_s11")
        found = {name[: len("S-1-1-malicious-CONST")]: counts(capture) for name, capture in captures.items()}
        assert found["S-1-1-malicious-CONST"] == (17875, 60, 18)
        assert found["S-1-1-malicious-DOUBL"] == (17274, 661, 18)
        assert len(captures["S-1-1-benign.log"].frames) == 17935

    def test_the_rule_of_road_agrees_with_the_exact_labels(self, real_data: Path) -> None:
        captures = captures_of(real_data / "nissan350z_road_format")
        checked = 0
        for name, capture in captures.items():
            labels = real_data / "nissan350z_road_format" / name.replace(".log.gz", ".labels.gz")
            if labels.is_file():
                exact = [int(word) for word in gzip.decompress(labels.read_bytes()).split()]
                assert capture.frames.label.tolist() == exact
                checked += 1
        assert checked == 4
