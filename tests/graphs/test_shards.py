"""Shards: any number of them, built in any order, make the very bytes that one process makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from credit_like.graphs import GraphStore, StoreError, build_shard, merge_shards
from credit_like.graphs.shards import shards_of
from tests.graphs.conftest import SETTINGS, three_way_plan, two_captures


def build(folder: Path, shard: int, shards: int) -> Path:
    return build_shard(folder, two_captures(), three_way_plan(), SETTINGS, shard, shards, progress=False)


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_merged_shards_are_the_bytes_of_one_process(store: GraphStore, tmp_path: Path, shards: int) -> None:
    folder = tmp_path / "small"
    for shard in range(shards, 0, -1):
        build(folder, shard, shards)
    merged = merge_shards(folder, progress=False)
    names = sorted(path.name for path in store.folder.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (folder / name).read_bytes() == (store.folder / name).read_bytes(), name
    assert merged.digest == store.digest
    merged.verify()
    # ... so that whoever builds finds it ready
    again = GraphStore.build(folder, two_captures(), three_way_plan(), SETTINGS)
    assert (again.folder / "x.npy").stat().st_ino == (merged.folder / "x.npy").stat().st_ino


def test_a_shard_that_is_there_is_left_alone(tmp_path: Path) -> None:
    first = build(tmp_path / "small", 1, 2)
    inode = (first / "x.npy").stat().st_ino
    assert build(tmp_path / "small", 1, 2) == first
    assert (first / "x.npy").stat().st_ino == inode


def test_missing_shards_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with pytest.raises(StoreError, match=r"there are no shards in .*small.shards; build them with"):
        merge_shards(folder)
    build(folder, 2, 4)
    with pytest.raises(StoreError, match=r"lacks 3 of 4 shards: 1, 3, 4\. Build them, then merge again"):
        merge_shards(folder)
    build(folder, 1, 3)
    with pytest.raises(StoreError, match=r"holds shards of 3 and of 4; remove those"):
        merge_shards(folder)
    assert not folder.exists()


def test_a_damaged_shard_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    for shard in (1, 2):
        own = build(folder, shard, 2)
    data = bytearray((own / "x.npy").read_bytes())
    data[-1] ^= 1
    (own / "x.npy").write_bytes(data)
    with pytest.raises(StoreError, match=r"2_of_2 is damaged: x\.npy has changed"):
        merge_shards(folder)
    assert not folder.exists()


def test_shards_of_other_logs_do_not_mix(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    build(folder, 1, 2)
    shortened = [two_captures()[0], two_captures()[1]]
    object.__setattr__(shortened[0], "vehicle", "another")
    build_shard(folder, shortened, three_way_plan(), SETTINGS, 2, 2, progress=False)
    with pytest.raises(StoreError, match="were built from different logs or settings"):
        merge_shards(folder)


def test_more_shards_than_windows(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="windows cannot be parted into 100000 shards"):
        build(tmp_path / "small", 1, 100_000)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    build(folder, 1, 1)
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="holds other files"):
        merge_shards(folder)
    shutil.rmtree(shards_of(folder))
    assert (folder / "thesis.tex").exists()
