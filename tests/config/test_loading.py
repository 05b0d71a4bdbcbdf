"""What a good configuration becomes: YAML 1.2 scalars, overrides, paths, and the way back to YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from credit_like.config import ConfigError, Settings, dump_config, load_config, read_config, shipped_configs
from tests.config.jobs import Job


class Free(Settings):
    """A schema that takes any plain data, to see what YAML makes of it."""

    value: Any = None


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yml"
    path.write_text("data:\n  path: logs\ntrainer:\n  lr: 1e-3\n  betas: [0.9, 1]\n")
    return path


def read(folder: Path, text: str) -> Any:
    path = folder / "free.yml"
    path.write_text(f"value: {text}\n", encoding="utf-8")
    return load_config(path, Free).value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("12", 12),
        ("-012", -12),
        ("+7", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("e5", "e5"),
        ("'1e-3'", "1e-3"),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("[1, [2, x]]", [1, [2, "x"]]),
        ("<<", "<<"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: Any):
    found = read(tmp_path, text)
    assert found == value
    assert type(found) is type(value)


def test_a_file_becomes_settings_with_every_default(job: Path):
    settings = load_config(job, Job)
    assert settings.trainer.lr == 1e-3
    assert settings.trainer.betas == (0.9, 1.0)
    assert settings.data.path == Path("logs")
    assert settings.data.cache == Path("cache")
    assert settings.trainer.epochs == 1


def test_overrides_are_yaml_and_the_later_holds(job: Path):
    overrides = [
        "trainer.epochs=3",
        "trainer.epochs=4",
        "trainer.columns=[loss, f1]",
        "trainer.betas.0=.8",
        "weights={a: 1}",
        "name=a=b",
    ]
    settings = load_config(job, Job, overrides)
    assert settings.trainer.epochs == 4
    assert settings.trainer.columns == ["loss", "f1"]
    assert settings.trainer.betas == (0.8, 1.0)
    assert settings.weights == {"a": 1.0}
    assert settings.name == "a=b"


def test_an_override_may_open_a_section_that_the_file_does_not_have(tmp_path: Path):
    path = tmp_path / "job.yml"
    path.write_text("name: bare\ntrainer:\n")
    settings = load_config(path, Job, ["data.path=logs", "trainer.patience=", "weights.a=2"])
    assert (settings.data.path, settings.trainer.patience, settings.weights) == (Path("logs"), None, {"a": 2.0})


def test_an_override_mends_what_is_wrong_in_the_file(job: Path):
    job.write_text("data: {path: logs}\ntrainer: {lr: fast}\n")
    assert load_config(job, Job, ["trainer.lr=1"]).trainer.lr == 1.0


def test_paths_know_home_and_environment(job: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIVES", "/drives")
    assert load_config(job, Job, ["data.path=$DRIVES/a"]).data.path == Path("/drives/a")
    assert load_config(job, Job, ["data.path=${DRIVES}"]).data.path == Path("/drives")
    assert load_config(job, Job, ["data.path=~/logs"]).data.path == Path.home() / "logs"
    assert load_config(job, Job, ["name=$DRIVES"]).name == "$DRIVES"


def test_a_document_can_be_looked_at_before_its_schema_is_known(job: Path):
    document = read_config(job, ["trainer.type=gat"])
    assert document.get("trainer", "type") == "gat"
    assert document.get("trainer", "betas", 1) == 1
    assert document.get("trainer", "betas", 7) is None
    assert document.get("nothing", "here") is None
    assert str(document.place(("trainer", "lr"))) == f"{job}:4"
    assert str(document.place(("trainer", "type"))) == "command line: trainer.type=gat"


def test_a_byte_order_mark_is_not_part_of_the_first_key(job: Path):
    job.write_bytes(b"\xef\xbb\xbf" + job.read_bytes())
    assert load_config(job, Job).data.path == Path("logs")


def test_a_billion_laughs_end_at_once(tmp_path: Path):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    path = tmp_path / "bomb.yml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"bomb.yml:2: aliases are refused"):
        load_config(path, Free)


def test_nothing_is_imported_or_run(tmp_path: Path):
    witness = tmp_path / "witness"
    with pytest.raises(ConfigError, match="refused"):
        read(tmp_path, f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{witness}]]")
    assert not witness.exists()


def test_the_dump_is_short_and_in_the_order_of_the_schema(job: Path):
    assert (
        dump_config(load_config(job, Job))
        == """\
name: job
data:
  path: logs
  cache: cache
  first: 0
  last: 10
trainer:
  epochs: 1
  lr: 0.001
  amp: true
  columns: true
  betas: [0.9, 1.0]
  mode: none
  patience: null
weights: {}
"""
    )


words = st.text(max_size=12) | st.sampled_from(
    ["1e-3", "yes", "null", "0x1", "\x85", "\u2028 ", "a: b", "# x", "*a", "&a", "!!int", "- a", ".inf", "1_0"]
)
numbers = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(words, below, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_what_is_dumped_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, value: Any):
    path = tmp_path_factory.getbasetemp() / "round_trip.yml"
    path.write_text(dump_config(Free(value=value)), encoding="utf-8")
    found = load_config(path, Free).value
    assert repr(found) == repr(value)


def test_shipped_configurations_are_found_by_name_wherever_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "gat" in shipped_configs()
    assert read_config("gat").get("trainer", "type") == "gat"
    (tmp_path / "gat").write_text("value: 1\n")
    assert read_config("gat").get("value") is None, "a bare name is never a file that happens to lie here"
    assert read_config("./gat").get("value") == 1


symbols = list(":-[]{},'\"&*!?|>#%@`~\t\n\x85é1")
longer = [
    "data",
    "trainer",
    "lr",
    ": ",
    "- ",
    "? ",
    "\n  ",
    "1e-3",
    "&a",
    "*a",
    "!!str ",
    "!!int ",
    "---\n",
    "...",
    "<<",
]
tokens = st.sampled_from(symbols + longer)


def settings_or_report(source: Path, overrides: list[str]) -> str:
    try:
        load_config(source, Job, overrides)
    except ConfigError as error:
        return str(error)
    return str(source)


@given(st.lists(tokens, max_size=20).map("".join), st.lists(st.lists(tokens, max_size=6).map("".join), max_size=2))
def test_any_text_is_settings_or_one_report(tmp_path_factory: pytest.TempPathFactory, text: str, overrides: list[str]):
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(text, encoding="utf-8", newline="")
    report = settings_or_report(path, [*overrides, *(f"trainer.{override}" for override in overrides)])
    assert str(path) in report or "command line: " in report


@given(plain)
def test_any_data_is_settings_or_one_report(tmp_path_factory: pytest.TempPathFactory, value: Any):
    path = tmp_path_factory.getbasetemp() / "data.yml"
    inside = {"data": {"path": value}, "trainer": {"columns": value, "betas": value}}
    for data in ({"data": value}, {"trainer": value}, inside):
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        assert str(path) in settings_or_report(path, [])
