"""GraphStore: what is in it, when it is built anew, what it refuses, and that it is whole or not there at all."""

from __future__ import annotations

import json
import logging
import os
import pickle
import resource
import signal
from multiprocessing import Queue, get_context
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from credit_like.can.captures import Capture
from credit_like.config import UserError
from credit_like.graphs import _build
from credit_like.graphs import store as store_module
from credit_like.graphs.features import build_graphs
from credit_like.graphs.plan import Segment, SplitPlan
from credit_like.graphs.store import GraphStore, StoreError, rows_of
from credit_like.graphs.windows import WindowSettings, cut_windows, rows_of_bus
from tests.graphs.conftest import SETTINGS, three_way_plan, two_captures
from tests.graphs.traffic import capture

TENSORS = ("x", "key", "edge_index", "edge_attr", "node_ptr", "edge_ptr")


def one_plan(n: int = 400) -> SplitPlan:
    return SplitPlan((Segment("drive", "train", 0, n),), "groups", (("drive",),))


def build(folder: Path, n: int = 400, seed: int = 0, window: int = 20) -> GraphStore:
    return GraphStore.build(folder, [capture(n=n, seed=seed)], one_plan(n), WindowSettings(window=window))


def assert_same_tensors(a: GraphStore, b: GraphStore) -> None:
    for name in TENSORS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


def assert_graphs_of_their_windows(store: GraphStore, captures: list[Capture]) -> None:
    windows = store.windows
    for i in range(len(store)):
        frames = captures[windows.capture[i]].frames
        own = frames[rows_of_bus(frames, windows.bus[i], windows.row_start[i], windows.row_stop[i])]
        expected = build_graphs(own, np.array([0]), SETTINGS.window)
        nodes = slice(store.node_ptr[i], store.node_ptr[i + 1])
        edges = slice(store.edge_ptr[i], store.edge_ptr[i + 1])
        np.testing.assert_array_equal(store.x[nodes], expected.x)
        np.testing.assert_array_equal(store.key[nodes], expected.key)
        np.testing.assert_array_equal(store.edge_index[:, edges], expected.edge_index)
        np.testing.assert_array_equal(store.edge_attr[edges], expected.edge_attr)


def test_every_graph_is_that_of_its_windows_frames(store: GraphStore) -> None:
    assert len(store) > 100
    assert set(store.windows.bus[store.windows.capture == 1]) == {0, 1}
    assert_graphs_of_their_windows(store, two_captures())


def test_segments_and_buses_may_come_in_any_order(tmp_path: Path) -> None:
    drive = capture(n=600)
    drive.frames.bus[300:] = 1
    segments = (Segment("drive", "validation", 150, 600), Segment("drive", "train", 0, 150))
    made = GraphStore.build(tmp_path / "s", [drive], SplitPlan(segments, "groups", ()), SETTINGS)
    assert made.windows.row_start[0] == 150
    assert made.windows.row_start[-1] < 150
    assert_graphs_of_their_windows(made, [drive])


def test_the_windows_come_back_as_they_were_cut(store: GraphStore) -> None:
    windows = cut_windows(two_captures(), three_way_plan(), SETTINGS)
    np.testing.assert_array_equal(store.windows.records(), windows.records())
    for name in ("capture_names", "split_names", "families", "dropped_frames", "skipped_frames"):
        assert getattr(store.windows, name) == getattr(windows, name)


def test_blocks_do_not_show(store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build, "_BLOCK_FRAMES", 70)
    other = GraphStore.build(tmp_path / "s", two_captures(), three_way_plan(), SETTINGS)
    assert_same_tensors(store, other)
    assert other.digest == store.digest


def test_the_manifest_says_what_the_store_was_made_from(store: GraphStore) -> None:
    manifest = store.manifest
    assert manifest["settings"] == {"window": 20, "stride": 15}
    assert manifest["plan"]["segments"][1] == ["first", "validation", 1020, 1500]
    assert manifest["plan"]["record"] == {"embargo": 0.5}
    assert [c["vehicle"] for c in manifest["captures"]] == ["sedan", ""]
    assert [family for family, _, _ in manifest["captures"][0]["intervals"]] == ["dos", "suspension"]
    assert (manifest["graphs"], manifest["nodes"]) == (len(store), len(store.x))
    assert set(manifest["files"]) == {f.name for f in store.folder.iterdir()} - {"manifest.json"}
    store.verify()


