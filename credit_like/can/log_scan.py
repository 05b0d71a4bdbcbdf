"""A log that is opened and not yet read: its frames in blocks, then what there is to say of its captures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval, Capture, Defect, SourceFile
from credit_like.can.frames import FrameTable

#: Text is unpacked and parsed in blocks of this size: large enough that the cost of a block does not matter.
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class CaptureFacts:
    """A :class:`Capture` but for its frames, of which it has ``frames``."""

    name: str
    frames: int
    source: SourceFile
    vehicle: str = ""
    intervals: tuple[AttackInterval, ...] = ()

    def with_frames(self, frames: FrameTable) -> Capture:
        """The capture."""
        return Capture(
            self.name, replace(frames, capture_names=(self.name,)), self.source, self.vehicle, self.intervals
        )


class LogScan(ABC):
    """One log, not yet read. ``frames()`` reads it; after its last block the rest is known.

    ``label`` is how messages call it, ``format`` the name of its reader, ``reason`` why that was chosen; ``left_out``
    says what else the file holds that is not read.
    """

    label: str
    format: str
    reason: str
    left_out: tuple[Defect, ...] = ()

    @abstractmethod
    def frames(self) -> Iterator[FrameTable]:
        """The frames in blocks, each of one capture, whose name is the only one in ``capture_names``.

        ``bus`` has numbers that ``bus_ranks`` turns into final ones, since interfaces can appear late.

        Raises LogError, after the last block where it depends on the whole log; what came before is void then.
        """

    @abstractmethod
    def captures(self) -> list[CaptureFacts]:
        """What there is to say of each capture, in their order; of use after the last block only."""

    @abstractmethod
    def bus_ranks(self) -> NDArray[np.uint8]:
        """uint8[256]: the number of each bus in the order of the names (or numbers) of those that were met."""
