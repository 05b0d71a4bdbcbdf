"""test() and predict(): on which weights, over which data, and what is left of it afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from credit_like.training import Callback, CheckpointError, ModelCheckpoint, read_checkpoint
from credit_like.training.rng import rng_state
from tests.training.toys import Net, Samples, Scripted, ToyTrainer, batches_of, fit_scripted, frozen

pytestmark = pytest.mark.usefixtures("quick_disk")


def data(size: int = 12, seed: int = 0) -> DataLoader[Any]:
    return DataLoader(Samples(size, seed), 4)


def trained(folder: Path, **settings: Any) -> ToyTrainer:
    torch.manual_seed(0)
    conf = {"save_loc": str(folder), "trainer": {"epochs": 3, "use_ema": True, "ema_decay": 0.8, **settings}}
    trainer = ToyTrainer(Net(), 0, conf)
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
    trainer.fit({}, data(), data(8, seed=1), optimizer, nn.MSELoss(), nn.MSELoss())
    return trainer


def test_of_the_best_checkpoint_gives_its_validation_figures(tmp_path: Path) -> None:
    """On the validation data, the checkpoint's validated (averaged) weights give back the row of the best epoch."""
    trainer = trained(tmp_path)
    row = trainer.history.row_of(trainer.patience.best_epoch)
    results = trainer.test(data(8, seed=1), ckpt_path="best")
    assert results == {"test_loss": row["valid_loss"], "test_mae": row["valid_mae"]}
    other = trainer.test(data(8, seed=2), ckpt_path="best")
    assert other["test_loss"] != results["test_loss"]


