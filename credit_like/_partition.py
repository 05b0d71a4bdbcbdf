"""How an epoch's order is shared between the processes that train together; pure functions of sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def even_borders(samples: int, batch_size: int, processes: int) -> NDArray[np.int64]:
    """int64[steps * processes + 1]: where each share begins in the order, with its length at the end.

    A step takes ``batch_size`` samples of the order, and process ``r`` the ``r``-th share of each step: shares of one
    step differ by one sample at most, and those of all steps together are the order. The last step may be smaller; with
    fewer samples than processes it joins the step before. Raises ValueError where a share would be empty.

    >>> even_borders(9, 4, 2).tolist()
    [0, 2, 4, 7, 9]
    """
    if batch_size < processes:
        raise ValueError(f"a batch_size of {batch_size} cannot be shared by {processes} processes")
    if 0 < samples < processes:
        raise ValueError(f"{samples} samples cannot be shared by {processes} processes")
    steps = np.append(np.arange(0, samples, batch_size), samples)
    if len(steps) > 2 and samples - steps[-2] < processes:
        steps = np.delete(steps, -2)
    sizes = np.diff(steps)[:, None] // processes + (np.arange(processes) < np.diff(steps)[:, None] % processes)
    return np.append(0, np.cumsum(sizes)).astype(np.int64)


def cut_to_multiple(borders: NDArray[np.int64], processes: int) -> NDArray[np.int64]:
    """``borders`` of batches with some cut in half, so that their number is a multiple of ``processes``.

    The largest batch is cut, the first of equals, until the number is right: no batch grows, so budgets hold. Raises
    ValueError where there are too few samples to cut.

    >>> cut_to_multiple(np.array([0, 4, 8, 9]), 2).tolist()
    [0, 2, 4, 8, 9]
    """
    while (len(borders) - 1) % processes:
        sizes = np.diff(borders)
        largest = int(sizes.argmax())
        if sizes[largest] < 2:
            raise ValueError(f"{borders[-1]} samples cannot be shared by {processes} processes")
        borders = np.insert(borders, largest + 1, borders[largest] + (sizes[largest] + 1) // 2)
    return borders
