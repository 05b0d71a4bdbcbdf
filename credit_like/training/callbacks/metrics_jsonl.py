"""MetricsJSONL: every epoch's row as a line of JSON, and its loader."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from credit_like.config import UserError
from credit_like.config.files import replacing
from credit_like.training.callbacks.base import Callback


class MetricsJSONL(Callback):
    """Appends ``{"epoch": 3, "train_loss": 0.1, ...}`` to ``path``; a resume takes out what it will write again.

    JSON has no NaN: a non-finite value is written as null.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def start(self, samples: int, epoch: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics_jsonl(self.path, torn_end=True) if row["epoch"] < epoch] if epoch else []
        with replacing(self.path) as temporary:
            temporary.write_text("".join(_line(row) for row in kept), encoding="utf-8")

    def log_batch(self, values: Mapping[str, float], samples: int) -> None:
        """Batch values are left to other loggers."""

    def log_epoch(self, row: Mapping[str, float], epoch: int) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line({"epoch": epoch, **row}))

    def close(self) -> None:
        """Every line is on its way to the disk already."""


def read_metrics_jsonl(path: str | Path, *, torn_end: bool = False) -> list[dict[str, float]]:
    """The rows of a metrics file, null as NaN; none where there is no file.

    Raises UserError, naming the line, for anything but a JSON object; with ``torn_end`` a last line that a killed
    writer left incomplete is passed over.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({name: math.nan if value is None else value for name, value in row.items()})
        except (json.JSONDecodeError, AttributeError) as error:
            if torn_end and number == len(lines):
                break
            raise UserError(f"{path}:{number} is no line of metrics: {error}; remove it, or the file") from error
    return rows


def _line(row: Mapping[str, float]) -> str:
    return json.dumps({name: value if math.isfinite(value) else None for name, value in row.items()}) + "\n"
