"""Compiled functions work where their machine code cannot be kept: a read-only installation and no home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

from credit_like import _compiled
from credit_like._compiled import compiled, compiled_parser

PACKAGE = Path(__file__).parents[1] / "credit_like"


def test_packages_import_and_run_where_no_cache_can_be_written(tmp_path: Path) -> None:
    installed = tmp_path / "credit_like"
    shutil.copytree(PACKAGE, installed, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (installed, *(path for path in installed.rglob("*") if path.is_dir())):
        (folder / "__pycache__").touch()  # a file in the folder's place, which stops even root
    program = (
        "import credit_like.can as can, credit_like.graphs, numpy as np, sys\n"
        "assert can.__file__.startswith(sys.argv[1]), can.__file__\n"
        "from credit_like.can.readers._numbers import skip\n"
        "assert skip(np.frombuffer(b'  x', np.uint8), 0, 3, 32) == 2\n"
    )
    nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "PYTHONPATH": str(tmp_path)}
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "IPYTHONDIR")}
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=tmp_path,
        env=kept | nowhere,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("decorator", [compiled, compiled_parser])
def test_other_errors_of_the_compiler_are_not_hidden(decorator: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(caching.CacheImpl, "__init__", fail)
    with pytest.raises(RuntimeError, match="something else"):
        decorator(lambda values: values[0])  # type: ignore[operator]


def test_both_run_without_the_interpreters_lock() -> None:
    for decorator in (compiled, compiled_parser):
        function = decorator(_sum)
        assert function.targetoptions["nogil"]  # type: ignore[attr-defined]
        assert function(np.arange(4.0)) == 6


def _sum(values):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in values:
        total += value
    return total


@pytest.mark.parametrize(
    ("features", "name", "expected"),
    [
        ("+avx512f,+avx512vbmi2", None, "+avx512f,+avx512vbmi2,-prefer-256-bit"),
        ("+avx512f,+avx512vbmi2", "skylake-avx512", None),  # the user has chosen
        ("+avx512f,-avx512vbmi2", None, None),  # a processor that lowers its clock
        ("+avx2", None, None),
    ],
)
def test_vectors_are_whole_where_the_processor_does_not_slow_down(
    features: str, name: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compiled.codegen, "get_host_cpu_features", lambda: features)
    monkeypatch.setattr(_compiled.config, "CPU_NAME", name)
    monkeypatch.setattr(_compiled.config, "CPU_FEATURES", None)
    _compiled._use_whole_vectors()
    assert expected == _compiled.config.CPU_FEATURES
