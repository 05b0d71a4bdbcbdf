"""Errors that are written for the person at the keyboard: rule, value, where, remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something outside the program is wrong (a log, a YAML, a checkpoint, a folder) and the user can mend it.

    The message is the whole report: the rule that was broken, the value received, where it stood (file and line
    where there is one) and what to do. The applications print it without a traceback and exit with ``exit_code``.
    """

    exit_code = 1


class ConfigError(UserError):
    """The configuration or the command line is wrong; nothing was started."""

    exit_code = 2


def closest(name: str, candidates: Iterable[str]) -> str:
    """A hint for a misspelt ``name``: `` (did you mean 'epochs'?)``, or the empty string when nothing is near."""
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
