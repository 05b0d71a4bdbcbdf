"""Two processes, each with a part of the weights: they learn what one would, and their checkpoints are anybody's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from credit_like.config import ConfigError, UserError
from credit_like.training import OtherProcessError, read_checkpoint
from credit_like.training.preflight import estimated_bytes
from credit_like.training.run_folder import ASIDE
from credit_like.training.sharding import parts_of_optimizer
from tests.training.shared_run import Run, Smooth, Weighed, squared
from tests.training.test_together import close, csv_rows, interrupted
from tests.training.together import results, together
from tests.training.toys import Samples, ToyTrainer, outcome

pytestmark = pytest.mark.usefixtures("quick_disk")


class Deep(nn.Module):
    """float64 without anything random; its layers are units, one is frozen, one has fewer rows than processes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.layers = nn.ModuleList([nn.Linear(5, 5).double() for _ in range(3)])
        self.head = nn.Linear(5, 1).double()
        self.norm = nn.BatchNorm1d(5, momentum=None, affine=False).double()
        self.again, self.gathered = False, set[int]()
        self.layers[1].weight.requires_grad_(False)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2

    def fsdp_units(self) -> list[nn.Module]:
        return list(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x.double()
        self.norm.num_batches_tracked += 1  # a buffer that moves; batch statistics would be each process's own
        for layer in self.layers:
            self.gathered.add(sum(not hasattr(other.bias, "to_local") for other in self.layers))
            x = x + torch.tanh(checkpoint(layer, x, use_reentrant=False) if self.again else layer(x))
        return self.head(x).squeeze(-1)

    def gradient_checkpointing_enable(self) -> None:
        self.again = True


class Tied(Smooth):
    """One weight under two names, and one that nothing uses; each process begins with others, of which 0's count."""

    def __init__(self) -> None:
        super().__init__()
        self.middle, self.idle = nn.Linear(7, 7).double(), nn.Linear(3, 3).double().requires_grad_(False)
        self.inner = nn.Linear(7, 7).double()
        self.inner.weight = self.middle.weight
        self.register_buffer("shift", torch.randn(7).double())

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x.double()) + self.shift)
        return self.last(torch.tanh(self.inner(torch.tanh(self.middle(hidden))))).squeeze(-1)


