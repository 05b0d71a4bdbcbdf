"""credit-like predict: where the detector knows too little of a log, it says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from applications.predict import warn_of_strangers
from credit_like.can import Capture, read_log

KNOWN = np.array([0x000, 0x100, 0x200, 0x300])


def capture(folder: Path, counts: dict[int, int]) -> Capture:
    """A log with so many frames of each id."""
    path = folder / "drive.log"
    ids = [name for name, count in counts.items() for _ in range(count)]
    path.write_text("".join(f"({i / 1000:.6f}) can0 {name:03X}#00\n" for i, name in enumerate(ids)))
    return read_log(path)[0]


@pytest.mark.parametrize(
    ("counts", "warned"),
    [
        ({0x100: 50, 0x200: 40, 0x300: 30}, False),
        ({0x700: 50, 0x710: 40, 0x720: 30}, True),
        ({0x000: 900, 0x700: 50, 0x710: 40}, True),  # another vehicle, flooded with an id that training knew
        ({0x7FF: 900, 0x100: 50, 0x200: 40}, False),  # the detector's own vehicle, flooded with one that it did not
        ({0x700: 10}, True),
    ],
)
def test_a_log_of_another_vehicle_is_named(
    counts: dict[int, int], warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_strangers([capture(tmp_path, counts)], KNOWN)
    assert ("warning: drive.log: 100% of its frames" in capsys.readouterr().err) == warned
