"""ModuleTrainer: training for a module that carries its own steps, and a datamodule that carries its loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from credit_like.config import Document, Settings, closest
from credit_like.config.explain import explain
from credit_like.config.problems import config_error
from credit_like.training import BaseTrainer, CheckpointError, EarlyStopping, Logger, ModelCheckpoint, StepOutcome
from credit_like.training.checkpointing import load_weights
from credit_like.training.dispatch import FacedDispatcher
from credit_like.training.history import Row
from credit_like.training.inference import named_loaders


class TrainerConfig(Settings):
    """Settings of a ModuleTrainer."""

    max_epochs: int = Field(300, ge=0)
    precision: Literal["16-mixed", "bf16-mixed", "32"] = Field(
        "16-mixed", description="on a CPU 16-mixed means float32"
    )
    gradient_clip_val: float = Field(1.0, ge=0, description="2-norm of the whole gradient; 0 for none")
    log_every_n_steps: int = Field(50, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Literal["auto", 1] = Field("auto", description="one device a process")
    default_root_dir: str | Path = Field(
        "", description="checkpoints go to its folder checkpoints/; empty: the present folder"
    )

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise config_error(explain(error, Document("TrainerConfig", settings), type(self), defaults=True)) from None


class ModuleTrainer:
    """Fit, validate, test and predict with modules that carry their steps.

    The module has ``training_step(batch, batch_idx)`` and ``validation_step(batch, batch_idx)``, each returning a loss
    or a dict of scalars with "loss", and ``build_optimizers(max_epochs)``, returning an optimizer or a pair
    (optimizer, scheduler). Where it has them, these are used too: ``setup(datamodule)``,
    ``test_step(batch, batch_idx, dataloader_idx)``, ``predict_step(batch, batch_idx)``, ``on_test_epoch_start()``,
    ``on_test_epoch_end()`` and ``calibrate_svdd_center(train_loader, device)`` (before every test). With
    ``automatic_optimization = False`` it steps itself: ``self.trainer.optimize(loss)``, or the seams
    ``self.trainer.loss_t = loss``, ``do_backward()``, ``do_opt_step()``, ``do_zero_grad()``.

    The datamodule has ``setup(stage)`` ("fit", "test", "predict") and ``train_dataloader()``, ``val_dataloader()``,
    ``test_dataloader()``, ``predict_dataloader()``; the last two may give one loader, or a list or dict of them.

    A metric that a step calls ``loss`` or ``val_loss`` is ``val_loss`` in ``callback_metrics`` and ``valid_loss`` in
    the log. What is best, and patience, come from a ModelCheckpoint and an EarlyStopping among the callbacks; without
    them ``val_loss`` and no early stopping. Not supported: several optimizers.
    """

    def __init__(
        self,
        config: TrainerConfig | None = None,
        callbacks: Any = None,
        logger: Logger | Sequence[Logger] | None = None,
    ) -> None:
        if config is not None and not isinstance(config, TrainerConfig):
            raise TypeError(f"config is a TrainerConfig(max_epochs=..., ...); got a {type(config).__name__}")
        self.config = config if config is not None else TrainerConfig()
        self.callbacks, self.loggers = _as_list(callbacks), _as_list(logger)
        self.max_epochs, self.default_root_dir = self.config.max_epochs, self.config.default_root_dir
        self.callback_metrics: dict[str, float] = {}
        self.should_stop = False
        self.datamodule: Any = None
        self._engine: _ModuleEngine | None = None

    def fit(self, model: nn.Module, datamodule: Any, ckpt_path: str | Path | None = None) -> Row:
        """Train; returns the best epoch's row. ``ckpt_path`` resumes everything from that file, in its folder.

        Checkpoints there that go further are put into ``given_up/``. Where the file does not verify, the folder's
        newest one that does is used, which is said. Raises CheckpointError when there is no such file, and what
        ``BaseTrainer.fit`` raises.
        """
        if ckpt_path is not None and not Path(ckpt_path).is_file():
            raise CheckpointError(f"no checkpoint at {ckpt_path}")  # before anything is made in its folder
        self.should_stop = False
        engine = self._attach(model, datamodule, "fit", resume_from=ckpt_path)
        _require(datamodule, "datamodule", "train_dataloader", "val_dataloader")
        _require(model, "module", "training_step", "validation_step", "build_optimizers")
        built = model.build_optimizers(self.max_epochs)  # type: ignore[operator]
        pair = isinstance(built, tuple | list) and len(built) == 2
        optimizer, scheduler = built if pair else (built, None)
        if not isinstance(optimizer, Optimizer) or isinstance(scheduler, Optimizer):
            raise TypeError(
                "build_optimizers must return an optimizer or (optimizer, scheduler), not several optimizers; "
                f"got {'a list or tuple' if isinstance(built, list | tuple) else type(built).__name__}"
            )
        return engine.fit(
            engine.conf, datamodule.train_dataloader(), datamodule.val_dataloader(), optimizer, scheduler=scheduler
        )

    def validate(self, model: nn.Module, datamodule: Any, ckpt_path: str | Path | None = None) -> dict[str, float]:
        """The metrics of ``validation_step`` on the validation loader."""
        engine = self._attach(model, datamodule, "fit", weights_from=ckpt_path)
        _require(datamodule, "datamodule", "val_dataloader")
        _require(model, "module", "validation_step")
        row = engine.test({"": datamodule.val_dataloader()})
        return self._publish({name.replace("test_", "val_", 1): value for name, value in row.items()})

    def test(self, model: nn.Module, datamodule: Any, ckpt_path: str | Path | None = None) -> dict[str, float]:
        """The metrics of ``test_step`` (``validation_step`` without one); names of several loaders are prefixes."""
        engine = self._attach(model, datamodule, "test", weights_from=ckpt_path)
        _require(datamodule, "datamodule", "test_dataloader")
        _require(model, "module", "test_step" if hasattr(model, "test_step") else "validation_step")
        if hasattr(model, "calibrate_svdd_center"):
            model.calibrate_svdd_center(datamodule.train_dataloader(), engine.device)  # type: ignore[operator]
        _call(model, "on_test_epoch_start")
        results = engine.test_all(datamodule.test_dataloader())
        _call(model, "on_test_epoch_end")
        return self._publish(results)

    def predict(self, model: nn.Module, datamodule: Any, ckpt_path: str | Path | None = None) -> list[Any]:
        """The outputs of ``predict_step`` on the CPU, one a batch; a list of such lists for several loaders."""
        engine = self._attach(model, datamodule, "predict", weights_from=ckpt_path)
        _require(datamodule, "datamodule", "predict_dataloader")
        return engine.predict(datamodule.predict_dataloader())

    def predict_on(self, model: nn.Module, loader: Any, ckpt_path: str | Path | None = None) -> list[Any]:
        """``predict`` over one loader, without a datamodule."""
        engine = self._attach(model, None, "predict", weights_from=ckpt_path)
        return engine.predict_on(loader)

    @property
    def engine(self) -> _ModuleEngine:
        """The BaseTrainer behind this face. Raises RuntimeError before the first fit, test or prediction."""
        if self._engine is None:
            raise RuntimeError("there is no engine before fit, validate, test or predict was called")
        return self._engine

    def __getattr__(self, name: str) -> Any:
        """Everything else is the engine's, for callbacks: ``optimizer``, ``step_state``, ``log_batch``, ..."""
        engine = self.__dict__.get("_engine")
        if engine is None:
            raise AttributeError(f"ModuleTrainer has no {name!r} before fit, validate, test or predict was called")
        try:
            return getattr(engine, name)
        except AttributeError:
            raise AttributeError(f"ModuleTrainer has no {name!r}{closest(name, dir(engine))}") from None

    @property
    def current_epoch(self) -> int:
        return 0 if self._engine is None else self._engine.step_state.epoch

    @property
    def global_step(self) -> int:
        """Optimizer steps so far."""
        return 0 if self._engine is None else self._engine.step_state.optimizer_step

    @property
    def checkpoint_callback(self) -> ModelCheckpoint | None:
        return next((callback for callback in self.callbacks if isinstance(callback, ModelCheckpoint)), None)

    @property
    def early_stopping_callback(self) -> EarlyStopping | None:
        return next((callback for callback in self.callbacks if isinstance(callback, EarlyStopping)), None)

    # What a module with ``automatic_optimization = False`` calls.

    @property
    def loss_t(self) -> Tensor:
        return self.engine.loss_t

    @loss_t.setter
    def loss_t(self, loss: Tensor) -> None:
        self.engine.loss_t = loss

    def optimize(self, loss: Tensor) -> StepOutcome:
        """Backward and, when the accumulation group is full, a step."""
        return self.engine.optimize(loss)

    def do_backward(self) -> None:
        self.engine._backward(self.loss_t)

    def do_opt_step(self) -> bool:
        """Step by hand; whether the weights moved."""
        return self.engine.step_by_hand()

    def do_zero_grad(self) -> None:
        BaseTrainer.do_zero_grad(self.engine)

    def _attach(
        self,
        model: nn.Module,
        datamodule: Any,
        stage: str,
        *,
        resume_from: str | Path | None = None,
        weights_from: str | Path | None = None,
    ) -> _ModuleEngine:
        """Set up data and module for ``stage``, and the engine around them."""
        if datamodule is not None:
            _require(datamodule, "datamodule", "setup")
            datamodule.setup(stage)
            _call(model, "setup", datamodule)
        self.datamodule = datamodule
        resumed = None if resume_from is None else Path(resume_from)
        self._engine = _ModuleEngine(self, model, self._conf(resumed), resumed)
        model.trainer = self  # type: ignore[assignment]
        if weights_from is not None:
            load_weights(Path(weights_from), model, self._engine.device)
        return self._engine

    def _conf(self, resume_from: Path | None) -> dict[str, Any]:
        folder = Path(self.default_root_dir) / "checkpoints" if resume_from is None else resume_from.parent
        on_gpu = self.config.accelerator != "cpu" and torch.cuda.is_available()
        precision = {"16-mixed": "16" if on_gpu else "32", "bf16-mixed": "bf16", "32": "32"}
        trainer = {
            "epochs": self.max_epochs,
            "precision": precision[self.config.precision],
            "grad_max_norm": self.config.gradient_clip_val,
            "log_every_n_steps": self.config.log_every_n_steps,
            "device": {"gpu": "cuda"}.get(self.config.accelerator, self.config.accelerator),
            "stopping_patience": max(1, self.max_epochs),
            "load_weights": resume_from is not None,
        }
        return {"save_loc": str(folder), "trainer": trainer}

    def _publish(self, metrics: Mapping[str, float]) -> dict[str, float]:
        self.callback_metrics.update(metrics)
        return dict(metrics)


