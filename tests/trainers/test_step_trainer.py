"""StepTrainer: a function and hooks on the one engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.config import ConfigError
from credit_like.training import EarlyStopping, MetricsJSONL, ModelCheckpoint, read_metrics_jsonl
from credit_like.training.hooks import Hook, LambdaHook
from trainers.step import StepTrainer


def regression(batches: int = 6) -> tuple[nn.Module, list[Any]]:
    torch.manual_seed(0)
    target = torch.randn(4, 1)
    xs = [torch.randn(8, 4) for _ in range(batches)]
    return nn.Linear(4, 1), [(x, x @ target) for x in xs]


def mse(batch: Any, trainer: StepTrainer) -> dict[str, Any]:
    loss = nn.functional.mse_loss(trainer.model(batch[0]), batch[1])
    return {"loss": loss, "rmse": loss.detach().sqrt(), "prediction": batch[1]}


def conf(folder: Path, **trainer: Any) -> dict[str, Any]:
    return {"save_loc": str(folder), "trainer": trainer}


def test_it_learns_and_records_every_scalar_that_the_step_returns(tmp_path: Path) -> None:
    net, data = regression()
    adam = lambda parameters: torch.optim.Adam(parameters, 0.1)  # noqa: E731
    row = StepTrainer(net, mse, data, data, optim=adam, epochs=20, config=conf(tmp_path)).fit()
    assert row["valid_loss"] < 0.05
    assert {"train_rmse", "valid_rmse"} <= row.keys()
    assert "train_prediction" not in row


def test_hooks_get_the_step_trainer_and_see_what_it_sees(tmp_path: Path) -> None:
    net, data = regression(2)
    seen: list[tuple[Any, ...]] = []

    class Watch(Hook):
        def after_loss(self, trainer: StepTrainer) -> None:
            seen.append(
                (type(trainer), trainer.training, trainer.batch[0] is trainer.dl[len(seen) % 2][0], trainer.loss > 0)
            )

    StepTrainer(net, mse, data, data, epochs=1, hooks=Watch(), config=conf(tmp_path)).fit()
    assert seen == [(StepTrainer, True, True, True)] * 2 + [(StepTrainer, False, True, True)] * 2


def test_a_hook_can_replace_the_loss_and_a_seam(tmp_path: Path) -> None:
    net, data = regression(2)
    before = net.weight.detach().clone()  # type: ignore[union-attr]

    def no_gradient(trainer: StepTrainer) -> None:
        trainer.loss_t = trainer.loss_t * 0

    sgd = torch.optim.SGD(net.parameters(), 0.1)
    StepTrainer(
        net, mse, data, optim=sgd, epochs=1, hooks=LambdaHook(after_loss=no_gradient), config=conf(tmp_path)
    ).fit()
    assert torch.equal(net.weight, before)  # type: ignore[arg-type]

    trainer = StepTrainer(
        net, mse, data, optim=torch.optim.SGD(net.parameters(), 0.1), epochs=1, config=conf(tmp_path / "b")
    )
    calls: list[int] = []
    trainer.do_opt_step = lambda: bool(calls.append(1))  # type: ignore[method-assign, func-returns-value]
    trainer.fit()
    assert len(calls) == 2
    assert trainer.step_state.optimizer_step == 0


def test_what_hooks_and_steps_keep_comes_back_after_a_resume(tmp_path: Path) -> None:
    net, data = regression(3)

    class Count(Hook):
        def after_step(self, trainer: StepTrainer) -> None:
            self.store("n", self.get("n", 0) + 1)
            trainer.state["n"] = trainer.state.get("n", 0) + 1

    StepTrainer(net, mse, data, epochs=1, hooks=Count(), config=conf(tmp_path)).fit()
    hook = Count()
    again = StepTrainer(net, mse, data, epochs=2, hooks=[hook], config=conf(tmp_path, load_weights=True))
    again.fit()
    assert hook.get("n") == again.state["n"] == 6
    assert again.get_hook(Count) is hook


@pytest.mark.parametrize("returned", [torch.tensor(1.0), None, 3])
def test_a_step_that_returns_no_dict_is_told(tmp_path: Path, returned: Any) -> None:
    net, data = regression(1)

    def careless(batch: Any, trainer: StepTrainer) -> Any:
        return returned

    trainer = StepTrainer(net, careless, data, epochs=1, config=conf(tmp_path))
    with pytest.raises(TypeError, match=r"careless must return a dict such as \{'loss': loss\}; got"):
        trainer.fit()


def test_what_is_no_optimizer_and_what_is_no_attribute_are_told(tmp_path: Path) -> None:
    net, data = regression(1)
    with pytest.raises(TypeError, match=r"optim is an optimizer, or what makes one of the parameters.*; got 'adam'"):
        StepTrainer(net, mse, data, optim="adam", config=conf(tmp_path))  # type: ignore[arg-type]
    trainer = StepTrainer(net, mse, data, config=conf(tmp_path))
    with pytest.raises(AttributeError, match=r"StepTrainer has no 'stepstate' \(did you mean 'step_state'\?\)"):
        trainer.stepstate  # noqa: B018  reading it is the test


def test_settings_in_the_wrong_place_are_told(tmp_path: Path) -> None:
    net, data = regression(1)
    with pytest.raises(ConfigError, match=r"put the trainer's epochs, seed below config\['trainer'\]"):
        StepTrainer(net, mse, data, config={"save_loc": str(tmp_path), "seed": 1, "epochs": 3, "mine": 0})


def test_without_a_loss_there_is_no_backward_pass(tmp_path: Path) -> None:
    net, data = regression(1)
    before = net.weight.detach().clone()  # type: ignore[union-attr]
    trainer = StepTrainer(
        net, lambda b, t: {"x": 1.0}, data, epochs=1, config=conf(tmp_path, training_metric="train_x")
    )
    assert trainer.fit()["train_x"] == 1.0
    assert torch.equal(net.weight, before)  # type: ignore[arg-type]


def test_shipped_callbacks_work_among_the_hooks(tmp_path: Path) -> None:
    """Those that configure the engine, and those that are loggers."""
    net, data = regression(2)
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    hooks = [EarlyStopping(patience=2), ModelCheckpoint(filename="mine"), MetricsJSONL(tmp_path / "metrics.jsonl")]
    value = {"loss": 0.0}

    class Next(Hook):
        def before_valid(self, trainer: StepTrainer) -> None:
            value["loss"] = next(losses)

    def evaluate(batch: Any, trainer: StepTrainer) -> dict[str, float]:
        return value

    row = StepTrainer(
        net, mse, data, data, evaluate, epochs=5, hooks=[*hooks, Next()], config=conf(tmp_path / "run")
    ).fit()
    assert row["epoch"] == 1
    assert [row["valid_loss"] for row in read_metrics_jsonl(tmp_path / "metrics.jsonl")] == [3.0, 1.0, 2.0, 2.0]
    assert hooks[1].best_model_path == str(tmp_path / "run" / "mine.pt")  # type: ignore[attr-defined]


def test_what_hooks_and_steps_can_read(tmp_path: Path) -> None:
    net, data = regression(2)
    seen: dict[str, Any] = {}

    class Watch(Hook):
        def after_loss(self, trainer: StepTrainer) -> None:
            names = "model opt train_dl valid_dl dl batch result loss loss_t training step_state state is_main"
            seen.update({name: getattr(trainer, name) for name in (*names.split(), "is_distributed")})

    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    trainer = StepTrainer(net, mse, data, optim=optimizer, epochs=1, hooks=[Watch()], config=conf(tmp_path))
    trainer.fit()
    same = {"model": net, "opt": optimizer, "train_dl": data, "valid_dl": None, "dl": data, "state": trainer.state}
    assert all(seen[name] is value for name, value in same.items())
    assert (seen["training"], seen["is_main"], seen["is_distributed"]) == (True, True, False)
    assert set(seen["result"]) == {"loss", "rmse", "prediction"}
    assert seen["loss"] == seen["loss_t"].item()
    assert seen["step_state"].optimizer_step == 2
