"""No recorded frame reaches two splits, under any layout; what each split needs it gets, or the user is told why."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from credit_like.can.captures import AttackInterval, Capture
from credit_like.can.dataset import read_dataset
from credit_like.config import UserError
from credit_like.graphs.plan import TEST, is_test
from credit_like.graphs.splits import SplitSettings, plan_splits, settle_labels
from credit_like.graphs.windows import WindowSettings, cut_windows
from tests.graphs.drives import (
    EVERYWHERE,
    FAMILIES,
    WINDOW,
    attacked,
    capture,
    drive,
    moved,
    under_attack,
    windows_by_split,
)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[Capture], dict[str, tuple[int, float]]]:
    """Captures of one to five drives, and for each the drive and its shift in seconds."""
    captures: list[Capture] = []
    truth: dict[str, tuple[int, float]] = {}
    alike = draw(st.booleans())  # every drive under the same attacks, so that whole drives can be divided
    for number in range(draw(st.integers(1, 5))):
        benign = drive(draw(st.integers(0, 3)) * 10 + number, draw(st.sampled_from([5.0, 12.0, 20.0])))
        seconds = float(benign.t[-1])
        for copy in range(2 if alike else draw(st.integers(1, 3))):
            family = FAMILIES[copy] if alike else draw(st.sampled_from(["", *FAMILIES]))
            frames, intervals = benign, tuple[AttackInterval, ...]()
            if alike:
                frames, intervals = attacked(benign, family, (1.0, 2.0), (3.0, 4.0), seed=copy)
            elif family:
                starts = draw(st.lists(st.floats(0, 0.9), min_size=1, max_size=4))
                bursts = [(s * seconds, s * seconds + draw(st.floats(0.05, 6))) for s in starts]
                frames, intervals = attacked(benign, family, *bursts, seed=copy)
            shift = draw(st.sampled_from([0.0, 12.5, 1.7e9]))
            name = f"{number}-{copy}"
            placed = [AttackInterval(x.family, x.start + shift, x.stop + shift) for x in intervals]
            captures.append(capture(name, moved(frames, shift), *placed, vehicle=f"car{number % 2}"))
            truth[name] = number, shift
    return captures, truth


@given(
    layout=layouts(),
    policy=st.sampled_from(["auto", "groups", "time_blocks"]),
    embargo=st.sampled_from([0.02, 0.3, 1.0]),
    shares=st.sampled_from(
        [(0.6, 0.0, 0.15, 0.25), (0.3, 0.0, 0.3, 0.4), (0.5, 0.1, 0.15, 0.25), (0.3, 0.2, 0.2, 0.3)]
    ),
    held=st.sampled_from([(), ("dos",), ("suspension", "masquerade")]),
    vehicles=st.sampled_from([(), ("car1",)]),
    window=st.integers(2, 60),
    stride=st.none() | st.integers(1, 90),
)
@settings(max_examples=60)
def test_no_drive_time_is_in_two_splits(
    layout: tuple[list[Capture], dict[str, tuple[int, float]]],
    policy: str,
    embargo: float,
    shares: tuple[float, float, float, float],
    held: tuple[str, ...],
    vehicles: tuple[str, ...],
    window: int,
    stride: int | None,
) -> None:
    captures, truth = layout
    there = {interval.family for one in captures for interval in one.intervals}
    chosen = SplitSettings.model_validate(
        {
            "policy": policy,
            "embargo": embargo,
            **dict(zip(("train", "fusion", "validation", "test"), shares, strict=True)),
            "hold_out_attacks": [family for family in held if family in there],
            "hold_out_vehicles": [name for name in vehicles if any(one.vehicle == name for one in captures)],
        }
    )
    try:
        plan = plan_splits(captures, chosen, window)
    except UserError as error:
        event("refused")
        assert "no division of these captures" in str(error) or "groups of captures that share no" in str(error)  # noqa: PT017
        return
    event(f"planned by {plan.policy}")
    assert plan == plan_splits(captures, chosen, window)
    assert ("fusion" in plan.split_names) == (chosen.fusion > 0)

    frames = {one.name: one.frames for one in captures}
    assert sum(s.row_stop - s.row_start for s in plan.segments) + sum(plan.record["dropped_rows"].values()) == sum(
        map(len, frames.values())
    )
    assert all(s.row_stop - s.row_start >= window for s in plan.segments)

    table = cut_windows(captures, plan, WindowSettings(window=window, stride=stride))  # refuses overlapping segments
    roles = np.array([TEST if is_test(name) else name for name in table.split_names])[table.split]
    names = np.array(table.capture_names)[table.capture]
    for number in {drive_number for drive_number, _ in truth.values()}:
        spans = sorted(
            (frames[name].t[start] - truth[name][1], frames[name].t[stop - 1] - truth[name][1], role)
            for name, start, stop, role in zip(names, table.row_start, table.row_stop, roles, strict=True)
            if truth[name][0] == number
        )
        reached: dict[str, float] = {}
        for start, stop, role in spans:
            for other, end in reached.items():
                # 2 ms of arbitration delay and the rounding of epoch clocks
                assert other == role or plan.policy == "groups" or start - end >= embargo - 3e-3
            reached[role] = max(stop, reached.get(role, stop))
        if plan.policy == "groups":
            assert len(reached) <= 1

    trained = [s for s in plan.segments if not is_test(s.split)]
    for one in captures:
        for segment in (s for s in trained if s.capture == one.name):
            assert one.vehicle not in chosen.hold_out_vehicles
            t = one.frames.t[segment.row_start : segment.row_stop]
            label = one.frames.label[segment.row_start : segment.row_stop]
            for interval in (x for x in one.intervals if x.family in chosen.hold_out_attacks):
                assert not ((t >= interval.start) & (t <= interval.stop)).any()
                assert not label.any()


def test_copies_of_one_drive_are_cut_at_the_same_times_into_contiguous_blocks() -> None:
    captures = [under_attack(family, 1, family, *EVERYWHERE) for family in FAMILIES]
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    assert plan.policy == "time_blocks"
    assert [layout["layout"] for layout in plan.record["layouts"]] == ["contiguous"]
    assert plan.record["layouts"][0]["borders"] == pytest.approx([12.0, 15.0], abs=0.05)
    assert plan.groups == (FAMILIES,)
    for one in captures:
        segments = [s for s in plan.segments if s.capture == one.name]
        assert [s.split for s in segments] == ["train", "validation", "test"]
        gaps = [one.frames.t[b.row_start] - one.frames.t[a.row_stop - 1] for a, b in pairwise(segments)]
        assert all(0.5 <= gap < 0.53 for gap in gaps)
    counts = windows_by_split(captures, plan)
    assert all(counts[split][kind] >= 5 for split in counts for kind in ("", *FAMILIES))
    assert plan.record["dropped_rows"]["embargo"] > 0
    assert plan.record["notes"] == []


def test_a_fusion_block_is_cut_between_training_and_validation() -> None:
    captures = [under_attack(family, 1, family, *EVERYWHERE) for family in FAMILIES]
    plan = plan_splits(captures, SplitSettings(train=0.4, fusion=0.2), WINDOW)
    assert plan.split_names == ("train", "fusion", "validation", "test")
    (layout,) = plan.record["layouts"]
    assert layout["splits"] == ["train", "fusion", "validation", "test"]
    assert layout["borders"] == pytest.approx([8.0, 12.0, 15.0], abs=0.05)
    assert all(windows_by_split(captures, plan)["fusion"][kind] >= 5 for kind in ("", *FAMILIES))
    without = plan_splits(captures, SplitSettings(), WINDOW)
    for split in ("validation", "test"):  # fusion takes its share from training alone
        assert [s for s in plan.segments if s.split == split] == [s for s in without.segments if s.split == split]


def test_a_fusion_block_too_short_for_a_window_is_refused() -> None:
    with pytest.raises(UserError, match="gives a benign window in fusion"):
        plan_splits([under_attack("a", 1, "dos", *EVERYWHERE)], SplitSettings(train=0.59, fusion=0.01), WINDOW)


def test_one_burst_in_the_middle_takes_interleaved_blocks_and_says_why() -> None:
    """ROAD's attack captures hold one attack each, from 30 % to 75 % of the file."""
    captures = [under_attack(family, 1, family, (6.0, 15.0)) for family in FAMILIES]
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    (layout,) = plan.record["layouts"]
    assert layout["layout"].endswith("interleaved")
    assert "contiguous blocks gave too little dos in test" in layout["reason"]
    counts = windows_by_split(captures, plan)
    assert all(counts[split][kind] >= 1 for split in ("train", "validation", "test") for kind in ("", *FAMILIES))
    trained = sum(counts["train"].values()) / sum(sum(count.values()) for count in counts.values())
    assert 0.5 < trained < 0.7


