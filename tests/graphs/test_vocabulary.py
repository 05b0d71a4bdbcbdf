"""Vocabulary: ids of training windows only, 0 for all others, carried by the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_like.config import UserError
from credit_like.graphs.store import GraphStore, rows_of
from credit_like.graphs.vocabulary import Vocabulary, look_up, look_up_on_device

keys = st.integers(0, 2**33 - 1)


@given(known=st.sets(keys, max_size=30), asked=st.lists(keys, max_size=30))
def test_known_keys_are_numbered_in_order_and_others_are_zero(known: set[int], asked: list[int]) -> None:
    vocabulary = Vocabulary(torch.tensor(list(known), dtype=torch.int64))
    asked += list(known)
    for keys in (asked, sorted(asked)):
        expected = [1 + sorted(known).index(key) if key in known else 0 for key in keys]
        assert vocabulary(torch.tensor(keys, dtype=torch.int64)).tolist() == expected
        assert look_up_on_device(vocabulary.keys, torch.tensor(keys, dtype=torch.int64)).tolist() == expected
    assert len(vocabulary) == len(known) + 1


def test_keys_are_whole_numbers_of_64_bits() -> None:
    with pytest.raises(ValueError, match=r"keys are int64; got torch\.int32"):
        Vocabulary(torch.tensor([3]))(torch.tensor([3], dtype=torch.int32))


@pytest.mark.parametrize("key", [torch.tensor([[7, 3], [5, 3]]), torch.tensor([3, 1, 5, 1])[::2], torch.tensor([])])
def test_any_shape_is_looked_up(key: torch.Tensor) -> None:
    vocabulary = Vocabulary(torch.tensor([3, 5]))
    torch.library.opcheck(look_up, (vocabulary.keys, key.long()))
    assert torch.equal(vocabulary(key.long()), look_up_on_device(vocabulary.keys, key.long()))


def test_it_is_fitted_on_the_windows_given_and_no_others(store: GraphStore) -> None:
    windows = store.select("train", label=0)[:3]
    vocabulary = Vocabulary.fit(store, windows)
    assert vocabulary.keys.tolist() == sorted(set(store.key[rows_of(store.node_ptr, windows)].tolist()))
    assert len(vocabulary) < len(Vocabulary.fit(store, store.select("train")))


def test_windows_of_other_splits_are_refused(store: GraphStore) -> None:
    with pytest.raises(ValueError, match=r"training windows only; got windows of \['test/known', 'validation'\]"):
        Vocabulary.fit(store, np.arange(len(store)))


def test_nothing_to_fit_on_is_the_users_to_mend(store: GraphStore) -> None:
    with pytest.raises(UserError, match="no training window"):
        Vocabulary.fit(store, np.array([], np.int64))


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="once"):
        Vocabulary(torch.tensor([3, 3]))


def test_it_travels_in_a_checkpoint(store: GraphStore, tmp_path: Path) -> None:
    vocabulary = Vocabulary.fit(store, store.select("train"))
    torch.save(vocabulary.state_dict(), tmp_path / "v.pt")
    state = torch.load(tmp_path / "v.pt", weights_only=True)
    restored = Vocabulary.empty(len(state["keys"]))
    key = torch.from_numpy(store.key.copy())
    assert (restored(key) == 0).all()
    assert restored.digest() != vocabulary.digest()
    restored.load_state_dict(state)
    assert torch.equal(restored(key), vocabulary(key))
    assert restored.digest() == vocabulary.digest()
    with pytest.raises(RuntimeError, match="size mismatch"):
        Vocabulary.empty(3).load_state_dict(state)