def test_select(store: GraphStore) -> None:
    windows = store.windows
    assert store.select().tolist() == list(range(len(store)))
    known = store.select("test/known")
    assert {windows.capture_names[c] for c in windows.capture[known]} == {"second"}
    attacks, benign = store.select("train", 1), store.select("train", label=0)
    assert len(attacks)
    assert (windows.label[attacks] == 1).all()
    assert sorted([*attacks, *benign]) == store.select("train").tolist()
    clean = store.select("train", without_interval_overlap=True)
    left_out = set(store.select("train")) - set(clean)
    assert left_out == {i for i in benign if windows.in_interval[i]} != set()
    with pytest.raises(ValueError, match=r"no split 'trian'.*did you mean 'train'"):
        store.select("trian")


def test_one_graph(store: GraphStore) -> None:
    graph = store.graph(7)
    assert graph.num_nodes == store.node_ptr[8] - store.node_ptr[7]
    assert graph.window.tolist() == [7]
    assert graph.y.tolist() == [store.windows.label[7]]
    assert graph.validate()
    graph.x[:] = -1  # its own memory
    assert (store.x >= 0).any()
    for index in (-1, len(store)):
        with pytest.raises(IndexError, match="graphs 0"):
            store.graph(index)


def test_rows_of_some_graphs(store: GraphStore) -> None:
    expected = [row for g in (5, 2, 5) for row in range(store.node_ptr[g], store.node_ptr[g + 1])]
    assert rows_of(store.node_ptr, np.array([5, 2, 5])).tolist() == expected
    assert rows_of(store.node_ptr, np.zeros(0, np.int64)).tolist() == []


def test_a_store_travels_by_its_folder(store: GraphStore) -> None:
    other = pickle.loads(pickle.dumps(store))
    assert other.digest == store.digest
    assert_same_tensors(store, other)


def test_tensors_cannot_be_written_by_mistake(store: GraphStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        store.x[0, 0] = 1


def test_the_same_input_is_not_built_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(tmp_path / "s")
    monkeypatch.setattr(_build, "TensorWriter", None)  # writing anything would fail
    assert build(tmp_path / "s").digest == first.digest


def test_equal_input_has_an_equal_digest_wherever_it_lay(tmp_path: Path) -> None:
    drive = capture(n=400)
    moved = Capture(
        drive.name, drive.frames, type(drive.source)("elsewhere/x.log", "", "synthetic", "made by the test", 400)
    )
    stores = [GraphStore.build(tmp_path / name, [c], one_plan(), SETTINGS) for name, c in (("a", drive), ("b", moved))]
    assert stores[0].digest == stores[1].digest


@pytest.mark.parametrize("change", ["frames", "label", "interval", "window", "plan", "record"])
def test_any_change_of_the_input_builds_anew(tmp_path: Path, change: str) -> None:
    before = build(tmp_path / "s")
    drive, plan, settings = capture(n=400), one_plan(), WindowSettings(window=20)
    if change == "frames":
        drive.frames.payload[399, 7] ^= 1
    elif change == "label":
        drive.frames.label[0] = 1
    elif change == "interval":
        drive = capture(n=400, intervals=two_captures()[0].intervals)
    elif change == "window":
        settings = WindowSettings(window=20, stride=10)
    elif change == "plan":
        plan = one_plan(390)
    else:
        plan = SplitPlan(plan.segments, plan.policy, plan.groups, {"embargo": 1.0})
    after = GraphStore.build(tmp_path / "s", [drive], plan, settings)
    assert after.manifest["key"] != before.manifest["key"]
    assert GraphStore.open(tmp_path / "s").digest == after.digest
    assert before.x.sum() > 0  # the old one stays readable to whoever has it open
    assert sorted(p.name for p in tmp_path.iterdir()) == [".s.lock", "s"]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("name", [*(f"{t}.npy" for t in TENSORS), "windows.npy"])
@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_torn_store_is_named_and_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: object
) -> None:
    whole = build(tmp_path / "s")
    damage(tmp_path / "s" / name)  # type: ignore[operator]
    with pytest.raises(StoreError, match=rf"damaged: .*{name}"):
        GraphStore.open(tmp_path / "s")
    with caplog.at_level(logging.WARNING):
        again = build(tmp_path / "s")
    assert name in caplog.text
    assert again.digest == whole.digest
    again.verify()


