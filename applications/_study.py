"""What a study leaves: the best configuration as a YAML that trains, a page of plots, and a few lines to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from applications._job import Job
from applications._run import write_text
from credit_like.config import dump_config
from credit_like.evaluation.report.study import StudyFacts, TrialFacts, write_study
from credit_like.hpo import best_trial, importances, overrides_of
from credit_like.hpo.study import JOURNAL, shown

if TYPE_CHECKING:
    import optuna

BEST_CONFIG, PAGE = "best.yml", "study.html"


def finish(study: optuna.Study, folder: Path, job: Job, load: Callable[[list[str]], Job], storage: str) -> None:
    """Write ``best.yml`` and ``study.html`` into ``folder``, of what has ended so far.

    ``load`` gives the job with some overrides; ``storage`` is the URL of the database, empty for the folder's journal.
    """
    best = best_trial(study)
    if best is not None:
        chosen = overrides_of(values_of(best, job))
        text = dump_config(load([*chosen, f"save_loc={json.dumps(str(folder / 'best'))}"]))
        write_text(folder / BEST_CONFIG, f"# The best of the study {study.study_name}: trial {best.number + 1}\n{text}")
    write_study(folder / PAGE, facts_of(study, folder, job, shown(storage)))


def values_of(trial: optuna.trial.FrozenTrial, job: Job) -> dict[str, Any]:
    """The trial's values by dotted setting, of the kind that the configuration takes."""
    space = job.hpo.space
    return {name: space[name].value_of(value) for name, value in trial.params.items() if name in space}


def facts_of(study: optuna.Study, folder: Path, job: Job, storage: str) -> StudyFacts:
    """The study in plain data, for its page."""
    best = best_trial(study)
    trials = [
        TrialFacts(
            number=trial.number + 1,
            state=trial.state.name.lower(),
            value=trial.value if trial.state.name == "COMPLETE" else None,
            reached=dict(trial.intermediate_values),
            seconds=trial.duration.total_seconds() if trial.duration else None,
            values=values_of(trial, job),
            reason=trial.user_attrs.get("reason", ""),
        )
        for trial in study.get_trials(deepcopy=False)
    ]
    return StudyFacts(
        name=study.study_name,
        metric=job.trainer.training_metric or "valid_loss",
        direction=job.trainer.training_metric_direction,
        trials=trials,
        planned=job.hpo.trials,
        best=None if best is None else best.number + 1,
        logarithmic=frozenset(name for name, parameter in job.hpo.space.items() if parameter.log),
        importances=importances(study),
        search=job.hpo.model_dump(mode="json", exclude={"space"}),
        commands={
            "Train the best": f"credit-like train {folder / BEST_CONFIG}",
            "Search on": f"the same command with --trials {2 * job.hpo.trials}",
            "Look at it live": f"optuna-dashboard {storage or folder / JOURNAL}",
        },
    )


def study_summary(study: optuna.Study, folder: Path, job: Job) -> str:
    """How many trials ended how, the best one, and where to look."""
    states = [trial.state.name.lower() for trial in study.get_trials(deepcopy=False)]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    epochs = sum(len(trial.intermediate_values) for trial in study.get_trials(deepcopy=False))
    lines = [f"{len(states)} trials ({counted}), {epochs} epochs in all"]
    best = best_trial(study)
    if best is None:
        lines.append("no trial has completed yet, so there is no best one")
    else:
        metric = job.trainer.training_metric or "valid_loss"
        lines.append(f"best: trial {best.number + 1}, {metric} {best.value:.6g}")
        width = max(len(name) for name in best.params)
        lines += [f"  {name:<{width}}  {value}" for name, value in values_of(best, job).items()]
        lines.append(f"train it: credit-like train {folder / BEST_CONFIG}")
    return "\n".join([*lines, f"page: {folder / PAGE}"])