class _ModuleEngine(BaseTrainer):
    """The engine behind a ModuleTrainer: the module's steps in the one loop."""

    going_on = "resume it (fit with ckpt_path=) or name another default_root_dir"

    def __init__(
        self, face: ModuleTrainer, model: nn.Module, conf: Mapping[str, Any], resume_from: Path | None = None
    ) -> None:
        super().__init__(model, 0, conf, face.callbacks, face.loggers)
        self.face, self.resume_from = face, resume_from
        self._hooks = FacedDispatcher(face.callbacks, self.rank, face)
        self._loader_index: int | None = None  # of the test loader at hand; None outside test

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        automatic = getattr(self.model, "automatic_optimization", True)
        for index, batch in enumerate(self.batches(trainloader), start=self.step_state.batch_idx):
            result = self.model.training_step(batch, index)  # type: ignore[operator]
            self._record_all(result)
            if automatic:
                self.optimize(_loss_of(result))
        self.face.callback_metrics.update({f"train_{n}": v for n, v in self._recorder.means().items()})

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        testing = self._loader_index is not None and hasattr(self.model, "test_step")
        for index, batch in enumerate(self.batches(valid_loader, "valid")):
            if testing:
                result = self.model.test_step(batch, index, self._loader_index)  # type: ignore[operator]
            else:
                result = self.model.validation_step(batch, index)  # type: ignore[operator]
            self._record_all(result)
        if self._loader_index is None:
            self.face.callback_metrics.update({f"val_{n}": v for n, v in self._recorder.means().items()})

    def predict_step(self, batch: Any) -> Any:
        if hasattr(self.model, "predict_step"):
            return self.model.predict_step(batch, self.predicting)  # type: ignore[operator]
        return super().predict_step(batch)

    def test_all(self, loaders: Any) -> dict[str, float]:
        """``test`` over each loader in turn, so that the module is told its index."""
        results: dict[str, float] = {}
        for self._loader_index, (name, loader) in enumerate(named_loaders(loaders)):
            row = self.test({"": loader})
            results |= {f"{name}/{column}" if name else column: value for column, value in row.items()}
        return results

    def step_by_hand(self) -> bool:
        """The optimizer step of a module that does its own backward passes."""
        if not self._group.count:
            self._group.add(self._weight)
        self._outcome = self._close_group()
        return self._outcome is StepOutcome.STEPPED

    def _should_stop(self, epoch: int) -> bool:
        return super()._should_stop(epoch) or self.face.should_stop

    def _record_all(self, result: Any) -> None:
        scalars = result if isinstance(result, Mapping) else {} if result is None else {"loss": result}
        for name, value in scalars.items():
            if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1):
                self.record(name.removeprefix("val_").removeprefix("train_").removeprefix("test_"), value)


def _loss_of(result: Any) -> Tensor:
    loss = result.get("loss") if isinstance(result, Mapping) else result
    if not isinstance(loss, Tensor):
        raise TypeError(f"training_step must return a loss or a dict with 'loss'; got {type(result).__name__}")
    return loss


def _as_list(parts: Any) -> list[Any]:
    return [] if parts is None else list(parts) if isinstance(parts, list | tuple) else [parts]


def _require(part: Any, what: str, *methods: str) -> None:
    lacking = [name for name in methods if not callable(getattr(part, name, None))]
    if lacking:
        raise TypeError(
            f"the {what}, a {type(part).__name__}, has no {' and no '.join(lacking)}; the docstring of ModuleTrainer "
            "says what it needs. BaseTrainer takes any module, and loaders"
        )


def _call(model: nn.Module, name: str, *arguments: Any) -> None:
    method = getattr(model, name, None)
    if callable(method):
        method(*arguments)
