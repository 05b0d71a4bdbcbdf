"""A fusion job: two finished runs score the windows of their store, and a policy learns how to mix their scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from applications._data import Data, NothingToLearnError, certify, fit_inputs, load_data, require_valid
from applications._job import Job
from applications._registry import JobTrainer, learns_from_benign
from applications._run import BEST, Run, open_run, read_json
from applications._scoring import raw_scores, restored_trainer, trainer_around
from credit_like.config import UserError, flat
from credit_like.evaluation.document import Fusion
from credit_like.evaluation.fusion import EXPERTS as EXPERT_CONTROLS
from credit_like.evaluation.fusion import fusion_rows
from credit_like.graphs import GraphStore, PackedLoader
from credit_like.graphs.plan import FUSION, VALIDATION, is_test
from credit_like.models.fusion import RULES, FusionPolicy
from credit_like.training import BaseTrainer, read_checkpoint
from credit_like.training.checkpoint import file_digest
from trainers.expert_table import ExpertLoader, ExpertTable
from trainers.fusion_comparison import Combiners
from trainers.rl_fusion import RLFusionTrainer

#: Which expert was scored with which weights; beside the run's other files.
EXPERTS = "experts.json"

#: What of two certificates may differ: what each expert made of the same training windows.
_OWN = ("vocabulary", "scaler", "digest")

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


def is_fusion(cls: type[JobTrainer]) -> bool:
    """Whether the trainer learns from two other runs' outputs and not from graphs."""
    return issubclass(cls, RLFusionTrainer)


@dataclass(frozen=True)
class FusionData(Data):
    """The data of a fusion job, and what its experts say of every window that it needs, each scored once.

    ``table`` has a row for each window of ``rows`` (int64, ascending indices in the store): those of the fusion split,
    of validation, and of the test sets. ``seconds`` is how long the experts took for a window.
    """

    rows: Rows
    table: ExpertTable
    seconds: float

    def of(self, rows: Rows) -> ExpertTable:
        """The table of some of the windows."""
        return self.table[np.searchsorted(self.rows, rows)]


def open_experts(job: Job) -> dict[str, Run]:
    """The two runs that ``experts`` names: ``gat`` and ``anomaly``.

    Raises UserError where one is no finished run, cannot be an expert, or has a certificate that is not valid, where
    they are the wrong way round, or where their certificates are not about the same split, or not about the windows
    that ``data`` describes.
    """
    folders = {"gat": job.experts.gat, "anomaly": job.experts.anomaly}  # type: ignore[attr-defined]
    experts = {}
    for name, folder in folders.items():
        if not folder.is_dir():
            raise UserError(
                f"experts.{name}: there is no run at {folder}; train one first, and name its folder: experts.{name}=RUN"
            )
        experts[name] = open_run(folder)
        if not hasattr(experts[name].trainer, "expert_outputs"):
            raise UserError(
                f"experts.{name}: {folder} was trained by {experts[name].job.trainer.type!r}, which has no "
                "expert_outputs and so cannot be an expert of a fusion; name a run of gat or dgi_ocgin"
            )
        require_valid(experts[name].certificate)
    if folders["gat"].resolve() == folders["anomaly"].resolve():
        raise UserError(f"experts.gat and experts.anomaly are the same run, {folders['gat']}; there is nothing to fuse")
    if learns_from_benign(experts["gat"].trainer) and not learns_from_benign(experts["anomaly"].trainer):
        raise UserError(
            f"experts.gat is {folders['gat']}, which learned from benign traffic alone, and experts.anomaly is "
            f"{folders['anomaly']}, which learned from attacks; name them the other way round"
        )
    _require_same_split(experts)
    _require_same_windows(job, experts["gat"])
    return experts


def _require_same_split(experts: Mapping[str, Run]) -> None:
    gat, anomaly = (experts[name] for name in ("gat", "anomaly"))
    a, b = ({k: v for k, v in run.certificate.items() if k not in _OWN} for run in (gat, anomaly))
    if a == b:
        return
    windows = [run.job.data.window.model_dump(mode="json") for run in (gat, anomaly)]
    pairs = [(f"data.window.{k}", windows[0][k], windows[1][k]) for k in windows[0]]
    settings = [flat(run.certificate["settings"]) for run in (gat, anomaly)]
    pairs += [(f"data.split.{k}", settings[0].get(k), settings[1].get(k)) for k in {**settings[0], **settings[1]}]
    files = [sorted(file["sha256"] for file in run.certificate["files"]) for run in (gat, anomaly)]
    if files[0] != files[1]:
        pairs.append(("logs", f"{len(files[0])} file(s)", f"{len(files[1])} file(s), not all the same"))
    lines = [f"  {name}: gat {x!r}, anomaly {y!r}" for name, x, y in pairs if x != y] or ["  their windows"]
    raise UserError(
        "the split certificates of the two experts differ, so that one may have been trained on what the other is "
        "tested on:\n" + "\n".join(lines) + "\nTrain both on the same logs with the same data section"
    )


