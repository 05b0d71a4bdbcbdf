"""CAN frames: readers for log formats, captures and data sets."""

from credit_like.can.captures import AttackInterval, Capture, Defect, SourceFile
from credit_like.can.dataset import Dataset, read_dataset
from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.families import FAMILIES, attack_family
from credit_like.can.frames import COLUMNS, ERROR, EXTENDED, FD, REMOTE, FrameTable
from credit_like.can.intervals import intervals_from_labels
from credit_like.can.read import read_log
from credit_like.can.readers import READERS, Reader

__all__ = [
    "COLUMNS",
    "ERROR",
    "EXTENDED",
    "FAMILIES",
    "FD",
    "READERS",
    "REMOTE",
    "AttackInterval",
    "Capture",
    "Dataset",
    "Defect",
    "FrameTable",
    "LogError",
    "Reader",
    "SourceFile",
    "UnknownFormatError",
    "attack_family",
    "intervals_from_labels",
    "read_dataset",
    "read_log",
]
