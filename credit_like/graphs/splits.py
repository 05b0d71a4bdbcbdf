"""Splits: which rows train, which validate, which test. Decided by content and drive time, never by file name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from credit_like.can.captures import Capture
from credit_like.config import Settings, UserError, closest
from credit_like.graphs._assignment import assign, covered
from credit_like.graphs._blocks import Layout, lay_out, whole
from credit_like.graphs._hold_out import HoldOut
from credit_like.graphs._runs import RUN_LENGTH
from credit_like.graphs._traffic import BENIGN, Traffic, tally
from credit_like.graphs.groups import Group, find_groups
from credit_like.graphs.plan import BEFORE_TEST, FUSION, TEST, TRAIN, VALIDATION, Segment, SplitPlan


class SplitSettings(Settings):
    """How captures are divided into training, fusion (where one is asked for), validation and test."""

    policy: Literal["auto", "groups", "time_blocks"] = Field(
        "auto",
        description="groups: captures that share recorded traffic stay together in one split. time_blocks: every group "
        "is cut at the same drive times. auto: groups where that brings every attack family and every vehicle to train "
        "and test, else time_blocks",
    )
    train: float = Field(0.6, gt=0, lt=1, description="share for training; the four shares sum to 1")
    fusion: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share on which detectors are combined: none is trained, chosen or tested on it; 0 for none",
    )
    validation: float = Field(0.15, gt=0, lt=1, description="share for early stopping and thresholds")
    test: float = Field(0.25, gt=0, lt=1, description="share for the figures that are reported")
    embargo: float = Field(
        0.5,
        gt=0,
        description="seconds of drive time left out between blocks of different splits; longer than the slowest common "
        "message period, so that neighbouring windows do not show the same values",
    )
    hold_out_attacks: tuple[str, ...] = Field(
        (), description="attack families that only the test set test/known_vehicle_unknown_attack shows"
    )
    hold_out_vehicles: tuple[str, ...] = Field(
        (), description="vehicles that only the test set test/unknown_vehicle_known_attack shows"
    )
    unlabelled: Literal["refuse", "benign"] = Field(
        "refuse", description="captures without labels: refuse them, or take every frame in them as benign"
    )
    seed: int = Field(0, ge=0, description="decides between equally good assignments of whole groups to splits")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Self:
        total = self.train + self.fusion + self.validation + self.test
        if abs(total - 1) > 1e-6:
            change = f"{'lower' if total > 1 else 'raise'} one or several of them, by {abs(total - 1):g} in all"
            raise ValueError(
                f"train {self.train:g}, fusion {self.fusion:g}, validation {self.validation:g} and test {self.test:g} "
                f"must sum to 1, and sum to {total:.7g}; {change}"
            )
        return self

    @property
    def fractions(self) -> dict[str, float]:
        """The share of each split that there is to be, in order of drive time."""
        shares = {TRAIN: self.train, FUSION: self.fusion, VALIDATION: self.validation, TEST: self.test}
        return {split: share for split, share in shares.items() if share}


def plan_splits(captures: Sequence[Capture], settings: SplitSettings, window: int) -> SplitPlan:
    """Divide captures into train, fusion, validation and test sets so that no recorded frame is in two of them.

    Captures that share traffic (``find_groups``) are never divided by file. Policy ``groups`` gives whole groups to
    splits; ``time_blocks`` cuts all captures of a group at the same drive times and leaves an embargo between different
    splits. Held-out attacks and vehicles become named test sets. Rows in no segment (embargo, held-out attacks cut out
    of training, segments shorter than ``window`` frames) are counted in ``record["dropped_rows"]``.

    The result depends on the captures, the settings and ``window`` only. Raises UserError when captures are unlabelled
    and ``unlabelled`` is ``refuse``, when a held-out name does not exist, and when a split would have
    no benign window, or training or test no attack although there are attacks. Families that miss a split
    otherwise are named in ``record["notes"]``. Captures without any attack are planned all the same.
    """
    if window < 2:
        raise ValueError(f"window must be at least 2 frames; got {window}")
    _check_labels(captures, settings)
    traffic = {capture.name: Traffic.of(capture) for capture in captures}
    hold_out = _hold_out(traffic, settings)
    groups = find_groups(captures)
    unknown = [group for group in groups if _is_unknown(group, traffic, hold_out)]
    known = [group for group in groups if group not in unknown]

    layouts = [whole(group, traffic, TEST, "nothing in it is known to training") for group in unknown]
    policy, reason, divided = _divide(known, traffic, settings, window, hold_out)
    layouts += divided
    laid_out = [segment for layout in layouts for segment in layout.segments]
    kept = hold_out.apply(laid_out, traffic)
    position = {capture.name: index for index, capture in enumerate(captures)}
    segments = sorted(
        (s for s in kept if s.row_stop - s.row_start >= window), key=lambda s: (position[s.capture], s.row_start)
    )
    counts = tally(segments, traffic, window)
    notes = _check_coverage(counts, traffic, settings, window, hold_out)
    record = {
        "reason": reason,
        "settings": settings.model_dump(mode="json"),
        "embargo": settings.embargo,
        "run_length": RUN_LENGTH,
        "groups": groups.record(),
        "layouts": [layout.record for layout in layouts],
        "dropped_rows": {
            "embargo": sum(map(len, traffic.values())) - _rows(laid_out),
            "held_out": _rows(laid_out) - _rows(kept),
            "too_short": _rows(kept) - _rows(segments),
        },
        "notes": notes,
    }
    return SplitPlan(tuple(segments), policy, tuple(group.captures for group in groups), record)


def settle_labels(captures: Sequence[Capture], settings: SplitSettings) -> tuple[Capture, ...]:
    """The captures with every frame labelled: ``unlabelled: benign`` turns labels -1 into 0, ``refuse`` a UserError.

    Windows are labelled from their frames, so the graphs must be built from what this returns.
    """
    _check_labels(captures, settings)
    return tuple(
        replace(capture, frames=replace(capture.frames, label=np.maximum(capture.frames.label, 0)))
        if (capture.frames.label < 0).any()
        else capture
        for capture in captures
    )


def _check_labels(captures: Sequence[Capture], settings: SplitSettings) -> None:
    if not any(len(capture.frames) for capture in captures):
        raise UserError("there is nothing to split: no capture holds a frame; name logs or folders that do")
    unlabelled = [capture for capture in captures if (capture.frames.label < 0).any()]
    if unlabelled and settings.unlabelled == "refuse":
        raise UserError(
            f"training and test need labels, but {len(unlabelled)} of {len(captures)} captures hold frames without "
            f"one, first {unlabelled[0].name!r} ({unlabelled[0].source.path}). Label them, leave them out, or set "
            f"`data.split.unlabelled=benign` if they are known to be free of attacks"
        )


def _hold_out(traffic: Mapping[str, Traffic], settings: SplitSettings) -> HoldOut:
    """What the settings keep from training, once their names are known to exist."""
    every_family = {family for one in traffic.values() for family in one.families}
    every_vehicle = {one.vehicle for one in traffic.values() if one.vehicle}
    for what, names, there in (
        ("attacks", settings.hold_out_attacks, every_family),
        ("vehicles", settings.hold_out_vehicles, every_vehicle),
    ):
        for name in names:
            if name not in there:
                raise UserError(
                    f"hold_out_{what} names {name!r}, which no capture has{closest(name, there)}; "
                    f"there are: {', '.join(sorted(there)) or 'none'}"
                )
    vehicles = frozenset(settings.hold_out_vehicles)
    known = {family for one in traffic.values() if one.vehicle not in vehicles for family in one.families}
    unknown = every_family - (known - set(settings.hold_out_attacks))
    named = bool(settings.hold_out_attacks or vehicles)
    return HoldOut(frozenset(unknown) if named else frozenset(), vehicles, named, settings.embargo)


def _is_unknown(group: Group, traffic: Mapping[str, Traffic], hold_out: HoldOut) -> bool:
    """Whether training may see nothing of the group: its vehicle is held out, or every capture's attacks are."""
    held = [name for name in group.captures if traffic[name].vehicle in hold_out.vehicles]
    if held and len(held) < len(group.captures):
        other = next(name for name in group.captures if name not in held)
        raise UserError(
            f"vehicle {traffic[held[0]].vehicle!r} is held out, but its capture {held[0]!r} holds the same recorded "
            f"traffic as {other!r} of vehicle {traffic[other].vehicle!r}; name both vehicles in hold_out_vehicles or "
            f"remove one capture"
        )
    return bool(held) or all(hold_out.only_unknown(traffic[name]) for name in group.captures)


