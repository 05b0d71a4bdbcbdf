"""The simulator: the same seed the same drive, frames that a bus could carry, payloads that mean what the plan says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from credit_like.can.arbitration import bus_load, frame_bits
from credit_like.can.frames import EXTENDED, FrameTable
from credit_like.can.read import read_log
from credit_like.can.simulator import simulate
from credit_like.can.vehicles import VEHICLES, Checksum, Constant, Counter, Message, Pages, Signal
from credit_like.can.vehicles.drive import STEPPED, drive
from credit_like.config import UserError

SECONDS = 20.0


@pytest.fixture(scope="module")
def drives() -> dict[str, FrameTable]:
    return {name: simulate(name, SECONDS, seed=3) for name in VEHICLES}


def of_id(frames: FrameTable, id: int) -> FrameTable:
    return frames[frames.id == id]


def field_values(frames: FrameTable, at: int, bits: int) -> np.ndarray:
    words = frames.payload[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
    return (words >> np.uint64(64 - at - bits) & np.uint64((1 << bits) - 1)).astype(np.int64)


def crc8_bit_by_bit(data: bytes) -> int:
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D) & 0xFF if crc & 0x80 else crc << 1
    return crc ^ 0xFF


def test_the_seed_decides_the_drive() -> None:
    first, again, other = simulate("sedan", 2, seed=1), simulate("sedan", 2, seed=1), simulate("sedan", 2, seed=2)
    assert (first.t == again.t).all()
    assert (first.payload == again.payload).all()
    assert len(first) != len(other) or (first.payload != other.payload).any()


@pytest.mark.parametrize("name", VEHICLES)
def test_frames_are_such_as_the_bus_could_carry(drives: dict[str, FrameTable], name: str) -> None:
    frames, vehicle = drives[name], VEHICLES[name]
    assert (frames.label == 0).all()
    assert (frames.flags == (EXTENDED if vehicle.extended else 0)).all()
    assert frames.t[0] >= 0
    assert frames.t[-1] < SECONDS
    on_bus = frame_bits(frames) / vehicle.bitrate
    assert (np.diff(frames.t) >= on_bus[1:] - 1e-9).all(), "two frames at once"
    assert 0.1 < bus_load(frames, vehicle.bitrate) < 0.5
    bytes_beyond = np.arange(8) >= frames.length[:, None]
    assert not frames.payload[bytes_beyond].any()


@pytest.mark.parametrize("name", VEHICLES)
def test_every_message_keeps_its_period(drives: dict[str, FrameTable], name: str) -> None:
    for message in VEHICLES[name].messages:
        own = of_id(drives[name], message.id)
        assert (own.length == message.length).all()
        if message.event:
            assert len(own) >= int(SECONDS * 1000 / message.period)
        else:
            assert abs(len(own) - SECONDS * 1000 / message.period) <= 1.5
            gaps = np.diff(own.t) * 1000
            assert abs(np.median(gaps) - message.period) < 0.02 * message.period


def test_vehicles_differ_in_their_ids() -> None:
    plans = {name: {message.id for message in vehicle.messages} for name, vehicle in VEHICLES.items()}
    for name, ids in plans.items():
        assert len(ids) == len(VEHICLES[name].messages), "an id twice"
        assert 25 <= len(ids) <= 60
    assert len(plans["sedan"] & plans["van"]) < 0.2 * len(plans["sedan"])
    assert not plans["truck"] & (plans["sedan"] | plans["van"])


@pytest.mark.parametrize("name", VEHICLES)
def test_counters_count_and_checksums_check(drives: dict[str, FrameTable], name: str) -> None:
    counters = checksums = 0
    for message in VEHICLES[name].messages:
        own = of_id(drives[name], message.id)
        for field in message.fields:
            if isinstance(field, Counter):
                steps = np.diff(field_values(own, field.at, field.bits)) % (1 << field.bits)
                assert (steps == 1).all()
                counters += 1
            if isinstance(field, Checksum):
                for payload in own.payload[:50]:
                    rest = bytes(np.delete(payload[: message.length], field.at // 8))
                    expected = crc8_bit_by_bit(rest) if field.kind == "crc8" else int(np.bitwise_xor.reduce(list(rest)))
                    assert payload[field.at // 8] == expected
                checksums += 1
            if isinstance(field, Constant):
                assert (field_values(own, field.at, field.bits).astype(np.uint64) == np.uint64(field.value)).all()
    assert counters
    assert checksums


def test_messages_speak_of_one_drive(drives: dict[str, FrameTable]) -> None:
    frames = drives["sedan"]
    wheels, speed = of_id(frames, 0x0D1), of_id(frames, 0x211)
    front_left = np.interp(speed.t, wheels.t, field_values(wheels, 0, 16) / 100)
    assert np.abs(front_left - field_values(speed, 0, 16) / 64).max() < 2.0
    rpm = field_values(of_id(frames, 0x0C1), 0, 16) / 4
    assert 600 < rpm.min() < rpm.max() < 7000
    pages = field_values(of_id(frames, 0x291), 0, 4)
    assert (np.diff(pages) % 4 == 1).all()


def test_least_significant_byte_first(drives: dict[str, FrameTable]) -> None:
    own = of_id(drives["truck"], 0x0CF00400)
    rpm = (own.payload[:, 3] + 256 * own.payload[:, 4].astype(int)) / 8
    assert 500 < rpm.min() < rpm.max() < 3500


def test_an_event_sends_at_once_what_changed() -> None:
    frames = of_id(simulate("sedan", 60, seed=0), 0x3C1)
    state = field_values(frames, 0, 2)
    changes = np.flatnonzero(np.diff(state)) + 1
    assert len(changes) > 4
    assert len(frames) > 60 * 2 + len(changes) / 2, "the heartbeat alone would be 120 frames"


def test_a_tester_asks_and_is_answered() -> None:
    frames = simulate("sedan", 120, seed=0)
    asked, answered = of_id(frames, 0x7DF), of_id(frames, 0x7E8)
    assert len(asked) == len(answered) > 10
    assert (answered.payload[:, 1] == 0x41).all()
    assert set(answered.payload[:, 2]) == set(asked.payload[:, 2])
    assert (np.sort(answered.t) > np.sort(asked.t)).all()


def test_a_drive_stays_within_the_car() -> None:
    chassis = VEHICLES["sedan"].chassis
    for seed in range(5):
        road = drive(chassis, 120, np.random.default_rng(seed))
        assert 0 <= road["speed"].min() < road["speed"].max() < 1.15 * chassis.top_speed
        assert np.abs(road["acceleration"]).max() < 6
        assert (road["gear"][road["speed"] == 0] == 0).all()
        assert all((road[name] == np.rint(road[name])).all() for name in STEPPED)
        assert all(np.isfinite(values).all() for values in road.values())


def test_what_cannot_be_simulated_is_said() -> None:
    with pytest.raises(
        UserError, match=r"no simulated vehicle 'sedn' \(did you mean 'sedan'\?\); choose one of sedan, van"
    ):
        simulate("sedn")
    with pytest.raises(UserError, match=r"seconds of at least 0\.1; got -1"):
        simulate("sedan", -1)
    with pytest.raises(UserError, match="seed of at least 0; got -3"):
        simulate("sedan", 1, seed=-3)
    with pytest.raises(UserError, match="bitrate of at least 1000; got 5"):
        simulate("sedan", 1, bitrate=5)


def test_a_plan_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        Message(0x100, 10, 8, (Signal("speed", 0, 16), Counter(12)))
    with pytest.raises(ValueError, match="leaves the payload"):
        Message(0x100, 10, 2, (Checksum(16),))
    with pytest.raises(ValueError, match="overlaps"):
        Message(0x100, 10, 8, (Counter(8), Pages(0, 4, ((Signal("rpm", 8, 8),),))))


def figures(frames: FrameTable) -> dict[str, float]:
    """What simulated traffic should have in common with real traffic."""
    _, inverse, counts = np.unique(frames.id, return_inverse=True, return_counts=True)
    jitter, changes, weights = [], [], []
    for number in np.flatnonzero(counts > 20):
        own = frames[inverse == number]
        gaps = np.diff(own.t)
        jitter.append(np.std(gaps) / np.median(gaps))
        changes.append((np.diff(own.payload.astype(int), axis=0) != 0).any(axis=1).mean())
        weights.append(len(own))
    share = counts / counts.sum()
    return {
        "frames a second": len(frames) / (frames.t[-1] - frames.t[0]),
        "ids": len(counts),
        "entropy of ids": float(-(share * np.log2(share)).sum()),
        "bus load": bus_load(frames, 500_000),
        "jitter": float(np.median(jitter)),
        "changes": float(np.average(changes, weights=weights)),
        "constant ids": float(np.mean(np.array(changes) == 0)),
        "back to back": float(np.mean(np.diff(frames.t) < 3.5e-4)),
    }


@pytest.fixture(scope="module")
def real_figures(real_data: Path) -> list[dict[str, float]]:
    logs = (
        "canbuslogs_raw/ralliart/autoshiftwot.log.gz",
        "canbuslogs_raw/nissan350z_turnonlog.log",
        "camaro_ctt_format/train_01/attack-free-1.csv.gz",
        "daga_v40/clean/V40_03.can.zip",
    )
    return [figures(read_log(real_data / log)[0].frames[:40_000]) for log in logs]


@pytest.mark.parametrize("vehicle", ["sedan", "van"])
def test_cars_lie_among_real_cars(
    real_figures: list[dict[str, float]], drives: dict[str, FrameTable], vehicle: str
) -> None:
    for name, value in figures(drives[vehicle]).items():
        low, high = min(car[name] for car in real_figures), max(car[name] for car in real_figures)
        assert 0.8 * low <= value <= 1.25 * high, f"{name}: {value:.3f}, real cars {low:.3f} to {high:.3f}"
