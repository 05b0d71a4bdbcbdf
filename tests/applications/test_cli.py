"""How a run of the console command ends: message, exit code, and what it costs to ask for help."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from applications import __main__ as console
from applications._arguments import CHECKS
from applications._cli import add_conf, parse_conf, parser, run
from credit_like import verification
from credit_like.config import ConfigError, UserError

ROOT = Path(__file__).parents[2]

#: Verbs that import numpy or pydantic for their own arguments.
LIGHT = ("simulate", "inject", "config")


def raising(error: BaseException) -> Callable[[list[str]], int | None]:
    def main(argv: list[str]) -> int | None:
        raise error

    return main


class _StoppedByEngine(BaseException):
    """Like the engine's own way out of an epoch, which is no Exception either."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("a.log:3: not a frame"), 1, "error: a.log:3: not a frame\n"),
        (ConfigError("2 problems in the configuration:\n  x"), 2, "error: 2 problems in the configuration:\n  x\n"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), 1, "error: No space left on device: runs/a\n"),
        (OSError(errno.EIO, "Input/output error"), 1, "error: Input/output error\n"),
        (KeyboardInterrupt(), 75, "stopped\n"),
        (_StoppedByEngine("after step 7"), 75, "stopped: after step 7\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("no"), 1, "no\n"),
        (
            KeyError("loss"),
            1,
            "internal error: KeyError: 'loss'; run again with --debug for the traceback\n",
        ),
    ],
)
def test_every_ending_has_one_message_and_a_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
):
    assert run(raising(error), []) == code
    assert capsys.readouterr().err == message


def test_debug_shows_the_traceback_and_is_no_argument_of_the_verb(capsys: pytest.CaptureFixture[str]):
    def main(argv: list[str]) -> int | None:
        assert argv == ["gat", "a=1"]
        raise UserError("rule")

    assert run(main, ["gat", "--debug", "a=1"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: rule\n")


def test_what_a_verb_returns_is_the_code():
    assert run(lambda argv: None, []) == 0
    assert run(lambda argv: 75, []) == 75


@pytest.mark.parametrize(
    ("argv", "conf", "overrides"),
    [
        (["gat"], "gat", []),
        (["gat", "a=1", "b.c=x"], "gat", ["a=1", "b.c=x"]),
        (["-c", "conf/gat.yml", "a=1"], "conf/gat.yml", ["a=1"]),
        (["a=1", "-c", "gat"], "gat", ["a=1"]),
        (["gat", "a=1", "--resume", "b=2"], "gat", ["a=1", "b=2"]),
        (["--resume", "gat", "a=-1"], "gat", ["a=-1"]),
    ],
)
def test_configuration_and_overrides_in_any_order(argv: list[str], conf: str, overrides: list[str]):
    made = parser("train", "Train.")
    add_conf(made)
    made.add_argument("--resume", action="store_true")
    options, found, rest = parse_conf(made, argv)
    assert (found, rest) == (conf, overrides)
    assert options.resume == ("--resume" in argv)


@pytest.mark.parametrize("argv", [[], ["a=1"]])
def test_no_configuration_is_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]):
    made = parser("train", "Train.")
    add_conf(made)
    assert run(lambda rest: parse_conf(made, rest) and None, argv) == 2
    assert "credit-like train: error: name a configuration" in capsys.readouterr().err


def test_a_misspelt_verb_is_named_with_the_closest(capsys: pytest.CaptureFixture[str]):
    assert console.main(["trian"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: there is no verb 'trian' (did you mean 'train'?); verbs: prepare,"
    )


def test_no_verb_is_wrong_usage_and_help_is_not(capsys: pytest.CaptureFixture[str]):
    assert console.main([]) == 2
    usage = capsys.readouterr().err
    assert console.main(["--help"]) == 0
    assert capsys.readouterr().out == usage
    assert all(f"\n  {verb} " in usage for verb in console.VERBS)


def test_every_verb_is_a_file_that_explains_itself(capsys: pytest.CaptureFixture[str]):
    for verb in console.VERBS:
        assert console.main([verb, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"usage: credit-like {verb} ")


def test_a_folder_among_the_overrides_is_taken_for_the_logs(capsys: pytest.CaptureFixture[str]):
    assert console.main(["train", "gat", "/logs/mine", "trainer.epochs=1"]) == 2
    said = capsys.readouterr().err
    assert said.endswith("error: /logs/mine is no key=value; if your logs are there, say data.path=/logs/mine\n")


@pytest.mark.parametrize(
    "argv", [["train"], ["train", "gta"], ["compare"], ["verify", "r", "--sample", "0"], ["report", "no_folder"]]
)
def test_wrong_usage_and_mistyped_folders_wait_for_no_torch(argv: list[str]):
    assert loaded_by([argv], "torch") == "[]\n"


def test_help_waits_for_nothing_heavy():
    helps = [["--help"], *([verb, "--help"] for verb in console.VERBS if verb not in LIGHT)]
    assert loaded_by(helps, "torch", "pydantic", "numpy", "polars") == "[]\n"
    assert loaded_by([[verb, "--help"] for verb in LIGHT], "torch") == "[]\n"


def loaded_by(commands: list[list[str]], *packages: str) -> str:
    """Which of ``packages`` a fresh interpreter holds after the commands."""
    code = (
        f"import sys; from applications.__main__ import main\nfor argv in {commands}: main(argv)\n"
        f"print(sorted(set({packages}) & set(sys.modules)), file=sys.__stdout__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(keepends=True)[-1]


def test_the_checks_that_can_be_named_are_those_there_are():
    assert CHECKS == verification.CHECKS


def test_a_reader_that_goes_away_and_a_full_disk_are_no_internal_errors():
    command = [sys.executable, "-m", "applications", "--help"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    gone = subprocess.run(command, cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert (gone.returncode, gone.stderr) == (1, "")
    with open("/dev/full", "w") as full_disk:
        full = subprocess.run(command, cwd=ROOT, stdout=full_disk, stderr=subprocess.PIPE, text=True, check=False)
    assert (full.returncode, full.stderr) == (1, "error: No space left on device\n")


def test_a_store_in_shards(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = ([f"data.path={logs}", f"data.store={tmp_path / name}"] for name in ("whole", "parts"))
    assert console.main(["prepare", "gat", *whole]) == 0
    for shard in ("2/2", "1/2"):
        assert console.main(["prepare", "gat", *parts, "--shard", shard]) == 0
    assert console.main(["prepare", "gat", *parts, "--merge"]) == 0
    assert "windows\nstore: " in capsys.readouterr().out
    one, other = (next((tmp_path / name).glob("*/manifest.json")) for name in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
    assert console.main(["prepare", "gat", *parts, "--shard", "3/2"]) == 2
    assert "--shard takes I/N with I from 1 to N" in capsys.readouterr().err


def test_in_a_file_what_is_said_and_what_is_warned_of_stand_in_their_order():
    code = (
        "import sys; from applications._cli import run; "
        "sys.exit(run(lambda argv: [print('first'), print('second', file=sys.stderr), print('third')] and 0, []))"
    )
    both = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    assert both.stdout.split() == ["first", "second", "third"]