class UsedBySome(Smooth):
    """Every batch has a sample that goes through the branch, but not every process's share of it."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Linear(5, 1).double()
        for p in self.branch.parameters():
            p.data = torch.ones_like(p)

    def forward(self, x: Tensor) -> Tensor:
        chosen = (x[:, 0] > -0.3).double()
        own = chosen * self.branch(x.double()).squeeze(-1) if chosen.any() else 0.0
        return super().forward(x) + own


class TiedOverUnits(Tied):
    def fsdp_units(self) -> list[nn.Module]:
        return [self.middle]


RUNS = {
    "plain": Run(mode="fsdp"),
    "accumulation, last group short": Run(mode="fsdp", accumulate=3),
    "accumulation, clipped": Run(mode="fsdp", accumulate=2, clip=0.05),
    "adam, in units": Run(mode="fsdp", adam=True, model=Deep, clip=0.05),
    "weights of its own": Run(mode="fsdp", kind=Weighed, accumulate=3),
    "computed again": Run(mode="fsdp", model=Deep, more={"gradient_checkpointing": True, "validate_raw": True}),
    "tied": Run(mode="fsdp", model=Tied, adam=True),
    "used by some": Run(mode="fsdp", model=UsedBySome),
}


def trained(rank: int, run: Run, folder: Path) -> dict[str, Any]:
    trainer = run.fit(rank, folder)
    loader = run.loaders()[1]
    return {
        "rows": trainer.history.rows,
        "state": trainer.step_state,
        "estimate": estimated_bytes(trainer, loader, []),
        "gathered": getattr(trainer.model, "gathered", {0}),
        "held": sum(p.to_local().numel() for p in trainer.model.parameters()),  # type: ignore[operator]
        "tested": trainer.test(loader),
        "predicted": trainer.predict(loader, "best"),
    }


def trained_all(rank: int, folder: Path) -> dict[str, Any]:
    return {name: trained(rank, run, folder / name) for name, run in RUNS.items()}


def alone(run: Run) -> Run:
    return replace(run, mode="none")


def test_two_processes_with_half_of_the_weights_learn_what_one_does(tmp_path: Path) -> None:
    """Checkpoint, log and counters of every run; and its keys, shapes and dtypes."""
    everything = results(together(trained_all, tmp_path, tmp_path))
    for name, run in RUNS.items():
        one = alone(run).fit(0, tmp_path / f"{name}, alone")
        first, second = (part[name] for part in everything)
        saved, expected = (read_checkpoint(tmp_path / f / "checkpoint.pt") for f in (name, f"{name}, alone"))
        for part in ("model", "ema", "optimizer"):
            assert layout(saved[part]) == layout(expected[part])
            close(saved[part], expected[part])
        assert first["rows"] == second["rows"]
        assert first["state"] == second["state"] == replace(one.step_state, num_processes=2)
        for row, other in zip(*(csv_rows(tmp_path / f) for f in (name, f"{name}, alone")), strict=True):
            assert row.keys() == other.keys()
            assert all(math.isclose(float(row[c]), float(other[c]), rel_tol=1e-9) for c in row)
        assert first["gathered"] == second["gathered"] == {0}  # of the units between two of them
        loader = alone(run).loaders()[1]
        assert 2 * first["estimate"] == estimated_bytes(one, loader, [])
        assert first["held"] + second["held"] == sum(p.numel() for p in one.model.parameters())
        close(first["tested"], one.test(loader))
        assert first["tested"] == second["tested"]
        in_order = [rows for pair in zip(first["predicted"], second["predicted"], strict=True) for rows in pair]
        close(torch.cat(in_order), torch.cat(one.predict(loader, "best")))


def layout(value: Any) -> Any:
    """Names, shapes and dtypes of a checkpoint's part, in their order."""
    if isinstance(value, dict):
        return [(key, layout(entry)) for key, entry in value.items()]
    return (value.shape, value.dtype) if isinstance(value, Tensor) else type(value)


def handed_on(rank: int, run: Run, folder: Path) -> None:
    run.fit(rank, folder)


@pytest.mark.parametrize("between", ["none", "ddp"])
def test_a_checkpoint_goes_from_any_mode_to_any_other(between: str, tmp_path: Path) -> None:
    """Three epochs, each in another mode: what one process learns in three."""
    run = Run(model=Smooth, adam=True, accumulate=2)
    for epochs, mode in ((1, "fsdp"), (2, between), (3, "fsdp")):
        part = replace(run, mode=mode, epochs=epochs)
        if mode == "none":
            part.fit(0, tmp_path / "run")
        else:
            results(together(handed_on, tmp_path, part, tmp_path / "run"))
    alone(replace(run, epochs=3)).fit(0, tmp_path / "alone")
    saved, expected = (read_checkpoint(tmp_path / folder / "checkpoint.pt") for folder in ("run", "alone"))
    for part in ("model", "ema", "optimizer"):
        close(saved[part], expected[part])


NOISY = Run(mode="fsdp", model=Deep, adam=True, noise=True, samples=28)


@pytest.mark.parametrize(
    ("fate", "at"),
    [("SIGTERM", ("train", 1, 3)), pytest.param("killed", ("train", 1, 4), marks=pytest.mark.slow)],
)
def test_a_stop_or_a_kill_in_mid_epoch_resumes_exactly(fate: str, at: tuple[str, int, int], tmp_path: Path) -> None:
    endings = together(interrupted, tmp_path, NOISY, tmp_path / "run", fate, at, 1)
    assert endings[0].error is not None
    assert "another process" in str(endings[0].error) or "resume to go on" in str(endings[0].error)
    for folder in ("run", "undisturbed"):
        results(together(handed_on, tmp_path, NOISY, tmp_path / folder))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "undisturbed")


