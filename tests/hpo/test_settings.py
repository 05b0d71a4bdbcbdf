"""The search space in a configuration: what it means, and what is refused before a trial runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
from pydantic import ValidationError

from credit_like.config import ConfigError, Settings, read_config
from credit_like.hpo import Parameter, SearchSettings, check_space, overrides_of
from credit_like.hpo.settings import PrunerName, SamplerName


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"type": "float", "low": 1, "high": 1}, "the range is empty: low must be below high; got 1 to 1"),
        ({"type": "float", "low": 2}, "a parameter of type float has low and high"),
        ({"type": "float", "low": 0, "high": 1, "log": True}, "a logarithmic range begins above 0; got 0"),
        ({"type": "float", "low": 1, "high": 2, "log": True, "step": 0.1}, "a logarithmic range has no step"),
        ({"type": "int", "low": 1.5, "high": 3}, "are integers; got 1.5 to 3"),
        ({"type": "int", "low": 1, "high": 3, "choices": [1]}, "has low and high, and no choices"),
        ({"type": "categorical", "choices": []}, "the range is empty: a categorical parameter"),
        ({"type": "categorical", "choices": [1, 2, 1]}, "choices names 1 twice"),
        ({"type": "categorical", "choices": [1, "1"]}, "choices names 1 twice"),
        ({"type": "categorical", "choices": [1], "low": 3}, "has choices only"),
    ],
)
def test_what_is_no_range(given: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        Parameter(**given)


def test_every_name_is_optunas() -> None:
    for name in get_args(SamplerName):
        assert isinstance(SearchSettings(sampler=name).build_sampler(0), getattr(optuna.samplers, name))
    for name in get_args(PrunerName):
        assert isinstance(SearchSettings(pruner=name).build_pruner(), getattr(optuna.pruners, name))


def test_options_that_do_not_suit() -> None:
    with pytest.raises(ValidationError, match=r"pruner_options do not suit the pruner MedianPruner: .*n_warmup"):
        SearchSettings(pruner_options={"n_warmup": 3})


class Inner(Settings):
    lr: float = 0.1
    layers: int = 2
    kind: str = "cat"


class Job(Settings):
    save_loc: str = "x"
    optimizer: Inner = Inner()
    hpo: SearchSettings = SearchSettings()


YAML = """\
optimizer:
  lr: 0.1
hpo:
  space:
    optimizer.lr: {type: float, low: 1e-4, high: 1e-2, log: true}
    optimizer.layer: {type: int, low: 1, high: 3}
    optimizer.layers: {type: float, low: 1, high: 3}
    optimizer.kind: {type: categorical, choices: [cat, 3]}
    save_loc: {type: categorical, choices: [a, b]}
    data.window.window: {type: int, low: 50, high: 100}
    optimizr.lr: {type: float, low: 1e-4, high: 1e-2}
"""


def test_one_report_of_all_that_is_wrong_with_a_space(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text(YAML)
    document = read_config(path)
    space = SearchSettings.model_validate(document.get("hpo")).space
    with pytest.raises(ConfigError) as refused:
        check_space(space, document, Job)
    assert str(refused.value).replace(str(path), "job.yml").splitlines() == [
        "6 problems in the search space:",
        "  job.yml:6: optimizer.layer: unknown key (did you mean 'layers'?)",
        "  job.yml:7: optimizer.layers: expected an integer, received 1.0",
        "  job.yml:8: optimizer.kind: expected text, received 3",
        "  job.yml:9: hpo.space: save_loc cannot be searched: each trial has a folder of its own in the study's",
        "  job.yml:10: hpo.space: data.window.window cannot be searched: trials are compared on the same windows; give "
        "other data or windows a study of their own",
        "  job.yml:11: optimizr: unknown key (did you mean 'optimizer'?)",
    ]


def test_values_as_the_command_line_takes_them() -> None:
    values = {"a.b": 1e-5, "c": "cat", "d": [1, 2], "e": None, "f": True}
    assert overrides_of(values) == ["a.b=1e-05", 'c="cat"', "d=[1, 2]", "e=null", "f=true"]
