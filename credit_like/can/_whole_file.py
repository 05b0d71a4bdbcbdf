"""A binary file that is either whole or not there, packed where its name says so."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from credit_like.config.files import replacing


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when the block ends well; gzipped where ``path`` ends in ``.gz``.

    Raises UserError for what the file system refuses.
    """
    with replacing(path) as temporary, open(temporary, "wb") as raw:
        if path.suffix.lower() == ".gz":
            # No name and no time inside: the same frames make the same file.
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield raw