def _divide(
    groups: Sequence[Group],
    traffic: Mapping[str, Traffic],
    settings: SplitSettings,
    window: int,
    hold_out: HoldOut,
) -> tuple[str, str, list[Layout]]:
    """The policy, why it was chosen, and a layout for each group."""
    asked = settings.policy
    needed = len(settings.fractions)
    number = {3: "three", 4: "four"}[needed]
    if asked == "groups" and len(groups) < needed:
        raise UserError(
            f"policy groups needs at least {number} groups of captures that share no recorded traffic; these captures "
            f"make {len(groups)}. Set `policy: time_blocks` (or auto), or add captures of other drives"
        )
    reason = "asked for"
    if asked == "auto" and len(groups) < needed:
        reason = f"the captures make {len(groups)} group(s) that share no traffic, and {number} splits need {number}"
    elif asked != "time_blocks":
        whole_groups, complete = _whole_groups(groups, traffic, settings, window, hold_out)
        if asked == "groups":
            return "groups", reason, whole_groups
        if complete:
            return "groups", "whole groups bring every attack family and vehicle to train and test", whole_groups
        reason = f"no division of {len(groups)} whole groups brings every attack family and vehicle to train and test"
    return "time_blocks", reason, _time_blocks(groups, traffic, settings, window, hold_out)


