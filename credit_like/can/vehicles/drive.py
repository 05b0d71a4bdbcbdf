"""A drive: what the car does over time, which is what its messages talk about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Seconds between two points of a drive; the fastest message of any vehicle reads every point.
STEP = 0.01

Road = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Chassis:
    """What of a vehicle shapes its drives.

    ``gearing`` is engine speed over road speed, rpm per km/h, gear by gear; ``shift_up`` the km/h at which the next
    gear is taken (it is left again 15 % below that). ``acceleration`` is the hardest, in m/s^2; lengths are in metres.
    """

    idle_rpm: float
    gearing: tuple[float, ...]
    shift_up: tuple[float, ...]
    top_speed: float
    acceleration: float
    wheelbase: float
    track: float
    steering_ratio: float = 15.0


def smooth(values: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """``values`` on the drive's grid, averaged under a Hann window ``seconds`` wide (edges repeat the last value)."""
    width = max(int(seconds / STEP) | 1, 3)
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def _wander(rng: np.random.Generator, n: int, seconds: float) -> NDArray[np.float64]:
    """Smooth noise of unit variance whose values forget each other within ``seconds``."""
    knots = rng.standard_normal(int(n * STEP / seconds * 2) + 4)
    rough = np.interp(np.arange(n) * STEP, np.arange(len(knots)) * seconds / 2, knots)
    return smooth(rough, seconds) * 1.4


def _speed(chassis: Chassis, seconds: float, rng: np.random.Generator) -> tuple[NDArray[np.float64], list[float]]:
    """Corner points (t, km/h) of idle, accelerate, cruise and brake in random order; and where each idle starts."""
    points = [(0.0, rng.uniform(0, 0.7 * chassis.top_speed) * (rng.random() < 0.8))]
    stops = []
    while points[-1][0] < seconds:
        t, v = points[-1]
        if v == 0:
            stops.append(t)
            t += rng.uniform(2, 10)
            points.append((t, 0.0))
        target = rng.uniform(15, chassis.top_speed)
        if v > 0 and rng.random() < 0.35:
            target = 0.0
        rate = rng.uniform(0.35, 1.0) * (chassis.acceleration if target > v else 3.0)
        t += abs(target - v) / 3.6 / rate + 0.1
        points.append((t, target))
        if target > 0:
            t += rng.uniform(3, 14)
            points.append((t, target * rng.uniform(0.93, 1.05)))
    return np.array(points), stops


def _episodes(starts: NDArray[np.float64], lengths: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.intp]:
    """For every moment the number of the episode that runs then, -1 outside all of them."""
    last = np.searchsorted(starts, t, side="right") - 1
    inside = (last >= 0) & (t < (starts + lengths)[last])
    return np.where(inside, last, -1)


def _gears(speed: NDArray[np.float64], shift_up: tuple[float, ...]) -> NDArray[np.float64]:
    """Gear 1.. at every moment, with hysteresis: up at ``shift_up``, down 15 % below it."""
    up = np.array(shift_up)
    at_least, at_most = np.digitize(speed, up).tolist(), np.digitize(speed, 0.85 * up).tolist()
    gear, gears = 0, []
    for low, high in zip(at_least, at_most, strict=True):
        gear = min(max(gear, low), high)
        gears.append(gear + 1)
    return np.array(gears, float)


