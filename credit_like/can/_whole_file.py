"""A file that is either whole or not there: written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import gzip
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from credit_like.config import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path``, gzipped where that ends in ``.gz``, which takes its place when the block ends well.

    When it does not, the file is removed and ``path`` stays as it was. Raises UserError for what the file system
    refuses.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as raw:
            if path.suffix.lower() == ".gz":
                # No name and no time inside: the same frames make the same file.
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Check that its folder exists, that it may be written to and that the disk has space left."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
