"""Pages of docs/ whose tables are made from results: figures are never typed."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, tables: Mapping[str, str]) -> str:
    """``page`` with every table between ``<!-- table: NAME -->`` and ``<!-- end -->`` taken from ``tables``."""
    return _TABLE.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", page)
