"""What a split certificate holds, field by field. All of it is plain JSON data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from credit_like.config import Settings
from credit_like.graphs.splits import SplitSettings

FORMAT = "credit_like split certificate"
VERSION = 1

_SHA256 = r"^[0-9a-f]{64}$"


class File(Settings):
    """The log that a capture was read from; captures of one log have one ``path``."""

    capture: str
    vehicle: str
    path: str
    sha256: str = Field(pattern=_SHA256)
    format: str
    frames: int = Field(ge=0, description="frames of the capture")


class RowInterval(Settings):
    """Rows ``row_start <= row < row_stop`` of a capture: from the first to the last that windows of a split use."""

    capture: str
    split: str
    row_start: int = Field(ge=0)
    row_stop: int = Field(ge=0)
    t_start: float = Field(description="time of the first row, seconds of the capture's clock")
    t_stop: float = Field(description="time of the last row")
    windows: int = Field(ge=1)


class GroupMember(Settings):
    """A capture of a group: its time plus ``offset`` is the group's clock, true within ``spread`` seconds."""

    capture: str
    offset: float
    spread: float = Field(ge=0)
    shared: float = Field(ge=0, le=1, description="share of its frame runs that other captures of the group hold too")


class CaptureGroup(Settings):
    """Captures that share recorded traffic; not ``aligned`` where they have no common clock."""

    aligned: bool
    captures: list[GroupMember]


class Disjointness(Settings):
    """Both are computed from ``intervals`` and ``groups`` and must come out the same again."""

    overlapping_rows: int = Field(description="rows that lie in intervals of two splits")
    smallest_gap: float | None = Field(
        description="least drive time, in seconds, between training, fusion, validation and test within a group, "
        "clock spreads taken off; null where no group is divided"
    )


class SharedRuns(Settings):
    """How much of a split's normal traffic is learnt from too: in training, or before validation and test in fusion."""

    runs: int
    in_train: float = Field(ge=0, le=1, description="share of its frame runs that occur there")
    by_capture: dict[str, float] = Field(description="the same for each capture alone")


class RunOverlap(Settings):
    """Frame runs (consecutive normal frames of one bus, compared by id, length and payload) that splits share."""

    run_length: int = Field(description="frames in a run")
    chance: float = Field(
        ge=0, le=1, description="share of runs in the later half of training's drive time that the earlier half holds"
    )
    splits: dict[str, SharedRuns]


class Fit(Settings):
    """A part of the model that was fitted on data, and the same part fitted again on training windows alone."""

    digest: str = Field(pattern=_SHA256)
    refit_digest: str = Field(pattern=_SHA256)
    fitted_on: str = Field(description="the windows that give refit_digest")
    windows: int = Field(description="how many they are")
    indices_sha256: str = Field(
        pattern=_SHA256, description="digest of their indices in the store, int64 little-endian"
    )


class Store(Settings):
    """The graph store whose windows the intervals describe."""

    digest: str
    windows: int
    outside_plan: int = Field(description="windows that do not lie in a segment that the plan gives to their split")


class Rows(Settings):
    """Where every raw row went: ``planned`` ones to a split; the others by the reason they were left out."""

    total: int
    planned: int
    embargo: int
    held_out: int
    too_short: int
    tail: int = Field(description="planned rows in no window, because a segment or bus ends before the window is full")
    skipped: int = Field(description="planned rows that a stride longer than the window jumps over")


class Counts(Settings):
    """Windows of one split by label."""

    windows: int
    benign: int
    attack: int
    unlabelled: int
    families: dict[str, int] = Field(description="attack windows by their most frequent family")
    overlapping: dict[str, int] = Field(
        description="windows without an attack frame that overlap a declared attack interval of a family"
    )


class CertificateContent(Settings):
    """The whole certificate but for its digest."""

    format: Literal["credit_like split certificate"]
    version: Literal[1]
    files: list[File]
    duplicates: list[tuple[str, str]] = Field(description="(left out, kept): logs of the same content, used once")
    policy: Literal["groups", "time_blocks"]
    reason: str = Field(description="why this policy")
    notes: list[str]
    settings: SplitSettings
    embargo: float = Field(gt=0, description="seconds of drive time that must lie between different splits of a group")
    groups: list[CaptureGroup]
    layouts: list[dict[str, Any]] = Field(description="how each group was cut, where and why")
    intervals: list[RowInterval]
    disjointness: Disjointness
    run_overlap: RunOverlap
    vocabulary: Fit
    scaler: Fit
    store: Store
    rows: Rows
    counts: dict[str, Counts]
