"""Lines at the start of a log that say how the others are to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from credit_like.can.readers._lines import Lines


class Directives:
    """Finds the lines before the first one that ``body`` matches at its start; what comes later changes nothing."""

    def __init__(self, body: re.Pattern[bytes]) -> None:
        self._body = body
        self._over = False

    def before_frames(self, lines: Lines) -> Iterator[bytes]:
        """Those of the next lines that still stand before the first frame."""
        if self._over:
            return
        for row in range(len(lines)):
            line = lines.line(row)
            if self._body.match(line):
                self._over = True
                return
            yield line
