"""That loops are compiled is said once, and only where they are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core import event

from applications._compiling import _SaysOnce
from credit_like._compiled import compiled


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function in a file of its own, beside which its machine code is kept."""
    path = tmp_path / "twice.py"
    path.write_text("def twice(x):\n    return x + x\n")
    spec = importlib.util.spec_from_file_location("credit_like.twice", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "credit_like.twice", module)
    spec.loader.exec_module(module)
    return module.twice


@pytest.mark.parametrize("kept", [True, False])
def test_compiling_is_said_once_and_never_where_it_was_kept(
    kept: bool, twice: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)

    def said() -> str:
        loop = compiled(twice) if kept else njit(twice)
        with event.install_listener("numba:compile", _SaysOnce()):
            loop(1)
            loop(np.float64(1.0))
        return capsys.readouterr().err

    first, second = said(), said()
    assert first.startswith("note: compiling loops for this machine")
    assert first.count("note:") == 1
    assert ("NUMBA_CACHE_DIR" in first) is not kept
    assert second == ("" if kept else first)
