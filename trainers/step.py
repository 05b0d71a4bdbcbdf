"""StepTrainer: for somebody with a function, `train_step(batch, trainer) -> {"loss": ...}`, and a list of hooks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from credit_like.config import ConfigError, closest
from credit_like.training import BaseTrainer
from credit_like.training.device import environment_rank
from credit_like.training.dispatch import FacedDispatcher
from credit_like.training.history import Row
from credit_like.training.progress import say

Step = Callable[[Any, "StepTrainer"], Mapping[str, Any]]


class StepTrainer:
    """Fit ``model`` with a function that turns a batch into losses and metrics.

    Args:
        model: any module; moved to ``device``.
        train_step: ``(batch, trainer) -> {"loss": scalar, ...}``. Every scalar in the dict is recorded; without
            "loss" there is no backward pass. Anything but a dict is a TypeError.
        train_dl, valid_dl: anything that can be iterated anew each epoch. Without ``valid_dl`` there is no validation,
            and ``train_loss`` decides what is best.
        eval_step: the same for validation; ``train_step`` where it is None.
        optim: an optimizer, or a function of the parameters that makes one; AdamW at 1e-3 where it is None.
        epochs: of the whole run.
        hooks: one hook or a list, of either vocabulary; they get this trainer.
        device: "cpu", "cuda", or None for the best there is.
        config: ``save_loc`` and a ``trainer`` section, as for BaseTrainer; without one, checkpoints go to a temporary
            folder, which is said.

    Hooks and steps read ``model, opt, train_dl, valid_dl, dl`` (the present loader)``, batch, result`` (what the step
    returned)``, loss`` (a float; reading it syncs)``, loss_t, training, step_state, state`` (a dict of theirs, plain
    data, in the checkpoint)``, is_main, is_distributed``.

    >>> net = nn.Linear(2, 1)
    >>> data = [(torch.randn(4, 2), torch.randn(4, 1)) for _ in range(3)]
    >>> def step(batch, trainer):
    ...     return {"loss": nn.functional.mse_loss(trainer.model(batch[0]), batch[1])}
    >>> sorted(StepTrainer(net, step, data, epochs=1).fit())
    ['epoch', 'lr', 'train_loss']
    """

    def __init__(
        self,
        model: nn.Module,
        train_step: Step,
        train_dl: Any = None,
        valid_dl: Any = None,
        eval_step: Step | None = None,
        optim: Optimizer | Callable[[Any], Optimizer] | None = None,
        epochs: int = 10,
        hooks: Any = None,
        device: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.train_step, self.eval_step = train_step, eval_step or train_step
        self.train_dl, self.valid_dl, self.dl = train_dl, valid_dl, train_dl
        self.result: Mapping[str, Any] = {}
        self.state: dict[str, Any] = {}
        conf = dict(config or {})
        if misplaced := sorted(BaseTrainer.Settings.model_fields.keys() & conf.keys()):
            raise ConfigError(f"config: put the trainer's {', '.join(misplaced)} below config['trainer']")
        if "save_loc" not in conf:
            conf["save_loc"] = tempfile.mkdtemp(prefix="credit-like-")
            say(f"no save_loc: checkpoints go to {conf['save_loc']}")
        given = {"epochs": epochs, "skip_validation": valid_dl is None, "device": device or "auto"}
        conf["trainer"] = given | dict(conf.get("trainer") or {})
        hooks = [] if hooks is None else list(hooks) if isinstance(hooks, list | tuple) else [hooks]
        self._engine = _StepEngine(self, model, conf, hooks)
        make = (lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)) if optim is None else optim
        if not (isinstance(make, Optimizer) or callable(make)):
            raise TypeError(
                f"optim is an optimizer, or what makes one of the parameters, as torch.optim.Adam; got {make!r}"
            )
        self.opt: Optimizer = make if isinstance(make, Optimizer) else make(self.model.parameters())

    def fit(self) -> Row:
        """Train; returns the best epoch's row. Raises what ``BaseTrainer.fit`` raises."""
        return self._engine.fit(self._engine.conf, self.train_dl, self.valid_dl, self.opt)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the engine's: ``model, batch, training, step_state, describe_hooks()`` and more."""
        if name == "_engine":
            raise AttributeError("the StepTrainer is not built yet")
        try:
            return getattr(self._engine, name)
        except AttributeError:
            raise AttributeError(f"StepTrainer has no {name!r}{closest(name, dir(self._engine))}") from None

    @property
    def loss_t(self) -> Tensor:
        """The loss to go backward through; a hook may replace it at ``after_loss``."""
        return self._engine.loss_t

    @loss_t.setter
    def loss_t(self, loss: Tensor) -> None:
        self._engine.loss_t = loss

    @property
    def loss(self) -> float:
        return float(self.loss_t.detach())

    @property
    def is_main(self) -> bool:
        return self._engine.rank == 0

    @property
    def is_distributed(self) -> bool:
        return self._engine.distributed

    def do_backward(self) -> None:
        """Seam: a hook may put a function of its own in its place."""
        BaseTrainer.do_backward(self._engine)

    def do_opt_step(self) -> bool:
        """Seam: whether the weights moved."""
        return BaseTrainer.do_opt_step(self._engine)

    def do_zero_grad(self) -> None:
        """Seam."""
        BaseTrainer.do_zero_grad(self._engine)


class _StepEngine(BaseTrainer):
    """The engine behind a StepTrainer: the face's functions and hooks in the one loop."""

    def __init__(self, face: StepTrainer, model: nn.Module, conf: Mapping[str, Any], hooks: list[Any]) -> None:
        super().__init__(model, environment_rank(), conf, hooks)
        self.face = face
        self._hooks = FacedDispatcher(hooks, self.rank, face)

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        self.face.dl = trainloader
        for batch in self.batches(trainloader):
            self._run(self.face.train_step, batch)
            if "loss" in self.face.result:
                self.optimize(self.loss_t)

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        self.face.dl = valid_loader
        for batch in self.batches(valid_loader, "valid"):
            self._run(self.face.eval_step, batch)

    def _run(self, step: Step, batch: Any) -> None:
        result = step(batch, self.face)
        if not isinstance(result, Mapping):
            name = getattr(step, "__name__", type(step).__name__)
            raise TypeError(f"{name} must return a dict such as {{'loss': loss}}; got {type(result).__name__}")
        self.face.result = result
        self._hooks("after_pred", self, self.model)
        if "loss" in result:
            self.loss_t = result["loss"]
            self._hooks("after_loss", self, self.model)
        for name, value in result.items():
            if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1):
                self.record(name, self.loss_t if name == "loss" else value)

    def do_backward(self) -> None:
        self.face.do_backward()

    def do_opt_step(self) -> bool:
        return self.face.do_opt_step()

    def do_zero_grad(self) -> None:
        self.face.do_zero_grad()

    def extra_state(self) -> dict[str, Any]:
        return self.face.state

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self.face.state = dict(state)