def _require_same_windows(job: Job, expert: Run) -> None:
    if FUSION not in {interval["split"] for interval in expert.certificate["intervals"]}:
        raise UserError(
            f"the experts were trained without a {FUSION} split, so there is no window for a fusion to learn from that "
            "none of them has seen. Train both with a share for it, for example data.split.train=0.5 "
            "data.split.fusion=0.1 data.split.validation=0.15 data.split.test=0.25"
        )
    parts = ("window", "split")
    mine, theirs = (flat(x.data.model_dump(mode="json", include=set(parts))) for x in (job, expert.job))
    different = [f"  data.{k}: experts {theirs.get(k)!r}, here {v!r}" for k, v in mine.items() if theirs.get(k) != v]
    if different:
        raise UserError(
            "the fusion must see the windows of its experts, but it is asked for others:\n"
            + "\n".join(different)
            + "\nGive it the window and the split of the experts"
        )


def load_fusion_data(
    job: Job, experts: Mapping[str, Run], data: Data | None = None
) -> tuple[FusionData, dict[str, Any]]:
    """The windows of the experts' store, scored by both, and the certificate of the split.

    ``data`` saves reading the logs. Raises UserError where they give other windows than the experts were trained on,
    where the fusion or the validation split lacks a class, or where an expert's output cannot be used.
    """
    data = data or load_data(job.data)
    if data.store.digest != experts["gat"].certificate["store"]["digest"]:
        raise UserError(
            f"the logs at {job.data.path} give other windows than those that the experts were trained on; name the "
            "same logs"
        )
    for split, purpose in ((FUSION, "to learn from"), (VALIDATION, "to choose the best epoch and the rule by")):
        for label, kind in ((0, "benign"), (1, "attack")):
            if len(data.windows(split, label)) == 0:
                raise NothingToLearnError(
                    f"the {split} split holds no {kind} window {purpose}; a fusion needs both classes. Give it a "
                    "larger share, or add labelled traffic, and train the experts again"
                )
    certificate = certify(data, *fit_inputs(data, job.data))
    return score_by_experts(data, experts), certificate


def score_by_experts(data: Data, experts: Mapping[str, Run]) -> FusionData:
    """``data`` with what both experts say of every window of the fusion split, validation and the test sets."""
    rows = np.union1d(data.scored, data.store.select(FUSION))
    started = time.perf_counter()
    table = expert_table(experts, data.store, rows)
    seconds = (time.perf_counter() - started) / max(1, len(rows))
    return FusionData(data.captures, data.duplicates, data.plan, data.store, rows, table, seconds)


def expert_table(experts: Mapping[str, Run], store: GraphStore, rows: Rows) -> ExpertTable:
    """What both experts' verified best checkpoints say of the windows ``rows`` (ascending) of the store."""
    outputs = {name: _outputs(name, run, store, rows) for name, run in experts.items()}
    label = np.asarray(store.windows.label)[rows].astype(np.int64)
    return ExpertTable.join(outputs["gat"], outputs["anomaly"], label, following(store, rows))


def _outputs(name: str, run: Run, store: GraphStore, rows: Rows) -> dict[str, Tensor]:
    expert: Any = restored_trainer(run)
    expert.predict_step = expert.expert_outputs
    loader = PackedLoader(store, rows, batch_size=run.job.loader.eval_batch_size, device=str(expert.device))
    parts = expert.predict_on(
        tqdm(loader, desc=f"scoring by {name}", unit="batch", leave=False, delay=2, disable=None),
        ckpt_path=run.folder / BEST,
    )
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def following(store: GraphStore, rows: Rows) -> Rows:
    """int64[n]: the position in ``rows`` of the window that follows on the same capture, bus and split, or -1."""
    table = store.windows
    found = np.full(len(rows), -1)
    same = np.ones(max(len(rows) - 1, 0), np.bool_)
    for column in (table.capture, table.bus, table.split):
        same &= np.asarray(column)[rows[:-1]] == np.asarray(column)[rows[1:]]
    same &= np.asarray(table.t_start)[rows[1:]] >= np.asarray(table.t_start)[rows[:-1]]
    found[:-1][same] = np.flatnonzero(same) + 1
    return found


def expert_facts(experts: Mapping[str, Run], table: ExpertTable) -> dict[str, Any]:
    """Who the experts were, with the digests of their weights: what the policy has learnt is about these alone."""
    who = {
        name: {
            "folder": str(run.folder.resolve()),
            "trainer": run.job.trainer.type,
            "checkpoint_sha256": file_digest(run.folder / BEST),
            "certificate": run.certificate["digest"],
        }
        for name, run in experts.items()
    }
    return {"experts": who, "columns": list(table.names)}


def require_same_experts(folder: Path, experts: Mapping[str, Run]) -> None:
    """Raises UserError where an expert's weights are not those that the policy in ``folder`` was trained with."""
    known = read_json(folder / EXPERTS)["experts"]
    for name, expert in experts.items():
        path = expert.folder / BEST
        if path.is_file() and file_digest(path) != known[name]["checkpoint_sha256"]:
            raise UserError(
                f"{path} has changed since the policy in {folder} was trained on its scores; restore it, or train "
                f"the fusion again"
            )


