"""For all tests, the examples in the documents among them: those run in a folder of their own."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem


@pytest.fixture(autouse=True, scope="session")
def _temporary_files_go_with_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Below pytest's folder, which goes three runs later; those of processes that tests start, and kill, too."""
    folder = tmp_path_factory.mktemp("t")  # a short name, because paths of sockets are limited to 107 characters
    with pytest.MonkeyPatch.context() as patched:
        # What torch.compile has made is kept from one run of the tests to the next.
        usual = os.path.join(tempfile.gettempdir(), f"torchinductor_{getpass.getuser()}")
        kept = os.environ.get("TORCHINDUCTOR_CACHE_DIR", usual)
        patched.setenv("TORCHINDUCTOR_CACHE_DIR", kept)
        patched.setenv("TMPDIR", str(folder))
        patched.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True)
def _examples_write_elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    if isinstance(request.node, DoctestItem):
        folder: Path = tmp_path_factory.mktemp("example")
        request.getfixturevalue("monkeypatch").chdir(folder)
