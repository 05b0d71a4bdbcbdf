"""A heavy truck: 29-bit ids at 250 kbit/s in the manner of SAE J1939, bytes that are not available hold 0xFF.

Group numbers, rates and scales of the common groups follow SAE J1939-71; what fills the rest of a payload is invented.
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


def _unavailable(first: int, last: int) -> tuple[Constant, ...]:
    """Bytes ``first`` to ``last`` of 0..7 hold 0xFF."""
    return (Constant(8 * first, 8 * (last - first + 1), (1 << 8 * (last - first + 1)) - 1),)


_RPM = Signal("rpm", 24, 16, 8, little=True)
_TORQUE = Signal("torque", 16, 8, 1, 125)

_ENGINE = Ecu(
    "engine",
    10,
    0.2,
    (
        Message(
            0x0CF00400, 20, 8, (Constant(0, 8, 0xF0), Signal("pedal", 8, 8, 1, 125), _TORQUE, _RPM, *_unavailable(5, 7))
        ),
        Message(
            0x0CF00300,
            50,
            8,
            (Constant(0, 8, 0xD1), Signal("pedal", 8, 8, 2.5), Signal("load", 16, 8), *_unavailable(3, 7)),
        ),
        Message(
            0x18FEF100, 100, 8, (Constant(0, 8, 0xF3), Signal("speed", 8, 16, 256, little=True), *_unavailable(3, 5))
        ),
        Message(
            0x18FEF200,
            100,
            8,
            (Signal("fuel_rate", 0, 16, 20, little=True), Constant(16, 16, 0xFAFA), *_unavailable(4, 5)),
        ),
        Message(0x18FEDF00, 250, 8, (Signal("torque", 0, 8, 0.4, 125), *_unavailable(1, 7))),
        Message(0x18FEEF00, 500, 8, (*_unavailable(0, 2), Signal("load", 24, 8, 0.6, 70, 0.5), *_unavailable(4, 7))),
        Message(
            0x18FEF600, 500, 8, (Constant(0, 8, 0xFF), Signal("manifold", 8, 8, 0.5), Signal("intake", 16, 8, 1, 40))
        ),
        Message(
            0x18FEEE00, 1000, 8, (Signal("coolant", 0, 8, 1, 40), Signal("intake", 8, 8, 1, 40), *_unavailable(4, 7))
        ),
        Message(
            0x18FEF700, 1000, 8, (*_unavailable(0, 3), Signal("battery", 32, 16, 40, 0, 1.0, True), *_unavailable(6, 7))
        ),
        Message(0x18FECA00, 1000, 8, (Constant(0, 64, 0x00FF00000000FFFF),)),
        Message(
            0x18F00A00,
            50,
            8,
            (
                Signal("load", 0, 16, 150, 800, 20.0, True),
                Signal("fuel_rate", 16, 16, 90, 0, 6.0, True),
                *_unavailable(4, 7),
            ),
        ),
        Message(0x18FE6900, 1000, 8, (Signal("oil", 0, 8, 1, 40), *_unavailable(1, 7))),
    ),
)
_GEARBOX = Ecu(
    "gearbox",
    10,
    0.3,
    (
        Message(0x0C000003, 10, 8, (Constant(0, 32, 0xFCFFFF7D), *_unavailable(4, 7))),
        Message(
            0x0CF00203,
            10,
            8,
            (Constant(0, 8, 0xCC), Signal("rpm", 8, 16, 8, -40, 1.0, True), Constant(24, 8, 0), *_unavailable(4, 7)),
        ),
        Message(
            0x18F00503, 100, 8, (Signal("gear", 0, 8, 1, 125), Constant(8, 16, 0xFFFF), Signal("gear", 24, 8, 1, 125))
        ),
        Message(
            0x18FEF803,
            1000,
            8,
            (*_unavailable(0, 3), Signal("oil", 32, 16, 32, 8736, little=True), *_unavailable(6, 7)),
        ),
    ),
)
_BRAKES = Ecu(
    "brakes",
    10,
    0.15,
    (
        Message(
            0x18F0090B,
            10,
            8,
            (
                Signal("steering", 0, 16, 8, 32127, 0.6, True),
                Constant(16, 8, 0xFF),
                Signal("yaw", 24, 16, 140, 32127, 2.0, True),
                Signal("lateral", 40, 16, 200, 32127, 3.0, True),
                Signal("acceleration", 56, 8, 10, 125),
            ),
        ),
        Message(
            0x18F0010B,
            100,
            8,
            (Constant(0, 8, 0xCF), Signal("pressure", 8, 8, 2), Constant(16, 8, 0xF0), *_unavailable(3, 7)),
        ),
        Message(
            0x08FE6E0B,
            20,
            8,
            tuple(
                Signal(f"wheel_{wheel}", 16 * k, 16, 256, 0, 2.0, True)
                for k, wheel in enumerate(("fl", "fr", "rl", "rr"))
            ),
        ),
        Message(0x18FE4F0B, 100, 8, (Signal("braking", 0, 8, 1, 0xF0), *_unavailable(1, 7))),
        Message(0x18FECA0B, 1000, 8, (Constant(0, 64, 0x00FF00000000FFFF),)),
        Message(0x18FEBF0B, 100, 8, (Signal("wheel_fl", 0, 16, 256, 0, 1.0, True), Constant(16, 48, 0x7D7D7D7DFFFF))),
        Message(
            0x18FEAE30,
            1000,
            8,
            (Constant(0, 8, 0xFF), Signal("pressure", 8, 8, -0.5, 130), Constant(16, 16, 0x8282), *_unavailable(4, 7)),
        ),
    ),
)
_EXHAUST = Ecu(
    "exhaust",
    50,
    0.5,
    (
        Message(
            0x18F00E51,
            50,
            8,
            (Signal("load", 0, 16, 240, 4000, 30.0, True), Constant(16, 16, 0x4E66), Constant(32, 32, 0x55FFFFFF)),
        ),
        Message(
            0x18F00F52,
            50,
            8,
            (Signal("fuel_rate", 0, 16, 12, 3900, 4.0, True), Constant(16, 16, 0x4E66), Constant(32, 32, 0x55FFFFFF)),
        ),
        Message(0x18FDB251, 500, 8, (Signal("load", 0, 16, 60, 14000, 15.0, True), *_unavailable(2, 7))),
        Message(0x18FE5651, 1000, 8, (Signal("fuel", 0, 8, 2.0), *_unavailable(1, 7))),
    ),
)
_RETARDER = Ecu(
    "retarder",
    50,
    0.4,
    (Message(0x18F0000F, 100, 8, (Signal("braking", 0, 8, 2, 0xF0), Constant(8, 24, 0x7D7DFF), *_unavailable(4, 7))),),
)
_CRUISE = Ecu(
    "cruise",
    20,
    0.3,
    (
        Message(0x0C040B2A, 20, 8, (Constant(0, 24, 0x007DFF), *_unavailable(3, 7))),
        Message(0x10FE6F2A, 60, 8, (Signal("speed", 0, 8, 1, 0, 0.5), Signal("cruise", 15, 1), *_unavailable(2, 6))),
        Message(
            0x0CFF2A2A,
            20,
            8,
            (Signal("speed", 0, 16, 100, 0, 4.0, True), *_unavailable(2, 5), Counter(52), Checksum(56)),
        ),
    ),
)
_CAB = Ecu(
    "cab",
    50,
    0.8,
    (
        Message(
            0x0CFE6CEE,
            50,
            8,
            (
                Constant(0, 32, 0x0000C000),
                Signal("rpm", 32, 16, 8, little=True),
                Signal("speed", 48, 16, 256, little=True),
            ),
        ),
        Message(0x18FEC1EE, 1000, 8, (Signal("odometer", 0, 32, 200, little=True), Constant(32, 32, 0x4A0B0000))),
        Message(0x18FEFC17, 1000, 8, (Constant(0, 8, 0xFF), Signal("fuel", 8, 8, 2.5), *_unavailable(2, 7))),
        Message(
            0x18FEF517,
            1000,
            8,
            (Constant(0, 24, 0xC9FFFF), Signal("outside", 24, 16, 32, 8736, little=True), *_unavailable(5, 7)),
        ),
        Message(
            0x18FDCC21,
            1000,
            8,
            (Signal("indicator", 0, 4), Signal("lights", 4, 4), *_unavailable(1, 7)),
            event="indicator",
        ),
        Message(0x18FE4E21, 1000, 8, (Signal("doors", 0, 8), *_unavailable(1, 7)), event="doors"),
        Message(0x18FF4521, 100, 8, (Constant(0, 64, 0x00F3FF00FFFFFFFF),)),
        Message(
            0x18FEF433,
            500,
            8,
            (
                Pages(
                    0,
                    8,
                    tuple(
                        (Constant(8, 8, 0x80 + k), Signal("outside", 16, 16, 32, 8900 + 9 * k, 3.0, True))
                        for k in range(6)
                    ),
                ),
                *_unavailable(4, 7),
            ),
        ),
    ),
)

TRUCK = Vehicle(
    name="truck",
    bitrate=250_000,
    extended=True,
    chassis=Chassis(
        idle_rpm=600,
        gearing=(190, 130, 95, 70, 52, 40, 31, 24, 18.5, 15.5),
        shift_up=(6, 10, 14, 20, 27, 36, 46, 60, 72),
        top_speed=88,
        acceleration=0.9,
        wheelbase=5.9,
        track=2.05,
        steering_ratio=20.0,
    ),
    ecus=(_ENGINE, _GEARBOX, _BRAKES, _EXHAUST, _RETARDER, _CRUISE, _CAB),
    # A tester asks for engine hours and fuel consumption by the request group 0xEA00 (SAE J1939-21).
    diagnostics=Diagnostics(
        0x18EA00F9,
        250,
        (
            Inquiry(
                bytes((0xE5, 0xFE, 0x00)),
                Message(0x18FEE500, 0, 8, (Signal("odometer", 0, 32, 0.4, little=True), Constant(32, 32, 0x10))),
            ),
            Inquiry(
                bytes((0xE9, 0xFE, 0x00)),
                Message(0x18FEE900, 0, 8, (Constant(0, 32, 0x00FF0000), Signal("odometer", 32, 32, 0.6, little=True))),
            ),
        ),
    ),
)
