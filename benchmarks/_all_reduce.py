"""python -m benchmarks._all_reduce FILE BYTES...: one of the processes that torchrun starts; how long summing takes.

Each number of bytes of float32 is summed over all processes, NCCL between GPUs and gloo else; least seconds of rounds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

#: Enough rounds to move so many bytes, within these limits.
MOVED, FEWEST, MOST = 1 << 30, 10, 500


def main(file: Path, sizes: list[int]) -> None:
    torch.set_num_threads(1)
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    found = {
        size: least(torch.zeros(size // 4, device=device), min(MOST, max(FEWEST, MOVED // size))) for size in sizes
    }
    if dist.get_rank() == 0:
        file.write_text(json.dumps({"backend": dist.get_backend(), "seconds": found}))
    dist.destroy_process_group()


def least(values: torch.Tensor, rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 3):
        started = time.perf_counter()
        dist.all_reduce(values)
        if values.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[3:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
