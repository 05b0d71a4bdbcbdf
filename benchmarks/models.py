"""python -m benchmarks.models: our detectors beside the same ones of PyG's parts under Lightning, in training and use.

Each round trains both from the same weights on the same windows, ours first and then theirs, and lets both score
windows; a ratio is the median over the rounds of each round's ratio. Theirs gets its graphs scaled already, as a list
of Data in PyG's DataLoader; ours gathers raw ones and scales them as a part of the model. Neither averages its weights,
but for a row in which ours do, as they do by default. Writes benchmarks/results/models.json and the tables of
docs/speed.md; six minutes on two cores.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import tempfile
from collections.abc import Callable
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch_geometric.loader import DataLoader

from applications._data import Data, fit_inputs, learning_windows, load_data
from applications._job import load_job
from benchmarks._fusion_epochs import fusion_epochs
from benchmarks._models_page import THEIRS, shown, speeds, with_tables
from benchmarks._our_runs import fitted
from benchmarks._plain_pyg import PlainGAT, plain_anomaly_detector, scaled_graphs
from benchmarks._stopwatch import Stopwatch
from benchmarks._throw_away import ThrowAway
from benchmarks._timing import machine
from credit_like.can import write_simulated_dataset
from credit_like.graphs import PackedLoader
from credit_like.graphs.plan import TRAIN
from credit_like.training import seed_everything
from trainers.gat import attack_probability

RESULTS = Path(__file__).parent / "results" / "models.json"
PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
TARGETS = {"inference": 4.0, "training": 1.8, "auroc_difference": 0.01, "fusion_seconds_an_epoch": 2.0}
LIGHTNING = "lightning==2.6.*"
DRIVES, SECONDS = 8, 60.0
DEFAULT = "gatv2, cat"
#: Rounds, and epochs of training in each: the targets are those of the default, so it gets most of the time.
SIZES = {DEFAULT: (4, 4)}
OTHERS = (2, 2)
#: PyG has no part for an id's own traffic.
PLAIN = "model.own_traffic=false"
#: What each model changes in the shipped configuration of its trainer.
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    DEFAULT: ("gat", (PLAIN,)),
    "gatv2, last": ("gat", (PLAIN, "model.jump=last")),
    "gatv2, max": ("gat", (PLAIN, "model.jump=max")),
    "gatv2, lstm": ("gat", (PLAIN, "model.jump=lstm")),
    "gin, cat": ("gat", (PLAIN, "model.conv=gin")),
    "gat, cat": ("gat", (PLAIN, "model.conv=gat")),
    "transformer, cat": ("gat", (PLAIN, "model.conv=transformer")),
    "dgi_ocgin": ("dgi_ocgin", ()),
}
#: Outputs of the same weights on the same windows may differ by this much, relative to the largest.
CLOSE = 1e-5

#: Windows at a time at which theirs scores fastest: 256 and 1,024 gave 0.99 and 0.95 of its windows a second, 64 and
#: 2,048 gave 0.81 and 0.92. Ours takes as many as its commands do.
_THEIR_BATCH = 512
#: glibc's mallopt takes memory of its own, up to so many bytes, and keeps so many. More than 32 MiB it refuses.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = (-3, 2**25), (-1, 2**30)

Figures = dict[str, Any]


class Contest:
    """One model, ours and theirs, on the same windows."""

    def __init__(self, name: str, data: Data, device: str, averaged: bool = False) -> None:
        conf, changes = MODELS[name]
        rounds, epochs = SIZES.get(name, OTHERS)
        changes = (*changes, "data.path=.", f"trainer.epochs={epochs}", f"trainer.use_ema={str(averaged).lower()}")
        quiet = ("trainer.use_tensorboard=false", 'trainer.precision="32"', f"trainer.device={device}")
        self.job, self.cls = load_job(conf, [*changes, *quiet])
        self.rounds, self.data, self.device = rounds, data, device
        self.benign_only = getattr(self.cls, "benign_only", False)
        self.vocabulary, self.scaler = fit_inputs(data, self.job.data)
        self.counts = torch.tensor([len(data.windows(TRAIN, label)) for label in (0, 1)])
        self.train_rows, self.valid_rows = learning_windows(data, benign_only=self.benign_only)
        self.scored_rows = learning_windows(data, benign_only=False)[1]
        self.labels = data.store.windows.label[self.scored_rows]
        self.all_rows = np.arange(len(data.store))
        self.graphs = scaled_graphs(data.store, self.all_rows, self.detector(0))

    def detector(self, seed: int) -> Any:
        seed_everything(seed)
        return self.cls.build_model(self.job.model, self.vocabulary, self.scaler)

    def plain(self, detector: Any) -> nn.Module:
        return plain_anomaly_detector(detector) if self.benign_only else PlainGAT(detector)

    def loader(self, rows: Any, size: int, shuffle: bool = False) -> PackedLoader:
        return PackedLoader(self.data.store, rows, size, shuffle=shuffle, device=self.device)

    def scoring(self, rows: Any) -> PackedLoader:
        return self.loader(rows, self.job.loader.eval_batch_size)

    def plain_loader(self, rows: Any, size: int, shuffle: bool = False) -> Any:
        return DataLoader([self.graphs[row] for row in rows], size, shuffle=shuffle)

    def loss(self, model: Any, batch: Any) -> Tensor:
        criterion = self.cls.build_loss(self.job.trainer, self.counts)
        if not self.benign_only:
            return criterion(model(batch), batch.y)
        contrast = model.contrast(batch)
        return criterion(contrast.true, contrast.shuffled, batch.batch, batch.num_graphs)

    def predicted(self, model: nn.Module, batch: Any) -> Tensor:
        return model(batch) if self.benign_only else attack_probability(model(batch))

    def outputs_differ_by(self) -> float:
        """The largest difference on a batch in evaluation, of embeddings where a head is not fitted yet; compiles what
        a first batch compiles, backward too."""
        detector = self.detector(0)
        if self.benign_only:  # whose readout says how unusual each id is, before its head is fitted
            detector.fit_own_traffic([next(iter(self.loader(self.train_rows, 512)))])
        plain = self.plain(detector)
        batches = [next(iter(make(self.train_rows, 128))) for make in (self.loader, self.plain_loader)]
        found = []
        for model, batch in zip((detector, plain), batches, strict=True):
            model.to(self.device).eval()
            with torch.no_grad():
                out = model.readout(batch.to(self.device)) if self.benign_only else [model(batch.to(self.device))]
            found.append(torch.cat([part.flatten().double() for part in out]))
            self.loss(model.train(), batch).backward()
        return float((found[0] - found[1]).abs().max() / found[1].abs().max())

    def ours(self, seed: int) -> Figures:
        loaders = self.loader(self.train_rows, self.job.loader.batch_size, True), self.scoring(self.valid_rows)
        trainer, watch = fitted(self.cls, self.job, self.detector(seed), loaders, self.counts, seed)
        seconds = self.seconds(lambda: trainer.predict_on(self.scoring(self.all_rows)))
        scores = torch.cat(trainer.predict_on(self.scoring(self.scored_rows)))
        return self.figures(watch, seconds, scores)

    def theirs(self, seed: int) -> Figures:
        from benchmarks import _lightning_runs as runs

        watch = Stopwatch(self.device, own=torch.get_num_threads() == 1)
        plain = self.plain(self.detector(seed))
        seed_everything(seed)
        module = runs.Module(plain, self.loss, self.predicted, self.job, watch)
        with redirect_stdout(StringIO()):
            runs.train(module, self.plain_loader(self.train_rows, self.job.loader.batch_size, True))
            if self.benign_only:
                self.fit_head(plain)
            everything, scored = (self.plain_loader(rows, _THEIR_BATCH) for rows in (self.all_rows, self.scored_rows))
            seconds = self.seconds(lambda: runs.predict(module, everything))
            scores = torch.cat(runs.predict(module, scored))
        return self.figures(watch, seconds, scores)

    def fit_head(self, plain: Any) -> None:
        """Centre and covariance, as our trainer takes them."""
        plain.to(self.device).eval()
        with torch.no_grad():
            loader = self.plain_loader(self.train_rows, _THEIR_BATCH)
            plain.fit_own_traffic(batch.to(self.device) for batch in loader)
            parts = [plain.readout(batch.to(self.device)) for batch in loader]
        plain.fit_heads(type(parts[0])(*(torch.cat(part) for part in zip(*parts, strict=True))), "", "")

    def seconds(self, action: Callable[[], object]) -> float:
        watch = Stopwatch(self.device, own=torch.get_num_threads() == 1)
        watch.start()
        action()
        watch.stop()
        return watch.total

    def figures(self, watch: Stopwatch, seconds: float, scores: Tensor) -> Figures:
        steps = self.job.trainer.epochs * -(-len(self.train_rows) // self.job.loader.batch_size)
        return {
            "training": self.job.trainer.epochs * len(self.train_rows) / watch.total,
            "inference": len(self.all_rows) / seconds,
            "auroc": float(roc_auc_score(self.labels, scores.cpu().numpy())),
            "milliseconds_a_step": 1e3 * watch.total / steps,
            "shares": watch.shares(),
        }

    def run(self, why_not: str) -> Figures:
        """All rounds; without theirs where ``why_not`` says that they cannot be had."""
        difference = self.outputs_differ_by()
        if not difference <= CLOSE:
            raise AssertionError(f"the two models differ by {difference:g} of the largest output")
        rounds: dict[str, list[Figures]] = {"ours": []} if why_not else {"ours": [], THEIRS: []}
        for number in range(self.rounds):
            rounds["ours"].append(self.ours(number))
            if not why_not:
                rounds[THEIRS].append(self.theirs(number))
        return {"outputs_differ_by": float(f"{difference:.1e}"), **summary(rounds)}


def summary(rounds: dict[str, list[Figures]]) -> Figures:
    """Medians of each side, and of the rounds' ratios; the mean difference of AUROC."""

    def of(side: str, name: str) -> list[float]:
        return [figures[name] for figures in rounds[side]]

    found: Figures = {}
    for name in ("training", "inference"):
        found[f"{name}_graphs_per_second"] = {side: round(statistics.median(of(side, name))) for side in rounds}
    found["validation_auroc"] = {side: round(statistics.mean(of(side, "auroc")), 4) for side in rounds}
    found["milliseconds_a_step"] = {
        side: round(statistics.median(of(side, "milliseconds_a_step")), 2) for side in rounds
    }
    found["time_shares"] = {side: rounds[side][-1]["shares"] for side in rounds}
    if THEIRS in rounds:
        found["ratios"] = {
            name: round(statistics.median(a / b for a, b in zip(of("ours", name), of(THEIRS, name), strict=True)), 2)
            for name in ("training", "inference")
        }
        found["auroc_difference"] = round(
            statistics.mean(of("ours", "auroc")) - statistics.mean(of(THEIRS, "auroc")), 4
        )
    return found


