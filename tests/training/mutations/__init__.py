"""Defects that training loops are known for, each as a patch, and the test that must notice it.

``test_mutations.py`` runs each test twice: on the engine as it is, and with the defect in it, where it has to fail.
"""

from tests.training.mutations import averages, checkpoints, loop, steps
from tests.training.mutations.mutation import Mutation

MUTATIONS: list[Mutation] = [*loop.defects, *steps.defects, *averages.defects, *checkpoints.defects]

__all__ = ["MUTATIONS", "Mutation"]
