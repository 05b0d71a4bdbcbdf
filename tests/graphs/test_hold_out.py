"""Attacks and vehicles that are held out: only their own test sets show them."""

from __future__ import annotations

import pytest

from credit_like.can.captures import AttackInterval
from credit_like.config import UserError
from credit_like.graphs.plan import is_test
from credit_like.graphs.splits import SplitSettings, plan_splits
from tests.graphs.drives import (
    EVERYWHERE,
    FAMILIES,
    WINDOW,
    attacked,
    capture,
    drive,
    under_attack,
    windows_by_split,
)


def test_a_held_out_attack_of_a_shared_drive_is_only_tested() -> None:
    captures = [under_attack(family, 1, family, *EVERYWHERE) for family in FAMILIES]
    plan = plan_splits(captures, SplitSettings(hold_out_attacks=("masquerade",)), WINDOW)
    assert plan.split_names == (
        "train",
        "validation",
        "test/known_vehicle_known_attack",
        "test/known_vehicle_unknown_attack",
    )
    assert [s.split for s in plan.segments if s.capture == "masquerade"] == ["test/known_vehicle_unknown_attack"]
    counts = windows_by_split(captures, plan)
    assert counts["test/known_vehicle_unknown_attack"]["masquerade"] > 5
    assert counts["test/known_vehicle_known_attack"]["dos"] > 5
    assert counts["train"]["masquerade"] == counts["validation"]["masquerade"] == 0
    assert plan.record["dropped_rows"]["held_out"] > 0


def test_a_held_out_attack_with_a_drive_of_its_own_is_tested_whole() -> None:
    captures = [under_attack("a", 1, "dos", *EVERYWHERE), under_attack("b", 2, "masquerade", *EVERYWHERE)]
    plan = plan_splits(captures, SplitSettings(hold_out_attacks=("masquerade",)), WINDOW)
    (segment,) = [s for s in plan.segments if s.capture == "b"]
    assert (segment.split, segment.row_start, segment.row_stop) == (
        "test/known_vehicle_unknown_attack",
        0,
        len(captures[1].frames),
    )


def test_a_held_out_attack_is_cut_out_of_a_capture_with_others() -> None:
    frames, dos = attacked(drive(1), "dos", (1.0, 2.0), (7.0, 8.0), (12.6, 13.3), (16.0, 17.0))
    held = (AttackInterval("suspension", 4.0, 5.0), AttackInterval("suspension", 18.0, 19.0))
    captures = [capture("mixed", frames, *dos, *held)]
    plan = plan_splits(captures, SplitSettings(hold_out_attacks=("suspension",), embargo=0.25), WINDOW)
    t = captures[0].frames.t
    trained = [(t[s.row_start], t[s.row_stop - 1]) for s in plan.segments if s.split == "train"]
    assert len(trained) == 2
    assert trained[0][1] < 3.75 < 5.25 < trained[1][0]
    tests = {s.split: (t[s.row_start], t[s.row_stop - 1]) for s in plan.segments if is_test(s.split)}
    assert tests["test/known_vehicle_known_attack"][1] == pytest.approx(17.5, abs=0.05)  # half-way between the attacks
    assert tests["test/known_vehicle_unknown_attack"][0] == pytest.approx(17.5, abs=0.05)
    assert plan.record["dropped_rows"]["held_out"] == pytest.approx(230 * 1.5, rel=0.1)


def test_a_held_out_vehicle_is_tested_whole_and_its_new_attacks_apart() -> None:
    captures = [
        under_attack("a", 1, "dos", *EVERYWHERE, vehicle="old"),
        under_attack("b", 2, "dos", *EVERYWHERE, vehicle="new"),
        under_attack("c", 3, "masquerade", *EVERYWHERE, vehicle="new"),
    ]
    plan = plan_splits(captures, SplitSettings(hold_out_vehicles=("new",)), WINDOW)
    assert {s.split for s in plan.segments if s.capture == "a"} == {
        "train",
        "validation",
        "test/known_vehicle_known_attack",
    }
    assert [s.split for s in plan.segments if s.capture == "b"] == ["test/unknown_vehicle_known_attack"]
    assert [s.split for s in plan.segments if s.capture == "c"] == ["test/unknown_vehicle_unknown_attack"]


def test_vehicles_that_share_traffic_cannot_be_told_apart() -> None:
    captures = [
        under_attack("a", 1, "dos", *EVERYWHERE, vehicle="old"),
        under_attack("b", 1, "masquerade", *EVERYWHERE, vehicle="new"),
    ]
    with pytest.raises(UserError, match="its capture 'b' holds the same recorded traffic as 'a' of vehicle 'old'"):
        plan_splits(captures, SplitSettings(hold_out_vehicles=("new",)), WINDOW)


def test_a_misspelt_hold_out_gets_the_nearest_name() -> None:
    captures = [under_attack("a", 1, "masquerade", *EVERYWHERE)]
    message = (
        "hold_out_attacks names 'mascerade', which no capture has (did you mean 'masquerade'?); there are: masquerade"
    )
    with pytest.raises(UserError) as caught:
        plan_splits(captures, SplitSettings(hold_out_attacks=("mascerade",)), WINDOW)
    assert str(caught.value) == message


def test_a_held_out_attack_is_not_in_the_fusion_block_either() -> None:
    captures = [under_attack(family, 1, family, *EVERYWHERE) for family in FAMILIES]
    chosen = SplitSettings(train=0.4, fusion=0.2, hold_out_attacks=("masquerade",))
    counts = windows_by_split(captures, plan_splits(captures, chosen, WINDOW))
    assert counts["fusion"]["dos"] > 0
    assert counts["fusion"]["masquerade"] == 0
    assert counts["test/known_vehicle_unknown_attack"]["masquerade"] > 5