def untrained_fusion(cls: type[JobTrainer], job: Job, table: ExpertTable, *, resume: bool) -> RLFusionTrainer:
    """The job's trainer, its policy untrained but with the statistics of ``table``'s windows."""

    def build() -> FusionPolicy:
        model = RLFusionTrainer.build_model(job.model, len(table.names))
        RLFusionTrainer.fit_model(model, job.model, table)
        return model

    return trainer_around(cls, job, build, resume=resume)  # type: ignore[return-value]


def restored_policy(run: Run) -> RLFusionTrainer:
    """The run's trainer with the policy of its best epoch. Raises UserError when there is none yet."""
    path = run.folder / BEST
    if not path.is_file():
        raise UserError(f"{run.folder} has no {BEST}: no epoch has ended yet. Go on with `credit-like train --resume`")
    mean = read_checkpoint(path)["model"].get("mean")
    if mean is None:
        raise UserError(f"{path} holds no fusion policy")
    trainer: Any = trainer_around(
        run.trainer, run.job, lambda: RLFusionTrainer.build_model(run.job.model, len(mean)), folder=run.folder
    )
    return trainer


def policy_scores(trainer: BaseTrainer, table: ExpertTable, batch_size: int) -> tuple[Floats, float]:
    """The score of each window by the rule in use, float64[n], and the windows scored a second; the run's best weights
    are in ``trainer`` afterwards."""
    started = time.perf_counter()
    parts = trainer.predict_on(ExpertLoader(table, batch_size), ckpt_path=trainer.save_loc / BEST)
    seconds = time.perf_counter() - started
    return torch.cat(parts).double().numpy() if parts else np.zeros(0), len(table) / max(seconds, 1e-9)


def judge_fusion(run: Run, data: Data) -> tuple[BaseTrainer, Floats, float, Floats | None, dict[str, Floats], Fusion]:
    """The policy's trainer, which holds its best weights, and of the windows ``data.scored``: their scores float64[n],
    how many are scored a second, by the experts too, the scores by raw weights (None where those were not averaged),
    the scores of either expert, and the comparison of the policy with simpler ways to decide.

    Raises UserError where the experts are not those that the policy was trained with.
    """
    experts = open_experts(run.job)
    require_same_experts(run.folder, experts)
    if not isinstance(data, FusionData):
        data = score_by_experts(data, experts)
    trainer, rows, size = restored_policy(run), data.scored, run.job.loader.eval_batch_size
    raw = raw_scores(trainer, ExpertLoader(data.of(rows), size))
    score, rate = policy_scores(trainer, data.of(rows), size)
    combiners = Combiners.fit(trainer.policy, trainer.reward_of, data.of(data.windows(FUSION)))
    alone = {name: scores for name, scores in combiners.scores(data.of(rows)).items() if name in EXPERT_CONTROLS}
    rate = 1 / (1 / rate + data.seconds)
    return trainer, score, rate, raw, alone, _comparison(run, trainer, combiners, data)


def _comparison(run: Run, trainer: RLFusionTrainer, combiners: Combiners, data: FusionData) -> Fusion:
    tests = [data.windows(name) for name in data.plan.split_names if is_test(name)]
    parts = {"validation": data.windows(VALIDATION), "test": np.sort(np.concatenate(tests))}
    tables = {}
    for part, rows in parts.items():
        table = data.of(rows)
        scores = combiners.scores(table)
        attack = table.label.numpy() == 1
        threshold = trainer.policy.threshold
        tables[part] = (
            fusion_rows(attack, scores, combiners.rewards(scores, table.label), threshold) if len(rows) else {}
        )
    test = data.of(parts["test"])
    with torch.no_grad():
        chosen = trainer.policy.choose(test.values)
    counts = [torch.bincount(chosen[test.label == y], minlength=len(trainer.policy.alphas)).tolist() for y in (0, 1)]
    return Fusion(
        agent=run.job.model.agent,
        experts={name: facts["trainer"] for name, facts in read_json(run.folder / EXPERTS)["experts"].items()},
        threshold=trainer.policy.threshold,
        rewards=run.job.trainer.reward.model_dump(),
        rule=RULES[int(trainer.policy.rule)],
        best_fixed_alpha=float(trainer.policy.alphas[combiners.alpha]),
        alphas=[round(alpha, 12) for alpha in trainer.policy.alphas.tolist()],
        benign_by_alpha=counts[0],
        attack_by_alpha=counts[1],
        **tables,
    )


def predict_by_fusion(run: Run, store: GraphStore, rows: Rows) -> tuple[Floats, Rows]:
    """The score of each of the windows ``rows`` (ascending) of new logs, float64[n], and the keys of the ids that the
    supervised expert knows, int64[V]."""
    experts = open_experts(run.job)
    require_same_experts(run.folder, experts)
    table = expert_table(experts, store, rows)
    score, _ = policy_scores(restored_policy(run), table, run.job.loader.eval_batch_size)
    return score, read_checkpoint(experts["gat"].folder / BEST)["model"]["vocabulary.keys"].numpy()