def test_best_weights_are_the_averaged_ones(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    trainer.predict(data(), ckpt_path="best")
    state = read_checkpoint(tmp_path / "best_checkpoint.pt")
    assert frozen(dict(trainer.model.named_parameters())) == frozen(
        {name: state["ema"]["shadow"][name] for name, _ in trainer.model.named_parameters()}
    )
    assert frozen(state["model"]) != frozen(trainer.model.state_dict())


def test_without_averages_best_weights_are_the_raw_ones(tmp_path: Path) -> None:
    trainer = trained(tmp_path, use_ema=False)
    trainer.test(data(), ckpt_path=tmp_path / "best_checkpoint.pt")
    state = read_checkpoint(tmp_path / "best_checkpoint.pt")
    assert state["validated"] == "model"
    assert frozen(trainer.model.state_dict()) == frozen(dict(state["model"]))


def test_without_a_checkpoint_the_present_averaged_weights_are_tested_and_taken_out_again(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    raw = frozen(trainer.model.state_dict())
    results = trainer.test(data(8, seed=1))
    assert results["test_loss"] == trainer.history.rows[-1]["valid_loss"]
    assert frozen(trainer.model.state_dict()) == raw


@pytest.mark.parametrize("several", ["mapping", "list"])
def test_several_loaders_keep_their_names(several: str, tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    loaders: Any = {"old": data(8, seed=1), "new": data(8, seed=2)}
    names = ["old", "new"] if several == "mapping" else ["0", "1"]
    results = trainer.test(loaders if several == "mapping" else list(loaders.values()))
    assert set(results) == {f"{name}/test_{metric}" for name in names for metric in ("loss", "mae")}
    assert results[f"{names[0]}/test_loss"] != results[f"{names[1]}/test_loss"]


def test_a_list_of_batches_is_not_taken_for_several_loaders(tmp_path: Path) -> None:
    trainer = fit_scripted(tmp_path, epochs=1)
    for batches in (batches_of(), [x for x, _ in batches_of()]):
        for verb in (trainer.test, trainer.predict):
            with pytest.raises(
                TypeError, match="a list is several loaders here, and this one holds batches: give it a"
            ):
                verb(batches)
    assert trainer.test({"": batches_of()}).keys() == {"test_loss"}
    assert trainer.test([batches_of(), batches_of()]).keys() == {"0/test_loss", "1/test_loss"}


def test_validation_data_are_not_handed_back_as_test_data(tmp_path: Path) -> None:
    class Whose(Scripted):
        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> Any:
            return {"loss": float(sum(len(x) for x, _ in self.batches(valid_loader, "valid")))}

    trainer = fit_scripted(tmp_path, kind=Whose, epochs=1)
    assert trainer.result["valid_loss"] == 8
    assert trainer.test({"a": data(20), "b": data(12)}) == {"a/test_loss": 20, "b/test_loss": 12}


def test_a_limit_on_validation_does_not_cut_the_test_data(tmp_path: Path) -> None:
    class Whose(Scripted):
        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> Any:
            return {"loss": float(sum(len(x) for x, _ in self.batches(valid_loader, "valid")))}

    trainer = fit_scripted(tmp_path, kind=Whose, epochs=1, valid_batches_per_epoch=1)
    assert trainer.result["valid_loss"] == 4
    assert trainer.test(data(20))["test_loss"] == 20


def test_predict_collects_what_predict_step_gives_for_each_batch(tmp_path: Path) -> None:
    trainer = trained(tmp_path, use_ema=False)
    outputs = trainer.predict({"only": data(10)})[0]
    assert [len(output) for output in outputs] == [4, 4, 2]
    trainer.model.eval()
    with torch.no_grad():
        for output, (x, _) in zip(outputs, data(10), strict=True):
            torch.testing.assert_close(output, trainer.model(x))
            assert not output.requires_grad
    assert [len(each) for each in trainer.predict([data(8), data(4)])] == [2, 1]
    assert len(trainer.predict_on(data(12))) == 3


def test_predict_over_one_loader(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    batches = [torch.randn(3, 5), torch.randn(2, 5)]
    assert [len(output) for output in trainer.predict_on(batches)] == [3, 2]  # a list is a loader here
    assert [len(output) for output in trainer.predict(data(10))] == [4, 4, 2]


def test_ensembles_average_stochastic_passes(tmp_path: Path) -> None:
    trainer = trained(tmp_path, ensemble_size=64, use_ema=False)
    assert trainer.history.rows[-1]["valid_std"] > 0
    mean = torch.cat(trainer.predict_on(data(8)))
    plain = ToyTrainer(trainer.model, 0, {"save_loc": str(tmp_path)})
    exact = torch.cat(plain.predict_on(data(8)))
    assert not torch.equal(mean, exact)
    torch.testing.assert_close(mean, exact, rtol=0.3, atol=0.3)
    assert not trainer.model.eval().dropout.training


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    trainer.model.train()
    numbers = frozen(rng_state())
    trainer.test(data())
    trainer.predict_on(data())
    assert trainer.model.training
    assert frozen(rng_state()) == numbers


def test_a_callback_may_predict_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    class Watching(Callback):
        outputs: tuple[Any, ...] = ()

        def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.outputs += (trainer.predict_on(data(4)),)

    ends = []
    for callbacks in ([], [Watching()]):
        torch.manual_seed(0)
        conf = {"save_loc": str(tmp_path / str(len(callbacks))), "trainer": {"use_ema": True}}
        trainer = ToyTrainer(Net(), 0, conf, callbacks=callbacks)
        optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
        trainer.fit({}, data(), data(8), optimizer, nn.MSELoss(), nn.MSELoss())
        ends.append((frozen(trainer.model.state_dict()), trainer.history.rows))
    assert ends[0] == ends[1]
    assert len(callbacks[0].outputs) == 3


@pytest.mark.parametrize("method", ["test", "predict"])
def test_an_exception_restores_weights_mode_and_autocast(method: str, tmp_path: Path) -> None:
    class Failing(ToyTrainer):
        def validate(self, epoch: int, valid_loader: Any, *rest: Any) -> Any:
            for _ in self.batches(valid_loader, "valid"):
                if self._phase == "test":
                    raise ZeroDivisionError
            return {"loss": 1.0}

        def predict_step(self, batch: Any) -> Any:
            raise ZeroDivisionError

    conf = {"save_loc": str(tmp_path), "trainer": {"use_ema": True, "precision": "bf16"}}
    trainer = Failing(Net(), 0, conf)
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
    trainer.fit({}, data(), data(), optimizer, nn.MSELoss(), nn.MSELoss())
    raw = frozen(trainer.model.state_dict())
    with pytest.raises(ZeroDivisionError):
        getattr(trainer, method)({"one": data()})
    assert frozen(trainer.model.state_dict()) == raw
    assert trainer.model.training
    assert not torch.is_autocast_enabled("cpu")


def test_the_best_one_is_found_under_the_name_that_a_callback_gave_it(tmp_path: Path) -> None:
    conf = {"save_loc": str(tmp_path), "trainer": {"epochs": 2}}
    trainer = ToyTrainer(Net(), 0, conf, callbacks=[ModelCheckpoint(filename="mine")])
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
    row = trainer.fit({}, data(), data(8, seed=1), optimizer, nn.MSELoss(), nn.MSELoss())
    assert trainer.test(data(8, seed=1), ckpt_path="best")["test_loss"] == row["valid_loss"]


def test_a_callback_may_test_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """What the epoch has recorded, its counters and its batch stay; the checkpoints are the same."""

    class Testing(Callback):
        results: tuple[Any, ...] = ()

        def on_train_batch_end(self, trainer: Any, model: nn.Module, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.results += (trainer.test(data(4, seed=5)),)
            assert trainer.batch is batch
            assert trainer.training

    ends = []
    for callbacks in ([], [Testing()]):
        torch.manual_seed(0)
        conf = {"save_loc": str(tmp_path / str(len(callbacks))), "trainer": {"use_ema": True, "grad_accum_every": 2}}
        trainer = ToyTrainer(Net(), 0, conf, callbacks=callbacks)
        optimizer = torch.optim.SGD(trainer.model.parameters(), 0.1)
        trainer.fit({}, data(), data(8), optimizer, nn.MSELoss(), nn.MSELoss())
        ends.append((frozen(trainer.model.state_dict()), trainer.history.rows, trainer.step_state))
    assert ends[0] == ends[1]
    assert len({result["test_loss"] for result in callbacks[0].results}) == 2  # a step was made after the second batch


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "a")
    other = ToyTrainer(nn.Linear(5, 1), 0, {"save_loc": str(tmp_path / "b")})
    with pytest.raises(CheckpointError, match="is of another model"):
        other.test(data(), ckpt_path=tmp_path / "a" / "best_checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*b/best_checkpoint\.pt"):
        other.test(data(), ckpt_path="best")


def test_a_wrapped_model_saves_and_loads_under_its_own_names(tmp_path: Path) -> None:
    """Data-parallel and compiled modules: neither prefix ends up in a file."""
    plain = trained(tmp_path / "plain")
    for name, wrapped in (
        ("parallel", nn.DataParallel(Net())),
        ("compiled", torch.compile(Net(), backend="eager")),
    ):
        trainer = ToyTrainer(wrapped, 0, {"save_loc": str(tmp_path / name), "trainer": {"use_ema": True}})
        trainer.fit({}, data(), data(), torch.optim.SGD(trainer.model.parameters(), 0.1), nn.MSELoss(), nn.MSELoss())
        state = read_checkpoint(tmp_path / name / "best_checkpoint.pt")
        assert state["model"].keys() == Net().state_dict().keys()
        assert state["ema"]["shadow"].keys() == Net().state_dict().keys()
        results = trainer.test(data(8, seed=1), ckpt_path=tmp_path / "plain" / "best_checkpoint.pt")
        best = plain.history.row_of(plain.patience.best_epoch)
        assert results["test_loss"] == pytest.approx(best["valid_loss"], rel=1e-5)
        plain.test(data(), ckpt_path=tmp_path / name / "best_checkpoint.pt")
