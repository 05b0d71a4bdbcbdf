"""No leak of the zoo is refused by accident: with its guard taken away, the test of the leak fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Check, Finding
from credit_like.verification.run_checks import RunChecks
from credit_like.verification.score_checks import ScoreChecks
from tests.applications import test_leak_zoo as zoo

Patch = pytest.MonkeyPatch
CERTIFICATE = "credit_like.graphs.certificate"


def blind(where: str, found: Any = ()) -> Callable[[Patch], None]:
    """A check of the certificate that finds nothing."""
    return lambda patch: patch.setattr(f"{CERTIFICATE}.{where}", lambda *_: found)


def holds(checks: type, method: str) -> Callable[[Patch], None]:
    """A check of ``verify`` that everything passes."""

    def finding(_: Any) -> Finding:
        return "nothing", []

    return lambda patch: patch.setattr(checks, method, finding)


def trusts_metrics(patch: Patch) -> None:
    def metrics(_: RunChecks, **__: Any) -> Iterator[Check]:
        yield Check("metrics: calibration", "nothing", ())

    patch.setattr(RunChecks, "metrics", metrics)


#: (the test of a leak, what blinds one of the guards that it names)
GUARDS: list[tuple[Callable[..., None], Callable[[Patch], None]]] = [
    (zoo.test_windows_that_overlap_across_splits, blind("overlapping_rows", 0)),
    (zoo.test_a_scaler_fitted_on_all_data, blind("_check_fits")),
    (zoo.test_a_vocabulary_that_knows_the_test_windows, blind("_check_fits")),
    (zoo.test_a_threshold_set_on_test_windows, trusts_metrics),
    (zoo.test_one_drive_under_two_names_in_two_splits, blind("_check_disjointness")),
    (zoo.test_one_drive_under_two_names_in_two_splits, blind("_check_overlap")),
    (zoo.test_the_label_as_a_feature, holds(RunChecks, "scaler")),
    (zoo.test_the_label_as_a_feature, holds(ScoreChecks, "scores")),
    (zoo.test_the_label_as_a_feature, holds(RunChecks, "best_epoch")),
    (zoo.test_absolute_time_as_a_feature, holds(RunChecks, "scaler")),
    (zoo.test_absolute_time_as_a_feature, holds(RunChecks, "best_epoch")),
    (zoo.test_validation_windows_given_as_test, holds(ScoreChecks, "windows_of_scores")),
    (zoo.test_captures_put_together, holds(CertificateChecks, "logs")),
    (zoo.test_captures_put_together, holds(CertificateChecks, "intervals")),
    (zoo.test_the_best_epoch_chosen_on_test_windows, holds(RunChecks, "best_epoch")),
]


def test_every_leak_has_its_guard_here() -> None:
    leaks = {test for name, test in vars(zoo).items() if name.startswith("test_")}
    assert leaks - {test for test, _ in GUARDS} == {zoo.test_the_same_path_without_a_leak_passes}


@pytest.mark.slow
@pytest.mark.parametrize(("leak", "take_away"), GUARDS, ids=[leak.__name__ for leak, _ in GUARDS])
def test_without_the_guard_the_leak_passes(
    leak: Callable[..., None], take_away: Callable[[Patch], None], request: pytest.FixtureRequest, monkeypatch: Patch
) -> None:
    take_away(monkeypatch)
    given = {name: request.getfixturevalue(name) for name in inspect.signature(leak).parameters}
    with pytest.raises((AssertionError, KeyError)):
        leak(**given)
