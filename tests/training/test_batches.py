"""Batches: how many samples one holds, and how it gets to the device, whatever it is made of."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from credit_like.training.batches import length_of, samples_in, to_device

Pair = namedtuple("Pair", "x y")
META = torch.device("meta")


def graphs() -> Any:
    """Three graphs of seven nodes together."""
    return Batch.from_data_list([Data(x=torch.zeros(n, 2), edge_index=torch.zeros(2, 1).long()) for n in (1, 2, 4)])


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (torch.zeros(5, 3), 5),
        (torch.tensor(1.0), 1),
        ((torch.zeros(4, 2), torch.zeros(9)), 4),
        ([torch.zeros(4, 2)], 4),
        (Pair(torch.zeros(6), torch.zeros(1)), 6),
        ({"x": torch.zeros(2, 7), "y": torch.zeros(9)}, 2),
        (({"x": torch.zeros(2, 7)}, torch.zeros(9)), 2),
        (graphs(), 3),
        ((graphs(), torch.zeros(9)), 3),
        ((), 1),
        ({}, 1),
        ("text", 1),
    ],
)
def test_samples_in_a_batch(batch: Any, samples: int) -> None:
    assert samples_in(batch) == samples


def test_every_tensor_of_a_batch_goes_to_the_device() -> None:
    batch = {"pair": Pair(torch.zeros(2), [torch.ones(3)]), "graphs": graphs(), "name": "a", "number": 3, "none": None}
    moved = to_device(batch, META)
    assert isinstance(moved["pair"], Pair)
    tensors = [
        moved["pair"].x,
        moved["pair"].y[0],
        moved["graphs"].x,
        moved["graphs"].edge_index,
        moved["graphs"].batch,
    ]
    assert {tensor.device for tensor in tensors} == {META}
    assert (moved["name"], moved["number"], moved["none"]) == ("a", 3, None)
    assert isinstance(to_device((torch.zeros(1), 2), META), tuple)


def test_what_is_there_already_is_not_copied() -> None:
    tensor = torch.zeros(2)
    assert to_device((tensor,), torch.device("cpu"))[0] is tensor


class Endless:
    def __iter__(self) -> Iterator[int]:
        return iter(range(10**9))


@pytest.mark.parametrize(
    ("loader", "limit", "length"),
    [([1, 2, 3], 0, 3), ([1, 2, 3], 2, 2), ([1], 9, 1), (Endless(), 4, 4), (Endless(), 0, None)],
)
def test_batches_that_an_epoch_will_have(loader: Any, limit: int, length: int | None) -> None:
    assert length_of(loader, limit) == length
