"""Trainers by name and by module:Class: found, or refused with what is wrong; a YAML never imports."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from applications import _registry
from applications.__main__ import main
from applications._job import load_job
from credit_like.config import ConfigError
from trainers import GATTrainer

Output = pytest.CaptureFixture[str]

OWN_TRAINER = """
from trainers import GATTrainer

class OwnSettings(GATTrainer.Settings):
    margin: float = 1.0

class OwnTrainer(GATTrainer):
    Settings = OwnSettings

class NoTrainer:
    pass
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the user's working folder, under the name returned, not imported yet."""
    (tmp_path / "own_trainer_module.py").write_text(OWN_TRAINER)
    (tmp_path / "own_broken_module.py").write_text("class T(:\n")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_trainer_module", raising=False)
    return "own_trainer_module"


def register(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    known = [EntryPoint(name, value, _registry.GROUP) for name, value in points]
    monkeypatch.setattr(_registry.importlib.metadata, "entry_points", lambda group: known)


def test_ours_are_registered_like_anybodys() -> None:
    assert _registry.registered_trainers()["gat"].value == "trainers.gat:GATTrainer"
    assert load_job("gat")[1] is GATTrainer


def test_a_users_registered_trainer_is_named_in_a_yaml(own_module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(".")
    register(monkeypatch, ("own", f"{own_module}:OwnTrainer"))
    job, trainer = load_job("gat", ["trainer.type=own", "trainer.margin=2.5"])
    assert trainer.__name__ == "OwnTrainer"
    assert job.trainer.margin == 2.5


def test_the_command_line_may_import_a_class_and_a_configuration_may_not(own_module: str, capsys: Output) -> None:
    spec = f"{own_module}:OwnTrainer"
    assert main(["config", "check", "gat", f"trainer.type={spec}"]) == 2
    assert "A configuration cannot import code" in capsys.readouterr().err
    assert own_module not in sys.modules
    assert main(["config", "check", "gat", "--trainer", spec, "trainer.margin=3"]) == 0
    assert capsys.readouterr().out == "gat is valid: a job for OwnTrainer\n"


def test_a_run_of_an_own_class_is_judged_with_it(
    own_module: str, job: list[str], tmp_path: Path, capsys: Output
) -> None:
    own = ["--trainer", f"{own_module}:OwnTrainer"]
    folder = str(tmp_path / "run")
    assert main(["train", *job, f"save_loc={folder}", "trainer.epochs=1", "--no-evaluate", *own]) == 0
    assert main(["evaluate", folder]) == 2
    assert f"say --trainer {own_module}:OwnTrainer on the command line" in capsys.readouterr().err
    assert main(["evaluate", folder, *own]) == 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("NoColon", "for a class in my_trainer.py of the working folder, not a path; got 'NoColon'"),
        ("../my_trainer.py:Mine", "--trainer takes module:Class, for example my_trainer:MyTrainer"),
        ("own_broken_module:T", "--trainer own_broken_module:T: cannot import 'own_broken_module': invalid syntax"),
        ("no_such_module:T", "--trainer no_such_module:T: cannot import 'no_such_module'"),
        ("own_trainer_module:OwnTrainr", "has no 'OwnTrainr' (did you mean 'OwnTrainer'?)"),
        ("own_trainer_module:NoTrainer", "must be a subclass of credit_like.BaseTrainer"),
        ("credit_like.training:BaseTrainer", "cannot run a job: it lacks ModelSettings, build_model, build_loss"),
    ],
)
def test_what_is_no_trainer_is_refused(own_module: str, spec: str, message: str, capsys: Output) -> None:
    assert main(["config", "check", "gat", "--trainer", spec]) == 2
    assert message in capsys.readouterr().err


def test_unknown_broken_and_doubtful_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(overrides: list[str]) -> str:
        with pytest.raises(ConfigError) as caught:
            load_job("gat", overrides)
        return str(caught.value)

    register(monkeypatch, ("gat", "trainers.gat:GATTrainer"), ("broken", "no_such_module:T"))
    assert "no trainer is registered as 'gatt' (did you mean 'gat'?)" in refused(["trainer.type=gatt"])
    assert "(no_such_module:T) cannot be imported" in refused(["trainer.type=broken"])
    assert "trainer.type must name a registered trainer" in refused(["trainer.type=3"])
    register(monkeypatch, ("gat", "trainers.gat:GATTrainer"), ("gat", "theirs:GATTrainer"))
    assert "two installed packages register the trainer 'gat'" in refused([])


def test_registering_the_same_class_twice_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    same: Any = ("gat", "trainers.gat:GATTrainer")
    register(monkeypatch, same, same)
    assert load_job("gat")[1] is GATTrainer
