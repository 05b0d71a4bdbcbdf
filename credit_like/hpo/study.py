"""The study: where its trials are stored, that nobody mixes two under one name, and what came out of it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from credit_like.config import ConfigError, UserError, closest
from credit_like.hpo.settings import SearchSettings

if TYPE_CHECKING:
    import optuna

#: The journal of a study that names no storage; in its folder.
JOURNAL = "journal.log"
#: Its locks; by this folder a study is known.
LOCKS = ".locks"

_FACTS = "configuration"


def open_study(
    name: str,
    folder: Path,
    settings: SearchSettings,
    direction: Literal["min", "max"],
    facts: Mapping[str, Any],
    storage: str = "",
) -> optuna.Study:
    """The study ``name``, made when it is not there.

    Args:
        folder: where its journal is kept when ``storage`` is empty; made when it is missing.
        facts: flat plain data that all trials share (the configuration, the space); kept with the study.
        storage: an Optuna URL, for example ``postgresql+psycopg://user@host/name``.

    Raises:
        UserError: the storage cannot be reached, or its driver is not installed.
        ConfigError: there is a study of this name with other facts or another direction; the message lists them.
    """
    new = not folder.exists()
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    lock = folder / LOCKS / "open"
    try:
        with FileLock(lock):  # of two that meet an empty database, one makes its tables
            return _open(name, folder, settings, direction, facts, storage)
    except UserError:
        if new:
            _remove_empty(folder, lock)
        raise


def _remove_empty(folder: Path, lock: Path) -> None:
    """Take back the folder of a study that never was, unless something is in it."""
    lock.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: another process has begun
        lock.parent.rmdir()
        folder.rmdir()


def _open(
    name: str,
    folder: Path,
    settings: SearchSettings,
    direction: Literal["min", "max"],
    facts: Mapping[str, Any],
    storage: str,
) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wanted: Literal["minimize", "maximize"] = "minimize" if direction == "min" else "maximize"
    store = _storage(storage, folder)
    try:
        study = optuna.create_study(
            storage=store,
            study_name=name,
            direction=wanted,
            load_if_exists=True,
            sampler=settings.build_sampler(0),
            pruner=settings.build_pruner(),
        )
        known = study.user_attrs.get(_FACTS)
        given = json.loads(json.dumps(dict(facts)))
        if known is None:
            study.set_user_attr(_FACTS, given)
            return study
    except Exception as error:  # each driver has errors of its own; all of them mean the same here
        raise UserError(f"the study's storage {shown(storage) or folder / JOURNAL} does not work: {error}") from error
    changed = [key for key in {**known, **given} if known.get(key) != given.get(key)]
    if study.direction.name.lower() != wanted:
        changed.insert(0, "direction")
        known, given = {**known, "direction": study.direction.name.lower()}, {**given, "direction": wanted}
    if changed:
        lines = [f"  {key}: begun with {known.get(key)!r}, now {given.get(key)!r}" for key in changed]
        raise ConfigError(
            f"the study {name!r} was begun with other settings:\n" + "\n".join(lines) + "\n"
            "Trials of both would not be comparable: name another --study, or go on with the settings it was begun with"
        )
    return study


def _storage(storage: str, folder: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if not storage:
        return optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    kind = storage.partition("://")[0]
    kinds = ("sqlite", "postgresql", "mysql", "mariadb")
    if "://" not in storage or kind.partition("+")[0] not in kinds:
        raise ConfigError(
            f"--storage {shown(storage)} is no database URL{closest(kind, kinds)}; it begins with one of "
            f"{', '.join(f'{known}://' for known in kinds)}"
        )
    try:
        return optuna.storages.RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise UserError(
            f"--storage {shown(storage)}: the driver is not installed ({error}); install it, for PostgreSQL with "
            "`pip install psycopg[binary]` and a URL that begins with postgresql+psycopg://"
        ) from error
    except Exception as error:  # each driver has errors of its own; all of them mean the same here
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"--storage {shown(storage)} cannot be reached: {reason}. Check that the server runs, and the URL"
        ) from error


def shown(storage: str) -> str:
    """A storage's URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True) if storage else ""
    except ArgumentError:
        return repr(storage)


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """The completed trial with the best value, the first of equals; None where no trial has completed yet."""
    import optuna

    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    sign = 1 if study.direction is optuna.study.StudyDirection.MINIMIZE else -1
    finite = [trial for trial in done if trial.value is not None and math.isfinite(trial.value)]
    return min(finite, key=lambda trial: (sign * float(trial.value or 0.0), trial.number), default=None)


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of the values' spread each parameter explains, largest first, in total 1 (PED-ANOVA, Watanabe et al.
    2023, IJCAI, section 4); empty where Optuna cannot tell: too few completed trials, or all of one value."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # "the number of trials is too small": it would say all are equal
        try:
            return optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError, UserWarning):  # the others: fewer than two different values
            return {}
