"""The process that reads MDF files for us: started when it is needed, kept for the next file, replaced when it dies."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_like.can.readers import _mf4_worker
from credit_like.can.readers._base import DamagedFile
from credit_like.can.readers._mf4_worker import HEADER, RECORD

#: Seconds without an answer, and per byte of the file, after which the process is taken to hang.
PATIENCE, _PATIENCE_PER_BYTE = 60.0, 1e-7

#: One process waits for the next file (starting one takes a second); others that are needed at the same time end.
_idle: list[Mf4Process] = []
_lock = threading.Lock()


class Mf4Process:
    """A process that reads one file after another; ``ready`` while it waits for the next."""

    def __init__(self) -> None:
        self.ready = True
        self._process = subprocess.Popen(
            [sys.executable, "-P", _mf4_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def blocks(self, path: Path) -> Iterator[NDArray[Any] | int]:
        """Blocks of ``RECORD``, then the number of bus events that are no CAN frames.

        Raises DamagedFile when the file cannot be read, or the process dies of it, hangs, or fills its memory.
        """
        self.ready = False
        patience = PATIENCE + _PATIENCE_PER_BYTE * path.stat().st_size
        assert self._process.stdin is not None
        with tempfile.TemporaryDirectory(prefix="credit-like-") as scratch:
            self._process.stdin.write(json.dumps([str(path.absolute()), scratch]).encode() + b"\n")
            self._process.stdin.flush()
            while True:
                letter, size = HEADER.unpack(self._take(HEADER.size, patience))
                content = self._take(size, patience)
                self.ready = letter != b"F"
                if letter == b"F":
                    yield np.frombuffer(content, RECORD)
                elif letter == b".":
                    yield int(content)
                    return
                else:
                    raise DamagedFile(f"asammdf cannot read it: {content.decode('utf-8', 'replace').splitlines()[0]}")

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _take(self, size: int, patience: float) -> bytes:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = time.monotonic() + patience
        taken = bytearray()
        while len(taken) < size:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise DamagedFile(f"asammdf has not come to an end with it in {patience:.0f} s")
            part = os.read(handle, min(size - len(taken), 1 << 20))
            if not part:
                raise DamagedFile("asammdf crashes on it")
            taken += part
        return bytes(taken)


def blocks_of(path: Path) -> Iterator[NDArray[Any] | int]:
    """What :meth:`Mf4Process.blocks` says of a file, from a process that is at hand."""
    with _lock:
        process = _idle.pop() if _idle else None
    if process is None or not process.alive():
        process = Mf4Process()
    try:
        yield from process.blocks(path)
    finally:
        with _lock:
            keep = process.ready and not _idle
            if keep:
                _idle.append(process)
        if not keep:
            process.end()
