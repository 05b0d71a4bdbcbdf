"""python -m benchmarks._zip_to_store LOG WINDOW: seconds from a log to a ready store, in a process of its own."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from credit_like.can import read_log
from credit_like.graphs import GraphStore, SplitSettings, WindowSettings, plan_splits


def seconds(log: Path, window: int) -> float:
    """All that `credit-like prepare` does with a log but its certificate: read it, plan the splits, build the store."""
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        captures = read_log(log)
        plan = plan_splits(captures, SplitSettings(), window)
        GraphStore.build(Path(scratch) / "store", captures, plan, WindowSettings(window=window), progress=False)
        return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    print(seconds(Path(sys.argv[1]), int(sys.argv[2])))
