"""The base of every settings class; each stands beside the component that reads it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of one component: unknown keys are refused, values are never guessed, instances are immutable.

    A field's ``description`` is its documentation: unit, meaning of 0 or null, and the reason for the default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
