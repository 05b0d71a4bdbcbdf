"""A mutation: a defect as a patch of the engine, and the test that guards against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

Patch = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[Path, pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutation:
    defect: str
    patch: Patch
    check: Check


class Defects(list[Mutation]):
    """The mutations of one part of the engine."""

    def noticed_by(self, check: Check, defect: str) -> Callable[[Patch], Patch]:
        def register(patch: Patch) -> Patch:
            self.append(Mutation(defect, patch, check))
            return patch

        return register
