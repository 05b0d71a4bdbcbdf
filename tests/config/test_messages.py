"""What a user reads when a configuration is wrong, word for word."""

# ruff: noqa: E501 (messages are quoted whole)

from __future__ import annotations

from pathlib import Path

import pytest

from credit_like.config import ConfigError, load_config
from tests.config.jobs import Job


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def message(text: str | bytes, *overrides: str) -> str:
    Path("job.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config("job.yml", Job, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def one(text: str | bytes, *overrides: str) -> str:
    head, problem = message(text, *overrides).split("\n")
    assert head == "1 problem in the configuration:"
    return problem.strip()


def test_everything_that_is_wrong_is_in_one_report_in_the_order_of_the_file():
    text = """\
# a job
trainer:
  epoch: 3
  lr: fast
  lr: 1e-3
epochs: 4
data:
  path: !!python/object/apply:os.system [ls]
  first: 1.5
"""
    assert (
        message(text, "trainer.amp=yes", "trainer.mode=dpp", "name")
        == """\
8 problems in the configuration:
  job.yml:3: trainer.epoch: unknown key (did you mean 'epochs'?)
  job.yml:5: trainer.lr: given twice (first: job.yml:4)
  job.yml:6: epochs: unknown key (did you mean 'trainer.epochs'?)
  job.yml:8: data.path: the tag !!python/object/apply:os.system is refused: a configuration holds plain values only
  job.yml:9: data.first: expected an integer, received 1.5
  command line: name: an override is written section.key=value, without spaces around the =
  command line: trainer.amp=yes: expected true or false, received 'yes'
  command line: trainer.mode=dpp: expected 'none', 'ddp' or 'fsdp' (did you mean 'ddp'?), received 'dpp'"""
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("epochs: '3'", "job.yml:3: trainer.epochs: expected an integer, received '3'"),
        ("epochs: 3.0", "job.yml:3: trainer.epochs: expected an integer, received 3.0"),
        ("epochs: true", "job.yml:3: trainer.epochs: expected an integer, received true"),
        ("epochs: 0", "job.yml:3: trainer.epochs: expected a value of at least 1, received 0"),
        ("epochs:", "job.yml:3: trainer.epochs: expected an integer, received null"),
        ("lr: -1", "job.yml:3: trainer.lr: expected a value greater than 0, received -1"),
        ("lr: .inf", "job.yml:3: trainer.lr: expected a finite number, received inf"),
        ("amp: 1", "job.yml:3: trainer.amp: expected true or false, received 1"),
        ("amp: on", "job.yml:3: trainer.amp: expected true or false, received 'on'"),
        ("columns: 3", "job.yml:3: trainer.columns: expected true or false, or a list, received 3"),
        ("columns: [loss,\n    3]", "job.yml:4: trainer.columns.1: expected text, received 3"),
        ("betas: [0.9]", "job.yml:3: trainer.betas.1: required, but not given"),
        ("patience: soon", "job.yml:3: trainer.patience: expected an integer, received 'soon'"),
        (
            "zeal: 3",
            "job.yml:3: trainer.zeal: unknown key; valid here: epochs, lr, amp, columns, betas, mode, patience",
        ),
        ("lr: [1, {a: 2}]", "job.yml:3: trainer.lr: expected a number, received [1, {'a': 2}]"),
        (f"lr: {'x' * 80}", f"job.yml:3: trainer.lr: expected a number, received '{'x' * 56}..."),
    ],
)
def test_one_wrong_setting(settings: str, expected: str):
    assert one(f"data: {{path: logs}}\ntrainer:\n  {settings}\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "job.yml: the file holds no settings"),
        ("# nothing but a comment\n", "job.yml: the file holds no settings"),
        ("\n- 1\n", "job.yml:2: expected a section of keys (name: value), received [1]"),
        ("name: a\n", "job.yml: data: required, but not given"),
        ("name: a\ndata:\n  cache: c\n", "job.yml:2: data.path: required, but not given"),
        ("data: logs\n", "job.yml:1: data: expected a section of keys, received 'logs'"),
        ("data: {path: p, first: 5, last: 3}", "job.yml:1: data: first (5) lies behind last (3)"),
        (
            "data: {path: $UNSET_HERE/x}",
            "job.yml:1: data.path: the environment variable UNSET_HERE is not set (received '$UNSET_HERE/x')",
        ),
        ("data: {path: p}\nweights: {a: x}", "job.yml:2: weights.a: expected a number, received 'x'"),
        ("data: {path: p}\n? [a]\n: 1", "job.yml:2: a key must be plain text, not a list or a section"),
        ("data: {path: p}\nname: !!int many", "job.yml:2: name: 'many' is not what its tag !!int says"),
        (
            "data: {path: p}\nname: !!binary aGk=",
            "job.yml:2: name: the tag !!binary is refused: a configuration holds plain values only",
        ),
        ("a: [1\nb: 2\n", "job.yml:2: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        (
            "a:\n\tb: 1\n",
            "job.yml:2: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token",
        ),
        (
            "a: 1\n---\nb: 1\n",
            "job.yml:2: not valid YAML: expected a single document in the stream, but found another document",
        ),
        ("a: \x01\n", "job.yml: not valid YAML: unacceptable character #x0001: special characters are not allowed"),
        ("a: &x [1]\nb: *x\n", "job.yml:2: aliases are refused: write the value out instead of *x"),
        ("a: &x [*x]\n", "job.yml:1: aliases are refused: write the value out instead of *x"),
        ("a: " + "[" * 5000, "job.yml:1: more than 32 sections or lists inside each other"),
    ],
)
def test_one_wrong_file(text: str, expected: str):
    assert one(text) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.epochs=x", "command line: trainer.epochs=x: expected an integer, received 'x'"),
        ("trainer={epoch: 3}", "command line: trainer={epoch: 3}: trainer.epoch: unknown key (did you mean 'epochs'?)"),
        ("trainer.weight=3", "command line: trainer.weight=3: unknown key (did you mean 'weights'?)"),
        (
            "trainer.betas=[",
            "command line: trainer.betas=[: not valid YAML: while parsing a flow node, expected the node content, but found '<stream end>'",
        ),
        (
            "data.path=!!python/name:os.system",
            "command line: data.path=!!python/name:os.system: the tag !!python/name:os.system is refused: a configuration holds plain values only",
        ),
        ("data.path.x=3", "command line: data.path.x=3: data.path is 'p', which has no keys like 'x'"),
        (
            "trainer.betas.7=3",
            "command line: trainer.betas.7=3: trainer.betas is [0.9, 1], which has no positions like '7'",
        ),
        ("trainer. epochs=3", "command line: trainer. epochs=3: unknown key (did you mean 'epochs'?)"),
        ("=3", "command line: =3: an override is written section.key=value, without spaces around the ="),
        ("a..b=3", "command line: a..b=3: an override is written section.key=value, without spaces around the ="),
    ],
)
def test_one_wrong_override(override: str, expected: str):
    assert one("data: {path: p}\ntrainer: {betas: [0.9, 1]}\n", override) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["data.first=11"],
            "command line: data.first=11: data: first (11) lies behind last (10) (its section: job.yml:1)",
        ),
        (
            ["data.cache=x", "data.last=2", "data.first=3"],
            "command line: data.last=2 data.first=3: data: first (3) lies behind last (2) (its section: job.yml:1)",
        ),
        (["data={path: p, first: 11}"], "command line: data={path: p, first: 11}: first (11) lies behind last (10)"),
    ],
)
def test_a_rule_between_settings_that_overrides_broke_names_them(overrides: list[str], expected: str):
    assert one("data: {path: p}\n", *overrides) == expected


