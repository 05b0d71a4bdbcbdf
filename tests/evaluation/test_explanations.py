"""Which alarms are explained, and that their ids, transitions and frames are those of the window."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch_geometric.data import Data

from credit_like.can import Capture, DbcNames, FrameTable, SourceFile
from credit_like.evaluation import AlarmRule, Explanations, Scores, explain, top_alarms
from credit_like.evaluation.explanations import ALARMS, FRAMES
from credit_like.graphs import GraphStore, Segment, SplitPlan, WindowSettings

BUSY, QUIET, LONG = 0x100, 0x200, 0x18FEF100


def drive(t: np.ndarray, ids: np.ndarray, payload: np.ndarray, dlc: int) -> Capture:
    """A benign capture of frames with ``dlc`` bytes each, of which ``LONG`` alone is an extended id."""
    n = len(t)
    length, flags, label = np.full(n, dlc, np.uint8), (ids == LONG).astype(np.uint8), np.zeros(n, np.int8)
    frames = FrameTable.build(t, ids, payload, length, flags=flags, label=label, capture_name="drive")
    return Capture("drive", frames, SourceFile("drive", "", "", "", n))


@pytest.fixture(scope="module")
def capture() -> Capture:
    """Two windows of 30 frames: three ids in turn, and in the second window ``LONG`` twice as often."""
    turn = [BUSY, QUIET, LONG] * 10 + [BUSY, LONG, QUIET, LONG] * 7 + [BUSY, QUIET]
    ids = np.array(turn, np.int32)
    payload = np.zeros((60, 8), np.uint8)
    payload[:, 0] = np.arange(60)
    return drive(100 + np.arange(60) * 0.01, ids, payload, 2)


@pytest.fixture(scope="module")
def store(capture: Capture, tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    plan = SplitPlan((Segment("drive", "test", 0, 60),), "groups", ())
    folder = tmp_path_factory.mktemp("store") / "s"
    return GraphStore.build(folder, [capture], plan, WindowSettings(window=30), progress=False)


def suspects_long(graphs: Sequence[Data]) -> np.ndarray:
    return np.array([0.9 if (1 << 32 | LONG) in g.key.tolist() else 0.2 for g in graphs])


def test_the_guilty_id_comes_first_with_the_frames_around_its_first(store: GraphStore, capture: Capture) -> None:
    found = explain(store, [(1, "dos"), (0, "")], [capture], suspects_long, DbcNames())
    assert Explanations.model_validate(json.loads(json.dumps(found)), strict=False).model_dump(mode="json") == found
    entry = found["explanations"][0]
    assert [entry[x] for x in ("split", "capture", "bus", "row_start", "row_stop", "kind")] == [
        "test", "drive", 0, 30, 60, "dos",
    ]  # fmt: skip
    assert entry["score"] == 0.9
    assert entry["ids"][0] | {"effect": 0} == {
        "id": "0x18FEF100", "name": "", "frames": 14, "attack_frames": 0, "score_without": 0.2, "effect": 0,
        "attention": None,
    }  # fmt: skip
    assert entry["ids"][0]["effect"] == pytest.approx(np.log(9) + np.log(4))
    assert {x["id"] for x in entry["ids"]} == {"0x18FEF100", "0x100", "0x200"}
    assert sum(x["count"] for x in entry["transitions"]) == 29
    frames = entry["frames"]
    assert len(frames) == FRAMES
    assert [x["data"] for x in frames] == [f"{row:02X} 00" for row in range(30, 30 + FRAMES)]
    assert "0x18FEF100" in {x["id"] for x in frames}
    assert not any(x["attack"] for x in frames)
    assert frames[0]["t"] == pytest.approx(100.3)


def test_frames_and_ids_say_what_is_labelled_attack(store: GraphStore, capture: Capture) -> None:
    label = np.zeros(60, np.int8)
    label[31:34], label[40] = 1, -1  # of the second window; one of its frames has no label
    columns = {name: getattr(capture.frames, name) for name in ("t", "id", "payload", "length", "flags")}
    frames = FrameTable.build(**columns, label=label, capture_name="drive")
    seen = Capture("drive", frames, capture.source)
    entry = explain(store, [(1, "")], [seen], suspects_long, DbcNames())["explanations"][0]
    assert [x["attack"] for x in entry["frames"]] == [False, True, True, True, *[False] * 6, None, False]
    keys, mine = frames.id[30:60], label[30:60]
    for x in entry["ids"]:
        of_id = mine[keys == int(x["id"], 16)]
        assert x["attack_frames"] == (None if (of_id < 0).any() else int(of_id.sum()))
    assert {x["attack_frames"] for x in entry["ids"]} >= {None, 2}


@pytest.fixture
def crowded(tmp_path: Path) -> tuple[GraphStore, Capture]:
    """A window of 60 frames and 25 ids, of which 0x10 floods and 0x11 to 0x13 have a frame labelled attack each."""
    ids = np.array([0x10] * 36 + list(range(0x11, 0x29)), np.int32)
    capture = drive(np.arange(60) * 0.01, ids, np.zeros((60, 8), np.uint8), 8)
    columns = {name: getattr(capture.frames, name) for name in ("t", "id", "payload", "length", "flags")}
    label = np.isin(ids, [0x11, 0x12, 0x13]).astype(np.int8)
    labelled = Capture("drive", FrameTable.build(**columns, label=label, capture_name="drive"), capture.source)
    plan = SplitPlan((Segment("drive", "test", 0, 60),), "groups", ())
    return GraphStore.build(tmp_path / "s", [labelled], plan, WindowSettings(window=60), progress=False), labelled


def test_ids_with_attack_frames_and_the_most_frequent_id_are_listed_whatever_their_effect(
    crowded: tuple[GraphStore, Capture], run: Scores, report_of: Callable[..., Path]
) -> None:
    store, capture = crowded

    def by_key(graphs: Sequence[Data]) -> np.ndarray:  # the higher the id, the more it carries
        return np.array([float(g.key.sum()) for g in graphs])

    found = explain(store, [(0, "dos")], [capture], by_key, DbcNames())
    (entry,) = found["explanations"]
    assert [int(x["id"], 16) for x in entry["ids"]] == [*range(0x28, 0x20, -1), 0x13, 0x12, 0x11, 0x10]
    assert (entry["ids_in_window"], entry["transitions_in_window"]) == (25, store.graph(0).edge_index.shape[1])
    page = report_of(run, explanations=found).read_text()
    assert "12 of 25 ids: those with the highest effects, that with most frames, and all with frames labelled" in page
    assert f"8 of {entry['transitions_in_window']} transitions: those with the highest effects" in page


def test_the_frames_shown_are_around_the_first_of_the_highest_id(tmp_path: Path) -> None:
    ids = np.where(np.arange(40) >= 25, [LONG, BUSY] * 20, [QUIET, BUSY] * 20).astype(np.int32)
    payload = np.arange(40, dtype=np.uint8)[:, None].repeat(8, axis=1)
    capture = drive(np.arange(40) * 0.01, ids, payload, 1)
    plan = SplitPlan((Segment("drive", "test", 0, 40),), "groups", ())
    store = GraphStore.build(tmp_path / "s", [capture], plan, WindowSettings(window=40), progress=False)
    (entry,) = explain(store, [(0, "")], [capture], suspects_long, DbcNames())["explanations"]
    assert entry["ids"][0]["id"] == "0x18FEF100"
    at = [x["id"] for x in entry["frames"]].index("0x18FEF100")
    assert entry["frames"][at]["data"] == "1A"  # the first of them
    assert 0 < at < FRAMES - 1


def test_attention_is_shared_out_among_ids_and_transitions(store: GraphStore, capture: Capture) -> None:
    """Every edge into a node gets the same: the share of an id is then that of the ids it leads to, counted so."""

    def evenly(graph: Data) -> np.ndarray:
        target = graph.edge_index[1].numpy()
        return 1 / np.bincount(target)[target]

    (entry,) = explain(store, [(1, "")], [capture], suspects_long, DbcNames(), attention=evenly)["explanations"]
    edges = {(x["source"], x["target"]): x["attention"] for x in entry["transitions"]}
    into = {target: sum(1 for _, other in edges if other == target) for _, target in edges}
    assert edges == {pair: pytest.approx(1 / into[pair[1]]) for pair in edges}
    of_ids = {x["id"]: x["attention"] for x in entry["ids"]}
    assert sum(of_ids.values()) == pytest.approx(1)
    for name, share in of_ids.items():
        assert share == pytest.approx(sum(x for (source, _), x in edges.items() if source == name) / len(into))


def test_frames_are_those_around_the_time_asked_for(store: GraphStore, capture: Capture) -> None:
    entry = explain(store, [(0, "")], [capture], suspects_long, DbcNames(), around=100.295)["explanations"][0]
    assert entry["frames"][-1]["data"] == "1D 00"


DBC = """VERSION ""
BU_: ECU
BO_ 256 Engine: 8 ECU
 SG_ Speed : 0|8@1+ (0.5,0) [0|127] "km/h" ECU
 SG_ Gear : 8|8@1+ (1,0) [0|8] "" ECU
