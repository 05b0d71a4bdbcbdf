"""python -m benchmarks.engine: what the training engine costs, beside a loop by hand and what one would use otherwise.

One thread. Contestants take turns; a ratio is the median over the rounds of each round's ratio, so that a disturbance
hits both sides. The loop and the averages are timed by the process's own seconds, since the machine may be shared;
checkpoints and logging by the wall, since they wait for the disk. Writes benchmarks/results/engine.json; three minutes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks._mlp import MAX_NORM, STEPS, Batches, bare_loop, make_batches, make_model, make_optimizer, now
from benchmarks._peers import Peers
from benchmarks._timing import machine, table
from credit_like.training import (
    BaseTrainer,
    EMATracker,
    Hook,
    LRMonitor,
    MetricsJSONL,
    MLflowCallback,
    ThroughputMonitor,
    VRAMDriftCallback,
    write_checkpoint,
)

RESULTS = Path(__file__).parent / "results" / "engine.json"
TARGETS = {"loop": 1.10, "ema": 1.15, "checkpoint": 3.0, "logging": 0.03}
LOOP_ROUNDS, EMA_ROUNDS, LOGGING_ROUNDS = 12, 25, 3
EMA_SIZES, CHECKPOINT_SIZES = (70_000, 1_000_000, 8_000_000), (100_000, 10_000_000, 100_000_000)
TENSORS = 64
MLFLOW = importlib.util.find_spec("mlflow") is not None
STEP_SECONDS, LOGGED_STEPS = 0.010, 600  # long enough for what is sent every 5 s

Seconds = dict[str, list[float]]


class Trainer(BaseTrainer):
    """The shortest one. It times its loop, and what of it is counting, hooks after the step, and logging."""

    step_seconds = 0.0  # a step is made to last so long
    seconds = counting_seconds = 0.0

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        started = now(self.device.type)
        for x, y in self.batches(trainloader):
            loss = criterion(self.model(x), y)
            self.optimize(loss)
            self.record("loss", loss)
            if self.step_seconds:
                time.sleep(self.step_seconds)
        self.seconds = now(self.device.type) - started

    def _count_batch(self, *arguments: Any) -> None:
        if not self.step_seconds:
            super()._count_batch(*arguments)
            return
        started = time.perf_counter()
        super()._count_batch(*arguments)
        self.counting_seconds += time.perf_counter() - started

    def validate(self, *arguments: Any) -> None:
        raise AssertionError("not asked for")


class Counting(Hook):
    """One of five hooks: three events a batch."""

    batches = 0

    def before_step(self, trainer: Any) -> None:
        self.batches += 1

    def after_backward(self, trainer: Any) -> None: ...

    def after_step(self, trainer: Any) -> None: ...


def our_run(batches: Batches, callbacks: Sequence[Any] = (), step_seconds: float = 0.0, **settings: Any) -> Trainer:
    """The engine's loop over ``batches``; only an epoch's inside is timed."""
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        given = {"grad_max_norm": MAX_NORM, "skip_validation": True, "preflight": False, **settings}
        trainer = Trainer(make_model(), 0, {"save_loc": folder, "trainer": given}, callbacks)
        trainer.step_seconds = step_seconds
        trainer.fit({}, batches, None, make_optimizer(trainer.model), nn.CrossEntropyLoss())
    return trainer


def loop(device: str, peers: Peers | None = None) -> dict[str, Any]:
    """Microseconds a step of each loop, and its ratio to the loop by hand."""
    batches = make_batches(device)
    contestants: dict[str, Callable[[], float]] = {
        "bare": lambda: bare_loop(batches, device),
        "ours": lambda: our_run(batches, device=device).seconds,
        "ours_with_ema": lambda: our_run(batches, device=device, use_ema=True).seconds,
        "ours_with_five_hooks": lambda: our_run(batches, [Counting() for _ in range(5)], device=device).seconds,
    }
    seconds: Seconds = {}
    for round_number in range(LOOP_ROUNDS + 1):
        taken = {name: action() for name, action in contestants.items()}
        beside = peers.round() if peers is not None else None
        if beside:
            taken |= {"bare_beside_peers" if name == "bare" else name: value for name, value in beside.items()}
        if round_number:  # the first one only warms up
            for name, value in taken.items():
                seconds.setdefault(name, []).append(value)
    ratios = {name: ratio(seconds, name, "bare") for name in contestants if name != "bare"}
    versions = peers.versions if peers is not None else {}
    ratios |= {name: ratio(seconds, name, "bare_beside_peers") for name in versions}
    report = {"microseconds_a_step": medians(seconds, 1e6 / STEPS), "ratios_to_bare": ratios}
    return report if peers is None else {**report, "peers": versions or peers.why_not}


def averages(device: str) -> dict[str, Any]:
    """Microseconds of an update of the averaged weights, by the number of parameters in 64 tensors."""
    found = {}
    for size in EMA_SIZES:
        model = Tensors(size).to(device)
        ours, theirs = EMATracker(model, 0.999), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
        parameters = list(model.parameters())
        shadow = [parameter.detach().clone() for parameter in parameters]
        by_name = {name: value.clone() for name, value in model.state_dict().items()}

        def foreach(shadow: list[Tensor] = shadow, parameters: list[Any] = parameters) -> None:
            with torch.no_grad():
                torch._foreach_lerp_(shadow, parameters, 0.001)

        def state_dict(by_name: dict[str, Tensor] = by_name, model: nn.Module = model) -> None:
            for name, value in model.state_dict().items():
                by_name[name].mul_(0.999).add_(value, alpha=0.001)

        actions: dict[str, Callable[[], object]] = {
            "one_foreach_lerp": foreach,
            "ours": partial(ours.update, model),
            "state_dict_loop": state_dict,
            "torch_AveragedModel": partial(theirs.update_parameters, model),
        }
        repeats = max(1, min(200, 4_000_000 // size))
        seconds = turns(EMA_ROUNDS, actions, repeats, lambda: now(device))
        ratios = {name: ratio(seconds, name, "one_foreach_lerp") for name in actions if name != "one_foreach_lerp"}
        found[str(size)] = {"microseconds": medians(seconds, 1e6), "ratios_to_one_foreach_lerp": ratios}
    return found


class Tensors(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(size // TENSORS)) for _ in range(TENSORS)])


def checkpoints() -> dict[str, Any]:
    """Milliseconds and bytes of a checkpoint that replaces the one before, by the number of float32 parameters.

    ``in_memory`` is what the software costs (a rename over a file makes some file systems flush, fsync or not);
    ``on_disk`` adds this machine's disk, with fsync.
    """
    found: dict[str, Any] = {}
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > 3 * 4 * CHECKPOINT_SIZES[-1]
    for size in CHECKPOINT_SIZES:
        state = {"model": Tensors(size).state_dict()}
        rounds = max(3, min(50, 50_000_000 // size))
        places: dict[str, Any] = {"in_memory": memory if room else None, "on_disk": None}
        found[str(size)] = {name: saved(state, folder, rounds, name == "on_disk") for name, folder in places.items()}
    return found


def saved(state: dict[str, Any], parent: Path | None, rounds: int, fsync: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=parent) as scratch, ExitStack() as stack:
        bare, ours = Path(scratch) / "bare.pt", Path(scratch) / "ours.pt"
        if not fsync:
            stack.enter_context(patch("os.fsync", lambda descriptor: None))
        actions: dict[str, Callable[[], object]] = {
            "torch_save": lambda: torch.save(state, bare),
            "ours": lambda: write_checkpoint(ours, state),
            "its_digest": lambda: hashlib.sha256(memoryview(ours.read_bytes())).hexdigest(),
            "an_fsync": lambda: synced(bare),
        }
        seconds = turns(rounds, actions, 1, time.perf_counter)
        return {
            "milliseconds": medians(seconds, 1e3),
            "bytes": {"torch_save": bare.stat().st_size, "ours": ours.stat().st_size},
            "ratio_to_torch_save": ratio(seconds, "ours", "torch_save"),
        }


def synced(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def logging() -> dict[str, Any]:
    """What logging each 50th step adds to steps of 10 ms, all shipped loggers on."""
    batches = make_batches(steps=LOGGED_STEPS)
    with tempfile.TemporaryDirectory() as scratch:

        def loggers() -> list[Any]:
            shipped = [MetricsJSONL(Path(scratch) / "m.jsonl"), LRMonitor(), ThroughputMonitor(), VRAMDriftCallback()]
            return [*shipped, *([MLflowCallback(tracking_uri=f"sqlite:///{scratch}/mlflow.db")] if MLFLOW else [])]

        seconds: Seconds = {"silent": [], "all_loggers": []}
        for _ in range(LOGGING_ROUNDS):
            silent = our_run(batches, (), STEP_SECONDS, log_every_n_steps=10**9)
            loud = our_run(batches, loggers(), STEP_SECONDS, log_every_n_steps=50, use_tensorboard=True)
            seconds["silent"].append(silent.counting_seconds)
            seconds["all_loggers"].append(loud.counting_seconds)
    added = statistics.median(a - b for a, b in zip(seconds["all_loggers"], seconds["silent"], strict=True))
    return {
        "microseconds_a_step": medians(seconds, 1e6 / LOGGED_STEPS),
        "share_of_a_step": round(added / LOGGED_STEPS / STEP_SECONDS, 4),
        "mlflow": "on a local SQLite store" if MLFLOW else "left out: the extra is not installed",
    }


def turns(rounds: int, actions: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]) -> Seconds:
    """Seconds of one call of each action, for each round; ``repeats`` calls are timed together."""
    seconds: Seconds = {name: [] for name in actions}
    for action in actions.values():
        action()
    for _ in range(rounds):
        for name, action in actions.items():
            started = clock()
            for _ in range(repeats):
                action()
            seconds[name].append((clock() - started) / repeats)
    return seconds


def ratio(seconds: Seconds, name: str, base: str) -> float:
    return round(statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True)), 3)


def medians(seconds: Seconds, unit: float) -> dict[str, float]:
    return {name: round(statistics.median(values) * unit, 3) for name, values in seconds.items()}


def main() -> None:
    torch.set_num_threads(1)
    report: dict[str, Any] = {"machine": machine(), "targets": TARGETS}
    with Peers() as peers:
        report["loop"] = {"cpu": loop("cpu", peers)}
    report["ema"] = {"cpu": averages("cpu")}
    if torch.cuda.is_available():
        report["loop"]["cuda"], report["ema"]["cuda"] = loop("cuda"), averages("cuda")
    report["checkpoint"], report["logging"] = checkpoints(), logging()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(shown(report))


def shown(report: dict[str, Any]) -> str:
    """The ratios as a table, each beside its target."""
    rows = []
    for device, found in report["loop"].items():
        for name, value in found["ratios_to_bare"].items():
            target = f"{TARGETS['loop']:.2f}" if name == "ours" else ""
            rows.append((f"a step on {device}: {name} to a loop by hand", f"{value:.2f}", target))
    if report["loop"]["cpu"]["peers"] and isinstance(report["loop"]["cpu"]["peers"], str):
        rows.append((report["loop"]["cpu"]["peers"], "", ""))
    for device, sizes in report["ema"].items():
        for size, found in sizes.items():
            for name, value in found["ratios_to_one_foreach_lerp"].items():
                target = f"{TARGETS['ema']:.2f}" if name == "ours" else ""
                what = f"averaging {int(size) / 1e6:g} million on {device}: {name} to one foreach_lerp_"
                rows.append((what, f"{value:.2f}", target))
    for size, places in report["checkpoint"].items():
        for place, found in places.items():
            what = (
                f"a checkpoint of {int(size) / 1e6:g} million {place.replace('_', ' ')}, digest and all, to torch.save"
            )
            target = f"{TARGETS['checkpoint']:.2f}" if place == "in_memory" else ""
            rows.append((what, f"{found['ratio_to_torch_save']:.2f}", target))
    share = report["logging"]["share_of_a_step"]
    rows.append(("logging each 50th step, of a step of 10 ms", f"{share:.1%}", f"{TARGETS['logging']:.0%}"))
    return table(("what", "measured", "at most"), rows)


if __name__ == "__main__":
    main()