def test_another_header_is_a_torn_store(tmp_path: Path) -> None:
    build(tmp_path / "s")
    path = tmp_path / "s" / "key.npy"
    path.write_bytes(path.read_bytes().replace(b"<i8", b"<f8", 1))
    with pytest.raises(StoreError, match=r"key\.npy holds .*<f8"):
        GraphStore.open(tmp_path / "s")


def test_a_flipped_bit_is_found_by_verify(tmp_path: Path) -> None:
    store = build(tmp_path / "s")
    path = tmp_path / "s" / "x.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"x\.npy has changed"):
        store.verify()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "not the manifest"),
        ('{"format": "other"}', "not the manifest"),
        ('{"format": "credit_like graph store", "schema": 0}', "has schema 0"),
        ('{"format": "credit_like graph store", "schema": 1}', "lacks 'files'"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    build(tmp_path / "s")
    (tmp_path / "s" / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        GraphStore.open(tmp_path / "s")


def test_an_edited_manifest_does_not_match_its_digest(tmp_path: Path) -> None:
    store = build(tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(json.dumps(store.manifest | {"split_names": ["test"]}))
    with pytest.raises(StoreError, match="own digest"):
        GraphStore.open(tmp_path / "s")


def test_no_store_is_said_kindly(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no graph store.*Build it"):
        GraphStore.open(tmp_path)


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds other files \(thesis\.tex\)"):
        build(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(StoreError, match=r"manifest\.json"):
        build(foreign)
    assert (foreign / "manifest.json").exists()


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    assert len(build(tmp_path / "s")) == 20


def test_segments_without_room_for_a_window(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"401 consecutive frames.*shorter window"):
        build(tmp_path / "s", window=401)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["file/store", "file"])
def test_a_place_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be"):
        build(tmp_path / where)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            build(tmp_path / "s")
    finally:
        tmp_path.chmod(0o755)


def _build_with_little_room(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        build(folder)
    except StoreError as error:
        raise SystemExit(0 if "cannot be written" in str(error) else 3) from None
    raise SystemExit(4)


def test_a_full_disk_leaves_the_old_store_and_nothing_else(tmp_path: Path) -> None:
    old = build(tmp_path / "s", seed=1)
    child = get_context("fork").Process(target=_build_with_little_room, args=(tmp_path / "s",))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert GraphStore.open(tmp_path / "s").digest == old.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == [".s.lock", "s"]


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_build, "build_graphs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "s")
    assert [p.name for p in tmp_path.iterdir()] == [".s.lock"]


def test_what_a_killed_build_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".s.building"
    left.mkdir()
    (left / "x.npy").write_bytes(b"half")
    assert len(build(tmp_path / "s")) == 20
    assert not left.exists()


def _build_and_tell(folder: Path, gate: Barrier, answers: Queue[str]) -> None:
    def told(*arguments: object) -> None:
        answers.put("built")
        _build.write_store(*arguments)  # type: ignore[arg-type]

    store_module.write_store = told  # type: ignore[assignment]  # of this process only
    gate.wait()
    answers.put(build(folder).digest)


def test_of_processes_that_build_the_same_store_one_does(tmp_path: Path) -> None:
    context = get_context("fork")
    gate, answers = context.Barrier(3), context.Queue()
    children = [context.Process(target=_build_and_tell, args=(tmp_path / "s", gate, answers)) for _ in range(3)]
    for child in children:
        child.start()
    told = [answers.get(timeout=60) for _ in range(4)]
    for child in children:
        child.join()
    assert sorted(told) == sorted(["built", *[GraphStore.open(tmp_path / "s").digest] * 3])
    assert all(child.exitcode == 0 for child in children)
