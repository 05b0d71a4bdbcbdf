"""Processes that torchrun starts again find the living, not what the dead have left in its store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from credit_like.config import UserError
from credit_like.training import rendezvous
from credit_like.training.rendezvous import _HERE, _named, _told, meet, remember, remembered

PATIENCE = timedelta(seconds=60)


@pytest.fixture
def agent() -> dist.TCPStore:
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture(autouse=True)
def _alone_afterwards() -> Iterator[None]:
    yield
    rendezvous._store = None


def life(agent: dist.TCPStore, size: int) -> list[str]:
    """The name of the life that each of so many processes, here threads, has been told."""
    stores = [dist.TCPStore("127.0.0.1", agent.port, timeout=PATIENCE) for _ in range(size)]
    with ThreadPoolExecutor(size) as pool:
        named = pool.submit(_named, stores[0], size, PATIENCE)
        told = [pool.submit(_told, stores[rank], rank) for rank in range(1, size)]
        return [future.result() for future in (named, *told)]


def test_every_life_has_a_name_of_its_own_that_all_know(agent: dist.TCPStore) -> None:
    lives = [life(agent, size) for size in (3, 3, 2, 1, 3)]
    assert [len(set(names)) for names in lives] == [1] * 5
    assert len({names[0] for names in lives}) == 5


def test_who_died_before_it_was_told_is_not_waited_for(agent: dist.TCPStore) -> None:
    agent.set(f"{_HERE}/1", "dead")
    first, second = life(agent, 2)
    assert first == second


def test_words_reach_later_lives_and_what_torch_writes_does_not(
    agent: dist.TCPStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(agent.port)}
    for name, value in (facts | {"TORCHELASTIC_USE_AGENT_STORE": "True"}).items():
        monkeypatch.setenv(name, value)
    assert not remembered("begun")
    remember("begun")  # to nobody
    for number in range(2):
        store, rank, size = meet(PATIENCE)
        assert (rank, size) == (0, 1)
        assert not store.check(["address"])
        store.set("address", "127.0.0.1")
        assert remembered("begun") == bool(number)
        remember("begun")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_whose_others_do_not_come(rank: str, agent: dist.TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(agent.port)}
    for name, value in (facts | {"TORCHELASTIC_USE_AGENT_STORE": "True"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"the 2 processes of this run have not found each other in .*, 0\.2 s; see"):
        meet(timedelta(seconds=0.2))