def test_whole_groups_are_used_when_each_split_can_have_its_own_attacks() -> None:
    captures = [
        under_attack(f"{n}{family}", n, family, *EVERYWHERE) for n in range(6) for family in ("dos", "masquerade")
    ]
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    assert plan.policy == "groups"
    splits = {s.capture: s.split for s in plan.segments}
    assert all(splits[f"{n}dos"] == splits[f"{n}masquerade"] for n in range(6))
    assert Counter(splits.values()) == {"train": 8, "validation": 2, "test": 2}
    assert sum(plan.record["dropped_rows"].values()) == 0
    fused = plan_splits(captures, SplitSettings(train=0.5, fusion=0.1), WINDOW)
    assert fused.policy == "groups"
    assert Counter(s.split for s in fused.segments) == {"train": 6, "fusion": 2, "validation": 2, "test": 2}
    again = plan_splits(captures, SplitSettings(seed=1), WINDOW)
    assert {s.capture: s.split for s in again.segments} != splits


def test_many_groups_come_near_the_fractions() -> None:
    captures = [under_attack(str(n), n, ("dos", "masquerade")[n % 2], *EVERYWHERE) for n in range(20)]
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    assert plan.policy == "groups"
    by_family = {
        family: Counter(s.split for s in plan.segments if int(s.capture) % 2 == k) for k, family in enumerate("ab")
    }
    for counts in by_family.values():
        assert counts == {"train": 6, "validation": pytest.approx(1.5, abs=0.6), "test": pytest.approx(2.5, abs=0.6)}


