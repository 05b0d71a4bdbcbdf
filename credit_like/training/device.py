"""Where a process runs: torchrun's environment is the only source of rank facts."""

from __future__ import annotations

import os

import torch

from credit_like.config import ConfigError


def choose_device(wanted: str) -> torch.device:
    """The device of this process: ``cuda:LOCAL_RANK`` (0 without torchrun), or the CPU.

    Raises ConfigError when a GPU is asked for and there is none, or not so many.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.cuda.is_available():
        remedy = "see whether nvidia-smi lists one" if torch.version.cuda else "install a CUDA build of torch"
        raise ConfigError(
            "trainer.device is 'cuda', but torch sees no GPU here "
            f"(torch {torch.__version__}); set trainer.device=cpu, or {remedy}"
        )
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(f"LOCAL_RANK is {local_rank}, but this machine has {torch.cuda.device_count()} GPU(s)")
    return torch.device("cuda", local_rank)


def environment_rank() -> int:
    """This process's rank as torchrun says it; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def checked_rank(rank: int) -> int:
    """``rank``, compared with the environment's RANK when that is set. Raises ValueError when they differ.

    Raises TypeError where it is no int.
    """
    if not isinstance(rank, int):
        raise TypeError(f"rank must be an int; got {rank!r}")
    stated = os.environ.get("RANK")
    if stated is not None and int(stated) != rank:
        raise ValueError(f"rank is {rank}, but the environment says RANK={stated}; pass int(os.environ['RANK'])")
    return rank
