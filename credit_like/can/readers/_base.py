"""The Reader interface: what a log format has to say for itself. A new format is one file here with one subclass."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from credit_like.can.families import attack_family
from credit_like.can.frames import FrameTable
from credit_like.can.metadata import Declared
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._rows import Rows

#: Every reader that is not abstract, by name; filled as the subclasses are defined.
READERS: dict[str, type[Reader]] = {}


class Reader(ABC):
    """One text format. An instance reads one log, and may keep state between its blocks (names of interfaces).

    A subclass sets the class attributes and writes :meth:`parse`. It guarantees that a row's content depends on its
    line alone, never on how lines fall into blocks; that no line makes it fail; and that a line which is not exactly of
    this format gets a reason instead of a frame. The contract tests hold every subclass to this, from ``example``.

    Attributes:
        name: what ``--format`` calls it.
        title: what messages call it.
        shape: how a line looks, for messages.
        pattern: matches one line of it; for recognition only, so it may be looser than ``parse``.
        header: the first line of the log, in lower case, where the format has one.
        label_tokens: the labels it knows, for the message about one that it does not know; () for no labels.
        needs_line_end: a line that is cut short can look whole, so a last line without its end is not taken.
        example: some lines, with line ends, that parse without a fault.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str]
    shape: ClassVar[str]
    pattern: ClassVar[re.Pattern[bytes]]
    header: ClassVar[bytes | None] = None
    label_tokens: ClassVar[tuple[str, ...]] = ()
    needs_line_end: ClassVar[bool] = False
    example: ClassVar[bytes]

    def __init_subclass__(cls) -> None:
        if cls.name:
            READERS[cls.name] = cls

    @abstractmethod
    def parse(self, lines: Lines, rows: Rows) -> None:
        """Fill ``rows`` (as many as lines) with the frames, and ``rows.code`` with a reason where there is none.

        ``rows.payload`` is 8 wide at first. A format with CAN FD gives such a line the code ``NEEDS_FD`` and is called
        again for the same lines with rows of 64.
        """

    @classmethod
    def recognise(cls, head: Sequence[bytes], declared: Declared | None) -> tuple[float, str]:
        """How much of ``head`` (the first lines, none blank) is this format, from 0 to 1, and the reason in words.

        ``declared`` is what a metadata file beside the log says of it.
        """
        if cls.header is not None and head[0].strip().lower() == cls.header:
            return 1.0, f"its first line is the header {head[0].strip().decode()!r}"
        hits = sum(cls.pattern.fullmatch(line) is not None for line in head)
        lines = "its first line has" if len(head) == 1 else f"{hits} of its first {len(head)} lines have"
        return hits / len(head), f"{lines} the form {cls.shape!r}"

    def buses(self) -> list[str]:
        """Names of the interfaces met, in the order of the numbers that ``parse`` gave them; [] for one bus."""
        return []

    def annotate(self, frames: FrameTable, path: Path, declared: Declared | None) -> FrameTable:
        """The frames of one log with the labels that stand elsewhere than in its lines."""
        return frames

    def family(self, path: Path, declared: Declared | None) -> str:
        """The family of the attack that the labelled frames belong to."""
        if declared is not None and declared.family:
            return declared.family
        return attack_family(path.name, path.parent.name)

    def vehicle(self, path: Path) -> str:
        """The vehicle, where the layout of this format's data sets names it in the path; "" elsewhere."""
        return ""
