"""ModuleTrainer: what cannot be is said before anything is made."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from credit_like.config import ConfigError, UserError
from credit_like.training import (
    CheckpointError,
    EarlyStopping,
    LambdaHook,
    ModelCheckpoint,
)
from tests.trainers.line_module import Data, Regression, trainer
from trainers.module import ModuleTrainer, TrainerConfig


class Bare:
    def setup(self, stage: str) -> None: ...


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    class Two(Regression):
        def build_optimizers(self, max_epochs: int) -> Any:
            return [super().build_optimizers(max_epochs)], []

    class Pair(Regression):
        def build_optimizers(self, max_epochs: int) -> Any:
            return [super(Pair, self).build_optimizers(max_epochs) for _ in range(2)]

    for several in (Two(), Pair()):
        with pytest.raises(TypeError, match="not several optimizers; got a list or tuple"):
            trainer(tmp_path).fit(several, Data())
    with pytest.raises(TypeError, match=r"config is a TrainerConfig\(max_epochs=\.\.\., \.\.\.\); got a dict"):
        ModuleTrainer({"max_epochs": 2})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the datamodule, a list, has no setup; the docstring of ModuleTrainer says"):
        trainer(tmp_path).fit(Regression(), [])
    for verb, part, lacking in (
        ("fit", Bare(), "train_dataloader and no val_dataloader"),
        ("validate", Bare(), "val_dataloader"),
        ("test", Bare(), "test_dataloader"),
        ("predict", Bare(), "predict_dataloader"),
    ):
        with pytest.raises(TypeError, match=f"the datamodule, a Bare, has no {lacking}; the docstring of"):
            getattr(trainer(tmp_path), verb)(Regression(), part)
    for verb, lacking in (("fit", "training_step and no validation_step and no build_optimizers"), ("test", "validat")):
        with pytest.raises(TypeError, match=f"the module, a Linear, has no {lacking}"):
            getattr(trainer(tmp_path), verb)(nn.Linear(1, 1), Data())
    with pytest.raises(AttributeError, match=r"ModuleTrainer has no 'optimiser' \(did you mean 'optimizer'\?\)"):
        trainer(tmp_path, callbacks=LambdaHook(after_step=lambda face: face.optimiser)).fit(Regression(), Data())
    with pytest.raises(ConfigError, match="'valid_auc' is in no row of results"):
        trainer(tmp_path, callbacks=[EarlyStopping("val_auc")]).fit(Regression(), Data())
    both = [EarlyStopping("val_loss"), ModelCheckpoint("val_bias", "max")]
    with pytest.raises(ConfigError, match="one metric that decides what is best"):
        trainer(tmp_path / "c", callbacks=both).fit(Regression(), Data())


def test_a_run_that_is_there_is_not_begun_again_and_the_remedy_is_the_face_s(tmp_path: Path) -> None:
    trainer(tmp_path, 1).fit(Regression(), Data())
    with pytest.raises(
        UserError, match=r"holds a run already; resume it \(fit with ckpt_path=\) or name another default"
    ):
        trainer(tmp_path, 1).fit(Regression(), Data())


def test_a_checkpoint_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "mine.pt", tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint at "):
            trainer(tmp_path / "a").fit(Regression(), Data(), ckpt_path=path)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_be_are_told_like_all_others() -> None:
    with pytest.raises(ConfigError) as told:
        TrainerConfig(max_epoch=3, precision="16")
    assert str(told.value) == (
        "2 problems in the configuration:\n"
        "  TrainerConfig: precision: expected '16-mixed', 'bf16-mixed' or '32', received '16'\n"
        "  TrainerConfig: max_epoch: unknown key (did you mean 'max_epochs'?)"
    )
    assert list(inspect.signature(TrainerConfig).parameters)[:3] == ["max_epochs", "precision", "gradient_clip_val"]
