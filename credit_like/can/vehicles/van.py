"""A delivery van: 11-bit ids at 500 kbit/s, least significant byte first, a 12.5 ms schedule, eight control units.

Ids and layouts are invented, and share neither with the sedan.
"""

from credit_like.can.vehicles.drive import Chassis
from credit_like.can.vehicles.plan import Checksum, Constant, Counter, Ecu, Message, Pages, Signal, Vehicle
from credit_like.can.vehicles.sedan import ON_BOARD_DIAGNOSTICS

_POWER = Ecu(
    "power",
    12.5,
    0.25,
    (
        Message(
            0x0A8, 12.5, 8, (Counter(4), Signal("rpm", 16, 16, 4, little=True), Signal("torque", 32, 8, 2, 0, 0.4))
        ),
        Message(0x0AA, 12.5, 7, (Signal("pedal", 0, 16, 160, little=True), Counter(20), Checksum(48))),
        Message(0x0AD, 12.5, 8, (Signal("pedal", 0, 8, 2), Constant(8, 48, 0x0000807D00FF), Signal("cruise", 63, 1))),
        Message(0x0B0, 12.5, 6, (Constant(0, 16, 0x8040), Signal("load", 16, 8, 0.5), Constant(24, 24, 0xFF0000))),
        Message(0x0B6, 25, 6, (Signal("throttle", 0, 8, 2), Signal("manifold", 8, 8), Constant(16, 16, 0x9600))),
        Message(
            0x1D0, 25, 8, (Signal("coolant", 0, 8, 1.3, 64), Signal("load", 8, 8, 2), Constant(16, 40, 0xD1FF0F0040))
        ),
        Message(0x349, 100, 8, (Signal("fuel", 0, 16, 40, 0, 2.0, True), Constant(16, 32, 0x00F0000F))),
        Message(0x3F9, 1000, 5, (Signal("oil", 0, 8, 1, 48), Constant(8, 32, 0x24000117))),
        Message(0x5A9, 1000, 0),
    ),
)
_CHASSIS = Ecu(
    "chassis",
    12.5,
    0.15,
    (
        Message(
            0x0CE,
            12.5,
            8,
            (
                Signal("wheel_fl", 0, 16, 64, 0, 0.6, True),
                Signal("wheel_fr", 16, 16, 64, 0, 0.6, True),
                Signal("wheel_rl", 32, 16, 64, 0, 0.6, True),
                Signal("wheel_rr", 48, 16, 64, 0, 0.6, True),
            ),
        ),
        Message(0x0C4, 12.5, 7, (Signal("steering", 0, 16, 22, 32768, 0.5, True), Counter(36), Checksum(48))),
        Message(
            0x19E,
            25,
            8,
            (Signal("pressure", 0, 8, 4), Signal("braking", 8, 8, 3), Constant(16, 16, 0xF00F), Counter(60)),
        ),
        Message(
            0x1A4,
            25,
            8,
            (Signal("speed", 0, 16, 10, little=True), Signal("yaw", 16, 16, 50, 32768, 1, True)),
        ),
        Message(0x1A2, 25, 4, (Signal("lateral", 0, 8, 20, 128), Signal("acceleration", 8, 8, 20, 128))),
        Message(0x2B2, 50, 8, (Constant(0, 64, 0xFFFFFFFFFFFFFFFF),)),
        Message(0x37F, 100, 4, (Constant(0, 32, 0xFCFFFFFF),)),
    ),
)
_TRANSMISSION = Ecu(
    "transmission",
    25,
    0.3,
    (
        Message(0x0BA, 25, 8, (Signal("gear", 0, 4), Counter(12), Signal("rpm", 16, 8, 0.03), Checksum(56))),
        Message(0x1C4, 25, 8, (Signal("oil", 0, 8, 1, 48), Constant(8, 48, 0x00FF32000000))),
        Message(0x1D2, 25, 5, (Signal("gear", 4, 4), Constant(8, 16, 0x0CFF))),
        Message(0x304, 200, 2, (Constant(0, 16, 0x80FF),)),
    ),
)
_CABIN = Ecu(
    "cabin",
    50,
    0.7,
    (
        Message(0x130, 100, 5, (Constant(0, 32, 0x45400021), Counter(36))),
        Message(0x21A, 1000, 3, (Signal("lights", 0, 4), Constant(8, 16, 0x12F7)), event="lights"),
        Message(0x1F6, 1000, 2, (Signal("indicator", 0, 4), Constant(8, 8, 0xF0)), event="indicator"),
        Message(0x2FC, 1000, 7, (Signal("doors", 0, 8), Constant(8, 16, 0xFF00)), event="doors"),
        Message(0x2A6, 500, 2, (Signal("wiper", 0, 8), Constant(8, 8, 0xF0)), event="wiper"),
        Message(0x2CA, 200, 2, (Signal("outside", 0, 8, 2, 80), Constant(8, 8, 0xFF))),
        Message(0x2F8, 1000, 8, (Signal("clock", 0, 24, little=True), Constant(24, 32, 0x12F20714))),
        Message(0x330, 500, 8, (Signal("odometer", 0, 24, 1, little=True), Signal("fuel", 24, 8, 0.6))),
    ),
)
_STEERING = Ecu(
    "steering",
    12.5,
    0.2,
    (
        Message(0x0C8, 12.5, 6, (Signal("steering_rate", 0, 16, 4, 32768, 0.6, True), Constant(16, 16, 0x1080))),
        Message(0x1EC, 25, 8, (Signal("steering", 8, 8, 0.3, 128), Constant(24, 24, 0x008000))),
        Message(0x3CA, 200, 3, (Constant(0, 24, 0x0100A0),)),
    ),
)
_STABILITY = Ecu(
    "stability",
    12.5,
    0.12,
    (
        Message(0x0B5, 12.5, 5, (Signal("yaw", 0, 16, 100, 32768, 1.5, True), Constant(16, 16, 0x0FF0))),
        Message(
            0x0CA, 12.5, 8, (Signal("torque", 8, 8, 2, 0, 0.5), Constant(16, 32, 0x7F007F00), Signal("braking", 63, 1))
        ),
        Message(0x1AC, 25, 8, (Signal("lateral", 0, 16, 400, 32768, 2, True), Constant(32, 16, 0x4000))),
        Message(0x1B0, 25, 8, (Constant(0, 64, 0x0000800000800000),)),
        Message(0x2B8, 50, 6, (Signal("pressure", 0, 8, 2), Constant(16, 16, 0xFE00))),
    ),
)
_INSTRUMENTS = Ecu(
    "instruments",
    25,
    0.9,
    (
        Message(0x1B4, 100, 8, (Signal("speed", 0, 16, 16, little=True), Counter(44), Constant(56, 8, 0x91))),
        Message(
            0x1AA,
            50,
            8,
            (Signal("rpm", 0, 8, 0.03, 0, 0.3), Signal("speed", 8, 8, 1, 0, 0.3), Constant(32, 16, 0x0C80)),
        ),
        Message(0x2B4, 100, 6, (Constant(0, 48, 0x0000FD00FE00),)),
        Message(0x581, 500, 8, (Constant(0, 64, 0x4200000000000000),)),
    ),
)
_TELEMATICS = Ecu(
    "telematics",
    50,
    1.2,
    (
        Message(
            0x3B4,
            200,
            8,
            (
                Pages(
                    0,
                    8,
                    (
                        (Signal("odometer", 8, 32, 10), Constant(40, 8, 0x55)),
                        (Signal("battery", 8, 16, 100, 0, 1.0), Signal("outside", 24, 8, 2, 80)),
                        (Constant(8, 56, 0x4C4F474F303031),),
                    ),
                ),
            ),
        ),
        Message(0x3C2, 100, 8, (Signal("speed", 0, 8), Signal("steering", 8, 16, 4, 32768), Constant(24, 16, 0x0100))),
        Message(0x5E0, 1000, 8, (Constant(0, 64, 0xE000000000000000),)),
    ),
)

VAN = Vehicle(
    name="van",
    bitrate=500_000,
    extended=False,
    chassis=Chassis(
        idle_rpm=820,
        gearing=(125, 70, 45, 32, 26),
        shift_up=(15, 30, 48, 70),
        top_speed=115,
        acceleration=1.8,
        wheelbase=3.6,
        track=1.75,
        steering_ratio=17.0,
    ),
    ecus=(_POWER, _CHASSIS, _TRANSMISSION, _STEERING, _STABILITY, _CABIN, _INSTRUMENTS, _TELEMATICS),
    diagnostics=ON_BOARD_DIAGNOSTICS,
)
