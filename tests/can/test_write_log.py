"""write_log: what a format has no place for lies beside the log and comes back with it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from credit_like.can import AttackSpec, Capture, SourceFile, inject, read_log, simulate
from credit_like.can.errors import LogError
from credit_like.can.write_log import labels_path, output_format, with_labels_beside, write_log
from credit_like.can.writers import LABELLED, WRITERS
from credit_like.config import UserError

NOWHERE = SourceFile("", "", "", "", 0)


@pytest.fixture(scope="module")
def benign() -> Capture:
    return Capture("drive", simulate("van", 12, seed=4), NOWHERE, vehicle="van")


@pytest.fixture(scope="module")
def attacked(benign: Capture) -> Capture:
    """A masquerade, then a suspension that has no frame."""
    frames, first = inject(benign.frames, AttackSpec(family="masquerade", start=2, stop=4), seed=1)
    frames, second = inject(frames, AttackSpec(family="suspension", start=7, stop=9), seed=1)
    return replace(benign, frames=frames, intervals=first + second)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("format", WRITERS)
def test_labels_families_intervals_and_vehicle_come_back(
    attacked: Capture, tmp_path: Path, format: str, suffix: str
) -> None:
    path = tmp_path / f"a.log{suffix}"
    files = write_log(attacked, path, format, targets=["0x1", "0x2"], source="a test")
    beside = [] if format in LABELLED else [tmp_path / f"a.labels{suffix}"]
    assert files == [path, *beside, tmp_path / "injection_metadata.json"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    (read,) = read_log(path)
    read = with_labels_beside(read)
    assert not read.source.defects
    assert read.vehicle == "van"
    assert np.array_equal(read.frames.label, attacked.frames.label)
    words = np.array(read.frames.attack_names)[read.frames.attack]
    assert set(words[read.frames.label == 1]) == {"masquerade"}
    assert [interval.family for interval in read.intervals] == ["masquerade", "suspension"]
    for back, interval in zip(read.intervals, attacked.intervals, strict=True):
        assert back.start == pytest.approx(interval.start, abs=3e-6)
        assert back.stop == pytest.approx(interval.stop, abs=3e-6)


@pytest.mark.parametrize("format", WRITERS)
def test_a_log_without_attacks_is_known_to_be_normal(benign: Capture, tmp_path: Path, format: str) -> None:
    files = write_log(benign, tmp_path / "a.log", format)
    assert [file.name for file in files] == ["a.log", "injection_metadata.json"]
    (read,) = read_log(tmp_path / "a.log")
    assert (read.frames.label == 0).all()
    assert with_labels_beside(read) is read


def test_entries_of_other_logs_stay_and_an_old_label_file_goes(
    benign: Capture, attacked: Capture, tmp_path: Path
) -> None:
    metadata = tmp_path / "injection_metadata.json"
    metadata.write_text('{"other.log": {"attack": 0, "mine": [1]}}')
    write_log(attacked, tmp_path / "a.log")
    assert labels_path(tmp_path / "a.log").is_file()
    write_log(benign, tmp_path / "a.log")
    assert not labels_path(tmp_path / "a.log").exists()
    entries = json.loads(metadata.read_text())
    assert entries["other.log"] == {"attack": 0, "mine": [1]}
    assert entries["a.log"]["attack"] == 0


def test_logs_written_at_once_are_all_entered(benign: Capture, tmp_path: Path) -> None:
    short = replace(benign, frames=benign.frames[:20])
    writers = [threading.Thread(target=write_log, args=(short, tmp_path / f"{k}.log")) for k in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(json.loads((tmp_path / "injection_metadata.json").read_text())) == [f"{k}.log" for k in range(8)]


@pytest.mark.parametrize("text", ["[]", "{", "\ud800"])
def test_metadata_that_is_none_is_not_replaced(benign: Capture, tmp_path: Path, text: str) -> None:
    metadata = tmp_path / "injection_metadata.json"
    metadata.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(LogError, match=r"injection_metadata\.json: (cannot be read|must be a mapping).*move it away"):
        write_log(benign, tmp_path / "a.log")
    assert metadata.read_bytes() == text.encode("utf-8", "surrogatepass")


def test_attacks_without_their_labels_are_not_taken_as_normal(attacked: Capture, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write_log(attacked, path)
    (read,) = read_log(path)
    labels = labels_path(path)
    for text in ("0\n" * (len(read.frames) - 1), "0\n" * (len(read.frames) + 1), "2\n" * len(read.frames)):
        labels.write_text(text)
        with pytest.raises(LogError, match=rf"a\.labels: must hold 0 or 1 for each of the log's {len(read.frames)} fr"):
            with_labels_beside(read)
    labels.unlink()
    with pytest.raises(LogError, match=r"a\.log: injection_metadata\.json says that it holds attacks, and a\.labels"):
        with_labels_beside(read)
    packed = replace(read, source=replace(read.source, path=str(tmp_path / "a.log.gz")))
    (tmp_path / "a.labels.gz").write_bytes(b"no gzip")
    with pytest.raises(LogError, match=r"a\.labels\.gz: cannot be read \(Not a gzipped file"):
        with_labels_beside(packed)


def test_the_format_follows_from_the_name() -> None:
    assert output_format("a/drive.log") == output_format("drive.LOG.gz") == "candump"
    assert output_format("drive.csv") == output_format("x.log", "can-train-and-test") == "can_train_and_test"
    assert output_format("no.suffix", "HCRL_csv") == "hcrl_csv"
    with pytest.raises(UserError, match=r"drive\.dat: .* end it in \.log \(candump\) or \.csv .*, or name one of"):
        output_format("drive.dat")
    with pytest.raises(UserError, match=r"No writer is named 'hcrl' \(did you mean 'hcrl_csv'\?\); known: candump, "):
        output_format("drive.log", "hcrl")
