"""Wrong usage ends with 2 in every verb, before anything is read or written; what goes wrong with files ends with 1."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from applications import _values
from applications.__main__ import VERBS, main
from applications._values import Name, Number
from credit_like.can import ATTACK_FAMILIES, VEHICLES, logger, simulator

#: The shortest that each verb takes.
COMPLETE = {
    "prepare": ["gat"],
    "train": ["gat"],
    "tune": ["gat", "--study", "s"],
    "evaluate": ["{run}"],
    "predict": ["{run}", "log", "-o", "alarms.csv"],
    "explain": ["{run}", "--capture", "c", "--time", "1"],
    "report": ["{run}"],
    "compare": ["{run}", "{other}"],
    "verify": ["{run}"],
    "demo": [],
    "inspect": ["log"],
    "ingest": ["log", "-o", "frames.parquet"],
    "simulate": ["-o", "drive.log"],
    "inject": ["log", "--attack", "dos", "-o", "attacked.csv"],
    "config": ["show", "gat"],
}

WRONG = [
    *((verb, [*words, "--nonsense"], "--nonsense") for verb, words in COMPLETE.items()),
    *((verb, ["gat", "trainer.epoch=3"], "trainer.epoch") for verb in ("prepare", "train")),
    *((verb, ["gat", "epochs"], "epochs") for verb in ("prepare", "train")),
    *((verb, ["no-such.yml"], "no-such.yml") for verb in ("prepare", "train")),
    *((verb, [], "name a configuration") for verb in ("prepare", "train")),
    ("prepare", ["gat", "--shard", "3/2"], "--shard"),
    ("prepare", ["gat", "--shard", "1/2", "--merge"], "--merge"),
    ("train", ["gat", "--trainer", "no.such:Thing"], "no.such:Thing"),
    ("train", ["gat", "trainer.type=gatt"], "did you mean 'gat'?"),
    ("train", ["gat", "--controls", "some"], "--controls"),
    ("train", ["gat", "--controls", "all", "trainer.mode=ddp"], "--controls all"),
    ("train", ["dgi_ocgin", "trainer.mode=ddp"], "trainer.mode"),
    ("tune", ["gat"], "--study"),
    ("tune", ["gat", "--study", "a/b"], "--study"),
    ("tune", ["gat", "--study", "s", "hpo.space=null"], "hpo.space"),
    ("tune", ["gat", "--study", "s", "trainer.training_metric=train_loss"], "trainer.training_metric"),
    ("evaluate", [], "RUN"),
    ("evaluate", ["{run}", "again"], "again"),
    ("evaluate", ["{run}", "model.width=3"], "model.width=3"),
    ("evaluate", ["{run}", "evaluation.alarm.k=3"], "evaluation.alarm.k=3"),
    ("predict", ["{run}", "log"], "-o"),
    ("predict", ["{run}", "log", "-o", "alarms.txt"], "alarms.txt"),
    ("predict", ["{run}", "log", "-o", "alarms.csv", "--format", "cndump"], "did you mean 'candump'?"),
    ("explain", ["{run}", "--time", "3"], "--capture"),
    ("explain", ["{run}", "--capture", "c", "--time", "soon"], "--time"),
    ("report", [], "RUN"),
    ("compare", ["{run}"], "two runs or more"),
    ("compare", ["{run}", "{run}"], "named twice"),
    ("verify", ["{run}", "--only", "everything"], "--only"),
    ("demo", ["a", "b"], "b"),
    ("inspect", [], "LOG"),
    ("ingest", ["log"], "-o"),
    ("ingest", ["log", "-o", "frames.csv"], "frames.csv"),
    ("simulate", [], "-o"),
    ("simulate", ["-o", "drive.doc"], "drive.doc"),
    ("simulate", ["-o", "drive.log", "--format", "vector"], "vector"),
    ("inject", ["log", "-o", "a.csv"], "--attack"),
    ("config", ["view"], "view"),
    ("config", ["check", "gat", "model.width=30"], "model.width=30"),
]

MISSING = [
    *((verb, ["no-such-run"]) for verb in ("evaluate", "report", "verify")),
    ("predict", ["no-such-run", "log", "-o", "alarms.csv"]),
    ("explain", ["no-such-run", "--capture", "c", "--time", "1"]),
    ("compare", ["no-such-run", "no-such-run-either"]),
    *((verb, ["gat", "data.path=no-such-logs"]) for verb in ("prepare", "train")),
    ("tune", ["gat", "data.path=no-such-logs", "--study", "s"]),
    ("predict", ["{run}", "log", "-o", "no-such-folder/alarms.csv"]),
    ("demo", ["no-such-logs"]),
    ("inspect", ["no-such.log"]),
    ("ingest", ["no-such.log", "-o", "frames.parquet"]),
    ("simulate", ["-o", "no-such-folder/drive.log"]),
    ("inject", ["no-such.log", "--attack", "dos", "-o", "attacked.csv"]),
]


@pytest.fixture(autouse=True)
def _a_folder_with_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gat_config: str) -> None:
    """The configurations of two runs, and nothing else."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "other"):
        Path(name).mkdir()
        Path(name, "config.yml").write_text(gat_config)


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def filled(words: Sequence[str]) -> list[str]:
    return [word.format(run="run", other="other") for word in words]


