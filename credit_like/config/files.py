"""Files that are either whole or not there: written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from credit_like.config.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; when the block ends well its content takes the place of ``path``.

    The file and its folder are flushed to the disk, so that a power cut leaves the old file or the new one. On an
    error the temporary file is removed and ``path`` stays as it was. A disk that is full, or a folder that is missing
    or read-only, is a UserError.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        reason = error.strerror or str(error).partition(" (os error")[0]  # polars has the reason in its text alone
        raise UserError(
            f"{path} cannot be written: {reason}. "
            "Check that its folder exists, that it may be written to and that the disk has space left."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
