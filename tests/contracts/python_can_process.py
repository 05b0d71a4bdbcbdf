"""python-can's readers in a process of their own: on a damaged MDF file the library beneath them can crash."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import can


def said_by_python_can(path: Path, count: int) -> list[can.Message]:
    """The first ``count`` messages; more would not help, and its readers do not end on every damaged file."""
    said = []
    with can.LogReader(path) as reader:
        for message in reader:
            said.append(message)
            if len(said) == count:
                break
    return said


class NothingSaid(Exception):
    """There is nothing to compare with."""


class PythonCan:
    """What python-can says of files; its process is started when it is needed, and again when it has died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def messages(self, path: Path, count: int) -> list[can.Message]:
        """As ``said_by_python_can``; raises NothingSaid where that raises anything, or crashes."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self._pool.submit(said_by_python_can, path, count).result()
        except BrokenProcessPool as error:
            self._pool = None
            raise NothingSaid("it crashed") from error
        except Exception as error:  # it may raise anything
            raise NothingSaid(str(error)) from error

    def end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