def test_a_family_of_one_drive_only_is_shared_out_by_time() -> None:
    """Whole drives would make it unknown to training, or leave it without a figure."""
    captures = [under_attack(f"{n}", n, "dos", *EVERYWHERE) for n in range(4)]
    captures.append(under_attack("lonely", 9, "masquerade", *EVERYWHERE))
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    assert plan.policy == "time_blocks"
    assert "no division of 5 whole groups" in plan.record["reason"]
    assert all(windows_by_split(captures, plan)[split]["masquerade"] for split in ("train", "validation", "test"))


def test_each_vehicle_is_known_to_training_unless_held_out() -> None:
    captures = [capture(str(n), drive(n), vehicle=f"car{n}") for n in range(3)]
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    assert plan.policy == "time_blocks"
    assert {s.capture for s in plan.segments if s.split == "train"} == {"0", "1", "2"}


def test_captures_without_any_attack_are_planned_with_a_note() -> None:
    plan = plan_splits([capture("a", drive(1))], SplitSettings(), WINDOW)
    assert plan.split_names == ("train", "validation", "test")
    assert plan.record["notes"] == ["no attack is known to training"]


def test_a_group_too_short_to_cut_trains_whole() -> None:
    captures = [under_attack("long", 1, "dos", *EVERYWHERE), capture("short", drive(2, seconds=0.5))]
    plan = plan_splits(captures, SplitSettings(), WINDOW)
    assert [s.split for s in plan.segments if s.capture == "short"] == ["train"]
    assert plan.record["layouts"][1]["reason"] == "too short to be cut"


