"""LoaderContract: what a loader keeps, so that epochs are repeatable and a resume in mid-epoch is exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from credit_like.testing.bitwise import differences
from credit_like.training import seed_everything
from credit_like.training.checkpoint import require_plain
from credit_like.training.position import Position
from credit_like.training.rng import epoch_seed, set_epoch

_SEED = 5


class LoaderContract:
    """Tests for a training loader. Subclass it, write ``make``, and pytest runs the rest.

    ::

        class TestWindows(LoaderContract):
            def make(self):
                return WindowLoader(windows, batch_size=4)

    ``make`` builds the loader anew from the same arguments, as a restarted process would; a few batches are enough.
    ``shuffles = False`` says that every epoch has the same order.
    """

    shuffles = True

    def make(self) -> Any:
        """A fresh loader."""
        raise NotImplementedError("a contract needs make()")  # a test class forgot it

    def test_it_can_be_iterated_again(self) -> None:
        loader = self.make()
        assert not isinstance(loader, Iterator), (
            f"a {type(loader).__name__} is one-shot: its second epoch would be empty; give it __iter__ without __next__"
        )
        first, second = self._epoch(loader, 0), self._epoch(loader, 0)
        assert first, "the loader gives no batch"
        found = differences(first, second)
        assert not found, f"the same epoch twice gives different batches: {found[:5]}"

    def test_the_order_depends_on_seed_and_epoch_only(self) -> None:
        """Not on the epochs before, on one that was left in the middle, or on random numbers drawn elsewhere."""
        expected = self._epoch(self.make(), 2)
        loader = self.make()
        self._epoch(loader, 0)
        next(self._begin(loader, 1))
        found = differences(expected, self._epoch(loader, 2))
        assert not found, f"epoch 2 is another one after epoch 0 and a part of epoch 1: {found[:5]}"

    def test_epochs_differ_where_it_shuffles(self) -> None:
        loader = self.make()
        found = differences(self._epoch(loader, 0), self._epoch(loader, 1))
        if self.shuffles:
            assert found, "two epochs have the same order; set shuffles = False if that is meant"
        else:
            assert not found, f"shuffles is False, but two epochs differ: {found[:5]}"

    def test_its_length_is_the_number_of_batches(self) -> None:
        """A loader without a length may leave it out; a wrong one is worse than none."""
        loader = self.make()
        for epoch in range(2):
            count = len(self._epoch(loader, epoch))
            if hasattr(loader, "__len__"):
                assert len(loader) == count, f"epoch {epoch} has {count} batches, len() says {len(loader)}"

    def test_from_any_position_exactly_the_remaining_batches_follow(self) -> None:
        """Through its own ``state_dict`` where it has one, else by winding through what was done."""
        whole = self._epoch(self.make(), 1)
        for done in range(len(whole) + 1):
            loader = self.make()
            batches = self._begin(loader, 1)
            for _ in range(done):
                next(batches)
            position = Position.of(done, loader)
            require_plain(position.loader, f"{type(loader).__name__}.state_dict()")

            fresh = self.make()
            self._begin(fresh, 1, iterate=False)
            found = differences(whole[done:], list(position.rewind(fresh)))
            assert not found, f"resumed after {done} of {len(whole)} batches, what follows differs: {found[:5]}"
            if position.loader is not None:
                again = differences(whole, self._epoch(fresh, 1))
                assert not again, f"a position must be used once; iterated again, the epoch differs: {again[:5]}"

    def _epoch(self, loader: Any, epoch: int) -> list[Any]:
        return list(self._begin(loader, epoch))

    def _begin(self, loader: Any, epoch: int, *, iterate: bool = True) -> Iterator[Any]:
        """An epoch's iterator, made in the engine's order: seed, tell the loader its epoch, then iterate."""
        seed_everything(epoch_seed(_SEED, epoch))
        set_epoch(loader, _SEED, epoch)
        return iter(loader) if iterate else iter(())
