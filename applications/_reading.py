"""How a verb reads logs: the options for what their content does not say."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from applications._values import Number

if TYPE_CHECKING:
    from credit_like.can import ReadSettings


def add_reading(made: argparse.ArgumentParser, format_option: str = "--format") -> None:
    """Give a verb ``--format NAME`` (or as ``format_option`` calls it), ``--max-bad-lines``, ``--assume-rate``."""
    made.add_argument(
        format_option, dest="read_as", metavar="NAME", help="read the log as this format (docs/formats.md names them)"
    )
    made.add_argument(
        "--max-bad-lines",
        type=Number(float, least=0, most=1),
        metavar="SHARE",
        help="read a log in which up to this share of the lines, 0 to 1, are no frames (default: 0.001)",
    )
    made.add_argument(
        "--assume-rate",
        type=Number(float, above=0, unit="frames a second"),
        metavar="N",
        help="frames a second, for a log without a clock (default: such a log is refused)",
    )


def reading_of(options: argparse.Namespace) -> ReadSettings:
    """The parsed options. Raises ConfigError for a format that there is not."""
    from pydantic import ValidationError

    from credit_like.can import ReadSettings
    from credit_like.config import ConfigError

    given = {"format": options.read_as, "max_bad_lines": options.max_bad_lines, "assume_rate": options.assume_rate}
    try:
        return ReadSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise ConfigError("\n".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None
