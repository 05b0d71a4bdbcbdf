"""MLflowCallback: batch and epoch values, and the configuration, in an MLflow store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from credit_like.config import UserError
from credit_like.training.callbacks.base import Callback

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer


class MLflowCallback(Callback):
    """Logs to the experiment ``experiment`` of the store ``tracking_uri`` (MLflow's default where it is "").

    The run's id is kept in the checkpoint, so that a resume goes on in the same run; values at a step are written again
    with the same step then. Raises UserError without the ``mlflow`` extra.
    """

    def __init__(self, experiment: str = "credit-like", tracking_uri: str = "", run_name: str | None = None) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UserError("MLflowCallback needs the mlflow extra: pip install 'credit-like[mlflow]'") from error
        self._client: Any = MlflowClient(tracking_uri or None)
        self._experiment, self._run_name = experiment, run_name
        self.run_id = ""

    def on_fit_start(self, trainer: BaseTrainer, model: nn.Module) -> None:
        if self.run_id:
            self._client.update_run(self.run_id, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self.run_id = self._client.create_run(experiment, run_name=self._run_name).info.run_id
        for name, value in trainer.settings.model_dump().items():
            self._client.log_param(self.run_id, f"trainer.{name}", value)

    def start(self, samples: int, epoch: int) -> None:
        """The run is opened at ``on_fit_start``, when a resume has brought its id back."""

    def log_batch(self, values: Mapping[str, float], samples: int) -> None:
        self._log({f"batch/{name}": value for name, value in values.items()}, samples)

    def log_epoch(self, row: Mapping[str, float], epoch: int) -> None:
        self._log(row, epoch)

    def on_fit_end(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._client.set_terminated(self.run_id, "FINISHED")

    def on_cancel(self, trainer: BaseTrainer, model: nn.Module) -> None:
        self._client.set_terminated(self.run_id, "KILLED")

    def on_exception(self, trainer: BaseTrainer, model: nn.Module, exc: BaseException) -> None:
        self._client.set_terminated(self.run_id, "FAILED")

    def close(self) -> None:
        """Nothing is open between two calls."""

    def state_dict(self) -> dict[str, Any]:
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.run_id = state["run_id"]

    def _log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(self.run_id, name, value, step=step)
