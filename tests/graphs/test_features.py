"""The compiled graph builder against the plain reference, feature by feature, and against numbers found by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_like.can import read_log
from credit_like.can.frames import ERROR, EXTENDED, REMOTE, FrameTable
from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES, GraphArrays, build_graphs, count_graphs
from credit_like.verification.reference import reference_graph
from tests.graphs.traffic import mixed_frames


def assert_equal_to_reference(frames: FrameTable, starts: np.ndarray, window: int, graphs: GraphArrays) -> None:
    for g, start in enumerate(starts):
        expected = reference_graph(frames, int(start), window)
        nodes = slice(graphs.node_ptr[g], graphs.node_ptr[g + 1])
        edges = slice(graphs.edge_ptr[g], graphs.edge_ptr[g + 1])
        where = f"window of {window} at {start}"
        np.testing.assert_array_equal(graphs.key[nodes], expected.key, where)
        np.testing.assert_array_equal(graphs.edge_index[:, edges], expected.edge_index, where)
        for f, name in enumerate(NODE_FEATURES):
            np.testing.assert_allclose(graphs.x[nodes, f], expected.x[:, f], 1e-6, 1e-9, err_msg=f"{name}, {where}")
        for f, name in enumerate(EDGE_FEATURES):
            values = graphs.edge_attr[edges, f]
            np.testing.assert_allclose(values, expected.edge_attr[:, f], 1e-6, 1e-9, err_msg=f"{name}, {where}")


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(2, 90),
    window=st.integers(2, 90),
    stride=st.integers(1, 120),
    ids=st.sampled_from([1, 2, 5, 40]),
    byte_values=st.sampled_from([1, 2, 30]),
    fd=st.booleans(),
    start=st.sampled_from([0.0, 1.6e9]),
)
def test_random_frames(
    seed: int, n: int, window: int, stride: int, ids: int, byte_values: int, fd: bool, start: float
) -> None:
    frames = mixed_frames(seed, n, ids=ids, byte_values=byte_values, fd=fd, start=start)
    window = min(window, n)
    starts = np.arange(0, n - window + 1, stride)
    assert_equal_to_reference(frames, starts, window, build_graphs(frames, starts, window))


@pytest.mark.parametrize("window", [300, 1500])
def test_windows_longer_than_a_sorted_run_and_with_many_ids(window: int) -> None:
    frames = mixed_frames(3, 1600, ids=400)
    starts = np.array([0, 100])
    assert_equal_to_reference(frames, starts, window, build_graphs(frames, starts, window))


def test_a_flood_between_all_others_is_a_hub() -> None:
    frames = mixed_frames(4, 400, ids=60)
    frames.id[::2], frames.flags[::2] = 0, 0
    starts = np.array([0])
    assert_equal_to_reference(frames, starts, 400, build_graphs(frames, starts, 400))


def feature(graphs: GraphArrays, node: int, name: str) -> float:
    return float(graphs.x[node, NODE_FEATURES.index(name)])


def edge_feature(graphs: GraphArrays, edge: int, name: str) -> float:
    return float(graphs.edge_attr[edge, EDGE_FEATURES.index(name)])


def frames_of(rows: list[tuple[float, int, list[int]]], flags: list[int] | None = None) -> FrameTable:
    payload = np.zeros((len(rows), 8), np.uint8)
    for row, (_, _, data) in enumerate(rows):
        payload[row, : len(data)] = data
    return FrameTable.build(
        np.array([t for t, _, _ in rows]),
        np.array([id for _, id, _ in rows], np.int32),
        payload,
        np.array([len(data) for _, _, data in rows], np.uint8),
        flags=np.array(flags, np.uint8) if flags else None,
    )


def test_a_window_worked_out_by_hand() -> None:
    # 0x10 sends 10, 30 | 10; 0x20 sends an empty payload twice; the transitions are 10>20, 20>10, 10>10, 10>20.
    frames = frames_of([(1.0, 0x10, [10]), (1.5, 0x20, []), (2.0, 0x10, [30, 30]), (4.0, 0x10, [10]), (4.25, 0x20, [])])
    graphs = build_graphs(frames, np.array([0]), 5)
    assert graphs.key.tolist() == [0x10, 0x20]
    node = {name: feature(graphs, 0, name) for name in NODE_FEATURES}
    assert node["byte0_mean"] == pytest.approx(50 / 3)
    assert node["byte0_std"] == pytest.approx(math.sqrt(800 / 9))
    assert node["byte0_range"] == 20
    assert (node["byte1_mean"], node["byte1_std"], node["byte2_mean"]) == (30, 0, 0)
    assert node["message_count"] == 3
    assert node["payload_entropy"] == pytest.approx(math.log(2) / 3)  # only (30, 30) has any
    assert node["skewness"] == pytest.approx(math.sqrt(0.5) / 2)  # byte 0: 1/sqrt 2; byte 1 constant: 0; byte 2 absent
    assert node["excess_kurtosis"] == pytest.approx(-1.5 / 2)
    assert node["split_half_ratio"] == pytest.approx(1 / 3)  # indices 0, 2, 3; the half ends below 2
    assert node["change_rate"] == 1
    assert (node["interarrival_mean"], node["interarrival_std"]) == (1.5, 0.5)
    assert (node["in_degree"], node["out_degree"], node["clustering"]) == (2, 2, 0)
    assert node["payload_length"] == pytest.approx(4 / 3)

    assert graphs.edge_index.T.tolist() == [[0, 0], [1, 0], [0, 1]]  # by destination, then source
    assert graphs.edge_attr[:, 0].tolist() == [2.0, 0.5, 0.375]
    assert [edge_feature(graphs, e, "byte0_difference") for e in range(3)] == [20, 0, 0]  # 0x20 has no byte 0
    assert [edge_feature(graphs, e, "reverse_exists") for e in range(3)] == [1, 1, 1]
    assert [edge_feature(graphs, e, "count") for e in range(3)] == [1, 1, 2]


def test_a_triangle_has_clustering_one_and_a_pair_none() -> None:
    frames = frames_of([(i * 0.1, id, [0]) for i, id in enumerate([1, 2, 3, 1, 4])])
    graphs = build_graphs(frames, np.array([0]), 5)
    assert [feature(graphs, v, "clustering") for v in range(4)] == pytest.approx([1 / 3, 1, 1, 0])


def test_one_outlier_is_clipped_byte_by_byte() -> None:
    data = [[255 if i == 150 else 3, 255 if i < 10 else 3] for i in range(300)]
    graphs = build_graphs(frames_of([(i * 0.1, 7, row) for i, row in enumerate(data)]), np.array([0]), 300)
    p = 10 / 300  # of byte 1; byte 0 alone has skewness 17.2 and excess kurtosis 295
    assert feature(graphs, 0, "skewness") == pytest.approx((10 + (1 - 2 * p) / math.sqrt(p * (1 - p))) / 2)
    assert feature(graphs, 0, "excess_kurtosis") == 10


def test_the_same_number_in_both_widths_is_two_nodes() -> None:
    frames = frames_of([(0.0, 5, [1]), (0.1, 5, [2]), (0.2, 5, [3])], flags=[0, EXTENDED, 0])
    assert build_graphs(frames, np.array([0]), 3).key.tolist() == [5, 2**32 + 5]


@pytest.mark.parametrize("flag", [REMOTE, ERROR])
def test_remote_and_error_frames_have_no_payload(flag: int) -> None:
    frames = frames_of([(0.0, 5, [200]), (0.1, 5, [100]), (0.2, 6, [50])], flags=[0, flag, 0])
    graphs = build_graphs(frames, np.array([0]), 3)
    assert feature(graphs, 0, "byte0_mean") == 200
    assert feature(graphs, 0, "payload_length") == 0.5
    assert feature(graphs, 0, "change_rate") == 1
    assert [edge_feature(graphs, e, "byte0_difference") for e in range(2)] == [0, 0]


def test_bytes_behind_the_eighth_count_for_change_and_length_only() -> None:
    frames = mixed_frames(0, 2, ids=1, fd=True, special=False)
    frames.length[:] = 64
    frames.payload[:] = 7
    graphs = build_graphs(frames, np.array([0]), 2)
    assert feature(graphs, 0, "change_rate") == 0
    frames.payload[1, 63] = 8
    changed = build_graphs(frames, np.array([0]), 2)
    different = np.flatnonzero(graphs.x[0] != changed.x[0])
    assert [NODE_FEATURES[f] for f in different] == ["change_rate"]
    assert feature(changed, 0, "payload_length") == 64


def test_gaps_of_ten_milliseconds_survive_an_epoch_clock() -> None:
    frames = frames_of([(1.6e9 + 0.01 * i, i % 2, [0]) for i in range(100)])
    graphs = build_graphs(frames, np.array([0]), 100)
    assert feature(graphs, 0, "interarrival_mean") == pytest.approx(0.02, rel=1e-6)
    assert edge_feature(graphs, 0, "gap_mean") == pytest.approx(0.01, rel=1e-4)


def test_neither_the_clock_nor_labels_nor_names_reach_a_feature() -> None:
    frames = mixed_frames(8, 300)
    frames = replace(frames, t=np.round(frames.t * 2**20) / 2**20)  # so that a later clock gives the very same gaps
    starts = np.arange(0, 200, 50)
    expected = build_graphs(frames, starts, 100)
    told = replace(
        frames,
        t=frames.t + 2.0**20,
        bus=np.full(300, 3, np.uint8),
        label=np.arange(300, dtype=np.int8) % 3 - 1,
        attack=np.arange(300, dtype=np.int16) % 2,
        attack_names=("", "dos"),
        capture_names=("attack.log",),
    )
    other = build_graphs(told, starts, 100)
    for name in ("x", "key", "edge_index", "edge_attr", "node_ptr", "edge_ptr"):
        np.testing.assert_array_equal(getattr(other, name), getattr(expected, name), name)


def test_the_number_of_threads_changes_nothing() -> None:
    frames = mixed_frames(5, 20_000, ids=50)
    starts = np.arange(0, 19_900, 37)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(build_graphs(frames, starts, 100))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name in ("x", "key", "edge_index", "edge_attr", "node_ptr", "edge_ptr"):
            np.testing.assert_array_equal(getattr(results[0], name), getattr(other, name), name)


def _exit_if_equal(frames: FrameTable, starts: np.ndarray, expected: np.ndarray) -> None:
    raise SystemExit(0 if np.array_equal(build_graphs(frames, starts, 100).x, expected) else 3)


def test_a_forked_process_can_build_after_its_parent_has() -> None:
    frames = mixed_frames(6, 20_000)
    starts = np.arange(0, 19_900, 100)
    expected = build_graphs(frames, starts, 100).x
    child = get_context("fork").Process(target=_exit_if_equal, args=(frames, starts, expected))
    child.start()
    child.join()
    assert child.exitcode == 0


def test_columns_that_are_read_only_or_strided_are_taken() -> None:
    frames = mixed_frames(7, 200)
    expected = build_graphs(frames, np.array([0]), 100)
    frames.t.flags.writeable = False
    double = replace(frames, t=np.repeat(frames.t, 2)[::2])
    np.testing.assert_array_equal(build_graphs(frames, np.array([0]), 100).x, expected.x)
    np.testing.assert_array_equal(build_graphs(double, np.array([0]), 100).x, expected.x)


def test_no_windows_make_no_graphs() -> None:
    graphs = build_graphs(mixed_frames(0, 10), np.zeros(0, np.int64), 5)
    assert graphs.x.shape == (0, 36)
    assert graphs.edge_index.shape == (2, 0)
    assert graphs.node_ptr.tolist() == [0]


@pytest.mark.parametrize(("starts", "window"), [([-1], 5), ([6], 5), ([0], 1), ([0], 2**20 + 1)])
def test_windows_outside_the_frames_are_refused(starts: list[int], window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        build_graphs(mixed_frames(0, 10), np.array(starts), window)


def test_frames_that_cannot_be_are_refused() -> None:
    negative, long = mixed_frames(0, 10), mixed_frames(0, 10)
    negative.id[3] = -1
    long.length[3] = 9
    for frames in (negative, long):
        with pytest.raises(ValueError, match="negative id, or a length"):
            build_graphs(frames, np.array([0]), 10)


def test_sizes_of_other_windows_are_refused() -> None:
    frames = mixed_frames(0, 60)
    with pytest.raises(ValueError, match="not the sizes"):
        build_graphs(frames, np.array([0]), 30, sizes=count_graphs(frames, np.array([0]), 20))


@pytest.mark.parametrize("window", [100, 77])
@pytest.mark.parametrize(
    "log",
    [
        "daga_v40/infected/MessageIDFuzzing/V40_03.can.zip",
        "canbuslogs_raw/ralliart/enginestart.log.gz",
        "canbuslogs_raw/camaro/reverselog.trc.gz",
        "ralliart_hcrl_format/Fuzzy_dataset.csv.gz",
        "crysys_s11/S-1-1-malicious-CONST-msg-mod-0x410-0.4-0.6.log",
    ],
)
def test_real_captures(real_data: Path, log: str, window: int) -> None:
    frames = read_log(real_data / log)[0].frames
    starts = np.arange(0, len(frames) - window, 97)
    graphs = build_graphs(frames, starts, window)
    assert np.isfinite(graphs.x).all()
    assert np.isfinite(graphs.edge_attr).all()
    attacked = [g for g, start in enumerate(starts) if (frames.label[start : start + window] == 1).any()]
    chosen = np.unique([*np.linspace(0, len(starts) - 1, 12, dtype=int), *attacked[:4]])
    few = build_graphs(frames, starts[chosen], window)
    assert_equal_to_reference(frames, starts[chosen], window, few)
    for place, g in enumerate(chosen):
        np.testing.assert_array_equal(
            few.x[few.node_ptr[place] : few.node_ptr[place + 1]], graphs.x[graphs.node_ptr[g] : graphs.node_ptr[g + 1]]
        )
