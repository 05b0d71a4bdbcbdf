"""Captures of one drive are found by content, whatever was injected, and get a common clock; other drives are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_like.can.captures import Capture
from credit_like.can.frames import FrameTable
from credit_like.graphs._runs import Stream, frame_runs
from credit_like.graphs.groups import Groups, find_groups
from tests.graphs.drives import attacked, capture, drive, joined, moved


def names(groups: Groups) -> list[tuple[str, ...]]:
    return [group.captures for group in groups]


def clocks(groups: Groups) -> dict[str, float]:
    return {member.capture: member.offset for group in groups for member in group.members}


@pytest.mark.parametrize("family", ["dos", "masquerade", "suspension"])
def test_a_copy_under_attack_is_in_the_group_of_its_drive(family: str) -> None:
    benign = drive(1)
    copy, _ = attacked(benign, family, (3.0, 9.0), (12.0, 17.0))
    groups = find_groups([capture("a", benign), capture("other", drive(2)), capture("b", copy)])
    assert names(groups) == [("a", "b"), ("other",)]
    assert clocks(groups)["a"] == pytest.approx(clocks(groups)["b"], abs=2e-3)


@pytest.mark.parametrize("stream", ["bus", "id"])
def test_injected_frames_are_in_no_run(stream: Stream) -> None:
    benign = drive(1)
    copy, _ = attacked(benign, "dos", (1.0, 19.0))
    assert len(copy) > 1.5 * len(benign)
    runs = frame_runs(benign, stream)
    assert np.array_equal(frame_runs(copy, stream).hash, runs.hash)
    assert len(runs) > 0.9 * len(benign)


@pytest.mark.parametrize("family", ["dos", "masquerade", "suspension"])
def test_an_attack_that_lasts_the_whole_capture_does_not_hide_its_drive(family: str) -> None:
    """Then no run of the bus is left: each is changed, or lacks the id that was attacked."""
    calm, loud = attacked(drive(1), "dos", (5.0, 6.0))[0], attacked(drive(1), family, (0.0, 20.0))[0]
    groups = find_groups([capture("a", calm), capture("other", drive(2)), capture("b", loud)])
    assert names(groups) == [("a", "b"), ("other",)]
    assert clocks(groups)["a"] == pytest.approx(clocks(groups)["b"], abs=2e-3)


@given(
    seed=st.integers(0, 99),
    shift=st.floats(-1e9, 2e9),
    start=st.floats(0, 8),
    stop=st.floats(11, 20),
    every=st.sampled_from([0.001, 0.01, 0.1]),
)
@settings(max_examples=20)
def test_the_clock_of_a_copy_is_found_and_its_spread_is_true(
    seed: int, shift: float, start: float, stop: float, every: float
) -> None:
    """Shifted, cropped and attacked from end to end, a copy is still placed to the millisecond."""
    benign = drive(seed)
    copy, _ = attacked(benign, "dos", (start, stop), seed=seed, every=every)
    cropped = copy[(copy.t >= start) & (copy.t <= stop)]
    groups = find_groups([capture("a", benign), capture("b", moved(cropped, shift)), capture("c", drive(seed + 100))])
    assert names(groups) == [("a", "b"), ("c",)]
    difference = clocks(groups)["a"] - clocks(groups)["b"] - shift
    assert abs(difference) <= 2.1e-3
    assert all(member.spread <= 2.1e-3 for group in groups for member in group.members)


def test_idling_traffic_that_repeats_itself_is_no_evidence() -> None:
    assert names(find_groups([capture("a", drive(1, idle=True)), capture("b", drive(2, idle=True))])) == [
        ("a",),
        ("b",),
    ]


def test_a_joined_file_puts_its_parts_on_one_clock() -> None:
    first, second = drive(1), drive(2)
    both = joined(first, second)
    groups = find_groups([capture("first", moved(first, 1e9)), capture("second", second), capture("both", both)])
    assert names(groups) == [("first", "second", "both")]
    assert groups.groups[0].aligned
    assert clocks(groups)["second"] - clocks(groups)["both"] == pytest.approx(first.t[-1] - first.t[0] + 0.01, abs=0.01)


def test_parts_joined_in_another_order_have_no_common_clock() -> None:
    first, second = drive(1), drive(2)
    groups = find_groups([capture("ab", joined(first, second)), capture("ba", joined(second, first))])
    assert names(groups) == [("ab", "ba")]
    assert not groups.groups[0].aligned


def test_payload_width_and_bus_number_do_not_hide_a_copy() -> None:
    benign = drive(1)
    wide = replace(benign, payload=np.pad(benign.payload, ((0, 0), (0, 56))), bus=np.full(len(benign), 3, np.uint8))
    assert len(find_groups([capture("a", benign), capture("b", wide)])) == 1


def test_the_traffic_of_one_bus_is_found_in_a_log_of_two() -> None:
    first, second = drive(1), drive(2)
    order = np.argsort(np.concatenate([first.t, second.t]), kind="stable")
    both = FrameTable.concatenate([first, replace(second, bus=np.ones(len(second), np.uint8))])[order]
    assert names(find_groups([capture("first", first), capture("both", both), capture("third", drive(3))])) == [
        ("first", "both"),
        ("third",),
    ]


def test_short_and_empty_captures_are_groups_of_their_own() -> None:
    captures = [capture("empty", FrameTable.empty()), capture("short", drive(1)[:15]), capture("short2", drive(1)[:15])]
    assert names(find_groups(captures)) == [("empty",), ("short",), ("short2",)]
    assert names(find_groups([])) == []


def test_two_captures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="unique names"):
        find_groups([capture("a", drive(1)), capture("a", drive(2))])


def test_each_capture_says_how_much_it_shares() -> None:
    benign = drive(1)
    half = benign[: len(benign) // 2]
    groups = find_groups([capture("a", benign), capture("half", half), capture("c", drive(3))])
    shared = {member.capture: member.shared for group in groups for member in group.members}
    assert shared["half"] == 1.0
    assert shared["a"] == pytest.approx(0.5, abs=0.01)
    assert shared["c"] == 0.0


def test_the_clock_starts_with_the_first_frame_of_the_group() -> None:
    benign: list[Capture] = [capture("late", moved(drive(1)[500:], 1.7e9)), capture("whole", moved(drive(1), 1.7e9))]
    offsets = clocks(find_groups(benign))
    assert benign[1].frames.t[0] + offsets["whole"] == pytest.approx(0.0, abs=1e-6)
    assert benign[0].frames.t[0] + offsets["late"] > 1.0


def test_sampling_finds_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credit_like.graphs._runs.MAX_RUNS", 1000)
    benign = drive(1)
    copy, _ = attacked(benign, "dos", (3.0, 9.0))
    assert names(find_groups([capture("a", benign), capture("b", copy), capture("c", drive(2))])) == [
        ("a", "b"),
        ("c",),
    ]
