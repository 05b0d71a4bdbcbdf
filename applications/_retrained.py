"""Controls that are trained: the run's own job again, on graphs without edges and on rewired ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from applications._data import Data, fit_inputs
from applications._fit import fit
from applications._run import Run
from applications._scoring import window_scores
from credit_like.evaluation import NO_EDGES, REWIRED
from credit_like.graphs import ChangeEdges, remove_edges, rewire_edges
from credit_like.training import Stopped

#: Each control's folder under RUN/controls, and what it does to the edges.
CHANGES: dict[str, tuple[str, ChangeEdges]] = {
    NO_EDGES: ("no_edges", remove_edges),
    REWIRED: ("rewired_edges", rewire_edges),
}


def retrained_scores(run: Run, data: Data, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Scores float64[len(rows)] of every retrained control on the windows ``rows``.

    Each is trained in ``RUN/controls`` with the run's job and seed; one that is trained already is not trained again,
    and one that was stopped goes on. Raises KeyboardInterrupt or Stopped, with how to go on, when it is stopped.
    """
    vocabulary, scaler = fit_inputs(data, run.job.data)
    found = {}
    for name, (folder, change) in CHANGES.items():
        print(f"control: {name}")
        job = run.job.model_copy(update={"save_loc": run.folder / "controls" / folder})
        try:
            going_on = job.save_loc.is_dir()
            trainer = fit(
                job, run.trainer, data, vocabulary, scaler, run.certificate, resume=going_on, change_edges=change
            )
        except (KeyboardInterrupt, Stopped) as stop:
            raise type(stop)(f"go on with `credit-like evaluate {run.folder} --controls all`") from stop
        found[name], _ = window_scores(trainer, data.store, rows, job.loader.eval_batch_size, change)
    return found
