"""candump lines with two label columns: the CrySyS data set (Gazdag, Ferenc, Buttyan, Scientific Data 10, 2023)."""

from __future__ import annotations

import re
from pathlib import Path

from credit_like.can.metadata import Declared
from credit_like.can.readers.candump import FRAME, CandumpReader


class CrysysReader(CandumpReader):
    """A candump line, then two truth values: the frame was changed by the attack, and it was shifted in time.

    A frame with either of them true is labelled 1. ``msg-mod`` attacks rewrite frames (masquerade), ``msg-inj`` attacks
    add them (spoofing). The benign logs of the set have no label columns and are read as candump.
    """

    name = "crysys"
    title = "candump with CrySyS labels"
    shape = "(seconds) interface ID#DATA label shifted"
    pattern = re.compile(FRAME + rb"\s+\w+\s+\w+\s*")
    label_tokens = ("1", "0", "True", "False")
    needs_line_end = False
    labelled = True
    example = (
        b"(0.000000) can0 110#02202e1300181300 False\tFalse\n"
        b"(0.000177) can0 300# False\tFalse\n"
        b"(12.091016) can0 410#0003009000461501 1\tFalse\n"
        b"(17.991966) can0 120#00322328164e7000 False\tTrue\n"
    )

    def family(self, path: Path, declared: Declared | None) -> str:
        for kind, family in (("msg-mod", "masquerade"), ("msg-inj", "spoofing")):
            if kind in path.name:
                return family
        return super().family(path, declared)
