"""python -m benchmarks: every module of this folder in turn, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> None:
    folder = Path(__file__).parent
    for name in sorted(path.stem for path in folder.glob("[a-z]*.py")):
        print(f"benchmarks.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=folder.parent, check=True)


if __name__ == "__main__":
    main()
