"""PartitionedBatchSampler: what processes draw together is an epoch, and each draws as many batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from credit_like._partition import cut_to_multiple, even_borders
from credit_like.testing import LoaderContract
from credit_like.training import PartitionedBatchSampler
from credit_like.training.partition import share_of
from tests.training.toys import Samples

SIZES = st.tuples(st.integers(1, 200), st.integers(1, 40), st.integers(1, 7)).filter(lambda s: min(s[0], s[1]) >= s[2])


@given(sizes=SIZES, shuffle=st.booleans(), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_processes_partition_an_epoch(sizes: tuple[int, int, int], shuffle: bool, seed: int, epoch: int) -> None:
    samples, batch_size, processes = sizes

    def drawn(rank: int, of: int) -> list[list[int]]:
        sampler = PartitionedBatchSampler(samples, batch_size, shuffle=shuffle, seed=seed, rank=rank, num_replicas=of)
        sampler.set_epoch(7)
        list(sampler)  # another epoch before leaves no trace
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        return batches

    shares, alone = [drawn(rank, processes) for rank in range(processes)], drawn(0, 1)
    steps = list(zip(*shares, strict=True))
    assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in steps)
    assert all(batch for share in shares for batch in share)
    union = [[i for share in step for i in share] for step in steps]
    assert [i for step in union for i in step] == [i for batch in alone for i in batch]
    assert sorted(i for step in union for i in step) == list(range(samples))
    tail = samples % batch_size
    if tail == 0 or tail >= processes:
        assert union == alone
    else:
        assert union[:-1] == alone[:-2]


@given(sizes=SIZES, epoch=st.integers(0, 3), data=st.data())
def test_a_position_is_taken_up(sizes: tuple[int, int, int], epoch: int, data: st.DataObject) -> None:
    samples, batch_size, processes = sizes
    begun, fresh = (PartitionedBatchSampler(samples, batch_size, rank=0, num_replicas=processes) for _ in range(2))
    begun.set_epoch(epoch)
    whole = list(begun)
    done = data.draw(st.integers(0, len(whole)))
    batches = iter(begun)
    for _ in range(done):
        next(batches)
    if done:
        fresh.load_state_dict(begun.state_dict())
        assert list(fresh) == whole[done:]
        assert list(fresh) == whole  # a position is used once


@given(n=st.integers(1, 100), borders=st.lists(st.integers(1, 99), max_size=12), processes=st.integers(1, 6))
def test_cutting_lets_no_batch_grow(n: int, borders: list[int], processes: int) -> None:
    before = np.array(sorted({0, n, *(b for b in borders if b < n)}))
    count = -(-(len(before) - 1) // processes) * processes
    if n < count:
        with pytest.raises(ValueError, match="cannot be shared"):
            cut_to_multiple(before, processes)
        return
    after = cut_to_multiple(before, processes)
    assert len(after) - 1 == count
    assert set(before) <= set(after)
    assert (np.diff(after) > 0).all()


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch_size of 2 cannot be shared by 3 processes"):
        even_borders(10, 2, 3)
    with pytest.raises(ValueError, match="2 samples cannot be shared by 3 processes"):
        even_borders(2, 4, 3)
    with pytest.raises(ValueError, match=r"rank must lie in 0 \.\. 1; got 2"):
        PartitionedBatchSampler(8, 4, rank=2, num_replicas=2)


def test_a_share_is_recognised_wherever_it_is_said() -> None:
    data = Samples(8, 0)
    ours = PartitionedBatchSampler(8, 4, rank=1, num_replicas=2)
    theirs = DistributedSampler(data, 2, 1)
    assert share_of(DataLoader(data, batch_sampler=ours)) == (1, 2)
    assert share_of(DataLoader(data, 2, sampler=theirs)) == (1, 2)
    assert share_of(DataLoader(data, 2)) is None
    assert share_of([]) is None


class TestSharedLoader(LoaderContract):
    def make(self) -> DataLoader[object]:
        data = Samples(22, 0)
        return DataLoader(data, batch_sampler=PartitionedBatchSampler(22, 6, rank=1, num_replicas=2))
