"""From logs to what a trainer and an evaluation need: captures, plan, store, and inputs fitted on benign training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from applications._compiling import say_when_compiling
from applications._job import DataSettings
from applications._logs import print_notes
from credit_like.can import Capture, ReadSettings, read_dataset
from credit_like.config import UserError
from credit_like.graphs import (
    FeatureScaler,
    GraphStore,
    SplitPlan,
    Vocabulary,
    check_certificate,
    issue_certificate,
    plan_splits,
    settle_labels,
)
from credit_like.graphs.plan import TRAIN, VALIDATION, is_test


class NothingToLearnError(UserError):
    """The logs leave a trainer no windows of a class to learn from, or to choose by."""


@dataclass(frozen=True)
class Data:
    """Logs that have become a graph store."""

    captures: tuple[Capture, ...]
    duplicates: tuple[tuple[str, str], ...]
    plan: SplitPlan
    store: GraphStore

    def windows(self, split: str, label: int | None = None) -> NDArray[np.int64]:
        """Windows of a split for training and validation: those that overlap an attack without an attack frame (where
        frames are missing) are neither benign nor attack, and left out."""
        return self.store.select(split, label, without_interval_overlap=True)

    @property
    def scored(self) -> NDArray[np.int64]:
        """Every window of the validation split and of the test sets."""
        names = [name for name in self.plan.split_names if name == VALIDATION or is_test(name)]
        return np.sort(np.concatenate([self.store.select(name) for name in names]))

    @property
    def calibration_captures(self) -> list[str]:
        """Of each group of captures that share traffic, the one with most benign validation windows."""
        table = self.store.windows[self.windows(VALIDATION, label=0)]
        counts = np.bincount(table.capture, minlength=len(table.capture_names))
        count = dict(zip(table.capture_names, counts.tolist(), strict=True))
        best = [max(group, key=lambda name: count.get(name, 0)) for group in self.plan.groups]
        return [name for name in best if count.get(name, 0) > 0]


def load_data(settings: DataSettings) -> Data:
    """Read the logs, plan the splits, and build the graph store or open the one that is there.

    Raises UserError for logs that cannot be used; the message names file and line.
    """
    captures, duplicates, plan = read_and_plan(settings)
    store = GraphStore.build(store_folder(settings), captures, plan, settings.window)
    return Data(captures, duplicates, plan, store)


def read_and_plan(
    settings: DataSettings,
) -> tuple[tuple[Capture, ...], tuple[tuple[str, str], ...], SplitPlan]:
    """The captures, the duplicates among the logs, and the plan of the splits. Raises UserError as ``load_data``."""
    if not settings.path.exists():
        seen_from = "" if settings.path.is_absolute() else f" (seen from {Path.cwd()})"
        raise UserError(f"data.path {settings.path} is not there{seen_from}; name your logs, data.path=FOLDER")
    say_when_compiling()
    dataset = read_dataset(settings.path, **settings.model_dump(include=set(ReadSettings.model_fields)))
    print_notes(dataset.notes)
    captures = settle_labels(dataset.captures, settings.split)
    return captures, dataset.duplicates, plan_splits(captures, settings.split, settings.window.window)


def learning_windows(data: Data, *, benign_only: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(training, validation) windows of a trainer that learns from both classes, or from benign windows alone.

    The latter sets its p-values on validation windows: of captures that share traffic it gets one, for the same stretch
    of a drive several times would promise more than it can.

    Raises NothingToLearnError where there is nothing to learn from, or nothing to choose the best epoch by.
    """
    for split, purpose in ((TRAIN, "to learn from"), (VALIDATION, "to choose the best epoch by")):
        for label, kind in ((0, "benign"), (1, "attack"))[: 1 if benign_only else 2]:
            if len(data.windows(split, label)) == 0:
                needs = "benign traffic" if benign_only else "both classes"
                raise NothingToLearnError(
                    f"the {split} split holds no {kind} window {purpose} (split policy {data.plan.policy!r}, "
                    f"{len(data.captures)} captures). Add labelled {kind} traffic: this trainer needs {needs}."
                    + " One that needs no attack is dgi_ocgin."
                    * (kind == "attack")
                )
    if not benign_only:
        return data.windows(TRAIN), data.windows(VALIDATION)
    benign, table = data.windows(VALIDATION, label=0), data.store.windows
    named = np.isin(table.capture_names, data.calibration_captures)
    return data.windows(TRAIN, label=0), benign[named[table.capture[benign]]]


def fit_inputs(data: Data, settings: DataSettings) -> tuple[Vocabulary, FeatureScaler]:
    """Vocabulary and scaler of the benign training windows: an id that only attacks use stays unknown."""
    benign = data.windows(TRAIN, label=0)
    vocabulary = Vocabulary.fit(data.store, benign)
    return vocabulary, FeatureScaler.fit(data.store, benign, vocabulary, settings.scaler)


def certify(data: Data, vocabulary: Vocabulary, scaler: FeatureScaler) -> dict[str, Any]:
    """The split certificate of a run. Raises UserError when the split does not hold what it promises."""
    certificate = issue_certificate(data.captures, data.duplicates, data.plan, data.store, vocabulary, scaler)
    require_valid(certificate)
    return certificate


def require_valid(certificate: dict[str, Any]) -> None:
    """Raises UserError where the certificate is not valid: no figure of a test set may be shown then."""
    problems = check_certificate(certificate)
    if problems:
        raise UserError("the split certificate is not valid:\n  " + "\n  ".join(problems))


def store_folder(settings: DataSettings) -> Path:
    """One folder for each combination of logs, how they are read, window and split: jobs keep out of each other's."""
    parts = [
        str(settings.path.resolve()),
        settings.window.model_dump(mode="json"),
        settings.split.model_dump(mode="json"),
        settings.model_dump(mode="json", include=set(ReadSettings.model_fields)),
    ]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return settings.store / f"{settings.path.resolve().name}-{digest[:12]}"
