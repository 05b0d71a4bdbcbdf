"""python -m benchmarks._shared_training LOGS FOLDER MODE BATCH: one of the processes that torchrun starts for scaling.

MODE is a ``trainer.mode`` under which all train one GAT, or ``apart``: each trains one of its own at the same time,
which shows what the machine can give where nobody waits for another. FOLDER gets the seconds of each epoch and what the
run left behind; one thread a process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from applications._data import certify, fit_inputs, learning_windows, load_data
from applications._fit import fit
from applications._job import load_job
from benchmarks._growth import anonymous_mb
from credit_like.training.distribution import leave

EPOCHS = 5


def timed_class(cls: type[Any], seconds: list[float], apart: bool) -> type[Any]:
    """``cls``, noting how long each training epoch takes; ``apart`` lets them begin at the same time."""

    class Timed(cls):
        def train_one_epoch(self, *arguments: Any) -> None:
            if apart:
                dist.barrier()
            started = time.perf_counter()
            super().train_one_epoch(*arguments)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)

    Timed.__name__ = cls.__name__
    return Timed


def main(logs: Path, folder: Path, mode: str, batch: int) -> None:
    torch.set_num_threads(1)
    rank, size, apart = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), mode == "apart"
    if apart:
        dist.init_process_group("gloo")
        del os.environ["RANK"], os.environ["WORLD_SIZE"]
    run = folder / (f"run_{rank}" if apart else "run")
    job, cls = load_job(
        "gat",
        [
            f"data.path={logs}",
            f"data.store={logs.parent / 'stores'}",
            f"save_loc={run}",
            f"trainer.mode={'none' if apart else mode}",
            f"trainer.epochs={EPOCHS}",
            "trainer.skip_validation=true",
            "trainer.training_metric=train_loss",
            "trainer.use_tensorboard=false",
            f"loader.batch_size={batch}",
        ],
    )
    data = load_data(job.data)
    inputs = fit_inputs(data, job.data)
    seconds: list[float] = []
    with contextlib.redirect_stderr(io.StringIO()):
        trainer = fit(job, timed_class(cls, seconds, apart), data, *inputs, certify(data, *inputs), together=not apart)
    windows = len(learning_windows(data, benign_only=False)[0])
    report = {
        "processes": size,
        "device": trainer.device.type,
        "windows": windows * (size if apart else 1),
        "batches": -(-windows // batch),
        "epoch_seconds": seconds,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "process_mb": anonymous_mb(),
        "checkpoint_bytes": (run / "checkpoint.pt").stat().st_size if apart or not rank else None,
    }
    (folder / f"report_{rank}.json").write_text(json.dumps(report))
    if apart:
        dist.destroy_process_group()
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