def test_a_key_that_holds_dots_is_reached_where_it_is_there():
    text = "data: {path: p}\nweights: {a.b: 1.0, a.b.c: 2.0}\n"
    Path("job.yml").write_text(text)
    job = load_config("job.yml", Job, ["weights.a.b=3", "weights.a.b.c=4", "weights.d=5"])
    assert job.weights == {"a.b": 3.0, "a.b.c": 4.0, "d": 5.0}
    assert one(text, "weights.a.b=x") == "command line: weights.a.b=x: expected a number, received 'x'"


def test_a_rule_that_the_file_broke_names_its_line_whatever_else_is_overridden():
    text = "trainer: {epochs: 3}\ndata: {path: p, first: 11}\n"
    assert one(text, "trainer.epochs=4") == "job.yml:2: data: first (11) lies behind last (10)"


def test_a_file_that_is_no_configuration():
    assert message(b"\xff\xfe") == "job.yml:1 is no configuration: it is not UTF-8 text"
    assert message(b"a: 1\n\x80") == "job.yml:2 is no configuration: it is not UTF-8 text"
    assert message(b"#" * 1_000_001) == "job.yml is no configuration: it is larger than 1,000,000 bytes"


def test_a_source_that_is_not_there():
    Path("other.yml").touch()
    Path("folder").mkdir()
    with pytest.raises(
        ConfigError, match=r"^there is no configuration 'othr.yml' \(did you mean 'other.yml'\?\); shipped: "
    ):
        load_config("othr.yml", Job)
    with pytest.raises(ConfigError, match=r"^folder is a folder; a configuration is one YAML file$"):
        load_config("folder", Job)
