"""Where the real captures are: ``CREDIT_LIKE_DATA``, or ``../shared/data`` beside the project."""

from __future__ import annotations

import os
from pathlib import Path

CAPTURES = Path(os.environ.get("CREDIT_LIKE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def missing(bench: str, folder: Path = CAPTURES) -> bool:
    """Whether ``folder`` is not there, which is said."""
    if folder.is_dir():
        return False
    print(f"{bench}: no real captures at {folder}; set CREDIT_LIKE_DATA to the folder that holds them")
    return True
