"""Callbacks and hooks: both vocabularies, order, what is refused, and what a resume brings back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.training import BaseTrainer, Callback, Hook, LambdaHook, MainProcessHook, MetricsJSONL
from credit_like.training.callbacks import read_metrics_jsonl
from credit_like.training.dispatch import EVENT_NAMES, LIFECYCLE, Dispatcher
from tests.training.toys import Net, Setup, ToyTrainer, batches_of


def fitted(folder: Path, hooks: list[Any], **settings: Any) -> ToyTrainer:
    setup = Setup(epochs=1)
    conf = setup.trainer(folder, load_weights=False, **settings).conf
    trainer = ToyTrainer(Net(), 0, conf, callbacks=hooks)
    trainer.fit({}, batches_of(8), batches_of(4), setup.build_optimizer(trainer.model), nn.MSELoss(), nn.MSELoss())
    return trainer


def test_both_vocabularies_hear_one_epoch_in_the_documented_order(tmp_path: Path) -> None:
    heard: list[str] = []
    long = LambdaHook(**{n: lambda *a, n=n: heard.append(n) for n in EVENT_NAMES if n.startswith("on_")})
    short = LambdaHook(**{n: lambda t, n=n: heard.append(n) for n in EVENT_NAMES if not n.startswith("on_")})
    fitted(tmp_path, [long, short])
    batch = [
        "on_train_batch_start",
        "before_step",
        "on_after_backward",
        "after_backward",
        "after_step",
        "on_train_batch_end",
    ]
    valid = ["on_validation_start", "before_valid", "before_step", "after_step", "on_validation_end"]
    start = ["on_fit_start", "before_fit", "on_train_epoch_start", "before_epoch"]
    end = ["on_train_epoch_end", "after_epoch", "on_fit_end", "after_fit"]
    assert heard == start + batch * 2 + valid + end


def test_lower_ord_first_and_equals_as_given(tmp_path: Path) -> None:
    heard: list[str] = []
    hooks = [
        LambdaHook(ord=5, before_fit=lambda t: heard.append("late")),
        LambdaHook(before_fit=lambda t: heard.append("first")),
        LambdaHook(on_fit_start=lambda t, m: heard.append("second")),
        LambdaHook(ord=-1, before_fit=lambda t: heard.append("early")),
    ]
    fitted(tmp_path, hooks)
    assert heard == ["early", "first", "second", "late"]


def test_batch_events_get_the_batch_its_index_and_what_came_of_it(tmp_path: Path) -> None:
    got: list[Any] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: BaseTrainer, model: nn.Module, batch: Any, batch_idx: int) -> None:
            got.append((batch is trainer.batch, batch_idx))

        def on_train_batch_end(
            self, trainer: BaseTrainer, model: nn.Module, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            got.append((outputs.name, batch is trainer.batch, batch_idx))

    fitted(tmp_path, [Watch()], grad_accum_every=2)
    assert got == [(True, 0), ("ACCUMULATED", True, 0), (True, 1), ("STEPPED", True, 1)]


def test_both_names_of_one_event_are_refused() -> None:
    class Twice(Hook):
        def before_fit(self, trainer: BaseTrainer) -> None: ...

        def on_fit_start(self, trainer: BaseTrainer, model: nn.Module) -> None: ...

    with pytest.raises(TypeError, match="Twice defines both on_fit_start and before_fit, which are one event"):
        Dispatcher([Twice()])


@pytest.mark.parametrize(("given", "message"), [(Hook, "pass an instance, not the class Hook"), (object(), "no event")])
def test_what_is_no_hook_is_refused(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Dispatcher([given])


def test_a_misspelt_event_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no event \['before_fits'\]"):
        LambdaHook(before_fits=print)


class TooFew(Callback):
    def on_fit_end(self, trainer: Any) -> None: ...  # type: ignore[override]


class TooMany(Hook):
    def after_step(self, trainer: Any, batch: Any) -> None: ...


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (TooFew(), r"TooFew.on_fit_end is called with \(trainer, model\), which do not fit: too many positional"),
        (
            TooMany(),
            r"TooMany.after_step is called with \(trainer\), which do not fit: missing a required argument: 'b",
        ),
    ],
)
def test_a_method_that_does_not_take_what_it_is_called_with_is_refused_before_the_run(hook: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Dispatcher([hook])


def test_one_hook_given_twice_is_refused_and_one_that_is_also_a_logger_logs_once(tmp_path: Path) -> None:
    hook = Callback()
    with pytest.raises(TypeError, match="one Callback is given twice, and would be called twice; make two, or give it"):
        Dispatcher([hook, Callback(), hook])
    lines = MetricsJSONL(tmp_path / "metrics.jsonl")
    conf = {"save_loc": str(tmp_path / "run"), "trainer": {"epochs": 2}}
    trainer = ToyTrainer(Net(), 0, conf, callbacks=[lines], loggers=[lines])
    sgd = torch.optim.SGD(trainer.model.parameters(), 0.01)
    trainer.fit(conf, batches_of(), batches_of(8), sgd, nn.MSELoss(), nn.MSELoss())
    assert [row["epoch"] for row in read_metrics_jsonl(lines.path)] == [0, 1]


def test_a_main_process_hook_is_silent_on_other_ranks() -> None:
    class Main(MainProcessHook):
        def before_fit(self, trainer: Any) -> None:
            raise AssertionError("rank 1 must not call this")

    net: Any = Net()
    Dispatcher([Main()], rank=1)("on_fit_start", net, net)
    with pytest.raises(AssertionError):
        Dispatcher([Main()], rank=0)("on_fit_start", net, net)


def test_the_table_lists_every_point_once_at_least(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Mine(Hook):
        ord = 3

        def after_step(self, trainer: BaseTrainer) -> None: ...

    trainer = fitted(tmp_path, [Mine()])
    capsys.readouterr()
    told = trainer.describe_hooks()
    assert capsys.readouterr().out == told + "\n"
    table = told.splitlines()
    assert table[0] == "| Lifecycle Point | Hook | Order |"
    assert "| after_step | Mine | 3 |" in table
    assert "| on_fit_start / before_fit | (none) | |" in table
    assert len(table) == 2 + len(LIFECYCLE)


def test_get_hook(tmp_path: Path) -> None:
    mine = LambdaHook(after_fit=print)
    trainer = fitted(tmp_path, [mine])
    assert trainer.get_hook(LambdaHook) is mine
    assert trainer.get_hook(MainProcessHook, None) is None
    with pytest.raises(KeyError, match="no MainProcessHook among the hooks: LambdaHook"):
        trainer.get_hook(MainProcessHook)


def test_state_of_two_hooks_of_one_class_comes_back_to_each() -> None:
    class Keeps(Hook):
        def __init__(self, ord: int) -> None:
            self.ord = ord

        def after_fit(self, trainer: BaseTrainer) -> None: ...

    saved = [Keeps(1), Keeps(2)]
    for hook in saved:
        hook.store("me", hook.ord)
    fresh = [Keeps(2), Keeps(1)]
    Dispatcher(fresh).load_state_dict(Dispatcher(saved).state_dict())
    assert [hook.get("me") for hook in fresh] == [2, 1]
    assert fresh[0].get("other", "default") == "default"


@pytest.mark.parametrize("event", ["before_fit", "after_fit"])
def test_an_exception_in_the_first_or_last_event_ends_the_run_like_any_other(event: str, tmp_path: Path) -> None:
    heard: list[str] = []

    def fail(trainer: BaseTrainer) -> None:
        raise ValueError("mine")

    hooks = [LambdaHook(on_exception=lambda t, m, e: heard.append(repr(e))), LambdaHook(**{event: fail})]
    with pytest.raises(ValueError, match="mine"):
        fitted(tmp_path, hooks)
    assert heard == ["ValueError('mine')"]
    assert (tmp_path / "exception_checkpoint.pt").exists()


def test_a_state_that_cannot_be_kept_does_not_hide_the_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Confused(Hook):
        def after_backward(self, trainer: BaseTrainer) -> None:
            raise ValueError("the first error")

        def state_dict(self) -> dict[str, Any]:
            raise KeyError("the second one")

    with pytest.raises(ValueError, match="the first error"):
        fitted(tmp_path, [Confused()])
    assert "the state at the failure could not be kept: 'the second one'" in capsys.readouterr().err


def test_what_a_hook_stored_after_the_checkpoint_has_not_happened() -> None:
    """A notebook keeps the hook, and resumes with it."""

    class Keeps(Hook):
        def after_fit(self, trainer: BaseTrainer) -> None: ...

    empty, hook = Dispatcher([Keeps()]).state_dict(), Keeps()
    hook.store("later", 1)
    Dispatcher([hook]).load_state_dict(empty)
    assert hook.get("later") is None


def test_a_stop_and_a_failure_are_told_apart(tmp_path: Path) -> None:
    heard: list[Any] = []
    hook = LambdaHook(on_cancel=lambda t, m: heard.append("cancel"), on_exception=lambda t, m, e: heard.append(repr(e)))

    def fail(trainer: BaseTrainer) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fitted(tmp_path / "a", [hook, LambdaHook(after_backward=fail)])

    def interrupt(trainer: BaseTrainer) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "b", [hook, LambdaHook(after_backward=interrupt)])
    assert heard == ["ValueError('mine')", "cancel"]
    assert (tmp_path / "a" / "exception_checkpoint.pt").exists()
    assert not (tmp_path / "b" / "exception_checkpoint.pt").exists()


def test_a_hook_that_fails_at_a_failure_loses_neither_the_state_nor_the_first_error(tmp_path: Path) -> None:
    def server_is_gone(trainer: Any, model: nn.Module, error: BaseException) -> None:
        raise ConnectionError("no answer")

    hooks = [LambdaHook(on_exception=server_is_gone), LambdaHook(after_step=lambda trainer: 1 / 0)]
    trainer = ToyTrainer(Net(), 0, {"save_loc": str(tmp_path)}, hooks)
    optimizer = torch.optim.SGD(trainer.model.parameters(), 0.01)
    with pytest.raises(ConnectionError) as raised:
        trainer.fit({}, batches_of(), batches_of(8), optimizer, nn.MSELoss(), nn.MSELoss())
    assert isinstance(raised.value.__context__, ZeroDivisionError)
    assert (tmp_path / "exception_checkpoint.pt").exists()
