"""What every registered trainer keeps to, so that a configuration can name it and the engine can run it."""

from __future__ import annotations

import inspect

import pytest

from applications._registry import registered_trainers
from credit_like.config import Settings
from credit_like.training import BaseTrainer, TrainerSettings

every_trainer = pytest.mark.parametrize("name", sorted(registered_trainers()))


def test_there_are_some() -> None:
    assert "gat" in registered_trainers()


@every_trainer
def test_is_a_whole_base_trainer(name: str) -> None:
    trainer = registered_trainers()[name].load()
    assert issubclass(trainer, BaseTrainer)
    assert not inspect.isabstract(trainer)
    assert trainer.fit is BaseTrainer.fit  # the loop is the engine's


@every_trainer
def test_settings_extend_the_engine_s(name: str) -> None:
    schema = registered_trainers()[name].load().Settings
    assert issubclass(schema, TrainerSettings)
    assert schema.model_config["extra"] == "forbid"
    for field, info in TrainerSettings.model_fields.items():
        own = schema.model_fields[field]
        assert own.annotation == info.annotation, f"{name} changes the type of {field}"
    schema()  # every setting has a default


@every_trainer
def test_settings_of_its_own_are_documented_and_become_no_method(name: str) -> None:
    trainer = registered_trainers()[name].load()
    for field, info in trainer.Settings.model_fields.items():
        if field not in TrainerSettings.model_fields:
            assert info.description, f"{name}.{field} says nothing of itself"
            assert not callable(getattr(trainer, field, None)), f"{name}.{field} would hide a method"


@every_trainer
def test_can_be_started_from_a_configuration(name: str) -> None:
    trainer = registered_trainers()[name].load()
    assert issubclass(trainer.ModelSettings, Settings)
    for builder in ("build_model", "build_loss"):
        assert inspect.ismethod(getattr(trainer, builder)), f"{name}.{builder} must be a class method"
    assert trainer.predict_step is not BaseTrainer.predict_step
    assert (inspect.getdoc(trainer) or "").strip()
