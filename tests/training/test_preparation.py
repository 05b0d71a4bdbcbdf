"""Compiling and gradient checkpointing: what is learnt stays the same, and names of weights do too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from credit_like.config import ConfigError, UserError
from credit_like.training import read_checkpoint
from tests.training.accidents import Accident, accident, at
from tests.training.toys import Net, Setup, ToyTrainer, outcome

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`Module.compile` with a backend that runs what it is given, so that no compiler is needed; what it was given."""
    taken: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        taken.append(graph)
        return graph.forward

    def compile_eagerly(module: nn.Module) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend=backend)  # what Module.compile does

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    torch.compiler.reset()
    return taken


def test_compiled_or_not_the_same_is_learnt_under_the_same_names(graphs: list[Any], tmp_path: Path) -> None:
    setup = Setup(epochs=2, accumulate=2)
    setup.fit(tmp_path / "plain")
    assert not graphs
    with pytest.raises(Accident):
        setup.fit(tmp_path / "compiled", at("train", 1, 3, accident), compile=True)
    setup.fit(tmp_path / "compiled", compile=True)
    assert graphs
    assert outcome(tmp_path / "compiled") == outcome(tmp_path / "plain")
    assert list(read_checkpoint(tmp_path / "compiled" / "checkpoint.pt")["model"]) == list(Net().state_dict())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs a C++ compiler")
def test_compiled_in_earnest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.training.toys.Net", lambda: Net(0.0))  # compiled dropout draws masks of its own
    plain = Setup(epochs=2).fit(tmp_path / "plain").result
    compiled = Setup(epochs=2).fit(tmp_path / "compiled", compile=True).result
    assert compiled == pytest.approx(plain, rel=1e-3)


def test_without_a_compiler_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inductor = pytest.importorskip("torch._inductor.config")
    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    torch.compiler.reset()
    with pytest.raises(
        UserError, match=r"trainer.compile is true, which needs a C\+\+ compiler where the training runs"
    ):
        Setup(epochs=1).fit(tmp_path, compile=True)


def test_a_bare_container_cannot_be_compiled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the model is a bare torch\.nn\.Sequential, which torch leaves uncompiled"):
        ToyTrainer(nn.Sequential(nn.Linear(5, 1)), 0, {"save_loc": str(tmp_path), "trainer": {"compile": True}})


class Recomputed(Net):
    """Can forget its activations, and counts how often its block runs."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__(dropout)
        self.forgets, self.runs = False, 0

    def gradient_checkpointing_enable(self) -> None:
        self.forgets = True

    def forward(self, x: Tensor) -> Tensor:
        if self.forgets and self.training:
            return checkpoint(self._block, x, use_reentrant=False)  # type: ignore[no-any-return]
        return self._block(x)

    def _block(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.last(self.dropout(torch.relu(self.first(x)))).squeeze(-1)


@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_gradient_checkpointing_recomputes_and_changes_nothing(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.training.toys.Net", Recomputed)
    setup = Setup(epochs=2, accumulate=2, precision=precision)
    plain, thrifty = (
        setup.fit(tmp_path / str(switch), gradient_checkpointing=switch).model.runs for switch in (False, True)
    )
    batches = 2 * 7
    assert thrifty == plain + batches
    assert outcome(tmp_path / "True") == outcome(tmp_path / "False")


def test_a_model_that_cannot_is_told_what_it_lacks(tmp_path: Path) -> None:
    conf = {"save_loc": str(tmp_path), "trainer": {"gradient_checkpointing": True}}
    with pytest.raises(ConfigError, match=r"Net has no method gradient_checkpointing_enable\(\): give it one"):
        ToyTrainer(Net(), 0, conf)
