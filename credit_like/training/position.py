"""Position: how far into an epoch a checkpoint was taken, and how a loader gets back there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from credit_like.training.checkpoint import CheckpointError
from credit_like.training.rng import rng_state, set_rng_state


@dataclass(frozen=True)
class Position:
    """``batches`` of the epoch are done; ``rng`` is every generator's state now.

    ``loader`` is the loader's own ``state_dict`` where it has one. Else the loader is iterated anew from the epoch's
    random state, and wound through the batches that were done.
    """

    batches: int
    rng: dict[str, Any]
    loader: dict[str, Any] | None

    @staticmethod
    def of(batches: int, loader: Any) -> Position:
        own = loader.state_dict() if batches and hasattr(loader, "state_dict") else None  # 0: it may not have begun
        return Position(batches, rng_state(), own)

    def rewind(self, loader: Any) -> Iterator[Any]:
        """The iterator over what is left of the epoch. Raises CheckpointError when the loader has grown shorter."""
        if self.loader is not None:
            loader.load_state_dict(self.loader)
        iterator: Iterator[Any] = iter(loader)
        if self.loader is None:
            for done in range(self.batches):
                if next(iterator, _END) is _END:
                    raise CheckpointError(
                        f"the checkpoint was taken after {self.batches} batches of its epoch, but the loader has only "
                        f"{done}; resume with the same data and batch size"
                    )
        set_rng_state(self.rng)
        return iterator


_END = object()
