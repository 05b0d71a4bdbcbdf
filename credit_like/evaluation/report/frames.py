"""The section on frames: how well the detector tells which ids, and so which frames, were the attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit_like.evaluation.report.markup import Cell, Html, pointer, section, table, tag
from credit_like.evaluation.report.tables import SET_COLUMNS, WINDOW_COLUMNS, count_cell, figure_cell, without_frames
from credit_like.evaluation.report.words import family, listing, number, ratio, set_name

_COLUMNS = WINDOW_COLUMNS | {
    name: SET_COLUMNS[name] for name in ("FPR", "Precision at recall 0.95", "Calibration error")
}
#: An attack is told by its windows from this recall on, and not by its frames below that.
_TOLD, _NOT_TOLD = 0.5, 0.1


def by_frame(metrics: Mapping[str, Any]) -> Html:
    """Figures of frames by test set and attack family, or why there are none."""
    threshold = metrics["calibration"]["frame_threshold"]
    if threshold is None:
        why = metrics["overall"]["frames"]["undefined"]["auroc"]
        return section("frames", "Results by frame", tag("p", f"Undefined: {why}."))
    text = (
        "Which frames were the attack? Each takes the score of its id in its window: the model's head on that node. "
        f"The threshold, {number(threshold)}, comes from the benign frames of the calibration windows; it promises "
        "nothing, because the frames of an id share a score. A detector that was taught whole windows is not taught "
        "this: the figures say how far its scores point at the guilty ids."
    )
    several, rows = len(metrics["test_sets"]) > 1, []
    for name, part in metrics["test_sets"].items():
        where = [set_name(name)] if several else []
        rows.append(["all", *where, *_figures(part["frames"], pointer("test_sets", name, "frames"))])
        for attack, figures in part["families"].items():
            path = pointer("test_sets", name, "families", attack, "frames")
            rows.append([family(attack), *where, *_figures(figures["frames"], path, none=without_frames(figures))])
    columns = ["Attack", *(["Test set"] if several else []), *_COLUMNS, "Attack frames", "Benign frames"]
    shown = table("Figures of frames", columns, rows)
    displaced = _displaced(metrics["overall"]["families"])
    notes = [tag("p", displaced)] if displaced else []
    return section("frames", "Results by frame", tag("p", text), *notes, tag("div", shown, class_="dense"))


def _displaced(families: Mapping[str, Any]) -> str:
    """A sentence on the families whose windows are told and whose frames are not; empty where there is none."""
    found = [
        f"{family(name)} ({ratio(part['windows']['recall'])} of the windows, {ratio(part['frames']['recall'])} of the "
        "frames)"
        for name, part in families.items()
        if None not in (part["windows"]["recall"], part["frames"]["recall"])
        and part["windows"]["recall"] >= _TOLD
        and part["frames"]["recall"] < _NOT_TOLD
    ]
    if not found:
        return ""
    return (
        f"Found by its windows and not by its frames: {listing(found)}. There the score of the window is high and that "
        "of the attacking ids is not above the threshold of frames: what stands out is something else, such as ids "
        "whose times and neighbours the attack has changed. The attack is noticed, and its frames are not pointed at."
    )


def _figures(figures: Mapping[str, Any], path: str, none: bool = False) -> list[Cell]:
    """The cells of a row; those of figures are dashes where there is ``none`` of the attack's frames."""
    return [
        *(
            Cell("\u2013", note="no window holds a frame of this attack")
            if none
            else figure_cell(figures, key, path, write)
            for key, write in _COLUMNS.values()
        ),
        *(count_cell(figures, key, path) for key in ("attack", "benign")),
    ]