def drive(chassis: Chassis, seconds: float, rng: np.random.Generator) -> Road:
    """One random drive: a column of float64 for every quantity, on a grid of ``STEP`` seconds from 0 to ``seconds``.

    Speeds in km/h, angles in degrees, temperatures in degrees Celsius, shares in percent, ``torque`` in percent of the
    largest, ``pressure`` of the brakes in bar, ``yaw`` in degrees a second, accelerations in m/s^2, ``odometer`` in km,
    ``clock`` in seconds of the day. ``gear`` (0 at rest), ``doors``, ``indicator`` (0, 1 left, 2 right, blinking),
    ``lights``, ``wiper``, ``belt``, ``cruise`` and ``braking`` are whole numbers that jump.

    Not modelled: hills, wind, clutch slip, tyre slip, failures.
    """
    n = int(np.ceil(seconds / STEP)) + 2
    t = np.arange(n, dtype=np.float64) * STEP
    corners, stops = _speed(chassis, seconds, rng)
    speed = smooth(np.interp(t, corners[:, 0], corners[:, 1]), 1.4)
    speed = np.maximum(speed + _wander(rng, n, 3.0) * np.minimum(speed / 40, 1) * 1.2, 0)
    speed[speed < 0.3] = 0
    acceleration = np.gradient(smooth(speed, 0.3), STEP) / 3.6
    demand = acceleration + 0.12 + (speed / 100) ** 2 * 0.5
    throttle = np.clip(12 + 55 * demand / chassis.acceleration, 0, 100) * (speed > 0)
    pressure = np.clip(-acceleration - 0.6, 0, None) * 14 + 8.0 * (speed == 0)

    gear = _gears(speed, chassis.shift_up)
    wheel = speed * np.array(chassis.gearing)[gear.astype(int) - 1]
    idle = chassis.idle_rpm + _wander(rng, n, 0.8) * 12
    rpm = smooth(np.maximum(wheel, idle), 0.4) + _wander(rng, n, 0.2) * 5
    torque = np.clip(smooth(throttle, 0.3) * 0.9 + 8 + _wander(rng, n, 0.5), 0, 100)

    turns = np.cumsum(rng.exponential(14, int(seconds / 5) + 3)) + 2
    lengths = np.minimum(rng.uniform(3, 6, len(turns)), np.append(np.diff(turns), 9.0) * 0.9)
    turn = _episodes(turns, lengths, t)
    side = rng.choice([-1.0, 1.0], len(turns))
    sharpness = np.where(turn >= 0, side[turn] * rng.uniform(0.3, 1.0, len(turns))[turn], 0)
    ease = 1 / (1 + (speed / 22) ** 2)
    steering = smooth(sharpness * 260 * ease, 2.0) + _wander(rng, n, 2.5) * (1.5 + 7 * ease) * np.minimum(speed / 5, 1)
    yaw = speed / 3.6 * np.tan(np.radians(steering / chassis.steering_ratio)) / chassis.wheelbase
    blink = ((t - turns[turn]) % 0.66) < 0.33
    indicator = np.where((turn >= 0) & blink, np.where(side[turn] < 0, 1, 2), 0)

    stop_lengths = rng.uniform(1.5, 3.0, len(stops)) * (rng.random(len(stops)) < 0.4)
    openings = _episodes(np.array(stops) + 0.5, stop_lengths, t) if stops else np.full(n, -1)
    door = rng.choice([1.0, 2.0, 4.0, 8.0], len(stops) + 1)
    warm = rng.uniform(15, 92)
    heat = 1 - np.exp(-t / 260)
    outside = rng.uniform(-5, 32)
    half = yaw * chassis.track / 2 * 3.6
    drift = _wander(rng, n, 25.0)
    return {
        "speed": speed,
        "acceleration": acceleration,
        "lateral": speed / 3.6 * yaw + _wander(rng, n, 0.3) * 0.05,
        "yaw": np.degrees(yaw),
        "steering": steering,
        "steering_rate": np.gradient(steering, STEP),
        "wheel_fl": np.maximum(speed - half, 0),
        "wheel_fr": np.maximum(speed + half, 0),
        "wheel_rl": np.maximum(speed - half * 0.94, 0),
        "wheel_rr": np.maximum(speed + half * 0.94, 0),
        "rpm": rpm,
        "throttle": throttle,
        "pedal": np.clip(smooth(throttle, 0.2) * 0.85, 0, 100),
        "torque": torque,
        "load": np.clip(torque * 0.8 + rpm / 400, 0, 100),
        "manifold": 30 + torque * 0.7 + _wander(rng, n, 0.3),
        "pressure": pressure,
        "braking": (pressure > 0.4).astype(float),
        "gear": np.where(speed > 0, gear, 0),
        "coolant": warm + (91 - warm) * heat + drift * 0.3,
        "oil": warm - 4 + (97 - warm) * heat * 0.8 + drift * 0.4,
        "intake": outside + 12 + _wander(rng, n, 8.0),
        "outside": np.full(n, outside),
        "battery": 14.1 + drift * 0.08 + _wander(rng, n, 0.4) * 0.03,
        "fuel": rng.uniform(15, 95) - t * 4e-4,
        "fuel_rate": 0.6 + torque * rpm / 25000,
        "odometer": rng.uniform(3e3, 2e5) + np.cumsum(speed) * STEP / 3600,
        "clock": rng.uniform(0, 7e4) + t,
        "doors": np.where(openings >= 0, door[openings], 0),
        "indicator": indicator.astype(float),
        "lights": np.full(n, float(rng.integers(0, 4))) + (t > rng.uniform(0, 4 * seconds)),
        "wiper": np.where(_episodes(np.array([rng.uniform(0, 3 * seconds)]), np.array([25.0]), t) >= 0, 1.0, 0.0),
        "belt": np.where(openings >= 0, 0.0, 1.0),
        "cruise": ((np.abs(acceleration) < 0.15) & (speed > 0.6 * chassis.top_speed)).astype(float),
    }


#: Columns of a drive that jump; a message reads their latest value instead of one between two points.
STEPPED = frozenset({"gear", "doors", "indicator", "lights", "wiper", "belt", "cruise", "braking"})
