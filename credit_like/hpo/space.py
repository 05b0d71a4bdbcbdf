"""The search space against the schema: every end of every range must be a valid configuration before a trial runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from credit_like.config import ConfigError, Document, Settings, validate
from credit_like.config.overrides import apply_overrides
from credit_like.hpo.settings import Parameter

#: Settings that a search may not vary, by how they begin, and why.
KEPT = {
    "save_loc": "each trial has a folder of its own in the study's",
    "hpo.": "it is the search itself",
    "data.scaler.": "",
    "data.": "trials are compared on the same windows; give other data or windows a study of their own",
    "experts.": "trials are compared on the same experts",
    "evaluation.": "it judges a trained detector and changes nothing that a trial is compared by",
    "trainer.type": "trials are compared within one kind of trainer",
    "trainer.training_metric": "trials are compared by it",
    "trainer.seed": "the best of many seeds is luck, not a setting",
    "trainer.load_weights": "the study resumes its trials by itself",
    "trainer.device": "where a trial runs is no property of the detector",
    "trainer.mode": "where a trial runs is no property of the detector",
}


def check_space(space: Mapping[str, Parameter], document: Document, schema: type[Settings]) -> None:
    """Every parameter alone, at its ends, in the configuration that ``document`` describes.

    Raises ConfigError, one report of all that is wrong, each with file, line and dotted path: a setting that is not
    there (with the closest one), that a search may not vary, or that does not take a value of the range.
    """
    problems: list[str] = []
    for name, parameter in space.items():
        place = document.place(("hpo", "space", name))
        begins = next((begin for begin in KEPT if name == begin or name.startswith(begin)), None)
        if begins is not None and KEPT[begins]:
            problems.append(f"  {place}: hpo.space: {name} cannot be searched: {KEPT[begins]}")
            continue
        for value in parameter.extremes():
            changed = copy.deepcopy(document)
            known = set(changed.places)
            apply_overrides(changed, [f"{name}={json.dumps(value)}"])
            path = tuple(name.split("."))
            for written in set(changed.places) - known | {p for p in changed.places if p[: len(path)] == path}:
                changed.places[written] = place
            try:
                validate(changed, schema)
            except ConfigError as error:
                problems += str(error).splitlines()[1:]
                break  # the other end of the range would say the same
    if problems:
        count = "1 problem" if len(set(problems)) == 1 else f"{len(set(problems))} problems"
        raise ConfigError("\n".join([f"{count} in the search space:", *dict.fromkeys(problems)]))


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """``{"optimizer.lr": 0.01}`` -> ``["optimizer.lr=0.01"]``, as the command line takes them."""
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]
