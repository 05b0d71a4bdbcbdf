"""Loops over blocks on several threads."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest
import torch

from credit_like._threads import BLOCK, blocks_of, lent_by_torch, spread


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_rows_make_blocks() -> None:
    assert [blocks_of(rows) for rows in (0, 1, BLOCK, BLOCK + 1)] == [1, 1, 1, 2]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("blocks", "runs"), [(1, [(0, 1)]), (2, [(0, 1), (1, 2)]), (7, [(0, 2), (2, 4), (4, 7)])])
def test_every_block_is_done_once_and_answers_are_in_order(blocks: int, runs: list[tuple[int, int]]) -> None:
    assert spread(lambda first, last, word: (first, last, word), blocks, "x") == [(*run, "x") for run in runs]


@pytest.mark.usefixtures("three_threads")
def test_an_error_comes_out_when_all_threads_are_done() -> None:
    done, waiting = [], threading.Event()

    def loop(first: int, last: int) -> None:
        if first == 0:
            waiting.set()
            raise ValueError("mine")
        waiting.wait()
        done.append(first)

    with pytest.raises(ValueError, match="mine"):
        spread(loop, 3)
    assert sorted(done) == [1, 2]

    def other(first: int, last: int) -> None:
        if first == 2:
            raise ValueError("another's")

    with pytest.raises(ValueError, match="another's"):
        spread(other, 3)


@pytest.mark.usefixtures("three_threads")
def test_torch_lends_its_threads_and_gets_them_back() -> None:
    def loop(first: int, last: int) -> tuple[int, int]:
        torch.set_num_threads(1)
        return first, torch.get_num_threads()

    with lent_by_torch():
        assert torch.get_num_threads() == 1
        with lent_by_torch():
            assert spread(loop, 3) == [(0, 1), (1, 1), (2, 1)]
        assert len(spread(loop, 3)) == 3  # the inner one has given nothing back that is not its own
    assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="mine"), lent_by_torch():
        raise ValueError("mine")
    assert torch.get_num_threads() == 3
    born: list[int] = []
    thread = threading.Thread(target=lambda: born.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert born == [3]  # a new thread gets what was set last
    assert len(spread(lambda first, last: first, 3)) == 3


def _spread_in_a_child(answers: object) -> None:
    answers.put(spread(lambda first, last: (first, last), 3))  # type: ignore[attr-defined]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    whole = spread(lambda first, last: (first, last), 3)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_spread_in_a_child, args=(answers,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert answers.get() == whole
