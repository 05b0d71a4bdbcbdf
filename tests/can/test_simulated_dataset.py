"""The simulated data set: what is written comes back with the family of every attack frame, drives share nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from credit_like.can import simulated_dataset
from credit_like.can.attacks import ATTACK_FAMILIES
from credit_like.can.captures import Capture
from credit_like.can.dataset import Dataset, read_dataset
from credit_like.can.simulated_dataset import write_simulated_dataset
from credit_like.can.simulator import simulate
from credit_like.config import UserError
from credit_like.graphs.groups import find_groups


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulated")
    write_simulated_dataset(root, drives=5, seconds=32, seed=1, progress=False)
    return root


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return read_dataset(folder, progress=False)


def attacked(dataset: Dataset) -> list[Capture]:
    return [capture for capture in dataset.captures if capture.intervals]


def test_the_layout(folder: Path, dataset: Dataset) -> None:
    names = [f"drives/{name}" for name in sorted(path.name for path in (folder / "drives").iterdir())]
    assert names == ["drives/attack-free-01.csv", *(f"drives/drive-{k:02d}.csv" for k in range(2, 6))]
    metadata = json.loads((folder / "injection_metadata.json").read_text())
    assert sorted(metadata) == names == [capture.name for capture in dataset.captures]
    assert all(capture.source.format == "can_train_and_test" for capture in dataset.captures)
    assert not any(capture.source.defects for capture in dataset.captures), "counts in the metadata are those read"
    assert {capture.vehicle for capture in dataset.captures} == {"sedan"}
    assert all((capture.frames.label == 0).all() for capture in dataset.captures if not capture.intervals)


def test_every_attack_frame_has_the_family_of_its_interval(dataset: Dataset) -> None:
    for capture in attacked(dataset):
        frames = capture.frames[capture.frames.label == 1]
        families = np.array(capture.frames.attack_names)[frames.attack]
        assert set(families) <= set(ATTACK_FAMILIES)
        for interval in capture.intervals:
            inside = (frames.t >= interval.start) & (frames.t <= interval.stop)
            assert (families[inside] == interval.family).all()
            assert inside.any() or interval.family == "suspension"
        covered = [any(i.start <= t <= i.stop for i in capture.intervals) for t in frames.t]
        assert all(covered)


def test_bursts_of_all_families_alternate_with_benign_stretches(dataset: Dataset) -> None:
    seen = {interval.family for capture in attacked(dataset) for interval in capture.intervals}
    assert seen == set(ATTACK_FAMILIES)
    for capture in attacked(dataset):
        families = [interval.family for interval in capture.intervals]
        assert len(set(families[:6])) == len(families[:6]), "a family comes again only after all the others"
        edges = [edge for interval in capture.intervals for edge in (interval.start, interval.stop)]
        assert (np.diff(edges) > 1.4).all()
        assert edges[0] - capture.frames.t[0] > 4


def test_drives_share_no_traffic(dataset: Dataset) -> None:
    assert len(find_groups(dataset.captures).groups) == len(dataset.captures)
    assert not dataset.duplicates


def test_the_first_capture_is_the_simulated_drive_itself(dataset: Dataset) -> None:
    seeds = np.random.SeedSequence([1, 0]).generate_state(2)
    drive = simulate("sedan", 32, int(seeds[0]))
    read = dataset.captures[0].frames
    assert np.array_equal(read.id, drive.id)
    assert np.array_equal(read.payload, drive.payload)
    assert np.abs(read.t - read.t[0] - (drive.t - drive.t[0])).max() < 2e-6


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_simulated_dataset(
            tmp_path / name, "truck", drives=2, seconds=12, seed=seed, progress=False, attack_free=0
        )

    def content(name: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]

    assert content("a") == content("b")
    assert content("a") != content("c")


def test_one_family_or_none(tmp_path: Path) -> None:
    write_simulated_dataset(
        tmp_path / "one", "van", drives=1, seconds=15, attacks=["masquerade"], progress=False, attack_free=0
    )
    entry = json.loads((tmp_path / "one/injection_metadata.json").read_text())["drives/drive-01.csv"]
    assert entry["type"] == "masquerade"
    paths = write_simulated_dataset(tmp_path / "none", drives=2, seconds=10, attacks=(), progress=False)
    assert [path.name for path in paths] == ["attack-free-01.csv", "attack-free-02.csv"]
    assert all(path.is_file() for path in paths)


def test_arguments_that_make_no_data_set_are_refused(tmp_path: Path) -> None:
    cases = [
        ({"vehicle": "vann"}, r"no simulated vehicle 'vann' \(did you mean 'van'\?\); choose one of sedan, van, truck"),
        ({"attacks": ["spofing"]}, r"no attack family 'spofing' \(did you mean 'spoofing'\?\)"),
        ({"drives": 0}, "got 0 drives of 40 s"),
        ({"seconds": 3}, "at least 10 s; got 10 drives of 3 s"),
        ({"drives": 2, "attack_free": 3}, "Of 2 drives 3 cannot be attack-free"),
    ]
    for wrong, message in cases:
        with pytest.raises(UserError, match=message):
            write_simulated_dataset(tmp_path / "new", **wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.log").write_text("(0.0) can0 123#\n")
    with pytest.raises(UserError, match="holds something already; name an empty folder"):
        write_simulated_dataset(tmp_path)
    with pytest.raises(UserError, match="holds something already"):
        write_simulated_dataset(tmp_path / "mine.log")
    with pytest.raises(UserError, match="cannot be written: Not a directory"):
        write_simulated_dataset(tmp_path / "mine.log" / "below")


def test_an_interrupted_one_leaves_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def interrupted(frames: object, path: Path) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        path.write_text("timestamp,arbitration_id,data_field,attack\n")

    monkeypatch.setattr(simulated_dataset, "write_ctt_csv", interrupted)
    (tmp_path / ".mark").touch()
    with pytest.raises(KeyboardInterrupt):
        write_simulated_dataset(tmp_path, drives=2, seconds=10, progress=False)
    assert written
    assert [path.name for path in tmp_path.iterdir()] == [".mark"]
