"""Every known defect is noticed: the test that guards against it passes without it and fails with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.accidents import undisturbed
from tests.training.mutations import MUTATIONS, Mutation

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.defect for mutation in MUTATIONS])
def test_the_defect_is_noticed(mutation: Mutation, tmp_path: Path) -> None:
    for folder in ("sound", "defective"):
        (tmp_path / folder).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        mutation.check(tmp_path / "sound", patch)
    with pytest.MonkeyPatch.context() as patch:
        mutation.patch(patch)
        with pytest.raises((Exception, pytest.fail.Exception)):  # type: ignore[arg-type]
            mutation.check(tmp_path / "defective", patch)
    undisturbed.cache_clear()  # a run of the defective engine must not become a reference


def test_each_defect_is_there_once() -> None:
    assert len({mutation.defect for mutation in MUTATIONS}) == len(MUTATIONS) >= 21
