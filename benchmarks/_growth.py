"""python -m benchmarks._growth FOLDER FRAMES: one store from so many frames, in a process of its own.

Its parent watches how much memory of its own (not mapped from files) the process needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from credit_like.can import Capture, FrameTable, SourceFile, simulate
from credit_like.can.frames import COLUMNS
from credit_like.graphs import GraphStore, Segment, SplitPlan, WindowSettings

MILLION = 1_000_000
WINDOW = 100


def growth(sizes: list[int]) -> list[dict[str, float]]:
    """Seconds and peak MB of building a store from each number of frames, which lie in files and are mapped."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            write_columns(Path(scratch), size)
            found.append({"million_frames": size / MILLION, **_watched(Path(scratch), size)})
    return found


def write_columns(folder: Path, size: int) -> None:
    """One long drive, column by column: a simulated one again and again, each time later."""
    rows = min(size, MILLION)
    drive = simulate("sedan", 620 * rows / MILLION + 1, seed=1)[:rows]
    for name in COLUMNS:
        column = getattr(drive, name)
        file = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", column.dtype, (size, *column.shape[1:]))
        for start in range(0, size, len(drive)):
            part = column[: size - start]
            file[start : start + len(part)] = part + 1000.0 * (start // len(drive)) if name == "t" else part
        file.flush()


def _watched(folder: Path, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._growth", str(folder), str(size)]
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        before = float(process.stdout.readline())
        while process.poll() is None:
            peak = max(peak, anonymous_mb(process.pid))
            time.sleep(0.02)
        rest = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the store of {size} frames failed with exit code {process.returncode}")
    result = json.loads(rest)
    return {"seconds": round(result["seconds"], 2), "mb_before": before, "mb_peak": round(max(peak, before), 1)}


def anonymous_mb(pid: int | str = "self") -> float:
    """Memory that a process has for itself; pages of mapped files, which the system may drop, don't count."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0.0
    anonymous = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return round(int(anonymous[0]) / 1024, 1) if anonymous else 0.0


def build(folder: Path, size: int) -> float:
    """Seconds to build the store of the columns in ``folder``."""
    columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    frames = FrameTable(**columns, capture_names=("drive",))
    _store(folder / "compile", frames[:10_000])
    print(anonymous_mb(), flush=True)
    started = time.perf_counter()
    _store(folder / "store", frames)
    return time.perf_counter() - started


def _store(folder: Path, frames: FrameTable) -> None:
    n = len(frames)
    plan = SplitPlan((Segment("drive", "train", 0, n),), "groups", (("drive",),))
    capture = Capture("drive", replace(frames), SourceFile("", "", "simulated", "", n))
    GraphStore.build(folder, [capture], plan, WindowSettings(window=WINDOW), progress=False)


if __name__ == "__main__":
    print(json.dumps({"seconds": build(Path(sys.argv[1]), int(sys.argv[2]))}))
