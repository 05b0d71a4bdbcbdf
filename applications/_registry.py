"""Which trainer a job means: by registered name from a YAML, by ``module:Class`` from the command line only."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from credit_like.config import ConfigError, Settings, closest
from credit_like.graphs import FeatureScaler, Vocabulary
from credit_like.training import BaseTrainer

#: Entry points of this group are the trainers a YAML may name; ours are declared in ``setup.cfg`` like anybody's.
GROUP = "credit_like.trainers"


class JobTrainer(BaseTrainer):
    """What a BaseTrainer must have besides its loop, so that a configuration can start it. Not to be inherited from:
    having the three is enough; ``trainers.GATTrainer`` is the example.

    Its ``predict_step(batch)`` returns the score of each window, float[B], higher for a more suspicious one. Where it
    has a ``predict_nodes_step(batch)``, that returns the score of each id of each window, float[N]; without one, the
    figures of frames are undefined. Where it has a ``fit_head(benign, calibration)``, that fits what it needs besides
    its weights to those that it holds, from loaders of benign windows.

    Where the model has a ``fit_on_benign(batches)``, it is called once before training with batches of the benign
    training windows, which can be passed over more than once.
    """

    ModelSettings: ClassVar[type[Settings]]
    #: Whether it learns from benign windows alone; a trainer that does not say needs both classes.
    benign_only: ClassVar[bool] = False

    @classmethod
    def build_model(cls, settings: Any, vocabulary: Vocabulary, scaler: FeatureScaler) -> nn.Module:
        """The untrained model of a ``model`` section; ``vocabulary`` and ``scaler`` are in its state dict."""
        raise NotImplementedError  # never run: the class only says what _checked looks for by name

    @classmethod
    def build_loss(cls, settings: Any, counts: Tensor) -> nn.Module:
        """The criterion of both phases; ``counts`` int64[2] are the benign and the attack windows of training."""
        raise NotImplementedError  # never run: the class only says what _checked looks for by name


def learns_from_benign(cls: type[JobTrainer]) -> bool:
    """Whether the trainer's loaders hold benign windows alone."""
    return getattr(cls, "benign_only", False)


def registered_trainers() -> dict[str, importlib.metadata.EntryPoint]:
    """Name -> entry point, in alphabetical order; nothing is imported.

    Raises ConfigError when two installed packages register different classes under one name.
    """
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            raise ConfigError(
                f"two installed packages register the trainer {point.name!r}: {known.value} and {point.value}. "
                f"Uninstall one of them, or rename its entry point in the group {GROUP}."
            )
    return found


def registered_trainer(name: str, where: str) -> type[JobTrainer]:
    """The trainer registered as ``name``; ``where`` says where the name was written.

    Raises ConfigError when there is none, when it cannot be imported, or when it is not a trainer for jobs.
    """
    known = registered_trainers()
    if name not in known:
        raise ConfigError(
            f"{where}: no trainer is registered as {name!r}{closest(name, known)}; "
            f"registered: {', '.join(known) or 'none (is the package installed?)'}"
        )
    try:
        found = known[name].load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ConfigError(f"{where}: the trainer {name!r} ({known[name].value}) cannot be imported: {error}") from error
    return _checked(found, f"{where}: the trainer {name!r} ({known[name].value})")


def imported_trainer(spec: str) -> type[JobTrainer]:
    """The trainer that ``--trainer module:Class`` names.

    Importing runs the module's code, which is why only the person at the command line may ask for it, never a YAML.
    Modules in the working folder are found, as with ``python -m``.
    Raises ConfigError when the module or the class is not there, or is not a trainer for jobs.
    """
    module, _, name = spec.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(
            f"--trainer takes module:Class, for example my_trainer:MyTrainer for a class in "
            f"my_trainer.py of the working folder, not a path; got {spec!r}"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        home = importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"--trainer {spec}: cannot import {module!r}: {error}") from error
    if not hasattr(home, name):
        raise ConfigError(f"--trainer {spec}: {module!r} has no {name!r}{closest(name, vars(home))}")
    return _checked(getattr(home, name), f"--trainer {spec}")


def _checked(found: Any, what: str) -> type[JobTrainer]:
    if not (isinstance(found, type) and issubclass(found, BaseTrainer)):
        raise ConfigError(f"{what} must be a subclass of credit_like.BaseTrainer; it is {found!r}")
    missing = [name for name in ("ModelSettings", "build_model", "build_loss") if not hasattr(found, name)]
    if missing:
        raise ConfigError(
            f"{what} cannot run a job: it lacks {', '.join(missing)}. A trainer that a configuration starts says how "
            "its model and its loss are built; see trainers.GATTrainer."
        )
    return cast(type[JobTrainer], found)
