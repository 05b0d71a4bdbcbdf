"""What the tests of `credit-like verify` tamper with a run by, and how they ask what is found."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Collection
from typing import Any

from applications.verify import BestDetector
from credit_like.can import Dataset
from credit_like.verification import Claims, verify

Edit = Callable[[dict[str, Any]], Any]

Evidence = tuple[Claims, Dataset, BestDetector]


def false_checks(
    claims: Claims, dataset: Dataset, detector: BestDetector, only: Collection[str], **arguments: Any
) -> dict[str, str]:
    """Names of the checks that fail, with what each says."""
    checks = verify(claims, dataset.captures, dataset.duplicates, detector, only=only, **arguments)
    return {check.name: "\n".join(check.problems) for check in checks if not check.holds}


def edited(content: Any, edit: Edit) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(content))
    edit(made)
    return made


def forged(certificate: Any, edit: Edit) -> dict[str, Any]:
    """The certificate as somebody changes it who knows how its digest is made."""
    content = edited(certificate, edit)
    del content["digest"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return content | {"digest": hashlib.sha256(text.encode()).hexdigest()}
