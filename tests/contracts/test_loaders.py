"""Every loader that our trainers are given keeps the contract; and the contract notices those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from credit_like.graphs import GraphStore, PackedLoader
from credit_like.testing import LoaderContract
from tests.trainers.fusion_tasks import either, table
from tests.training.toys import CursorLoader, Samples
from trainers.expert_table import ExpertLoader


class OfStore(LoaderContract):
    """A PackedLoader over the training windows, with other limits in each subclass."""

    @pytest.fixture(autouse=True)
    def _store(self, store: GraphStore) -> None:
        self.store, self.indices = store, store.select("train")


class TestPackedLoader(OfStore):
    def make(self) -> PackedLoader:
        return PackedLoader(self.store, self.indices, 9, shuffle=True, seed=4)


class TestPackedLoaderInOrder(OfStore):
    shuffles = False

    def make(self) -> PackedLoader:
        return PackedLoader(self.store, self.indices, 9)


class TestPackedLoaderWithBudgets(OfStore):
    def make(self) -> PackedLoader:
        return PackedLoader(self.store, self.indices, None, max_nodes=150, max_edges=200, shuffle=True)


class TestPackedLoaderWithWeights(OfStore):
    def make(self) -> PackedLoader:
        return PackedLoader(self.store, self.indices, 9, weights=np.linspace(1, 2, len(self.indices)))


class TestExpertLoader(LoaderContract):
    def make(self) -> ExpertLoader:
        return ExpertLoader(table(21, 1, gat_right=either), 4, shuffle=True, seed=3, follow=True)


def samples(noise: bool = True) -> Samples:
    return Samples(18, 1, noise=noise)


class TestDataLoader(LoaderContract):
    def make(self) -> Any:
        return DataLoader(samples(), 4, shuffle=True)


class TestDataLoaderWithAGenerator(LoaderContract):
    def make(self) -> Any:
        return DataLoader(samples(), 4, shuffle=True, generator=torch.Generator(), drop_last=True)


class TestDataLoaderWithASampler(LoaderContract):
    def make(self) -> Any:
        data = samples()
        return DataLoader(data, 4, sampler=RandomSampler(data, num_samples=11, replacement=True))


class TestDataLoaderWithWorkers(LoaderContract):
    def make(self) -> Any:
        return DataLoader(Samples(6, 1, noise=True), 2, shuffle=True, num_workers=2)


class TestDataLoaderInOrder(LoaderContract):
    shuffles = False

    def make(self) -> Any:
        return DataLoader(samples(noise=False), 4)


class TestList(LoaderContract):
    shuffles = False

    def make(self) -> Any:
        return list(DataLoader(samples(noise=False), 4))


class TestALoaderOfOnesOwn(LoaderContract):
    def make(self) -> Any:
        return CursorLoader(samples(noise=False))


# What the contract is for: loaders that break one of its rules --------------------------------------------------------


class Faulty:
    """Four batches in an order of (epoch); each fault is one that a real loader had."""

    def __init__(self, fault: str) -> None:
        self.fault, self.epoch, self.done, self._begin = fault, 0, 0, 0
        self.random = np.random.default_rng(0)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 4 + (self.fault == "length")

    def __iter__(self) -> Iterator[torch.Tensor]:
        rng = self.random if self.fault == "own generator" else np.random.default_rng(self.epoch)
        order = rng.permutation(4) if self.fault != "forgets its epoch" else np.arange(4)
        begin = self._begin
        if self.fault != "keeps its position":
            self._begin = 0
        for number in range(begin, 4):
            self.done = number + (self.fault != "counts late")
            yield torch.tensor(order[number])

    def state_dict(self) -> dict[str, Any]:
        return {"done": np.int64(self.done) if self.fault == "numpy state" else self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._begin = int(state["done"])


def one_shot() -> Any:
    return iter([torch.zeros(1)])


@pytest.mark.parametrize(
    ("make", "test", "message"),
    [
        (one_shot, LoaderContract.test_it_can_be_iterated_again, "is one-shot: its second epoch would be empty"),
        ("own generator", LoaderContract.test_it_can_be_iterated_again, "the same epoch twice gives different"),
        (
            "own generator",
            LoaderContract.test_the_order_depends_on_seed_and_epoch_only,
            "epoch 2 is another one after epoch 0 and a part of epoch 1",
        ),
        ("forgets its epoch", LoaderContract.test_epochs_differ_where_it_shuffles, "two epochs have the same order"),
        ("length", LoaderContract.test_its_length_is_the_number_of_batches, r"epoch 0 has 4 batches, len\(\) says 5"),
        (
            "counts late",
            LoaderContract.test_from_any_position_exactly_the_remaining_batches_follow,
            "resumed after 1 of 4 batches, what follows differs",
        ),
        (
            "keeps its position",
            LoaderContract.test_from_any_position_exactly_the_remaining_batches_follow,
            "a position must be used once",
        ),
        (
            "numpy state",
            LoaderContract.test_from_any_position_exactly_the_remaining_batches_follow,
            r"Faulty.state_dict\(\).done is a numpy.int64",
        ),
    ],
)
def test_the_contract_notices(
    make: Callable[[], Any] | str, test: Callable[[LoaderContract], None], message: str
) -> None:
    class Broken(LoaderContract):
        def make(self) -> Any:
            return Faulty(make) if isinstance(make, str) else make()

    with pytest.raises((AssertionError, TypeError), match=message):
        test(Broken())
