"""LoggerContract: what every logger keeps, so that a resumed run neither doubles nor loses a value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from credit_like.training import Logger

Points = dict[str, list[tuple[int, float]]]


class LoggerContract:
    """Tests for a logger. Subclass it, write ``make`` and ``epochs_logged``, and pytest runs the rest.

    ::

        class TestMine(LoggerContract):
            def make(self, folder):
                return MyLogger(folder / "mine.log")

            def epochs_logged(self, folder):
                return {"valid_loss": [(epoch, value), ...]}  # what a reader of the file would see
    """

    def make(self, folder: Path) -> Logger:
        """A fresh logger that writes below ``folder``."""
        raise NotImplementedError("a contract needs make(folder)")  # a test class forgot it

    def epochs_logged(self, folder: Path) -> Points:
        """What the logger has written about epochs below ``folder``: ``{"valid_loss": [(epoch, value), ...], ...}``."""
        raise NotImplementedError("a contract needs epochs_logged(folder)")  # a test class forgot it

    def test_it_is_a_logger(self, tmp_path: Path) -> None:
        logger = self.make(tmp_path)
        assert isinstance(logger, Logger), "a logger has start, log_batch, log_epoch and close"

    def test_what_was_logged_can_be_read_back(self, tmp_path: Path) -> None:
        self._log(tmp_path, range(3), resumed=False)
        self._reads(tmp_path, {0: 0.0, 1: 1.0, 2: 2.0})

    def test_a_resume_replaces_what_was_logged_at_or_beyond(self, tmp_path: Path) -> None:
        """The run was killed in its third epoch, and resumes behind the first."""
        self._log(tmp_path, range(3), resumed=False)
        self._log(tmp_path, range(1, 4), resumed=True)
        self._reads(tmp_path, {0: 0.0, 1: 11.0, 2: 12.0, 3: 13.0})

    def test_non_finite_values_do_not_stop_it(self, tmp_path: Path) -> None:
        logger = self.make(tmp_path)
        logger.start(0, 0)
        logger.log_batch({"train_loss": math.inf}, 4)
        logger.log_epoch({"valid_loss": math.nan, "valid_auc": 0.5}, 0)
        logger.close()
        seen = self.epochs_logged(tmp_path)
        assert (0, 0.5) in seen.get("valid_auc", []), (
            f"beside a NaN valid_auc was logged as 0.5 in epoch 0; read: {seen}"
        )

    def _reads(self, folder: Path, values: dict[int, float]) -> None:
        seen, logged = self.epochs_logged(folder), {"valid_loss": list(values.items())}
        assert seen == logged, f"{logged} were logged last; a reader sees {seen}"

    def _log(self, folder: Path, epochs: range, *, resumed: bool) -> None:
        logger: Any = self.make(folder)
        logger.start(12 * epochs.start, epochs.start)
        for epoch in epochs:
            for batch in (1, 2, 3):
                logger.log_batch({"train_loss": 1.0}, 12 * epoch + 4 * batch)
            logger.log_epoch({"valid_loss": 10.0 * resumed + epoch}, epoch)
        logger.close()
