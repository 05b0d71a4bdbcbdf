"""The same study on a real PostgreSQL server, started for the test in a temporary folder."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from credit_like.config import UserError
from credit_like.hpo import open_study
from tests.hpo.searching import settings
from tests.hpo.test_worker import DIES, TRIALS, WAITS, ended, search


def _binaries() -> Path | None:
    """Where pg_ctl and initdb are: on the PATH, or where Debian puts them."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of an empty database. The server refuses to run as root, who starts it as the user ``postgres``."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("its driver psycopg is not installed")
    user = None
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("root may not start a PostgreSQL server, and there is no user postgres")
    # A short path, since a socket's may have 107 characters, and one that the user postgres can go.
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if user is not None:
        shutil.chown(home, user)
    data, port = home / "data", _free_port()

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / program, *arguments], user=user, cwd=home, check=True, capture_output=True, timeout=120
        )

    try:
        call("initdb", "-D", str(data), "-U", "me", "--auth=trust", "--no-sync")
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-D", str(data), "-l", str(home / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home)


def test_two_workers_one_killed_end_all_trials_once(server: str, tmp_path: Path) -> None:
    processes = [search(tmp_path, TRIALS, WAITS, server), search(tmp_path, TRIALS, DIES, server)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, -9], said
    trials = ended(tmp_path, server)
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}


def test_a_server_that_does_not_answer(server: str, tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:secret@127.0.0.1:{_free_port()}/postgres"
    with pytest.raises(UserError, match=r"cannot be reached: .*Check that the server runs") as refused:
        open_study("one", tmp_path, settings(3), "min", {}, url)
    assert "secret" not in str(refused.value)