def _whole_groups(
    groups: Sequence[Group],
    traffic: Mapping[str, Traffic],
    settings: SplitSettings,
    window: int,
    hold_out: HoldOut,
) -> tuple[list[Layout], bool]:
    """Every group in one split, and whether each split so gets enough of what it needs."""
    members = [[traffic[name] for name in group.captures] for group in groups]
    families = sorted({family for group in members for one in group for family in one.families} - hold_out.families)
    vehicles = sorted({one.vehicle for group in members for one in group})
    windows = np.zeros((len(groups), 1 + len(families) + len(vehicles)), np.int64)
    for row, group in zip(windows, members, strict=True):
        for one in group:
            counts = one.windows(0, len(one), window)
            row[: 1 + len(families)] += [counts[kind] for kind in (BENIGN, *families)]
            row[1 + len(families) + vehicles.index(one.vehicle)] += len(one) // window
    names, fractions = list(settings.fractions), list(settings.fractions.values())
    splits = assign(windows, fractions, settings.seed)
    layouts = [
        whole(group, traffic, names[split], "a whole group") for group, split in zip(groups, splits, strict=True)
    ]
    return layouts, covered(splits, windows, fractions, len(families))


def _time_blocks(
    groups: Sequence[Group],
    traffic: Mapping[str, Traffic],
    settings: SplitSettings,
    window: int,
    hold_out: HoldOut,
) -> list[Layout]:
    """Every group cut into blocks; one that cannot be cut goes to training whole."""
    layouts = []
    for group in groups:
        layout = lay_out(group, traffic, settings.fractions, settings.embargo, window, hold_out)
        if layout is None:
            why = (
                "too short to be cut" if group.aligned else "the same traffic at several time offsets: no common clock"
            )
            layout = whole(group, traffic, TRAIN, why)
        layouts.append(layout)
    return layouts


def _check_coverage(
    counts: Mapping[str, Counter[str]],
    traffic: Mapping[str, Traffic],
    settings: SplitSettings,
    window: int,
    hold_out: HoldOut,
) -> list[str]:
    """Refuse a plan that cannot be used; name in plain words what an acceptable one lacks."""
    test, unknown_test = hold_out.test_name(), hold_out.test_name(unknown_attack=True)
    families = sorted({family for one in traffic.values() for family in one.families} - hold_out.families)
    expected = [split for split in BEFORE_TEST if split in settings.fractions] + [test]
    there = {split: counts.get(split, Counter()) for split in (*expected, unknown_test)}
    missing = [f"a benign window in {split}" for split in expected if not there[split][BENIGN]]
    if families:
        attacked = {split: any(there[split][family] for family in families) for split in (TRAIN, test)}
        missing += [f"an attack window in {split}" for split, found in attacked.items() if not found]
    known_vehicle = {f for one in traffic.values() if one.vehicle not in hold_out.vehicles for f in one.families}
    missing += [
        f"a window of the held-out attack {family!r} in {unknown_test}"
        for family in settings.hold_out_attacks
        if family in known_vehicle and not there[unknown_test][family]
    ]
    if missing:
        raise UserError(
            f"no division of these captures gives {', '.join(missing)} (window {window} frames, embargo "
            f"{settings.embargo:g} s, policy {settings.policy}). Add longer captures or captures of other drives, hold "
            f"out less, or lower the embargo or the window"
        )
    notes = [
        f"attack family {family!r} reaches no window of {split}"
        for family in families
        for split in expected
        if not there[split][family]
    ]
    return notes if families else ["no attack is known to training"]


def _rows(segments: Sequence[Segment]) -> int:
    return sum(segment.row_stop - segment.row_start for segment in segments)
