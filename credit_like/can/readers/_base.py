"""The Reader interfaces: what a log format has to say for itself. A new format is one file here with one subclass."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from credit_like.can.families import attack_family
from credit_like.can.frames import FrameTable
from credit_like.can.metadata import Declared
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._rows import Rows

#: Every reader that is not abstract, by name; filled as the subclasses are defined.
READERS: dict[str, type[Reader]] = {}


@dataclass(frozen=True)
class Head:
    """The start of a log: its first bytes, and the first whole lines in them (none blank)."""

    data: bytes
    lines: Sequence[bytes]


class Reader(ABC):
    """One log format. An instance reads one log, and may keep state between its blocks (names of interfaces).

    A format is a subclass of :class:`TextReader` or of :class:`RecordReader`; but for our own Parquet, whose captures
    are known before they are read.

    Attributes:
        name: what ``--format`` calls it.
        title: what messages call it.
        shape: how a line or the file looks, for messages.
        label_tokens: the labels it knows, for the message about one that it does not know; () for no labels.
        unit: what its frames stand in, for messages.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str]
    shape: ClassVar[str]
    label_tokens: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[str] = "line"

    def __init_subclass__(cls) -> None:
        if cls.name:
            READERS[cls.name] = cls

    @classmethod
    @abstractmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        """How much of ``head`` is this format, from 0 to 1, and the reason in words.

        ``declared`` is what a metadata file beside the log says of it.
        """

    def buses(self) -> list[str]:
        """Names of the interfaces met, in the order of the numbers that the rows have; [] where buses are numbered."""
        return []

    def annotate(self, frames: FrameTable, start: float, path: Path, declared: Declared | None) -> FrameTable:
        """A block of frames with the labels that stand elsewhere than in the log.

        ``start`` is the time of the first frame of their capture; ``declared`` is None in every capture but the first.
        """
        return frames

    def family(self, path: Path, declared: Declared | None) -> str:
        """The family of the attack that the labelled frames belong to."""
        if declared is not None and declared.family:
            return declared.family
        return attack_family(path.name, path.parent.name)

    def vehicle(self, path: Path) -> str:
        """The vehicle, where the layout of this format's data sets names it in the path; "" elsewhere."""
        return ""


class TextReader(Reader):
    """A format of lines. A subclass sets the class attributes and writes :meth:`parse`.

    It guarantees that a row's content depends on its line, and on what it remembers of the lines before, but never on
    how lines fall into blocks; that no line makes it fail; and that a line which is not exactly of this format gets a
    reason instead of a frame. The contract tests hold every subclass to this, from ``example``.

    Attributes:
        pattern: matches one line of it; for recognition only, so it may be looser than ``parse``.
        header: the first line of the log, in lower case, where the format has one.
        needs_line_end: a line that is cut short can look whole, so a last line without its end is not taken.
        example: some lines, with line ends, that parse without a fault.
    """

    pattern: ClassVar[re.Pattern[bytes]]
    header: ClassVar[bytes | None] = None
    needs_line_end: ClassVar[bool] = False
    example: ClassVar[bytes]

    @abstractmethod
    def parse(self, lines: Lines, rows: Rows) -> None:
        """Fill ``rows`` (as many as lines) with the frames, and ``rows.code`` with a reason where there is none.

        ``rows.payload`` is 8 wide at first. A format with CAN FD gives such a line the code ``NEEDS_FD`` and is called
        again for the same lines with rows of 64; what it remembers must then be as if that was the first time.
        """

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        lines = head.lines
        if cls.header is not None and lines[0].strip().lower() == cls.header:
            return 1.0, f"its first line is the header {lines[0].strip().decode()!r}"
        hits = sum(cls.pattern.fullmatch(line) is not None for line in lines)
        words = "its first line has" if len(lines) == 1 else f"{hits} of its first {len(lines)} lines have"
        return hits / len(lines), f"{words} the form {cls.shape!r}"


class RecordReader(Reader):
    """A binary format. A subclass sets the class attributes and writes :meth:`records`.

    Attributes:
        magic: how a file begins.
        events: records that were passed over because they are no CAN frames; counted by ``records``.
        cut: why the end of the file is missing, in words, once ``records`` has ended there; "" for a whole file.
    """

    magic: ClassVar[bytes]
    unit: ClassVar[str] = "record"

    def __init__(self) -> None:
        self.events = 0
        self.cut = ""

    @abstractmethod
    def records(self, path: Path) -> Iterator[Rows]:
        """The frames of the file in blocks, with a reason in ``code`` for each record that should be one and is none.

        Memory holds a block, whatever the size of the file, and what the file may expand to is bounded.

        Raises DamagedFile where it cannot go on.
        """

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        return float(head.data.startswith(cls.magic)), f"it begins with {cls.magic.decode()!r}"


class DamagedFile(Exception):
    """Why a binary log cannot be read, in words that a message can go on from."""


class MissingExtra(Exception):
    """A format needs a package that only the extra of this name brings."""
