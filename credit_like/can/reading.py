"""How logs are to be read, where their content does not say it well enough."""

from __future__ import annotations

from pydantic import Field, field_validator

from credit_like.can.readers import READERS
from credit_like.config import Settings, closest


class ReadSettings(Settings):
    """What ``read_log`` and ``read_dataset`` take beside a path; of a folder it holds for every log in it."""

    format: str | None = Field(
        default=None,
        description="a name of docs/formats.md, to read all logs as that; null: each is recognised by its content",
    )
    max_bad_lines: float = Field(
        default=0.001, ge=0, le=1, description="share of a log's lines that may be no frames; above it is refused"
    )
    assume_rate: float | None = Field(
        default=None, gt=0, description="frames a second for logs without a clock; null: such a log is refused"
    )

    @field_validator("format")
    @classmethod
    def _known(cls, format: str | None) -> str | None:
        if format is None:
            return None
        name = format.lower().replace("-", "_")
        if name not in READERS:
            raise ValueError(f"no reader is named {format!r}{closest(name, READERS)}; known: {', '.join(READERS)}")
        return name
