"""A family car: 11-bit ids at 500 kbit/s, most significant byte first, ten control units.

Ids and layouts are invented; rates, burst sizes, the share of constant bytes and of constant ids follow the real
captures that the simulator is compared with.
"""

from credit_like.can.vehicles.drive import Chassis
from credit_like.can.vehicles.plan import (
    Checksum,
    Constant,
    Counter,
    Diagnostics,
    Ecu,
    Inquiry,
    Message,
    Pages,
    Signal,
    Vehicle,
)

_WHEELS = ("wheel_fl", "wheel_fr", "wheel_rl", "wheel_rr")

_ENGINE = Ecu(
    "engine",
    10,
    0.12,
    (
        Message(
            0x0C1, 10, 8, (Signal("rpm", 0, 16, 4), Signal("torque", 16, 8, 2.5), Counter(52), Checksum(56, "crc8"))
        ),
        Message(
            0x0C9, 10, 8, (Signal("pedal", 8, 8, 2.5), Signal("throttle", 24, 8, 2.5, 0, 0.3), Constant(32, 8, 0x7F))
        ),
        Message(0x1A0, 20, 8, (Signal("load", 0, 8, 2.55), Signal("manifold", 8, 8, 1, 0, 0.4), Counter(60))),
        Message(0x1A9, 20, 8, (Signal("fuel_rate", 0, 16, 30), Constant(24, 16, 0x0FFF), Signal("cruise", 63, 1))),
        Message(0x1B3, 20, 8, (Signal("cruise", 0, 1), Signal("speed", 8, 8), Constant(16, 8, 0xFE), Checksum(56))),
        Message(
            0x2C1, 50, 8, (Signal("battery", 0, 8, 10), Signal("intake", 8, 8, 1, 40), Constant(32, 32, 0x00C08000))
        ),
        Message(0x321, 100, 8, (Signal("coolant", 0, 8, 1, 40), Signal("oil", 8, 8, 1, 40), Constant(16, 8, 0xFF))),
        Message(0x329, 100, 6, (Signal("fuel", 0, 8, 2.55, 0, 0.6), Constant(8, 16, 0x1403))),
        Message(0x4D1, 1000, 8, (Constant(0, 32, 0x20240A11), Constant(32, 32, 0x5A000200))),
    ),
)
_BRAKES = Ecu(
    "brakes",
    10,
    0.08,
    (
        Message(0x0D1, 10, 8, tuple(Signal(name, 16 * k, 16, 100, 0, 0.7) for k, name in enumerate(_WHEELS))),
        Message(
            0x0D9,
            20,
            8,
            (
                Signal("lateral", 0, 12, 50, 2048, 1.0),
                Signal("yaw", 12, 12, 20, 2048, 1.0),
                Signal("acceleration", 24, 12, 50, 2048, 1.0),
                Counter(52),
                Checksum(56, "crc8"),
            ),
        ),
        Message(0x131, 20, 8, (Signal("pressure", 0, 12, 10), Signal("braking", 15, 1), Counter(52), Checksum(56))),
        Message(0x139, 20, 8, (Constant(0, 16, 0x8000), Signal("braking", 16, 2, 3), Constant(40, 16, 0x8000))),
        Message(0x211, 20, 7, (Signal("speed", 0, 16, 64), Counter(52))),
        Message(0x219, 20, 8, tuple(Constant(16 * k, 16, 0x3FFF) for k in range(4))),
        Message(0x341, 100, 8, (Signal("odometer", 0, 24, 100), Constant(24, 8, 0x11))),
        Message(0x4C1, 500, 5, (Constant(0, 40, 0x0000400180),)),
    ),
)
_STEERING = Ecu(
    "steering",
    10,
    0.2,
    (
        Message(
            0x0E5,
            10,
            8,
            (
                Signal("steering", 0, 16, 10, 32768, 0.3),
                Signal("steering_rate", 16, 12, 1, 2048),
                Counter(52),
                Checksum(56, "crc8"),
            ),
        ),
        Message(0x1E5, 20, 8, (Signal("yaw", 0, 8, 1, 128), Constant(8, 24, 0x80FF00), Checksum(56))),
        Message(0x2E1, 50, 4, (Constant(0, 32, 0x00FA0000),)),
    ),
)
_GEARBOX = Ecu(
    "gearbox",
    10,
    0.15,
    (
        Message(0x0F1, 10, 6, (Signal("gear", 4, 4), Signal("rpm", 8, 16, 4), Counter(44))),
        Message(0x1F5, 20, 8, (Signal("gear", 0, 4), Signal("gear", 4, 4), Constant(8, 24, 0x0F000F), Checksum(56))),
        Message(0x1FD, 20, 8, (Signal("torque", 0, 8, 2, 0, 0.4), Constant(8, 8, 0xC8), Signal("rpm", 16, 8, 0.03125))),
        Message(0x351, 100, 8, (Signal("oil", 0, 8, 1, 40), Constant(8, 32, 0xFFFF0000))),
    ),
)
_AIRBAG = Ecu(
    "airbag",
    20,
    0.3,
    (
        Message(0x181, 20, 8, (Constant(0, 32, 0x00550055), Counter(52), Checksum(56))),
        Message(0x3A1, 100, 4, (Signal("belt", 6, 2), Constant(8, 8, 0x20)), event="belt"),
        Message(0x4E9, 1000, 6, (Constant(0, 48, 0x010000000300),)),
    ),
)
_BODY = Ecu(
    "body",
    20,
    0.5,
    (
        Message(0x225, 20, 8, (Signal("braking", 0, 1), Signal("lights", 4, 3), Constant(8, 16, 0x8080))),
        Message(0x3B1, 200, 3, (Signal("doors", 0, 4), Constant(8, 16, 0x0100)), event="doors"),
        Message(0x3B9, 100, 6, (Signal("lights", 0, 4), Signal("wiper", 7, 1), Constant(16, 32, 0x00FFE000))),
        Message(0x3C1, 500, 2, (Signal("indicator", 0, 2), Signal("lights", 8, 4)), event="indicator"),
        Message(0x4A1, 500, 8, (Constant(0, 64, 0x10203000000000FF),)),
    ),
)
_CLUSTER = Ecu(
    "cluster",
    20,
    0.6,
    (
        Message(
            0x241, 20, 8, (Signal("speed", 0, 16, 10), Signal("rpm", 16, 8, 0.04), Constant(24, 8, 0x00), Counter(60))
        ),
        Message(0x3D1, 100, 8, (Signal("fuel", 0, 8, 2.55), Signal("outside", 8, 8, 2, 80), Constant(32, 16, 0x0640))),
        Message(0x3D9, 100, 5, (Signal("odometer", 0, 24, 10), Constant(24, 16, 0x0001))),
        Message(0x4B9, 1000, 4, (Signal("clock", 0, 32),)),
    ),
)
_CLIMATE = Ecu(
    "climate",
    50,
    0.4,
    (
        Message(0x2F1, 50, 8, (Signal("outside", 0, 8, 2, 80), Constant(8, 32, 0x16160430))),
        Message(0x3E9, 100, 7, (Signal("intake", 0, 8, 2, 60, 0.5), Constant(16, 16, 0x3C3C))),
        Message(0x4B1, 500, 8, (Constant(0, 16, 0x0A0A),)),
    ),
)
_RADAR = Ecu(
    "radar",
    20,
    0.25,
    (
        Message(
            0x291,
            20,
            8,
            (
                Pages(
                    0,
                    4,
                    (
                        (Signal("speed", 8, 16, 128, 0, 3.0), Constant(24, 8, 0x40)),
                        (Signal("acceleration", 8, 12, 60, 2048, 4.0), Signal("pedal", 24, 8)),
                        (Constant(8, 32, 0xFFFFFFFF),),
                        (Constant(8, 32, 0xFFFFFFFF),),
                    ),
                ),
                Counter(52),
                Checksum(56, "crc8"),
            ),
        ),
        Message(0x299, 20, 8, (Constant(0, 32, 0x7FE07FE0), Signal("speed", 32, 8, 1, 0, 0.4))),
        Message(0x2A5, 40, 8, (Signal("yaw", 0, 12, 40, 2048, 2.0), Constant(16, 24, 0x0003E8), Counter(60))),
        Message(0x2B1, 40, 8, (Constant(0, 64, 0x00000000FFFF0000),)),
    ),
)
_GATEWAY = Ecu(
    "gateway",
    20,
    0.9,
    (
        Message(
            0x261,
            20,
            8,
            (Signal("rpm", 0, 8, 0.04, 0, 0.2), Signal("speed", 8, 8), Signal("gear", 16, 4), Constant(24, 8, 0xAA)),
        ),
        Message(0x269, 20, 8, (Signal("steering", 0, 12, 2, 2048), Constant(16, 16, 0x0800), Counter(60))),
        Message(0x379, 100, 8, (Constant(0, 64, 0x0000000000FF00FF),)),
        Message(0x389, 100, 8, (Signal("battery", 0, 8, 12, 0, 0.3), Constant(8, 32, 0x0000C000))),
        Message(
            0x4F1,
            500,
            8,
            (Pages(0, 8, ((Constant(8, 56, 0x11223344556677),), (Constant(8, 56, 0),), (Signal("clock", 8, 32),))),),
        ),
    ),
)


