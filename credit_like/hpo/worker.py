"""Worker: takes trials of a study, one after the other, until all have ended; others may do the same beside it.

Each trial is held by a lock on a file in the study's folder. The system gives a lock back however its holder dies, so a
trial that the storage calls running and nobody holds was left by a worker that was killed: it is taken up again.
"""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from credit_like.config import UserError
from credit_like.config.files import replacing
from credit_like.hpo.settings import SearchSettings
from credit_like.hpo.study import LOCKS

if TYPE_CHECKING:
    import optuna

#: What a trial does: (trial, its values by dotted setting, whether it was begun before) -> its value.
Objective = Callable[["optuna.Trial", Mapping[str, Any], bool], float]

#: When so many trials have ended and every one failed, the mistake is not in a trial.
ALL_FAILED = 3

_FOLDER, _ATTEMPTS, _REASON = "folder", "attempts", "reason"


class Worker:
    """Args:
    study: an ``optuna.Study`` that other processes may work on too.
    folder: the study's; workers with the same folder take up each other's killed trials. Workers elsewhere that share
        the storage only share the count.
    settings: its space, the number of trials, and how often a killed one is taken up again.
    objective: raises ``optuna.TrialPruned`` to prune; any other exception fails the trial and the study goes on; what
        is no ``Exception`` (Ctrl-C) leaves the trial to be gone on with and ends the worker.
    say: gets a line for each trial that begins or ends.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: Path,
        settings: SearchSettings,
        objective: Objective,
        say: Callable[[str], None] = print,
    ) -> None:
        self.study, self.settings, self.objective, self.say = study, settings, objective, say
        self.locks = folder / LOCKS
        self.failures = folder / "failures"
        self.here = _identity(self.locks / "folder_id")

    def run(self) -> None:
        """Work until the study has ended. Raises UserError when its first trials all failed."""
        while True:
            with self._next() as claimed:
                if claimed is None:
                    return
                self._work(*claimed)

    @contextmanager
    def _next(self) -> Iterator[tuple[optuna.Trial, bool] | None]:
        """A trial that nobody else has while the block runs, and whether it was begun before; None at the end."""
        while True:
            with FileLock(self.locks / "claim"):
                claimed, held = self._claim()
            if claimed is not None or held is None:
                break
            held.acquire()  # somebody works on the last trials: wait until one of them ends, or dies
            held.release()
        try:
            yield claimed
        finally:
            if held is not None:
                held.release()

    def _claim(self) -> tuple[tuple[optuna.Trial, bool] | None, FileLock | None]:
        """(trial, its lock, taken); (None, a lock that another worker holds); (None, None) when all have ended."""
        import optuna

        trials = self.study.get_trials(deepcopy=False)
        waiting_for = None
        for known in trials:
            if known.state is optuna.trial.TrialState.RUNNING and known.user_attrs.get(_FOLDER) == self.here:
                lock = self._lock(known.number)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    waiting_for = lock
                    continue
                if self.study.get_trials(deepcopy=False)[known.number].state.is_finished():
                    lock.release()  # it ended between the two looks
                    continue
                attempts = known.user_attrs[_ATTEMPTS]
                if attempts > self.settings.retries:
                    self._fail(known.number, f"its worker was killed {attempts} times")
                    lock.release()
                    continue
                return (self._begin(optuna.Trial(self.study, known._trial_id), attempts), True), lock
        if not any(trial.state is optuna.trial.TrialState.WAITING for trial in trials):
            if len(trials) >= self.settings.trials:
                return None, waiting_for
            # With its folder from the first moment: killed before the next line, it is not lost.
            self.study.enqueue_trial({}, user_attrs={_FOLDER: self.here, _ATTEMPTS: 0})
        self.study.sampler = self.settings.build_sampler(len(trials))
        trial = self.study.ask()
        lock = self._lock(trial.number)
        lock.acquire()
        return (self._begin(trial, 0), False), lock

    def _begin(self, trial: optuna.Trial, attempts: int) -> optuna.Trial:
        trial.set_user_attr(_FOLDER, self.here)
        trial.set_user_attr(_ATTEMPTS, attempts + 1)
        return trial

    def _work(self, trial: optuna.Trial, begun: bool) -> None:
        import optuna

        values = {name: parameter.suggest(name, trial) for name, parameter in self.settings.space.items()}
        listed = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
        self.say(f"trial {trial.number + 1} of {self.settings.trials}{', gone on with' * begun}: {listed}")
        started = time.monotonic()
        try:
            value = self.objective(trial, values, begun)
        except optuna.TrialPruned as pruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            self.say(f"trial {trial.number + 1} {pruned}")
        except Exception as error:  # noqa: BLE001 - a trial may fail in any way; it is told, kept and counted
            self._fail(trial.number, str(error) or type(error).__name__, traceback.format_exc())
            self._stop_when_all_failed()
        except BaseException:
            trial.set_user_attr(_ATTEMPTS, trial.user_attrs[_ATTEMPTS] - 1)  # asked to stop, which is no mishap
            raise
        else:
            self.study.tell(trial, value)
            self.say(f"trial {trial.number + 1}: {value:.6g} after {time.monotonic() - started:.0f} s")

    def _fail(self, number: int, reason: str, details: str = "") -> None:
        import optuna

        trial = self.study.get_trials(deepcopy=False)[number]
        optuna.Trial(self.study, trial._trial_id).set_user_attr(_REASON, reason)
        self.study.tell(number, state=optuna.trial.TrialState.FAIL)
        if details:
            self.failures.mkdir(exist_ok=True)
            with replacing(self.failures / f"trial_{number}.txt") as temporary:
                temporary.write_text(details, encoding="utf-8")
        self.say(f"trial {number + 1} failed: {reason}")

    def _stop_when_all_failed(self) -> None:
        import optuna

        ended = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]
        if len(ended) >= ALL_FAILED and all(trial.state is optuna.trial.TrialState.FAIL for trial in ended):
            raise UserError(
                f"all of the first {len(ended)} trials failed, the last with: {ended[-1].user_attrs.get(_REASON)}\n"
                f"Tracebacks are in {self.failures}. Mend the configuration or its space, and begin another study"
            )

    def _lock(self, number: int) -> FileLock:
        return FileLock(self.locks / f"trial_{number}")


def _identity(path: Path) -> str:
    """A name that this folder has and no other, whatever machine it is mounted on."""
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            with replacing(path) as temporary:
                temporary.write_text(uuid.uuid4().hex, encoding="ascii")
        return path.read_text(encoding="ascii")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
