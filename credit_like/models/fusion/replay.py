"""ReplayBuffer: the last so many decisions and what they earned, in packed tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Transitions(NamedTuple):
    """``state`` float32[n, d], ``action`` int64[n], ``reward`` float32[n]; ``following`` float32[n, d] the state of the
    next window, and ``last`` bool[n] where there is none. Without a discount nothing follows: both are empty."""

    state: Tensor
    action: Tensor
    reward: Tensor
    following: Tensor
    last: Tensor


class ReplayBuffer:
    """A ring of ``capacity`` transitions on ``device``; the oldest are overwritten.

    ``follows`` says whether the next states are kept too, which doubles the memory. ``sample`` draws from torch's
    global generator. ``state_dict`` holds what is filled, as tensors.
    """

    def __init__(self, capacity: int, width: int, *, follows: bool = False, device: torch.device | str = "cpu") -> None:
        if capacity < 1:
            raise ValueError(f"a replay buffer holds at least one transition; got capacity {capacity}")
        rows = capacity if follows else 0
        self.capacity, self.follows, self._length, self._next = capacity, follows, 0, 0
        self._kept = Transitions(
            torch.zeros(capacity, width, device=device),
            torch.zeros(capacity, dtype=torch.int64, device=device),
            torch.zeros(capacity, device=device),
            torch.zeros(rows, width, device=device),
            torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def __len__(self) -> int:
        return self._length

    def add(self, new: Transitions) -> None:
        """Take n transitions in; of more than ``capacity`` the last ones."""
        new = Transitions(*(part[-self.capacity :] for part in new))
        count = len(new.action)
        where = (self._next + torch.arange(count, device=new.action.device)) % self.capacity
        for kept, part in zip(self._kept, new, strict=True):
            if len(kept):
                kept[where] = part.to(kept.dtype)
        self._next = (self._next + count) % self.capacity
        self._length = min(self.capacity, self._length + count)

    def sample(self, count: int) -> Transitions:
        """``count`` transitions, each drawn from all of them. Raises ValueError when the buffer is empty."""
        if not self._length:
            raise ValueError("nothing can be drawn from an empty replay buffer")
        rows = torch.randint(self._length, (count,), device=self._kept.action.device)
        return Transitions(*(part[rows] if len(part) else part for part in self._kept))

    def everything(self) -> Transitions:
        """All transitions, in no order that means anything; views of the buffer."""
        return Transitions(*(part[: self._length] for part in self._kept))

    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next, **{name: part.clone() for name, part in self.everything()._asdict().items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave. Raises ValueError when it is of a buffer of another size."""
        length = len(state["action"])
        if length > self.capacity or state["state"].shape[1] != self._kept.state.shape[1]:
            raise ValueError(
                f"the replay buffer holds {self.capacity} states of width {self._kept.state.shape[1]}; "
                f"the saved one has {length} of width {state['state'].shape[1]}"
            )
        for name, kept in self._kept._asdict().items():
            if len(kept):
                kept[:length] = state[name]
        self._length, self._next = length, int(state["next"])
