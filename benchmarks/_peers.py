"""Lightning's and Accelerate's loop over the same model, in an environment of their own that is thrown away.

This module is two things: ``Peers`` makes the environment with pip and talks to a child in it; run as a program it is
that child, and answers each line of its input with the seconds of an epoch of each loop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from benchmarks._mlp import MAX_NORM, Batches, bare_loop, make_batches, make_model, make_optimizer, now
from benchmarks._throw_away import ThrowAway

WANTED = ("lightning==2.6.*", "accelerate")


class Peers:
    """A context: inside, ``round()`` gives the seconds of each loop, or None where the peers could not be had."""

    def __init__(self) -> None:
        self.why_not = ""
        self.versions: dict[str, str] = {}
        self._place = ThrowAway(*WANTED)
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Peers:
        self._place.__enter__()
        try:
            if self._place.why_not:
                raise ValueError(self._place.why_not)
            self._child = subprocess.Popen(
                [str(self._place.python), "-m", "benchmarks._peers"],
                cwd=Path(__file__).parents[1],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.versions = self._answer()
        except (OSError, ValueError) as error:
            self.why_not = f"Lightning and Accelerate could not be had: {error}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            assert self._child.stdin is not None
            self._child.stdin.close()
            self._child.wait(timeout=60)
        self._place.__exit__(kind, error, trace)

    def round(self) -> dict[str, float] | None:
        if self.why_not or self._child is None:
            return None
        assert self._child.stdin is not None
        self._child.stdin.write("round\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._child is not None
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise ValueError(f"the peers' process ended with {self._child.wait(timeout=60)}")
        return json.loads(line)


class OneLoader:
    """Lightning takes a list for several loaders."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def lightning_loop(batches: Batches) -> float:
    """No logger, checkpoint, bar or summary; the loss is logged for its mean, as the engine's ``record`` does."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.criterion = make_model(), nn.CrossEntropyLoss()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = self.criterion(self.net(batch[0]), batch[1])
            self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return make_optimizer(self.net)

        def on_train_epoch_start(self) -> None:
            self.started = now()

        def on_train_epoch_end(self) -> None:
            self.seconds = now() - self.started

    module = Module()
    lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        gradient_clip_val=MAX_NORM,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, OneLoader(batches))
    return module.seconds


def accelerate_loop(batches: Batches) -> float:
    """The bare loop with Accelerate's calls in it."""
    import accelerate

    accelerator = accelerate.Accelerator(cpu=True)
    model = make_model()
    model, optimizer = accelerator.prepare(model, make_optimizer(model))
    criterion, total = nn.CrossEntropyLoss(), 0.0
    model.train()
    started = now()
    for x, y in batches:
        with accelerator.accumulate(model):
            loss = criterion(model(x), y)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item() * len(x)
    return now() - started


def main() -> None:
    import accelerate
    import lightning

    torch.set_num_threads(1)
    answers = sys.stdout
    sys.stdout = sys.stderr  # what the peers print is no answer
    batches = make_batches()
    print(json.dumps({"lightning": lightning.__version__, "accelerate": accelerate.__version__}), file=answers)
    answers.flush()
    for _ in sys.stdin:
        seconds = {
            "bare": bare_loop(batches),
            "lightning": lightning_loop(batches),
            "accelerate": accelerate_loop(batches),
        }
        print(json.dumps(seconds), file=answers)
        answers.flush()


if __name__ == "__main__":
    main()
