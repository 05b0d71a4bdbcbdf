"""How often the host waits for the device: at logged steps, and not between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_like.training import BaseTrainer, Callback, StepOutcome, TensorBoardLogger

pytestmark = pytest.mark.usefixtures("quick_disk")
BATCHES = 12


class Waits(Callback):
    """Counts what would make the host wait, from one batch's start to the next one's."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, self.of_batch = 0, list[int]()
        patch.setattr(Tensor, "is_cpu", property(lambda tensor: False))  # as if they lived on a device
        for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
            patch.setattr(Tensor, name, self._counted(getattr(Tensor, name)))

    def _counted(self, reading: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def read(tensor: Tensor) -> Any:
            self.count += 1
            return reading(tensor)

        return read

    def on_train_batch_start(self, trainer: BaseTrainer, model: nn.Module, batch: Any, batch_idx: int) -> None:
        self.of_batch.append(self.count)

    def on_train_epoch_end(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self.of_batch = [later - earlier for earlier, later in zip(self.of_batch, self.of_batch[1:], strict=False)]


class Plain(BaseTrainer):
    def train_one_epoch(self, epoch: int, trainloader: Any, *rest: Any) -> None:
        self.outcomes = []
        for x, y in self.batches(trainloader):
            loss = nn.functional.mse_loss(self.model(x), y)
            self.outcomes.append(self.optimize(loss))
            self.record("loss", loss)
            self.record("half", loss.detach().bfloat16())

    def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> None:
        raise AssertionError("not asked for")


def waits(
    folder: Path, optimizer: str = "sgd", scale: float = 1.0, **settings: Any
) -> tuple[list[int], list[StepOutcome]]:
    torch.manual_seed(0)
    net, data = nn.Linear(3, 1), [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(BATCHES)]
    with pytest.MonkeyPatch.context() as patch:
        counting = Waits(patch)
        shared = {"skip_validation": True, "use_ema": True, "grad_max_norm": 1.0, "device": "cpu", **settings}
        conf = {"save_loc": str(folder), "trainer": {"preflight": False, "scheduler": {"first_period": 5}, **shared}}
        conf["trainer"]["scheduler"]["scheduler_type"] = "cosine-annealing-restarts"
        trainer = Plain(net, 0, conf, [counting], [TensorBoardLogger(folder / "tensorboard")])
        kinds = {"sgd": torch.optim.SGD, "fused": torch.optim.Adam}
        made = kinds[optimizer](trainer.model.parameters(), lr=0.01, fused=optimizer == "fused")
        trainer.fit(conf, data, optimizer=made, scaler=torch.amp.GradScaler("cpu", init_scale=scale))
    return counting.of_batch, trainer.outcomes


@pytest.mark.parametrize(("every", "accumulate"), [(1, 1), (3, 1), (50, 1), (2, 2)])
def test_one_wait_at_a_logged_step_and_none_between(every: int, accumulate: int, tmp_path: Path) -> None:
    counted, _ = waits(tmp_path, log_every_n_steps=every, grad_accum_every=accumulate)
    logged = [(batch + 1) % (every * accumulate) == 0 for batch in range(BATCHES - 1)]
    assert counted == logged


def test_leaving_out_non_finite_steps_costs_one_wait_a_step(tmp_path: Path) -> None:
    counted, _ = waits(tmp_path, on_nonfinite="skip", grad_accum_every=2)
    assert counted == [0, 1] * 5 + [0]


@pytest.mark.parametrize("scale", [1.0, 2.0**18])
def test_a_scaler_costs_one_wait_a_step(scale: float, tmp_path: Path) -> None:
    counted, outcomes = waits(tmp_path, precision="16", scale=scale)
    assert counted == [1] * (BATCHES - 1)
    assert (outcomes[0] is StepOutcome.SKIPPED_BY_SCALER) == (scale > 1)
    assert outcomes[-1] is StepOutcome.STEPPED


def test_a_fused_optimizer_s_skipped_steps_are_known_as_such(tmp_path: Path) -> None:
    """Its step is always called, and looks at the gradients by itself."""
    _, plain = waits(tmp_path / "plain", precision="16", scale=2.0**18)
    _, fused = waits(tmp_path / "fused", "fused", precision="16", scale=2.0**18)
    assert fused == plain
