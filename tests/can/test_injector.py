"""The injector: what an attack adds, takes away and delays, and that nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from credit_like.can.arbitration import frame_bits
from credit_like.can.attacks import ATTACK_FAMILIES, AttackSpec, resolve_attack
from credit_like.can.captures import AttackInterval
from credit_like.can.frames import COLUMNS, EXTENDED, REMOTE, FrameTable
from credit_like.can.injector import inject
from credit_like.can.read import read_log
from credit_like.can.simulator import simulate
from credit_like.config import UserError

ADDING = ("dos", "fuzzing", "spoofing", "replay")
#: On the clock of this capture 0 s is somewhere in the past, as in a log with epoch seconds.
EPOCH = 1_700_000_000.0


@pytest.fixture(scope="module")
def benign() -> FrameTable:
    frames = simulate("sedan", 12, seed=5)
    return replace(frames, t=frames.t + EPOCH)


def spec(family: str, start: float = 5.0, stop: float = 7.0, **more: object) -> AttackSpec:
    return AttackSpec(family=family, start=start, stop=stop, **more)  # type: ignore[arg-type]


def attack_rows(frames: FrameTable) -> FrameTable:
    return frames[frames.label == 1]


def contents(frames: FrameTable, id: int) -> list[bytes]:
    return [payload.tobytes() for payload in frames.payload[frames.id == id]]


def is_subsequence(part: list[bytes], whole: list[bytes]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def same(left: FrameTable, right: FrameTable) -> bool:
    return all(np.array_equal(getattr(left, column), getattr(right, column)) for column in COLUMNS)


@given(
    st.sampled_from(ATTACK_FAMILIES),
    st.floats(4.0, 9.0),
    st.floats(0.8, 2.5),
    st.sampled_from(["fixed", "random", "plausible"]),
    st.integers(0, 2**31),
)
def test_laws_of_every_attack(
    benign: FrameTable, family: str, start: float, length: float, values: str, seed: int
) -> None:
    attack = spec(family, start, start + length, values=values)
    result, (interval,) = inject(benign, attack, seed)
    origin = benign.t[0]
    attacked, normal = attack_rows(result), result[result.label == 0]

    assert interval == AttackInterval(family, origin + start, origin + attack.stop)
    assert (np.diff(result.t) >= 0).all()
    assert set(np.unique(result.label)) <= {0, 1}
    assert (np.array(result.attack_names)[attacked.attack] == family).all()
    assert (normal.attack == 0).all()
    assert ((attacked.t >= interval.start) & (attacked.t <= interval.stop)).all()
    assert same(result[result.t < interval.start], benign[benign.t < interval.start])
    settled = interval.stop + 0.25
    assert same(result[result.t > settled], benign[benign.t > settled])

    added = len(attacked) if family in ADDING else 0
    replaced = len(attacked) if family == "masquerade" else 0
    missing = len(benign) - replaced - len(normal)
    assert missing >= 0
    assert len(result) == len(benign) + added - missing
    if family in ("fuzzing", "spoofing", "replay", "masquerade"):
        assert missing == 0
    for id in np.unique(normal.id):
        assert is_subsequence(contents(normal, id), contents(benign, id))
    if family in ADDING:
        on_bus = frame_bits(result) / 500_000
        assert (np.diff(result.t) >= on_bus[1:] - 1e-6).all(), "two frames at once"


@pytest.mark.parametrize("family", ATTACK_FAMILIES)
def test_the_same_seed_makes_the_same_attack(benign: FrameTable, family: str) -> None:
    first, again, other = (inject(benign, spec(family), seed)[0] for seed in (1, 1, 2))
    assert same(first, again)
    assert family == "dos" or not same(first, other)


def test_denial_of_service_takes_the_bus(benign: FrameTable) -> None:
    result, _ = inject(benign, spec("dos"), 0)
    attacked = attack_rows(result)
    assert (attacked.id == 0).all()
    assert not attacked.payload.any()
    assert len(attacked) == pytest.approx(2.0 / 0.3e-3, rel=0.01)
    # 127 bits of a zero frame every 150 leave a tenth of the bus to all others.
    during = (result.t > EPOCH + 5.1) & (result.t < EPOCH + 7.0)
    before = (benign.t > EPOCH + 5.1) & (benign.t < EPOCH + 7.0)
    assert np.count_nonzero(result.label[during] == 0) < 0.6 * np.count_nonzero(before)
    lost = np.setdiff1d(benign.id[before], result.id[during])
    assert len(lost) == 0 or lost.min() > 0x0C1, "the smallest id still gets through"


def test_denial_of_service_delays_before_it_loses(benign: FrameTable) -> None:
    result, _ = inject(benign, spec("dos", period=1e-3), 0)
    assert len(result) == len(benign) + np.count_nonzero(result.label == 1)
    normal = result[result.label == 0]
    for id in (0x0C1, 0x3D1):
        waited = normal.t[normal.id == id] - benign.t[benign.id == id]
        assert (waited >= 0).all()
        assert waited.max() > 1e-4


def test_fuzzing_draws_ids_and_payloads(benign: FrameTable) -> None:
    attacked = attack_rows(inject(benign, spec("fuzzing"), 0)[0])
    assert len(attacked) == pytest.approx(4000, rel=0.01)
    assert len(np.unique(attacked.id)) > 1500
    assert attacked.id.max() <= 0x7FF
    only = attack_rows(inject(benign, spec("fuzzing", ids=(0x0C9,), payload="FF" * 8), 0)[0])
    assert (only.id == 0x0C9).all()
    assert (only.payload == 255).all()


def test_fuzzing_a_29_bit_bus() -> None:
    frames = simulate("truck", 8, seed=1)
    attacked = attack_rows(inject(frames, spec("fuzzing", 4, 6, period=2e-3), 0, bitrate=250_000)[0])
    assert (attacked.flags == EXTENDED).all()
    assert attacked.id.max() > 0x7FF


def test_spoofing_in_its_variants(benign: FrameTable) -> None:
    own = set(contents(benign, 0x0C1))
    fixed = attack_rows(inject(benign, spec("spoofing", ids=(0x0C1,)), 0)[0])
    assert (fixed.id == 0x0C1).all()
    assert len(set(contents(fixed, 0x0C1))) == 1
    random = attack_rows(inject(benign, spec("spoofing", ids=(0x0C9,), values="random"), 0)[0])
    assert len(set(contents(random, 0x0C9))) > 1000
    constant = (benign.payload[benign.id == 0x0C9] == benign.payload[benign.id == 0x0C9][0]).all(axis=0)
    assert (random.payload[:, constant] == benign.payload[benign.id == 0x0C9][0, constant]).all()
    plausible = attack_rows(inject(benign, spec("spoofing", ids=(0x0C1,), values="plausible", period=0.01), 0)[0])
    assert set(contents(plausible, 0x0C1)) <= own
    assert len(plausible) == pytest.approx(200, abs=2)
    given_one = attack_rows(inject(benign, spec("spoofing", ids=(0x0C1,), payload="0102"), 0)[0])
    assert (given_one.length == 2).all()
    assert set(contents(given_one, 0x0C1)) == {b"\1\2\0\0\0\0\0\0"}


def test_replay_sends_again_what_was_recorded(benign: FrameTable) -> None:
    attacked = attack_rows(inject(benign, spec("replay", ids=(0x0C1, 0x211), lag=3.0), 0)[0])
    origin = benign.t[0]
    for id in (0x0C1, 0x211):
        recorded = (benign.id == id) & (benign.t - origin + 3.0 >= 5.0) & (benign.t - origin + 3.0 < 6.9)
        expected = [payload.tobytes() for payload in benign.payload[recorded]]
        assert contents(attacked, id)[: len(expected)] == expected
    assert len(resolve_attack(benign, spec("replay"), 0).ids) == 3


def test_suspension_removes_exactly_the_frames_of_its_target(benign: FrameTable) -> None:
    result, _ = inject(benign, spec("suspension", ids=(0x0F1,)), 0)
    origin = benign.t[0]
    gone = (benign.id == 0x0F1) & (benign.t >= origin + 5.0) & (benign.t <= origin + 7.0)
    assert np.count_nonzero(gone) == pytest.approx(200, abs=2)
    expected = replace(benign[~gone], attack_names=("", "suspension"))
    assert same(result, expected)
    assert not (result.label == 1).any()


def test_masquerade_changes_the_payload_and_nothing_else(benign: FrameTable) -> None:
    result, _ = inject(benign, spec("masquerade", ids=(0x0F1,), values="random"), 0)
    for column in COLUMNS:
        if column not in ("payload", "label", "attack"):
            assert np.array_equal(getattr(result, column), getattr(benign, column))
    changed = (result.payload != benign.payload).any(axis=1)
    assert (result.label[changed] == 1).all()
    assert (result.id[result.label == 1] == 0x0F1).all()
    assert np.count_nonzero(changed) > 0.9 * np.count_nonzero(result.label == 1)


def test_a_plausible_masquerade_shows_only_values_that_the_id_has_had(benign: FrameTable) -> None:
    result, _ = inject(benign, spec("masquerade", ids=(0x0C1,), values="plausible"), 0)
    attacked = attack_rows(result)
    assert set(contents(attacked, 0x0C1)) <= set(contents(benign, 0x0C1))
    counters = attacked.payload[:, 6] & 0xF
    assert np.count_nonzero(np.diff(counters.astype(int)) % 16 != 1) <= 1, "its counter runs on"


def test_one_attack_after_another_keeps_the_first(benign: FrameTable) -> None:
    once, _ = inject(benign, spec("spoofing", 2, 3), 0)
    twice, _ = inject(once, spec("dos", 5, 6), 0)
    assert twice.attack_names == ("", "spoofing", "dos")
    first = attack_rows(twice[twice.t < EPOCH + 4])
    assert same(first, attack_rows(once))


def test_frames_without_labels_are_taken_as_normal(benign: FrameTable) -> None:
    result, _ = inject(replace(benign, label=np.full(len(benign), -1, np.int8)), spec("spoofing"), 0)
    assert set(np.unique(result.label)) == {0, 1}


def test_another_bus_and_the_flags_are_not_touched(benign: FrameTable) -> None:
    second = simulate("van", 12, seed=6)
    flags = second.flags.copy()
    flags[::7] |= REMOTE
    second = replace(second, t=second.t + EPOCH, bus=np.full(len(second), 1, np.uint8), flags=flags)
    both = FrameTable.concatenate([benign, second])
    both = both[np.argsort(both.t, kind="stable")]
    result, _ = inject(both, spec("dos"), 0)
    assert same(result[result.bus == 1], both[both.bus == 1])
    assert (attack_rows(result).bus == 0).all()
    other, _ = inject(both, spec("dos", bus=1), 0)
    assert same(other[other.bus == 0], both[both.bus == 0])


def test_a_bus_that_carries_a_single_frame_can_be_attacked(benign: FrameTable) -> None:
    """Nothing can be said of its load then."""
    lone = replace(benign, bus=np.where(np.arange(len(benign)) == 9000, 1, 0).astype(np.uint8))
    start = float(lone.t[9000] - lone.t[0]) - 0.5
    attacked, _ = inject(lone, spec("dos", start, start + 1.0, bus=1), 0)
    assert (attack_rows(attacked).bus == 1).all()
    assert len(attack_rows(attacked)) > 1000
    assert same(attacked[attacked.bus == 0], replace(lone, attack_names=attacked.attack_names)[lone.bus == 0])


def test_what_the_attack_does_not_hold_up_keeps_the_time_that_a_software_clock_gave_it() -> None:
    # Bunches of ten frames 2 us apart: no bus sends so fast, but loggers write it.
    t = np.repeat(np.arange(1000) * 0.01, 10) + np.tile(np.arange(10) * 2e-6, 1000)
    t[500:505] = t[500]
    id = np.tile(np.arange(0x100, 0x10A), 1000).astype(np.int32)
    payload = np.random.default_rng(0).integers(0, 256, (10_000, 8)).astype(np.uint8)
    frames = FrameTable.build(t, id, payload, np.full(10_000, 8, np.uint8))
    result, _ = inject(frames, spec("spoofing", 0.205, 8, ids=(0x105,), period=0.1), 0)
    normal = result[result.label == 0]
    assert np.count_nonzero(result.label == 1) == 78
    assert (normal.t == t).all()
    assert (normal.id == id).all()


def test_impossible_attacks_are_refused_with_a_reason(benign: FrameTable) -> None:
    cases = [
        (
            spec("suspension", ids=(0x0C2,)),
            "Id 0x0C2 is not on bus 0 .* nearest of its 5\\d ids are 0x0C1, 0x0C9, 0x0D1",
        ),
        (spec("dos", 10, 13), r"from 10 s to 13 s leaves the capture, which is 1[12]\.\d+ s long"),
        (spec("fuzzing", bus=3), "Bus 3 carries no frame from 5 s to 7 s.*the capture has bus 0"),
        (spec("masquerade", 5, 5.01), "needs 1 id.* at least 8 data frames then and change their values; 0 of the"),
        (spec("suspension", 5.1, 5.101, ids=(0x4D1,)), r"0x4D1 sent nothing from 5\.1 s to 5\.101 s"),
    ]
    for attack, message in cases:
        with pytest.raises(UserError, match=message):
            inject(benign, attack, 0)
    with pytest.raises(UserError, match=r"At 100000 bit/s the capture's own frames would need 19.% of the bus"):
        inject(benign, spec("dos"), 0, bitrate=100_000)
    with pytest.raises(UserError, match="holds no frame"):
        inject(FrameTable.empty(), spec("dos"), 0)


def test_settings_that_make_no_attack_are_refused() -> None:
    for wrong, message in (
        ({"family": "ddos"}, "dos"),
        ({"start": 8.0}, "stop must be after start"),
        ({"ids": (0x20000000,)}, "0 to 0x1FFFFFFF"),
        ({"family": "masquerade", "period": 0.1}, "period has no meaning"),
        ({"family": "replay", "start": 3.0}, "lag 4 s cannot start 3 s into the capture"),
        ({"payload": "123"}, "payload"),
        ({"perod": 1.0}, "perod"),
    ):
        with pytest.raises(ValidationError, match=message):
            AttackSpec(**{"family": "dos", "start": 5.0, "stop": 7.0, **wrong})  # type: ignore[arg-type]


def test_several_captures_at_once_are_a_mistake(benign: FrameTable) -> None:
    two = replace(benign, capture=np.arange(len(benign), dtype=np.int32) % 2, capture_names=("a", "b"))
    with pytest.raises(ValueError, match="one capture"):
        inject(two, spec("dos"), 0)


@pytest.mark.parametrize("family", ATTACK_FAMILIES)
def test_attacks_on_a_recorded_drive(real_data: Path, family: str) -> None:
    frames = read_log(real_data / "canbuslogs_raw/ralliart/autoshiftwot.log.gz")[0].frames
    result, (interval,) = inject(frames, spec(family, 6.0, 8.0), 3)
    attacked = attack_rows(result)
    assert (np.diff(result.t) >= 0).all()
    assert same(
        result[result.t < interval.start], replace(frames, label=np.zeros_like(frames.label))[frames.t < interval.start]
    )
    assert ((attacked.t >= interval.start) & (attacked.t <= interval.stop)).all()
    assert len(attacked) > 10 or family == "suspension"
