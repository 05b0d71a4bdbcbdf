"""What the options of a verb take: what argparse says of a wrong value names the option, and ends with exit code 2."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """The ``type=`` of an option that takes a number from ``least`` to ``most``, both good; nan and infinity are not.

    ``above`` takes the place of ``least`` where that itself is too little.
    """

    kind: type[int] | type[float]
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    unit: str = ""

    def __call__(self, text: str) -> float:
        try:
            value = self.kind(text)
        except ValueError:
            value = math.nan
        if not (self.least <= value <= self.most and value > self.above and abs(value) < math.inf):
            raise argparse.ArgumentTypeError(f"expected {self}; got {text!r}")
        return value

    def __str__(self) -> str:
        noun = "an integer" if self.kind is int else "a number"
        if math.isfinite(self.most):
            span = f", {self.least:g} to {self.most:g}"
        elif math.isfinite(self.above):
            span = f" above {self.above:g}"
        else:
            span = f", at least {self.least:g}" if math.isfinite(self.least) else ""
        return noun + f" ({self.unit})" * bool(self.unit) + span


#: Of everything that a verb leaves to chance.
SEED = Number(int, least=0)
BITRATE = Number(int, least=1000, unit="bit/s")


@dataclass(frozen=True)
class Name:
    """The ``type=`` of an option that takes one of a few names; a misspelt one is answered with the closest."""

    known: Sequence[str]

    def __call__(self, text: str) -> str:
        if text not in self.known:
            from credit_like.config import closest  # not above, so that `--help` does not wait for pydantic

            raise argparse.ArgumentTypeError(
                f"there is no {text!r}{closest(text, self.known)}; choose one of {', '.join(self.known)}"
            )
        return text


# What credit_like.can has by these names, which cannot be imported as fast as a `--help` should come.
VEHICLE_NAMES = ("sedan", "van", "truck")
LOGGER_NAMES = ("ideal", "adapter", "pcan", "interrupt", "polled")
FAMILY_NAMES = ("dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade")
#: The longest simulated drive, in minutes; the shortest is a tenth of a second.
LONGEST_DRIVE = 360


def payload(text: str) -> str:
    """Up to 8 bytes in hexadecimal digits."""
    try:
        if len(bytes.fromhex(text)) <= 8:
            return bytes.fromhex(text).hex()
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"a payload is two hexadecimal digits a byte, 8 bytes at most; got {text!r}")


def arbitration_id(text: str) -> int:
    """An id as logs write it: hexadecimal, with or without 0x."""
    try:
        id = int(text, 16)
    except ValueError:
        id = -1
    if not 0 <= id <= 0x1FFFFFFF:
        raise argparse.ArgumentTypeError(f"an id is a hexadecimal number such as 0x1A0, up to 0x1FFFFFFF; got {text!r}")
    return id
