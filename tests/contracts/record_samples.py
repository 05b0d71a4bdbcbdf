"""Binary logs made by python-can's writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import can
from can.io.mf4 import MF4Writer

from tests.can.messages import messages


def write_blf(path: Path, level: int, count: int = 60, seed: int = 1) -> None:
    with can.BLFWriter(path, compression_level=level, max_container_size=1500) as writer:
        for message in messages(count, seed):
            writer.on_message_received(message)


def write_mf4(path: Path, level: int, count: int = 60, seed: int = 1) -> None:
    with MF4Writer(path, compression_level=level) as writer:
        made = messages(count, seed)
        later = writer.last_timestamp - made[0].timestamp  # its clock begins when it is made
        for message in made:
            message.timestamp += later
            writer.on_message_received(message)


#: By reader: writers of whole files, packed and not packed within, and the suffix by which python-can knows them.
SAMPLES: dict[str, tuple[str, Callable[[Path, int], None], tuple[int, ...]]] = {
    "blf": (".blf", write_blf, (0, -1)),
    "mf4": (".mf4", write_mf4, (0, 1, 2)),
}
