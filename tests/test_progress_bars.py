"""Every progress bar waits two seconds before it shows, and never shows where stderr is no terminal."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bars() -> list[tuple[str, ast.Call]]:
    """Every call of tqdm in the packages, with where it stands; the engine's own bars have tests of their own."""
    found = []
    for package in ("credit_like", "trainers", "applications"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path == ROOT / "credit_like" / "training" / "progress.py":
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tqdm":
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


@pytest.mark.parametrize(("where", "call"), bars(), ids=[where for where, _ in bars()])
def test_no_bar_in_a_log_file_or_for_a_moment(where: str, call: ast.Call) -> None:
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    assert given.get("delay") == "2", f"{where}: tqdm needs delay=2"
    hidden = re.fullmatch(r"None( if (self\._)?progress else True)?", given.get("disable", ""))
    assert hidden, f"{where}: tqdm needs disable=None"