BO_ 2566844672 Diagnosis: 8 ECU
 SG_ Code : 0|16@1+ (1,0) [0|0] "" ECU
"""


def test_ids_and_signals_have_the_names_of_the_dbc_file(store: GraphStore, capture: Capture, tmp_path: Path) -> None:
    path = tmp_path / "car.dbc"
    path.write_text(DBC)
    entry = explain(store, [(1, "")], [capture], suspects_long, DbcNames.read(path))["explanations"][0]
    assert (entry["ids"][0]["id"], entry["ids"][0]["name"]) == ("0x18FEF100", "Diagnosis")
    assert "0x100 Engine" in {x["source"] for x in entry["transitions"]}
    first = entry["frames"][0]
    assert (first["name"], first["signals"]) == ("Engine", {"Speed": "15 km/h", "Gear": "0"})


def alarmed(run: Scores, rule: AlarmRule) -> dict[int, str]:
    """The highest row of each run of adjoining alarms of the test captures, walked row by row."""
    peaks: dict[int, str] = {}
    rows = run.frame.with_row_index("row").filter(pl.col("split") != "validation")
    for capture in sorted(set(rows["capture"])):
        best = None
        for row in [*rows.filter(pl.col("capture") == capture).sort("row_start").iter_rows(named=True), None]:
            if row is not None and row["score"] > rule.threshold:
                best = row if best is None or row["score"] > best["score"] else best
            elif best is not None:
                benign = best["label"] == 0 and not best["in_interval"]
                peaks[best["row"]] = "false alarm" if benign else best["family"] or "during an attack"
                best = None
    return peaks


def test_the_alarms_explained_are_peaks_and_no_kind_hides_another(run: Scores) -> None:
    rule = AlarmRule(0.3)
    peaks, found = alarmed(run, rule), top_alarms(run.frame, rule)
    assert len(found) == ALARMS < len(peaks)
    assert all(peaks[row] == kind for row, kind in found)
    kinds = set(peaks.values())
    assert [kind for _, kind in found[: len(kinds)]].count("false alarm") == 1
    assert {kind for _, kind in found} == kinds
    for kind in kinds:
        score = {row: run.frame["score"][row] for row, name in peaks.items() if name == kind}
        assert max(score, key=score.__getitem__) in [row for row, name in found if name == kind]


def test_an_alarm_within_an_attack_is_no_false_alarm(windows_of: Callable[..., pl.DataFrame]) -> None:
    """Windows 10 and 20 hold no attack frame and alarm; an id is silenced around window 20."""
    score = np.isin(np.arange(30), [10, 20]).astype(float)
    frame = windows_of("test", "t", 30, score=score, in_interval=np.arange(30) // 5 == 4)
    assert top_alarms(frame, AlarmRule(0.5)) == [(10, "false alarm"), (20, "during an attack")]


def test_every_test_set_gets_its_own(simulate_run: Callable[..., Scores]) -> None:
    names = ("test/known_vehicle_known_attack", "test/unknown_vehicle_known_attack")
    run = simulate_run(tests=names, windows=300)
    rows = [run.frame["split"][row] for row, _ in top_alarms(run.frame, AlarmRule(0.3))]
    assert {name: rows.count(name) for name in names} == dict.fromkeys(names, ALARMS)


def test_without_an_alarm_there_is_nothing_to_explain(
    run: Scores, report_of: Callable[..., Path], store: GraphStore, capture: Capture
) -> None:
    assert top_alarms(run.frame, AlarmRule(2.0)) == []
    empty = explain(store, [], [capture], suspects_long, DbcNames())
    assert "No window of a test set alarmed." in report_of(run, explanations=empty).read_text()


def test_the_report_shows_them_escaped(
    run: Scores, report_of: Callable[..., Path], store: GraphStore, capture: Capture
) -> None:
    found = explain(store, [(1, "dos")], [capture], suspects_long, DbcNames())
    found["explanations"][0]["ids"][0]["name"] = "<script>x</script>"
    text = report_of(run, explanations=found).read_text()
    part = text[text.index('<section id="explanations"') :]
    assert "Why it alarmed" in part
    assert "The ids at the top carried the score more" in part or "Do not rely on the order" in part
    assert "All 3 ids of the window" in part
    assert "0x18FEF100 &lt;script&gt;" in part
    assert "<script>x" not in text
    assert '<section id="explanations"' not in report_of(run, explanations=found, problems=["wrong"]).read_text()
