"""python -m benchmarks: every module of this folder in turn, each in a process of its own, but for those of hours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: They go on where they stopped, and say how to run a part of them.
LONG = ("detection",)


def main() -> None:
    folder = Path(__file__).parent
    for name in sorted(path.stem for path in folder.glob("[a-z]*.py")):
        if name in LONG:
            print(f"benchmarks.{name} takes hours: run `python -m benchmarks.{name}` by itself", flush=True)
            continue
        print(f"benchmarks.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=folder.parent, check=True)


if __name__ == "__main__":
    main()
