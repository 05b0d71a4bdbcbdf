"""What a simulated vehicle is made of: control units, their messages, and the fields of a payload."""

from __future__ import annotations

from dataclasses import dataclass

from credit_like.can.vehicles.drive import Chassis


@dataclass(frozen=True)
class Signal:
    """A quantity of the drive: ``round(value * scale + offset)`` in ``bits`` bits, held at the ends of their range.

    ``at`` counts bits from the first of the payload, the most significant of each byte first. ``noise`` is the standard
    deviation of the sensor in raw counts. ``little``: the least significant byte first (whole bytes only).
    """

    source: str
    at: int
    bits: int = 8
    scale: float = 1.0
    offset: float = 0.0
    noise: float = 0.0
    little: bool = False


@dataclass(frozen=True)
class Counter:
    """Goes up by one with every frame of the message, and wraps."""

    at: int
    bits: int = 4


@dataclass(frozen=True)
class Constant:
    """Always ``value``."""

    at: int
    bits: int
    value: int


@dataclass(frozen=True)
class Checksum:
    """One byte over all other bytes of the payload: ``"xor"``, or ``"crc8"`` (SAE J1850: polynomial 0x1D, start and
    final inversion 0xFF)."""

    at: int
    kind: str = "xor"
    bits: int = 8


@dataclass(frozen=True)
class Pages:
    """A multiplexer: its number in ``bits`` bits runs round, and with it the set of fields that the payload carries."""

    at: int
    bits: int
    pages: tuple[tuple[Signal | Constant, ...], ...]


Field = Signal | Counter | Constant | Checksum | Pages


@dataclass(frozen=True)
class Message:
    """One arbitration id. ``period`` is in milliseconds, 0 for a message that only an event sends.

    ``event`` names a jumping quantity of the drive; every jump sends a frame beside the periodic ones (AUTOSAR calls
    that the mixed transmission mode). Bits that no field covers are 0. Raises ValueError for fields that overlap or
    leave the payload.
    """

    id: int
    period: float
    length: int
    fields: tuple[Field, ...] = ()
    event: str = ""

    def __post_init__(self) -> None:
        for page in self.pages():
            taken = 0
            for field in page:
                mask = ((1 << field.bits) - 1) << field.at
                if taken & mask or field.at + field.bits > 8 * self.length:
                    raise ValueError(f"message {self.id:#x}: {field} overlaps another field or leaves the payload")
                taken |= mask

    def pages(self) -> list[tuple[Field, ...]]:
        """The fields of each page, the common ones first; one page where nothing is multiplexed."""
        common = tuple(field for field in self.fields if not isinstance(field, Pages))
        pages = [(*common, mux, *page) for mux in self.fields if isinstance(mux, Pages) for page in mux.pages]
        return pages or [common]


@dataclass(frozen=True)
class Ecu:
    """A control unit: all its messages hang on one task that runs every ``tick`` milliseconds.

    Messages of one tick are released together and go out in a burst, as in real captures. ``jitter`` is the standard
    deviation of the task's lateness in milliseconds. Raises ValueError for a period that is no multiple of the tick.
    """

    name: str
    tick: float
    jitter: float
    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        for message in self.messages:
            if message.period % self.tick:
                raise ValueError(f"message {message.id:#x}: {message.period} ms is no multiple of {self.tick} ms")


@dataclass(frozen=True)
class Inquiry:
    """A diagnostic request's payload and the message that answers it (its period is not used)."""

    request: bytes
    response: Message


@dataclass(frozen=True)
class Diagnostics:
    """A tester that asks now and then: ``inquiries`` in turn under ``request_id``, every ``interval`` milliseconds."""

    request_id: int
    interval: float
    inquiries: tuple[Inquiry, ...]


@dataclass(frozen=True)
class Vehicle:
    """A vehicle's bus: ``bitrate`` in bit/s, 29-bit ids where ``extended``, its control units and its tester."""

    name: str
    bitrate: int
    extended: bool
    chassis: Chassis
    ecus: tuple[Ecu, ...]
    diagnostics: Diagnostics

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every cyclic or event-driven message, control unit by control unit."""
        return tuple(message for ecu in self.ecus for message in ecu.messages)
