"""``explanations.json``: why windows scored as they did, in ids, transitions and frames that have names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch_geometric.data import Data

from credit_like.can.captures import Capture
from credit_like.can.dbc import DbcNames, id_text
from credit_like.can.frames import FrameTable
from credit_like.evaluation.alarms import AlarmRule, in_sequence
from credit_like.evaluation.figures import window_set
from credit_like.evaluation.occlusion import Occlusion, ScoreGraphs, occlude
from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES
from credit_like.graphs.plan import VALIDATION
from credit_like.graphs.store import GraphStore
from credit_like.graphs.windows import rows_of_bus

Ints = NDArray[np.int64]

#: A graph in the form of ``GraphStore.graph`` -> what each edge counts for the node it leads to, float[E]; of the edges
#: into one node they sum to 1.
AttentionOf = Callable[[Data], NDArray[np.floating[Any]]]

#: Alarms of a test set that the evaluation explains, and of all of them together; each costs some 150 graphs to score.
ALARMS, ALARMS_IN_ALL = 8, 32
#: Ids and transitions that are listed at least, where there are so many, and frames that are shown.
LISTED, FRAMES = 8, 12
FALSE_ALARM, NEAR_ATTACK = "false alarm", "during an attack"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IdEffect(_Part):
    id: str
    name: str = Field(description="of the message in the DBC file; empty without one")
    frames: int
    attack_frames: int | None = Field(None, description="of them, labelled attack; null: not all have a label")
    score_without: float
    effect: float = Field(description="what deleting the id takes from the score; log-odds where log_odds is true")
    attention: float | None = Field(None, description="share of all ids' attention that it gets; null: not asked for")


class TransitionEffect(_Part):
    source: str
    target: str
    count: int
    score_without: float
    effect: float
    attention: float | None = Field(
        None, description="share of the target's attention that it gets; null: not asked for"
    )


class FidelityFigures(_Part):
    deleted: int = Field(description="ids deleted at once")
    top: float = Field(description="effect of deleting those with the highest effects")
    random: float = Field(description="mean effect of deleting as many random ids")
    beaten: float = Field(description="share of the random choices with a smaller effect than the highest ids")
    draws: int


class FrameLine(_Part):
    t: float = Field(description="seconds, the capture's clock")
    id: str
    name: str
    data: str = Field(description="payload bytes, hexadecimal")
    attack: bool | None = Field(None, description="whether it is labelled attack; null: no label")
    signals: dict[str, str] = Field(description="signal of the DBC file -> value with unit")


class Explanation(_Part):
    """One window. Ids and transitions with the highest effects come first; so many as help, not all of them.

    Whatever its effect, an id is listed that has a frame labelled attack, or more frames than any other.
    """

    split: str
    capture: str
    bus: int
    row_start: int
    row_stop: int
    t_start: float
    t_end: float
    kind: str = Field(description="attack family, 'false alarm', 'during an attack', or empty where not looked for")
    score: float
    log_odds: bool
    ids: list[IdEffect]
    ids_in_window: int | None = Field(None, description="of which ids lists some; null: of an older version")
    transitions: list[TransitionEffect]
    transitions_in_window: int | None = Field(None, description="of which transitions lists some; null: as above")
    fidelity: FidelityFigures | None = Field(description="null for a window of one id, which cannot be taken out")
    frames: list[FrameLine]


class Explanations(_Part):
    """The whole of ``explanations.json``."""

    schema_version: Literal[1] = 1
    explanations: list[Explanation]


def top_alarms(frame: pl.DataFrame, rule: AlarmRule) -> list[tuple[int, str]]:
    """(row of the scores table, kind) of the alarms to explain, adjoining alarms once, by their highest window.

    Of every test set up to ``ALARMS``: the highest alarm of each kind (attack family, false alarm), then the second of
    each, so that one loud attack does not hide the others.
    """
    found: list[tuple[int, float, int, str]] = []
    frame = frame.with_row_index("row")
    for name in sorted(set(frame["split"]) - {VALIDATION}):
        rows = frame.filter(pl.col("split") == name)
        windows = window_set(rows, (), rule)
        order, follows = in_sequence(windows.stream, windows.row_start, windows.row_stop)
        alarm = windows.alarm[order]
        run = np.cumsum(alarm & ~np.concatenate([[False], alarm[:-1] & follows[1:]])) if len(alarm) else order
        peaks: dict[int, int] = {}
        for place, number in zip(order[alarm], run[alarm], strict=True):
            best = peaks.setdefault(int(number), int(place))
            if windows.score[place] > windows.score[best]:
                peaks[int(number)] = int(place)
        seen: dict[str, int] = {}
        ranked = []
        for place in sorted(peaks.values(), key=lambda place: (-windows.score[place], place)):
            kind = FALSE_ALARM if windows.benign[place] else windows.family[place] or NEAR_ATTACK
            seen[kind] = seen.get(kind, 0) + 1
            ranked.append((seen[kind], -float(windows.score[place]), int(rows["row"][place]), str(kind)))
        found += sorted(ranked)[:ALARMS]
    return [(row, kind) for _, _, row, kind in sorted(found)[:ALARMS_IN_ALL]]


def explain(
    store: GraphStore,
    windows: Sequence[tuple[int, str]],
    captures: Sequence[Capture],
    score: ScoreGraphs,
    names: DbcNames,
    around: float | None = None,
    attention: AttentionOf | None = None,
) -> dict[str, Any]:
    """The explanations of the store's windows (index, kind), as plain JSON data in the form of ``Explanations``.

    ``score`` scores graphs as the detector does. The frames shown are those around ``around`` (seconds of the
    capture's clock), or around the first frame of the id with the highest effect. With ``attention`` each id and
    transition listed also says how much of it it got.
    """
    occlusions = occlude([store.graph(index) for index, _ in windows], score)
    by_name = {capture.name: capture for capture in captures}
    made = [
        _explanation(store, index, kind, by_name, occlusion, names, around, attention)
        for (index, kind), occlusion in zip(windows, occlusions, strict=True)
    ]
    return Explanations(explanations=made).model_dump(mode="json")


def _explanation(
    store: GraphStore,
    index: int,
    kind: str,
    captures: dict[str, Capture],
    found: Occlusion,
    names: DbcNames,
    around: float | None,
    attention: AttentionOf | None,
) -> Explanation:
    windows, graph = store.windows, store.graph(index)
    keys = graph.key.tolist()
    of_node, of_edge = (None, None) if attention is None else _attention(graph, attention)
    capture = windows.capture_names[windows.capture[index]]
    start, stop, bus = (int(x[index]) for x in (windows.row_start, windows.row_stop, windows.bus))
    frames = captures[capture].frames
    frames = frames[rows_of_bus(frames, bus, start, stop)]
    times = graph.x[:, NODE_FEATURES.index("message_count")].numpy()
    wanted = np.isin(keys, frames.key[frames.label == 1]) | (times == times.max())
    ids = [
        IdEffect(
            id=id_text(keys[node]),
            name=names.message(keys[node]),
            frames=int(times[node]),
            attack_frames=_attack_frames(frames.label[frames.key == keys[node]]),
            score_without=float(found.without_node[node]),
            effect=float(found.node_effect[node]),
            attention=None if of_node is None else float(of_node[node]),
        )
        for node in _highest(found.node_effect, wanted)
    ]
    source, target = graph.edge_index.tolist()
    transitions = [
        TransitionEffect(
            source=_named(keys[source[edge]], names),
            target=_named(keys[target[edge]], names),
            count=int(graph.edge_attr[edge, EDGE_FEATURES.index("count")]),
            score_without=float(found.without_edge[edge]),
            effect=float(found.edge_effect[edge]),
            attention=None if of_edge is None else float(of_edge[edge]),
        )
        for edge in _highest(found.edge_effect)
    ]
    guilty = keys[_highest(found.node_effect)[0]] if ids else keys[0]
    return Explanation(
        split=windows.split_names[windows.split[index]],
        capture=capture,
        bus=bus,
        row_start=start,
        row_stop=stop,
        t_start=float(windows.t_start[index]),
        t_end=float(windows.t_stop[index]),
        kind=kind,
        score=found.score,
        log_odds=found.log_odds,
        ids=ids,
        ids_in_window=len(keys),
        transitions=transitions,
        transitions_in_window=graph.edge_index.shape[1],
        fidelity=None if found.fidelity is None else FidelityFigures(**asdict(found.fidelity)),
        frames=_frames(frames, guilty, names, around),
    )


def _attention(graph: Data, attention: AttentionOf) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each node and each edge gets of it; of the nodes' shares the sum is 1, unless there is no edge."""
    of_edge = np.asarray(attention(graph), np.float64)
    source, target = graph.edge_index.numpy()
    attending = max(1, len(np.unique(target)))
    return np.bincount(source, of_edge, minlength=len(graph.key)) / attending, of_edge


def _attack_frames(label: NDArray[np.int8]) -> int | None:
    return None if (label < 0).any() else int((label == 1).sum())


def _frames(frames: FrameTable, guilty: int, names: DbcNames, around: float | None) -> list[FrameLine]:
    """``FRAMES`` of a window's ``frames``, around a time or the first frame of the id ``guilty``."""
    keys = frames.key
    centre = int(np.flatnonzero(keys == guilty)[0]) if around is None else int(np.searchsorted(frames.t, around))
    first = max(0, min(centre - FRAMES // 3, len(frames) - FRAMES))
    lines = []
    for row in range(first, min(first + FRAMES, len(frames))):
        key, payload = int(keys[row]), frames.payload[row, : frames.length[row]].tobytes()
        lines.append(
            FrameLine(
                t=float(frames.t[row]),
                id=id_text(key),
                name=names.message(key),
                data=payload.hex(" ").upper(),
                attack=None if frames.label[row] < 0 else bool(frames.label[row] == 1),
                signals=names.signals(key, payload),
            )
        )
    return lines


def _highest(effect: NDArray[np.float64], wanted: NDArray[np.bool_] | None = None) -> Ints:
    """Places of the ``LISTED`` highest effects and of all that are ``wanted``, the highest first; none that is NaN."""
    order = np.argsort(-effect, kind="stable")
    listed = np.arange(len(order)) < LISTED
    if wanted is not None:
        listed |= wanted[order]
    order = order[listed]
    return order[~np.isnan(effect[order])]


def _named(key: int, names: DbcNames) -> str:
    return f"{id_text(key)} {names.message(key)}".rstrip()