def keep_memory() -> None:
    """Let glibc keep what large tensors free, for both sides. By default it gives such memory back in some processes,
    or for a while in one, and fetches it anew: PyG, which writes arrays as wide as the edges, scored 7,600 windows a
    second then, and 10,700 otherwise."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(*_MMAP_THRESHOLD)
        allocator.mallopt(*_TRIM_THRESHOLD)


@contextmanager
def threads(number: int) -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def simulated(scratch: Path) -> Data:
    """Drives of a simulated car with attacks of all families, as windows of 100 frames."""
    write_simulated_dataset(scratch / "logs", drives=DRIVES, seconds=SECONDS, progress=False)
    job, _ = load_job("gat", [f"data.path={json.dumps(str(scratch / 'logs'))}", f"data.store={scratch / 'stores'}"])
    with redirect_stdout(StringIO()):
        return load_data(job.data)


def place_of(device: str) -> Path:
    """The file of a device's results."""
    return RESULTS if device == "cpu" else RESULTS.with_stem(f"{RESULTS.stem}_{device}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of both; ours keeps the store there")
    parser.add_argument("--only", choices=[*MODELS, "fusion"], action="append", help="print these, write nothing")
    options = parser.parse_args(argv)
    wanted = options.only or [*MODELS, "fusion"]
    keep_memory()
    report: Figures = {"machine": machine(), "targets": TARGETS, "device": options.device, "models": {}}
    with ThrowAway(LIGHTNING) as place, tempfile.TemporaryDirectory() as scratch:
        if not place.why_not:
            place.lend()
            import lightning

            report["lightning"] = lightning.__version__
        else:
            report["lightning"] = f"could not be had: {place.why_not}"
        data = simulated(Path(scratch))
        store = data.store
        report["windows"] = {
            "training": len(data.windows(TRAIN)),
            "scored": len(store),
            "nodes_each": round(float(store.node_ptr[-1]) / len(store), 1),
            "edges_each": round(float(store.edge_ptr[-1]) / len(store), 1),
        }
        for name in (name for name in MODELS if name in wanted):
            report["models"][name] = Contest(name, data, options.device).run(place.why_not)
            print("  ".join(speeds(name, report["models"][name])), flush=True)
        if DEFAULT in wanted:
            averaged = Contest(DEFAULT, data, options.device, averaged=True).run(place.why_not)
            report["models"][f"{DEFAULT}, averaged weights in ours"] = averaged
            if options.device == "cpu" and torch.get_num_threads() > 1:
                with threads(1):
                    one = Contest(DEFAULT, data, options.device).run(place.why_not)
                report["models"][f"{DEFAULT}, one thread"] = one
        if "fusion" in wanted:
            with threads(1):
                report["fusion"] = fusion_epochs()
    print(shown(report))
    if not options.only:
        RESULTS.parent.mkdir(exist_ok=True)
        place_of(options.device).write_text(json.dumps(report, indent=2) + "\n")
        if options.device == "cpu":
            PAGE.write_text(with_tables(PAGE.read_text(), report))


if __name__ == "__main__":
    main()