def test_a_family_that_misses_a_split_is_named() -> None:
    captures = [under_attack("often", 1, "dos", *EVERYWHERE), under_attack("once", 1, "masquerade", (19.0, 19.2))]
    plan = plan_splits(captures, SplitSettings(policy="time_blocks"), WINDOW)
    assert any(note.startswith("attack family 'masquerade' reaches no window of") for note in plan.record["notes"])


def test_unlabelled_captures_need_a_decision() -> None:
    frames = drive(1)
    frames.label[:] = -1
    unlabelled = capture("logger", frames)
    labelled = under_attack("a", 1, "dos", *EVERYWHERE)
    with pytest.raises(UserError) as caught:
        plan_splits([labelled, unlabelled], SplitSettings(), WINDOW)
    assert str(caught.value) == (
        "training and test need labels, but 1 of 2 captures hold frames without one, first 'logger' (logger.log). "
        "Label them, leave them out, or set `data.split.unlabelled=benign` if they are known to be free of attacks"
    )
    with pytest.raises(UserError, match="need labels"):
        settle_labels([unlabelled], SplitSettings())

    chosen = SplitSettings(unlabelled="benign")
    assert plan_splits([labelled, unlabelled], chosen, WINDOW).split_names == ("train", "validation", "test")
    settled = settle_labels([labelled, unlabelled], chosen)
    assert settled[0] is labelled
    assert not settled[1].frames.label.any()
    assert (unlabelled.frames.label == -1).all()


@pytest.mark.parametrize(("embargo", "window"), [(8.0, WINDOW), (0.5, 3000)])
def test_blocks_too_short_for_the_embargo_or_the_window_are_refused(embargo: float, window: int) -> None:
    with pytest.raises(UserError, match=r"no division of these captures gives .*lower the embargo or the window"):
        plan_splits([under_attack("a", 1, "dos", *EVERYWHERE)], SplitSettings(embargo=embargo), window)


def test_whole_groups_need_as_many_as_there_are_splits() -> None:
    with pytest.raises(UserError, match=r"these captures make 1\. Set `policy: time_blocks`"):
        plan_splits([under_attack("a", 1, "dos", *EVERYWHERE)], SplitSettings(policy="groups"), WINDOW)
    three = [under_attack(str(n), n, "dos", *EVERYWHERE) for n in range(3)]
    with pytest.raises(UserError, match=r"needs at least four groups .* these captures make 3\."):
        plan_splits(three, SplitSettings(policy="groups", train=0.5, fusion=0.1), WINDOW)


def test_nothing_to_split_is_refused() -> None:
    with pytest.raises(UserError, match="no capture holds a frame"):
        plan_splits([], SplitSettings(), WINDOW)


@pytest.mark.parametrize(
    "values",
    [
        {"train": 0.7},
        {"fusion": 0.1},
        {"fusion": -0.1, "train": 0.7},
        {"embargo": 0.0},
        {"test": 0.0, "train": 0.85},
        {"policy": "random"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SplitSettings.model_validate(values)


@pytest.mark.parametrize(
    ("layout", "groups"),
    [
        ("daga_v40", [6]),
        ("ralliart_hcrl_format", [3, 1, 1]),
        ("camaro_ctt_format", [4, 1, 1]),
        ("nissan350z_road_format", [1, 4]),
    ],
)
def test_real_captures_bring_every_attack_to_every_split(real_data: Path, layout: str, groups: list[int]) -> None:
    """The groups are those that the READMEs of the data give: captures built from one recorded drive."""
    if not (real_data / layout).is_dir():
        pytest.skip(f"no folder {layout} in {real_data}")
    captures = list(read_dataset(real_data / layout, progress=False).captures)
    plan = plan_splits(captures, SplitSettings(), 100)
    assert [len(group) for group in plan.groups] == groups
    assert plan.policy == "time_blocks"
    assert plan.record["notes"] == []
    families = {interval.family for one in captures for interval in one.intervals}
    assert len(families) >= 4
    counts = windows_by_split(captures, plan)
    assert all(counts[split][kind] >= 5 for split in ("train", "validation", "test") for kind in ("", *families))
