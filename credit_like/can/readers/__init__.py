"""Readers, one file a format. Every module here is imported, so that a new one is known without another edit."""

from __future__ import annotations

import importlib
import pkgutil

from credit_like.can.readers._base import READERS, Reader, RecordReader, TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._rows import Rows

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["READERS", "Lines", "Reader", "RecordReader", "Rows", "TextReader"]
