"""``metrics.json``: its types, its version, and the JSON schema that follows from them.

Every figure that cannot be computed is null, and ``undefined`` beside it says why, under the figure's name.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Raised by one whenever a reader of an older ``metrics.json`` could misread a newer one.
SCHEMA_VERSION = 4


class _Part(BaseModel):
    # Built on first use: 0.2 s that verbs which judge nothing should not wait for.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class WindowFigures(_Part):
    """Figures of the attack class over one set of windows; never averaged over classes, never weighted by support."""

    windows: int = Field(description="windows counted: attack + benign")
    attack: int = Field(description="windows with at least one attack frame")
    benign: int = Field(description="windows without attack frame that overlap no attack interval")
    left_out: int = Field(description="windows without attack frame that overlap an attack interval: not counted")
    unlabelled: int = Field(description="windows of frames without label: not counted")
    benign_hours: float = Field(description="bus time that the benign windows cover, hours")
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    precision: float | None
    recall: float | None
    f1: float | None
    mcc: float | None = Field(description="Matthews correlation coefficient")
    fpr: float | None = Field(description="share of benign windows above the threshold")
    false_alarms_per_hour: float | None = Field(description="runs of adjoining benign windows that alarm, an hour")
    false_alarm_windows_per_hour: float | None = Field(description="benign windows above the threshold, an hour")
    auroc: float | None
    auprc: float | None = Field(description="average precision")
    recall_at_fpr_1e2: float | None = Field(description="best recall at a false-positive rate of at most 0.01")
    recall_at_fpr_1e3: float | None = Field(description="best recall at a false-positive rate of at most 0.001")
    precision_at_recall_95: float | None = Field(description="best precision at a recall of at least 0.95")
    calibration_error: float | None = Field(description="expected calibration error, 15 equal bins of the score")
    undefined: dict[str, str] = Field(description="figure -> why it has no value")
    blocks: int = Field(
        description="stretches of bus time that hold windows of the rarer class; intervals rest on them"
    )
    intervals: dict[str, tuple[float, float]] = Field(description="figure -> 95 % block-bootstrap interval")
    no_interval: str = Field(description="why there is no interval; empty where there is one")


class FrameFigures(_Part):
    """Figures of the attack class over frames; a frame takes the score of its id, the detector's head on that node."""

    frames: int = Field(description="frames counted: attack + benign")
    attack: int
    benign: int
    left_out: int = Field(description="frames of windows left out of the window figures: not counted")
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    precision: float | None
    recall: float | None
    f1: float | None
    mcc: float | None
    fpr: float | None = Field(description="share of benign frames above the frame threshold")
    auroc: float | None
    auprc: float | None
    recall_at_fpr_1e2: float | None
    recall_at_fpr_1e3: float | None
    precision_at_recall_95: float | None
    calibration_error: float | None
    undefined: dict[str, str] = Field(description="figure -> why it has no value")
    blocks: int = Field(description="stretches of bus time that hold frames of the rarer class")
    intervals: dict[str, tuple[float, float]] = Field(description="figure -> 95 % block-bootstrap interval")
    no_interval: str = Field(description="why there is no interval; empty where there is one")

    @classmethod
    def undefined_because(cls, reason: str) -> FrameFigures:
        """No frame was scored, for ``reason``."""
        counts = [name for name, field in cls.model_fields.items() if field.annotation is int]
        apart = ("undefined", "intervals", "no_interval")
        figures = [name for name in cls.model_fields if name not in counts and name not in apart]
        return cls(
            **dict.fromkeys(counts, 0),
            **dict.fromkeys(figures),
            undefined=dict.fromkeys(figures, reason),
            intervals={},
            no_interval=reason,
        )


class EventFigures(_Part):
    """Attack intervals as the unit: an event is found when any window that overlaps it alarms."""

    events: int
    found: int
    share_found: float | None
    time_to_alarm_median: float | None = Field(description="seconds, over the events found")
    time_to_alarm_p90: float | None = Field(description="seconds, over the events found")
    time_to_alarm_max: float | None = Field(description="seconds, over the events found")
    undefined: dict[str, str]


class EventRow(_Part):
    """One attack interval of a test set."""

    test_set: str
    capture: str
    family: str
    start: float = Field(description="seconds, the capture's clock")
    stop: float
    observed_from: float = Field(description="start, or where the test set's windows begin, if that is later")
    windows: int = Field(description="windows of the test set that overlap the interval")
    found: bool
    time_to_alarm: float | None = Field(
        description="seconds from observed_from to the end of the first alarming window"
    )


