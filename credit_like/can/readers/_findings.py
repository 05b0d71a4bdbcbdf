"""Everything that has to be said about a log beside its frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from credit_like.can.readers._rows import BAD_LABEL

#: Bytes of bad lines are kept for the message about them, which shows this many.
EXAMPLES = 5

#: Bad lines and jumps back in time are listed up to this number, and counted beyond.
LISTED = 10_000


@dataclass(frozen=True)
class BadLine:
    """A line (or record) that is no frame: number from 1, key of its reason in ``REASONS``, and its first bytes."""

    number: int
    code: int
    text: bytes = b""


@dataclass
class Findings:
    """What became of a log's lines, or records; complete when its last block was read.

    ``lines`` counts those that should be frames (no header, comment, event or blank), ``rows`` those that are;
    ``bad`` lists those that are none, ``unlisted`` counts them by reason beyond the first ``LISTED``; ``cut`` is a last
    line that is not taken because it may be cut short, or None; ``short`` says why a binary file ends too soon;
    ``wrong_label`` is the first line with a label that is not known, or None (reading ends there); ``events`` counts
    what is no frame and no fault, ``first_event`` is the number of the first; ``passed`` counts headers and comments;
    ``restarts`` are (line, seconds) where time runs backwards by that much; ``sha256`` is the digest of the unpacked
    bytes. Every line that is not blank is in ``rows``, ``bad_lines``, ``events``, ``passed`` or ``cut``, once.
    """

    lines: int = 0
    rows: int = 0
    bad: list[BadLine] = field(default_factory=list)
    unlisted: Counter[int] = field(default_factory=Counter)
    cut: BadLine | None = None
    short: str = ""
    wrong_label: BadLine | None = None
    events: int = 0
    first_event: int = 0
    passed: int = 0
    restarts: list[tuple[int, float]] = field(default_factory=list)
    sha256: str = ""

    @property
    def bad_lines(self) -> int:
        """How many lines should be frames and are none."""
        return len(self.bad) + self.unlisted.total()

    def note(self, line: BadLine) -> None:
        """Enter a line that is no frame; the first ones keep their bytes."""
        if line.code == BAD_LABEL and self.wrong_label is None:
            self.wrong_label = line
        if len(self.bad) >= LISTED:
            self.unlisted[line.code] += 1
            return
        self.bad.append(line if len(self.bad) < EXAMPLES else BadLine(line.number, line.code))

    def note_events(self, count: int, first: int) -> None:
        """Enter ``count`` lines that tell of something else than frames."""
        if count and not self.events:
            self.first_event = first
        self.events += count
