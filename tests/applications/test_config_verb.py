"""credit-like config: what it prints, and that every configuration we ship is valid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from applications.__main__ import main
from applications._job import Job, load_job
from credit_like.config import shipped_configs


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_is_valid(name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["config", "check", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name} is valid: a job for ")


def test_list_says_what_each_is_for(capsys: pytest.CaptureFixture[str]):
    assert main(["config", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_configs())
    assert all(len(line.split()) > 2 for line in lines)


def test_what_show_prints_is_the_same_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["config", "show", "gat", "trainer.epochs=7", "data.path=logs"]) == 0
    shown = tmp_path / "shown.yml"
    shown.write_text(capsys.readouterr().out)
    again, _ = load_job(shown)
    assert again.trainer.epochs == 7
    assert again.model_dump() == load_job("gat", ["trainer.epochs=7", "data.path=logs"])[0].model_dump()


def test_check_lists_every_problem_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    job = tmp_path / "job.yml"
    job.write_text("save_loc: runs/x\ndata: {path: logs}\ntrainer:\n  type: gat\n  epoch: 3\n")
    assert main(["config", "check", str(job), "model.width=wide"]) == 2
    assert capsys.readouterr().err == (
        "error: 2 problems in the configuration:\n"
        f"  {job}:5: trainer.epoch: unknown key (did you mean 'epochs'?)\n"
        "  command line: model.width=wide: expected an integer, received 'wide'\n"
    )


def test_shares_that_an_override_made_sum_to_more_are_named_with_it(capsys: pytest.CaptureFixture[str]):
    assert main(["config", "check", "gat", "data.split.train=0.9", "data.split.seed=3"]) == 2
    split = next(n for n, line in enumerate(shipped_configs()["gat"].read_text().splitlines(), 1) if "split:" in line)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  command line: data.split.train=0.9: data.split: train 0.9, fusion 0.1, validation 0.15 and test 0.25 must "
        "sum to 1, and sum to 1.4; lower one or several of them, by 0.4 in all "
        f"(its section: {shipped_configs()['gat']}:{split})"
    ]


def test_schema_is_that_of_all_jobs_or_of_one(capsys: pytest.CaptureFixture[str]):
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == Job.model_json_schema()
    assert main(["config", "schema", "gat"]) == 0
    schema = json.loads(capsys.readouterr().out)
    trainer = schema["$defs"][schema["properties"]["trainer"]["$ref"].rpartition("/")[2]]
    assert trainer["properties"]["epochs"]["default"] == 1
    assert trainer["properties"]["epochs"]["description"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["config"], "error: the following arguments are required: action"),
        (["config", "lst"], "invalid choice: 'lst'"),
        (["config", "show"], "error: show what? Name a YAML file, or one of `credit-like config list`"),
        (["config", "check", "gta"], "error: there is no configuration 'gta' (did you mean 'gat'?); shipped: "),
    ],
)
def test_wrong_usage(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(argv) == 2
    assert message in capsys.readouterr().err
