"""ExpandedPath: the one kind of setting in which ``~`` and environment variables mean something."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _expand(path: Path) -> Path:
    text = os.path.expandvars(path)
    unset = re.search(r"\$\{?(\w+)", text)
    if unset:
        raise ValueError(f"the environment variable {unset[1]} is not set")
    return Path(text).expanduser()


ExpandedPath = Annotated[Path, AfterValidator(_expand)]
"""A path whose ``~``, ``$NAME`` and ``${NAME}`` are expanded; a variable that is not set is an error."""
