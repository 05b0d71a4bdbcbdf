"""SearchSettings: the ``hpo`` section of a configuration, which says what is searched and how."""

from __future__ import annotations

import json
import warnings
from typing import Any, Literal

from pydantic import Field, model_validator

from credit_like.config import Settings

Number = int | float

#: Of Optuna's samplers and pruners those that need no objects and that suit one objective, by Optuna's names.
SamplerName = Literal["TPESampler", "RandomSampler", "GPSampler", "QMCSampler", "BruteForceSampler"]
PrunerName = Literal["MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner", "HyperbandPruner", "NopPruner"]


class Parameter(Settings):
    """The values that a search may give to one setting."""

    type: Literal["float", "int", "categorical"]
    low: Number | None = Field(None, description="smallest value (float, int)")
    high: Number | None = Field(None, description="largest value, itself included (float, int)")
    log: bool = Field(False, description="search on a logarithmic scale (float, int)")
    step: Number | None = Field(None, gt=0, description="distance of two values; not with log (float, int)")
    choices: list[Any] | None = Field(None, description="the values to choose from, of any kind (categorical)")

    @model_validator(mode="after")
    def _is_a_range(self) -> Parameter:
        if self.type == "categorical":
            self._check_choices()
            return self
        low, high = self.low, self.high
        if low is None or high is None or self.choices is not None:
            raise ValueError(f"a parameter of type {self.type} has low and high, and no choices")
        if self.type == "int" and not all(isinstance(v, int) for v in (low, high, self.step or 1)):
            raise ValueError(f"low, high and step of an int are integers; got {low} to {high}, step {self.step}")
        if low >= high:
            raise ValueError(f"the range is empty: low must be below high; got {low} to {high}")
        if self.log and low <= 0:
            raise ValueError(f"a logarithmic range begins above 0; got {low}")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range has no step")
        return self

    def _check_choices(self) -> None:
        if not self.choices:
            raise ValueError("the range is empty: a categorical parameter has at least one of choices")
        if self.low is not None or self.high is not None or self.log or self.step is not None:
            raise ValueError("a categorical parameter has choices only: no low, high, log or step")
        texts = [choice_text(choice) for choice in self.choices]
        doubled = next((text for text in texts if texts.count(text) > 1), None)
        if doubled is not None:
            raise ValueError(f"choices names {doubled} twice")

    def extremes(self) -> list[Any]:
        """Values that stand for all: both ends of a range, every choice."""
        return list(self.choices) if self.choices is not None else [self._typed(self.low), self._typed(self.high)]

    def suggest(self, name: str, trial: Any) -> Any:
        """The value that ``trial`` (an ``optuna.Trial``) has, or now gets, for the parameter ``name``."""
        if self.choices is not None:
            return self.value_of(trial.suggest_categorical(name, [choice_text(choice) for choice in self.choices]))
        if self.type == "int":
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step or 1)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def value_of(self, stored: Any) -> Any:
        """The setting's value for what the study has stored."""
        if self.choices is None:
            return self._typed(stored)
        return next(choice for choice in self.choices if choice_text(choice) == stored)

    def _typed(self, value: Number | None) -> Number | None:
        return float(value) if self.type == "float" and value is not None else value


def choice_text(choice: Any) -> str:
    """A choice as the study stores it: text as it is, anything else (lists too, which Optuna does not take) as JSON."""
    return choice if isinstance(choice, str) else json.dumps(choice)


class SearchSettings(Settings):
    """What is searched, by whom, and how much of it."""

    space: dict[str, Parameter] = Field({}, description="dotted setting -> the values that it may take")
    trials: int = Field(20, ge=1, description="trials of the whole study, those of all workers and calls together")
    retries: int = Field(3, ge=0, description="times that a trial whose worker was killed is taken up again")
    sampler: SamplerName = Field("TPESampler", description="Optuna's name of the sampler")
    sampler_options: dict[str, Any] = Field({}, description="its arguments, by Optuna's names")
    pruner: PrunerName = Field("MedianPruner", description="Optuna's name of the pruner; NopPruner: none")
    pruner_options: dict[str, Any] = Field({}, description="its arguments, by Optuna's names")
    seed: int = Field(0, ge=0, lt=2**31, description="of the sampler")

    @model_validator(mode="after")
    def _options_fit(self) -> SearchSettings:
        for kind, options in (("sampler", self.sampler_options), ("pruner", self.pruner_options)):
            if options:  # so that a configuration without options does not wait for Optuna
                try:
                    self.build_sampler(0) if kind == "sampler" else self.build_pruner()
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{kind}_options do not suit the {kind} {getattr(self, kind)}: {error}") from error
        return self

    def build_sampler(self, number: int) -> Any:
        """An ``optuna.samplers`` object for the trial after ``number`` others; workers never draw the same twice."""
        import optuna

        options = dict(self.sampler_options)
        if self.sampler == "TPESampler":
            options.setdefault("constant_liar", True)  # other workers' running trials count as bad, so are kept off
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the user named it
            return getattr(optuna.samplers, self.sampler)(seed=self.seed + number, **options)

    def build_pruner(self) -> Any:
        """An ``optuna.pruners`` object."""
        import optuna

        options = dict(self.pruner_options)
        if self.pruner == "PercentilePruner":
            options.setdefault("percentile", 25.0)
        return getattr(optuna.pruners, self.pruner)(**options)
