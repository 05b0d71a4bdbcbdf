"""MLflowCallback: batch and epoch values, and the configuration, in an MLflow store."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from credit_like.config import UserError
from credit_like.training.callbacks.base import Callback

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


_MOST_AT_ONCE = 1000  # metrics that MLflow takes in one call


class MLflowCallback(Callback):
    """Logs to the experiment ``experiment`` of the store ``tracking_uri`` (MLflow's default where it is "").

    The run's id is kept in the checkpoint, so that a resume goes on in the same run; values at a step are written again
    with the same step then. A call to the store takes tens of milliseconds, so values are sent together: at most
    ``send_every_s`` seconds late, at the end of each epoch, and before a checkpoint that is ahead of them. Raises
    UserError without the ``mlflow`` extra.
    """

    main_process_only = True

    def __init__(
        self,
        experiment: str = "credit-like",
        tracking_uri: str = "",
        run_name: str | None = None,
        send_every_s: float = 5.0,
    ) -> None:
        try:
            from mlflow import entities
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UserError("MLflowCallback needs the mlflow extra: pip install 'credit-like[mlflow]'") from error
        self._client: Any = MlflowClient(tracking_uri or None)
        self._entities: Any = entities
        self._experiment, self._run_name, self._send_every_s = experiment, run_name, send_every_s
        self._waiting: list[Any] = []  # metrics that the store has not got yet
        self._sent_at = time.monotonic()
        self.run_id = ""

    def on_fit_start(self, trainer: BaseTrainer, model: nn.Module) -> None:
        if self.run_id:
            self._client.update_run(self.run_id, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self.run_id = self._client.create_run(experiment, run_name=self._run_name).info.run_id
        settings = trainer.settings.model_dump().items()
        params = [self._entities.Param(f"trainer.{name}", str(value)) for name, value in settings]
        self._client.log_batch(self.run_id, params=params)

    def start(self, samples: int, epoch: int) -> None:
        """The run is opened at ``on_fit_start``, when a resume has brought its id back."""

    def log_batch(self, values: Mapping[str, float], samples: int) -> None:
        self._take({f"batch/{name}": value for name, value in values.items()}, samples)
        if len(self._waiting) >= _MOST_AT_ONCE or time.monotonic() - self._sent_at >= self._send_every_s:
            self._send()

    def log_epoch(self, row: Mapping[str, float], epoch: int) -> None:
        self._take(row, epoch)
        self._send()

    def on_fit_end(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._terminate("FINISHED")

    def on_cancel(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._terminate("KILLED")

    def on_exception(self, trainer: BaseTrainer, model: nn.Module, exc: BaseException) -> None:
        self._terminate("FAILED")

    def close(self) -> None:
        """Everything was sent at the end of the run."""

    def state_dict(self) -> dict[str, Any]:
        self._send()  # a killed run resumes from this checkpoint, and will not log what was before it again
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.run_id = state["run_id"]

    def _terminate(self, status: str) -> None:
        if not self.run_id:
            return  # another callback failed before this one began
        self._send()
        self._client.set_terminated(self.run_id, status)

    def _take(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        finite = [(name, value) for name, value in values.items() if math.isfinite(value)]
        self._waiting += [self._entities.Metric(name, value, now, step) for name, value in finite]

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self.run_id, metrics=self._waiting[:_MOST_AT_ONCE])
            del self._waiting[:_MOST_AT_ONCE]
        self._sent_at = time.monotonic()