class FamilyFigures(_Part):
    """One attack family: its attack windows against the benign windows of the captures that hold it."""

    captures: list[str]
    windows: WindowFigures
    frames: FrameFigures
    events: EventFigures


class ControlFigures(_Part):
    """A control detector on the same windows, at a threshold calibrated in the same way."""

    threshold: float
    auroc: float | None
    f1: float | None
    recall: float | None
    fpr: float | None
    difference: float | None = Field(description="AUROC of the model minus AUROC of the control")
    difference_interval: tuple[float, float] | None = Field(description="95 % paired block-bootstrap interval")
    undefined: dict[str, str]


class Oracle(_Part):
    """What the threshold that is best for F1 *on the test windows* would give: a bound, not a result."""

    threshold: float | None
    precision: float | None
    recall: float | None
    f1: float | None


class TestSet(_Part):
    __test__ = False  # not a test class for pytest

    captures: list[str]
    windows: WindowFigures
    frames: FrameFigures
    events: EventFigures
    families: dict[str, FamilyFigures]
    controls: dict[str, ControlFigures]
    oracle: Oracle


class FusionRow(_Part):
    """One way to decide about windows from two experts' outputs, with an alarm above the fusion's own threshold."""

    reward: float = Field(description="mean a window")
    regret: float = Field(description="mean reward of the best alpha for each window, minus this")
    precision: float | None
    recall: float | None
    f1: float | None
    fpr: float | None
    auroc: float | None
    undefined: dict[str, str] = Field(description="figure -> why it has no value")


class Fusion(_Part):
    """A fusion policy beside simpler ways to decide; ``validation`` decided which rule is in use."""

    agent: str
    experts: dict[str, str] = Field(description="gat, anomaly -> the trainer that made it")
    threshold: float = Field(description="of the fused score, in training, validation and test")
    rewards: dict[str, float] = Field(description="what each outcome of a decision is worth")
    rule: Literal["policy", "gat", "anomaly", "either"] = Field(description="what is in use")
    best_fixed_alpha: float = Field(description="chosen on the fusion windows")
    alphas: list[float]
    benign_by_alpha: list[int] = Field(description="benign test windows that the policy gives each alpha")
    attack_by_alpha: list[int] = Field(description="attack test windows that the policy gives each alpha")
    validation: dict[str, FusionRow]
    test: dict[str, FusionRow] = Field(description="the windows of all test sets together; empty without any")


class Calibration(_Part):
    """The threshold and what it promises of single windows; ``settings.alarm`` makes alarms of those above it."""

    threshold: float
    target: Literal["target_fpr", "false_alarms_per_hour"]
    requested_fpr: float = Field(description="false-alarm rate asked for, a benign window")
    requested_per_hour: float = Field(description="the same as benign windows above the threshold an hour")
    promised_fpr: float = Field(description="rate that the threshold promises, a benign window")
    promised_per_hour: float
    promised: bool = Field(description="whether the request is promised; if not, promised_fpr is the lowest possible")
    frame_threshold: float | None = Field(
        description="exceeded by no more than requested_fpr of the same windows' benign frames; null: frames not scored"
    )
    windows: int = Field(description="benign validation windows used")
    hours: float = Field(description="bus time that they cover")
    captures: list[str]
    assumption: str


class Metrics(_Part):
    """The whole of ``metrics.json``."""

    schema_version: Literal[4]
    settings: dict[str, Any] = Field(description="EvaluationSettings as used")
    calibration_captures: list[str] | None = Field(description="as passed to evaluate; null: every capture")
    groups: list[dict[str, float]] = Field(
        description="captures that share recorded traffic, and the seconds to add to their clocks, as passed"
    )
    calibration: Calibration
    validation: WindowFigures
    overall: TestSet | None = Field(description="the windows of all test sets together; null without test windows")
    test_sets: dict[str, TestSet]
    events: list[EventRow]
    raw_weights: dict[str, ControlFigures] | None = Field(
        None,
        description="where averaged weights were judged: what the raw ones reach, at a threshold calibrated in the "
        "same way, on validation, each test set, and all test sets (overall); difference is averaged minus raw",
    )
    fusion: Fusion | None = Field(None, description="of a detector that fuses two others, else null")


def json_schema() -> dict[str, Any]:
    """The JSON schema of ``metrics.json``; the package ships it as ``metrics.schema.json``."""
    return Metrics.model_json_schema()