def _mode_01(pid: int, signal: Signal) -> Inquiry:
    """Ask for one current value (SAE J1979, mode 01)."""
    size = signal.bits // 8
    fields = (Constant(0, 24, (2 + size) << 16 | 0x4100 | pid), signal)
    return Inquiry(bytes((2, 1, pid, 0, 0, 0, 0, 0)), Message(0x7E8, 0, 8, fields))


ON_BOARD_DIAGNOSTICS = Diagnostics(
    0x7DF,
    80,
    (
        _mode_01(0x0C, Signal("rpm", 24, 16, 4)),
        _mode_01(0x0D, Signal("speed", 24, 8)),
        _mode_01(0x05, Signal("coolant", 24, 8, 1, 40)),
        _mode_01(0x11, Signal("throttle", 24, 8, 2.55)),
        _mode_01(0x04, Signal("load", 24, 8, 2.55)),
    ),
)

SEDAN = Vehicle(
    name="sedan",
    bitrate=500_000,
    extended=False,
    chassis=Chassis(
        idle_rpm=760,
        gearing=(110, 62, 42, 31, 25, 20.5),
        shift_up=(18, 34, 52, 72, 95),
        top_speed=130,
        acceleration=2.6,
        wheelbase=2.7,
        track=1.55,
    ),
    ecus=(_ENGINE, _BRAKES, _STEERING, _GEARBOX, _AIRBAG, _BODY, _CLUSTER, _CLIMATE, _RADAR, _GATEWAY),
    diagnostics=ON_BOARD_DIAGNOSTICS,
)