def options_of(verb: str, monkeypatch: pytest.MonkeyPatch) -> list[argparse.Action]:
    """The options of a verb, as its help has them."""
    shown: list[argparse.ArgumentParser] = []
    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "print_help", lambda made, file=None: shown.append(made))
        assert main([verb, "--help"]) == 0
    (made,) = shown
    return made._actions


@pytest.mark.parametrize(("verb", "words", "said"), WRONG)
def test_wrong_usage_ends_with_2_and_writes_nothing(
    verb: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files()
    assert main([verb, *filled(words)]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert files() == before


@pytest.mark.parametrize(("verb", "words"), MISSING)
def test_what_is_not_there_ends_with_1_and_is_named(
    verb: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, *filled(words)]) == 1
    assert "no-such" in capsys.readouterr().err


def test_every_verb_is_held_to_both() -> None:
    assert {verb for verb, _, _ in WRONG} == set(VERBS)
    assert {verb for verb, _ in MISSING} == set(VERBS) - {"config"}  # its files are configurations, whose code is 2


@pytest.mark.parametrize("verb", VERBS)
def test_numbers_and_names_out_of_range_name_the_option_that_was_typed(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in options_of(verb, monkeypatch):
        assert action.type not in (int, float), f"{action.option_strings} has no bounds"
        wrong = []
        if isinstance(action.type, Number):
            wrong = ["x", "", "nan", "inf", "-inf"]
            wrong += [
                str(int(bound) + step)
                for bound, step in ((action.type.least, -1), (action.type.most, 1))
                if math.isfinite(bound)
            ]
            wrong += [str(action.type.above)] * math.isfinite(action.type.above)
        elif isinstance(action.type, Name):
            wrong = ["no-such-name", ""]
        for value in wrong:
            assert main([verb, f"{action.option_strings[-1]}={value}"]) == 2
            assert f"argument {'/'.join(action.option_strings)}: " in capsys.readouterr().err


def test_names_that_options_take_are_those_of_the_library() -> None:
    assert tuple(VEHICLES) == _values.VEHICLE_NAMES
    assert tuple(logger.LOGGERS) == _values.LOGGER_NAMES
    assert tuple(ATTACK_FAMILIES) == _values.FAMILY_NAMES
    assert simulator._LONGEST == _values.LONGEST_DRIVE * 60


def test_the_least_that_a_number_may_be_is_good(tmp_path: Path) -> None:
    assert main(["simulate", "--minutes", "0.002", "--bitrate", "50000", "-o", "drive.log"]) == 0