def refusals(rank: int, folder: Path) -> list[str]:
    """What cannot be done with weights in parts, said on every process."""

    class Scalar(Smooth):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))

    run = Run(mode="fsdp")
    trainer = run.trainer(rank, folder / "uneven")

    def uneven() -> None:
        trainer.predict_on([Samples(4, 0)[:][0]] * (1 + rank))

    def made_too_early() -> None:
        model = Smooth()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        early = ToyTrainer(model, rank, {"save_loc": str(folder / "early"), "trainer": {"mode": "fsdp"}})
        early.fit({}, *run.loaders(), optimizer, squared, squared)

    found = [
        said(lambda: replace(run, model=Scalar).trainer(rank, folder / "scalar")),
        said(uneven),
        said(lambda: replace(run, model=TiedOverUnits).trainer(rank, folder / "tied")),
        said(made_too_early),
    ]
    trainer.processes.gathered(found)  # one that had left would break the other's connection
    return found


def said(act: Callable[[], Any]) -> str:
    try:
        act()
    except (ConfigError, UserError, OtherProcessError, TypeError) as error:
        return str(error)
    return "nothing was refused"


def test_what_cannot_be_sharded_is_said(tmp_path: Path) -> None:
    for scalar, uneven, tied, early in results(together(refusals, tmp_path, tmp_path)):
        assert "the parameter temperature has no dimension to split: give it the shape (1,)" in scalar
        assert "the prediction loaders differ in length: of batch 2 of epoch 1, process 0 has no more" in uneven
        assert "middle.weight and inner.weight are one parameter, which cannot be in two units: leave middle" in tied
        assert "none of the optimizer's parameters is one of trainer.model's" in early


class Overflowing(ToyTrainer):
    """In the third batch the gradient of process 1 overflows."""

    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        self.outcomes = []
        for index, (x, y) in enumerate(self.batches(trainloader)):
            self.model.overflows = index == 2 and self.rank == 1
            self.outcomes.append(self.optimize(squared(self.model(x), y)).name)


class Single(Smooth):
    """float32. The gradient that overflows is that of the last bias, which process 0 keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.float()
        self.overflows = False

    def forward(self, x: Tensor) -> Tensor:
        output = self.last(torch.tanh(self.first(x))).squeeze(-1)
        large = 1e30 * self.last.bias
        return output + 1e30 * (large - large.detach()) if self.overflows else output


def overflowed(rank: int, folder: Path) -> list[Any]:
    found = []
    for settings in ({"on_nonfinite": "skip"}, {"precision": "16"}):
        run = Run(mode="fsdp", model=Single, kind=Overflowing, epochs=1, clip=1.0, more=settings)
        trainer: Any = run.fit(rank, folder / "-".join(settings))
        scale = None if trainer.scaler is None else trainer.scaler.get_scale()
        found.append((trainer.outcomes, trainer.step_state.optimizer_step, trainer.ema.step, scale))
    return found


def test_an_overflow_on_one_process_is_skipped_by_all(tmp_path: Path) -> None:
    """Each has a part of the gradient; that of process 1 is finite."""
    first, second = results(together(overflowed, tmp_path, tmp_path))
    assert first == second
    skipped, scaled = first
    assert skipped == (["STEPPED"] * 2 + ["SKIPPED_NONFINITE"] + ["STEPPED"] * 4, 6, 6, None)
    assert scaled[0][2] == "SKIPPED_BY_SCALER"
    assert scaled[1] == scaled[2] == scaled[0].count("STEPPED") > 0
    assert scaled[3] == 2.0 ** (16 - scaled[0].count("SKIPPED_BY_SCALER"))


def test_an_optimizer_state_of_another_shape_is_refused() -> None:
    weight = nn.Parameter(torch.zeros(4, 3))
    rows = {"state": {0: {"row": torch.zeros(4)}}, "param_groups": [{"params": [0]}]}
    with pytest.raises(ValueError, match=r"its row has the shape \(4,\) for weights of the shape \(4, 3\)"):
        parts_of_optimizer(rows, torch.optim.SGD([weight], 0.1))


def test_a_failure_keeps_no_half_of_the_weights(tmp_path: Path) -> None:
    endings = together(interrupted, tmp_path, NOISY, tmp_path / "run", "exception", ("train", 1, 2), 0)
    assert isinstance(endings[0].error, ZeroDivisionError)
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / ASIDE).exists()
