"""The dear controls: the model itself, trained again on graphs whose transitions say less or nothing."""

from __future__ import annotations

NO_EDGES, REWIRED = "model without edges", "model with rewired edges"

#: Every control that is retrained on request, and what it is, for the report.
RETRAINED = {
    NO_EDGES: "the same model and job, trained and tested without any transition between ids",
    REWIRED: "the same model and job, trained and tested on graphs whose transitions lead to other ids of the window",
}
