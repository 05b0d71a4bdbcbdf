"""What makes a folder a run folder; known without torch, so that a mistyped one is refused at once."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.yml"


def run_folder(folder: str | Path) -> Path:
    """``folder`` as a path. Raises UserError when it is no run folder."""
    if not (Path(folder) / CONFIG).is_file():
        from credit_like.config import UserError  # not above, so that `--help` does not wait for pydantic

        raise UserError(f"{folder} is not a run folder (no {CONFIG}); `credit-like train` makes one")
    return Path(folder)
