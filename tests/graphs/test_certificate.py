"""The certificate of an honest split is valid; every leak, and every edit, makes it refuse."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_like.can.captures import Capture
from credit_like.can.dataset import read_dataset
from credit_like.can.frames import FrameTable
from credit_like.graphs.certificate import check_certificate, issue_certificate
from credit_like.graphs.plan import Segment, SplitPlan
from credit_like.graphs.scaler import FeatureScaler, ScalerSettings
from credit_like.graphs.splits import SplitSettings, plan_splits
from credit_like.graphs.store import GraphStore
from credit_like.graphs.vocabulary import Vocabulary
from credit_like.graphs.windows import WindowSettings
from tests.graphs.drives import EVERYWHERE, WINDOW, capture, drive, joined, moved, under_attack

Edit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Run:
    """What a training run hands to the certificate."""

    captures: list[Capture]
    plan: SplitPlan
    store: GraphStore
    vocabulary: Vocabulary
    scaler: FeatureScaler

    def certificate(self, **changed: Any) -> dict[str, Any]:
        run = replace(self, **changed)
        issued = issue_certificate(run.captures, [], run.plan, run.store, run.vocabulary, run.scaler)
        assert json.loads(json.dumps(issued)) == issued
        return issued


def make_run(folder: Path, captures: list[Capture], plan: SplitPlan | None = None, **chosen: Any) -> Run:
    plan = plan or plan_splits(captures, SplitSettings.model_validate(chosen), WINDOW)
    store = GraphStore.build(folder, captures, plan, WindowSettings(window=WINDOW), progress=False)
    benign = store.select("train", 0, without_interval_overlap=True)
    vocabulary = Vocabulary.fit(store, benign)
    return Run(captures, plan, store, vocabulary, FeatureScaler.fit(store, benign, vocabulary, ScalerSettings()))


def by_hand(plan: SplitPlan, *segments: Segment) -> SplitPlan:
    """The plan with other segments, and a record that does not say so."""
    dropped = dict.fromkeys(plan.record["dropped_rows"], 0)
    rows = sum(s.row_stop - s.row_start for s in plan.segments) + sum(plan.record["dropped_rows"].values())
    dropped["embargo"] = rows - sum(s.row_stop - s.row_start for s in segments)
    return replace(plan, segments=segments, record=plan.record | {"dropped_rows": dropped})


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Run:
    captures = [
        under_attack("dos", 1, "dos", *EVERYWHERE),
        under_attack("gone", 1, "suspension", *EVERYWHERE),
        capture("calm", drive(2)),
    ]
    return make_run(tmp_path_factory.mktemp("honest"), captures)


@pytest.fixture(scope="module")
def issued(honest: Run) -> dict[str, Any]:
    return honest.certificate()


def test_an_honest_split_has_a_valid_certificate(honest: Run, issued: dict[str, Any]) -> None:
    assert check_certificate(issued) == []
    assert [file["sha256"] for file in issued["files"]] == [one.source.sha256 for one in honest.captures]
    assert [[m["capture"] for m in group["captures"]] for group in issued["groups"]] == [["dos", "gone"], ["calm"]]
    assert {(x["capture"], x["split"]) for x in issued["intervals"]} == {
        (name, split) for name in ("dos", "gone", "calm") for split in ("train", "validation", "test")
    }
    for interval in issued["intervals"]:
        (segment,) = (
            s for s in honest.plan.segments if (s.capture, s.split) == (interval["capture"], interval["split"])
        )
        assert interval["row_start"] == segment.row_start
        assert segment.row_stop - WINDOW < interval["row_stop"] <= segment.row_stop
        assert interval["windows"] == (segment.row_stop - segment.row_start) // WINDOW
    assert issued["disjointness"]["overlapping_rows"] == 0
    assert 0.5 <= issued["disjointness"]["smallest_gap"] < 0.55
    assert issued["run_overlap"]["splits"]["test"]["in_train"] == 0.0
    assert issued["run_overlap"]["splits"]["test"]["runs"] > 1000
    test = issued["counts"]["test"]
    assert (
        test["families"]["dos"]
        == test["attack"]
        == int((honest.store.windows.label[honest.store.select("test")]).sum())
    )
    assert test["overlapping"]["suspension"] > 5
    assert issued["store"] == {"digest": honest.store.digest, "windows": len(honest.store), "outside_plan": 0}
    assert issued["scaler"]["fitted_on"] == "benign training windows outside attack intervals"


def test_a_vocabulary_or_scaler_of_other_training_windows_is_named(honest: Run) -> None:
    vocabulary = Vocabulary.fit(honest.store, honest.store.select("train"))
    scaler = FeatureScaler.fit(honest.store, honest.store.select("train", 0), vocabulary, ScalerSettings(kind="robust"))
    issued = honest.certificate(vocabulary=vocabulary, scaler=scaler)
    assert check_certificate(issued) == []
    assert issued["vocabulary"]["fitted_on"] == "all training windows"
    assert issued["scaler"]["fitted_on"] == "benign training windows"


def test_windows_that_overlap_within_a_split_are_no_leak(honest: Run, tmp_path: Path) -> None:
    store = GraphStore.build(tmp_path, honest.captures, honest.plan, WindowSettings(window=WINDOW, stride=7), False)
    benign = store.select("train", 0)
    vocabulary = Vocabulary.fit(store, benign)
    scaler = FeatureScaler.fit(store, benign, vocabulary, ScalerSettings())
    assert check_certificate(honest.certificate(store=store, vocabulary=vocabulary, scaler=scaler)) == []


def test_traffic_that_repeats_itself_is_judged_against_chance(tmp_path: Path) -> None:
    run = make_run(tmp_path, [capture("parked", drive(1, idle=True))])
    issued = run.certificate()
    assert issued["run_overlap"]["splits"]["test"]["in_train"] > 0.5
    assert issued["run_overlap"]["chance"] > 0.5
    assert check_certificate(issued) == []


def test_a_removed_embargo_is_refused(honest: Run, tmp_path: Path) -> None:
    segments = []
    for segment in honest.plan.segments:
        after = [s.row_start for s in honest.plan.segments if s.capture == segment.capture]
        stop = min((row for row in after if row > segment.row_start), default=segment.row_stop)
        segments.append(replace(segment, row_stop=stop))
    run = make_run(tmp_path, honest.captures, by_hand(honest.plan, *segments))
    (problem,) = check_certificate(run.certificate())
    assert problem.startswith("two splits of one group are 0.0")
    assert problem.endswith("s of drive time apart; the embargo is 0.5 s")

    unsaid = replace(run.plan, record=run.plan.record | {"embargo": 0.0})
    assert check_certificate(run.certificate(plan=unsaid)) == ["embargo: Input should be greater than 0"]


def test_a_scaler_fitted_on_everything_is_refused(honest: Run, tmp_path: Path) -> None:
    everything = [Segment(one.name, "train", 0, len(one.frames)) for one in honest.captures]
    leaky = make_run(tmp_path, honest.captures, by_hand(honest.plan, *everything))
    assert check_certificate(honest.certificate(scaler=leaky.scaler)) == [
        "the scaler is not the one that training windows give: it was fitted on other data"
    ]


def test_a_vocabulary_with_an_id_that_training_lacks_is_refused(honest: Run) -> None:
    wider = Vocabulary(torch.cat([honest.vocabulary.keys, torch.tensor([0x7FF])]))
    assert check_certificate(honest.certificate(vocabulary=wider))[0] == (
        "the vocabulary is not the one that training windows give: it was fitted on other data"
    )


def test_validation_time_in_training_is_refused(honest: Run, tmp_path: Path) -> None:
    """The copy of the drive that shows the suspension trains at the times at which the other one validates."""
    segments = [
        replace(s, split="train") if (s.capture, s.split) == ("gone", "validation") else s for s in honest.plan.segments
    ]
    problems = check_certificate(make_run(tmp_path, honest.captures, by_hand(honest.plan, *segments)).certificate())
    assert any("s of drive time apart" in problem for problem in problems)
    assert any("of the frame runs of 'dos' in validation occur in training too; by chance, 0.0%" in p for p in problems)


def test_a_fusion_block_is_a_split_of_its_own(honest: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path, honest.captures, train=0.4, fusion=0.2)
    issued = run.certificate()
    assert check_certificate(issued) == []
    assert issued["counts"]["fusion"]["benign"] > 50
    assert issued["counts"]["fusion"]["families"]["dos"] > 5
    assert issued["run_overlap"]["splits"]["fusion"]["in_train"] == 0.0
    assert 0.5 <= issued["disjointness"]["smallest_gap"] < 0.55
    assert issued["scaler"]["windows"] < honest.certificate()["scaler"]["windows"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_time_of_fusion_in_another_split_is_refused(honest: Run, tmp_path: Path, split: str) -> None:
    """What the combination learnt from must not be judged on, even where no expert saw it."""
    plan = plan_splits(honest.captures, SplitSettings(train=0.4, fusion=0.2), WINDOW)
    segments = [replace(s, split=split) if (s.capture, s.split) == ("gone", "fusion") else s for s in plan.segments]
    problems = check_certificate(make_run(tmp_path, honest.captures, by_hand(plan, *segments)).certificate())
    assert any("s of drive time apart" in problem for problem in problems)
    assert any(f"of the frame runs of 'gone' in {split} occur in training or fusion too" in p for p in problems)


def copy_of(original: Capture, frames: FrameTable, sha256: str = "") -> Capture:
    made = capture("copy", frames)
    return replace(made, source=replace(made.source, sha256=sha256 or made.source.sha256))


@pytest.mark.parametrize(
    ("copied", "message"),
    [
        (
            lambda original: copy_of(original, original.frames, original.source.sha256),
            "the same log is in two splits under two names: copy.log, original.log",
        ),
        (
            lambda original: copy_of(original, moved(original.frames, 7e8)[300:]),
            "100.0% of the frame runs of 'copy' in test occur in training too; by chance, 0.0% would",
        ),
        (
            lambda original: copy_of(original, joined(original.frames[2000:], original.frames[:2000])),
            "captures that share traffic but no clock are in two splits",
        ),
    ],
    ids=["under another name", "shifted and cropped", "put together otherwise"],
)
def test_a_copy_in_another_split_is_refused(tmp_path: Path, copied: Callable[[Capture], Capture], message: str) -> None:
    original = capture("original", drive(1))
    captures = [original, copied(original)]
    whole = [
        Segment(one.name, split, 0, len(one.frames)) for one, split in zip(captures, ("train", "test"), strict=True)
    ]
    plan = by_hand(plan_splits([original], SplitSettings(), WINDOW), *whole)
    assert message in check_certificate(make_run(tmp_path, captures, plan).certificate())


def test_a_store_of_another_plan_is_refused(honest: Run) -> None:
    problems = check_certificate(
        honest.certificate(plan=plan_splits(honest.captures, SplitSettings(embargo=1.0), WINDOW))
    )
    assert any("windows lie outside the segments planned for their split" in problem for problem in problems)


def test_captures_of_another_store_are_an_error(honest: Run) -> None:
    with pytest.raises(ValueError, match="built from other captures"):
        honest.certificate(captures=honest.captures[:2])


def test_held_out_attacks_and_vehicles_that_were_trained_on_are_refused(honest: Run) -> None:
    held = {"hold_out_attacks": ["suspension"], "hold_out_vehicles": ["car"]}
    record = honest.plan.record | {"settings": honest.plan.record["settings"] | held}
    problems = check_certificate(honest.certificate(plan=replace(honest.plan, record=record)))
    assert problems == [
        "vehicle 'car' is held out, but train shows it",
        "attack 'suspension' is held out, but train shows it",
        "vehicle 'car' is held out, but validation shows it",
        "attack 'suspension' is held out, but validation shows it",
    ]


def test_a_held_out_attack_has_a_valid_certificate(honest: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path, honest.captures, hold_out_attacks=["suspension"])
    issued = run.certificate()
    assert check_certificate(issued) == []
    assert issued["counts"]["test/known_vehicle_unknown_attack"]["overlapping"]["suspension"] > 5


def set_to(value: Any, *path: str | int) -> Edit:
    def edit(certificate: dict[str, Any]) -> None:
        place: Any = certificate
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return edit


EDITS: list[tuple[Edit, str]] = [
    (set_to(0, "intervals", 1, "row_start"), "raw rows are in two splits"),
    (set_to(0.1, "intervals", 1, "t_start"), "s of drive time apart; the embargo is 0.5 s"),
    (set_to(9e9, "intervals", 1, "t_start"), "end before they start"),
    (set_to(10**7, "intervals", 0, "row_stop"), "do not exist"),
    (set_to("training", "intervals", 0, "split"), "are in 'training', which is no split"),
    (set_to("elsewhere", "intervals", 0, "capture"), "of capture 'elsewhere' do not exist"),
    (set_to(0.2, "embargo"), "the embargo is 0.2 s, but the settings ask for 0.5 s"),
    (set_to(3.0, "disjointness", "smallest_gap"), "disjointness is not what the intervals give"),
    (set_to([], "groups"), "files and groups do not name the same captures"),
    (set_to(False, "groups", 0, "aligned"), "captures that share traffic but no clock are in two splits"),
    (set_to(2.0, "groups", 0, "captures", 0, "spread"), "s of drive time apart"),
    (set_to("0" * 64, "scaler", "digest"), "the scaler is not the one that training windows give"),
    (set_to("0" * 64, "vocabulary", "refit_digest"), "the vocabulary is not the one that training windows give"),
    (set_to(0.4, "run_overlap", "splits", "test", "by_capture", "dos"), "40.0% of the frame runs of 'dos' in test"),
    (set_to({}, "run_overlap", "splits"), "it was not measured how much test repeats of training"),
    (set_to(3, "store", "outside_plan"), "3 windows lie outside the segments"),
    (set_to([["dos", "calm"]], "duplicates"), "duplicate 'dos' is said to be left out, but it is used"),
    (set_to(5, "rows", "embargo"), "the rows do not add up"),
    (set_to(5, "counts", "test", "windows"), "the windows of the intervals are not those counted"),
    (set_to(5, "counts", "test", "benign"), "the window counts of test do not add up"),
    (set_to(5, "store", "windows"), "the windows of the intervals are not those of the store"),
    (set_to([], "intervals"), "there is no training window or no test window"),
    (set_to("random", "policy"), "policy: Input should be 'groups' or 'time_blocks'"),
    (set_to(1, "colour"), "colour: Extra inputs are not permitted"),
    (set_to("12", "rows", "total"), "rows.total: Input should be a valid integer"),
    (set_to(2, "version"), "version: Input should be 1"),
    (lambda certificate: certificate.pop("scaler"), "scaler: Field required"),
]


@pytest.mark.parametrize(("edit", "message"), EDITS, ids=[message[:40] for _, message in EDITS])
def test_an_edit_is_refused_whether_or_not_the_digest_was_forged(
    issued: dict[str, Any], edit: Edit, message: str
) -> None:
    changed = copy.deepcopy(issued)
    edit(changed)
    assert check_certificate(changed)
    del changed["digest"]
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    forged = check_certificate(changed | {"digest": hashlib.sha256(text.encode()).hexdigest()})
    assert any(message in problem for problem in forged)
    assert not any("digest does not match" in problem for problem in forged)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))] or [path]
    if isinstance(value, list):
        return [leaf for key, inner in enumerate(value) for leaf in leaves(inner, (*path, key))] or [path]
    return [path]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), value=JSON)
@settings(max_examples=150)
def test_no_leaf_can_be_changed_and_nothing_raises(issued: dict[str, Any], data: st.DataObject, value: Any) -> None:
    changed = copy.deepcopy(issued)
    path = data.draw(st.sampled_from(leaves(issued)))
    set_to(value, *path)(changed)
    problems = check_certificate(changed)
    if json.dumps(changed) != json.dumps(issued):
        assert problems
    assert check_certificate(value)


@pytest.mark.parametrize(
    "content", [None, [], "certificate", {}, {"digest": 1}, {"files": {1, 2}}, {"a": float("nan")}]
)
def test_what_is_no_certificate_is_refused(content: Any) -> None:
    assert check_certificate(content)


@pytest.mark.parametrize("layout", ["camaro_ctt_format", "nissan350z_road_format"])
def test_real_captures_get_a_valid_certificate(real_data: Path, tmp_path: Path, layout: str) -> None:
    if not (real_data / layout).is_dir():
        pytest.skip(f"no folder {layout} in {real_data}")
    run = make_run(tmp_path, list(read_dataset(real_data / layout, progress=False).captures))
    issued = run.certificate()
    assert check_certificate(issued) == []
    assert all(shared["in_train"] < 0.001 for shared in issued["run_overlap"]["splits"].values())
