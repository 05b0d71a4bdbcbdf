"""The split certificate: proof, in plain JSON data, that no test figure rests on traffic that training saw."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from credit_like.can.captures import Capture
from credit_like.graphs._certificate_schema import FORMAT, VERSION, CertificateContent
from credit_like.graphs._evidence import (
    NO_CLOCK,
    count_windows,
    fit_again,
    overlapping_rows,
    role,
    run_overlap,
    smallest_gap,
    training_windows,
    used_intervals,
)
from credit_like.graphs.groups import find_groups
from credit_like.graphs.plan import BEFORE_TEST, FUSION, TRAIN, SplitPlan, is_test
from credit_like.graphs.scaler import FeatureScaler
from credit_like.graphs.store import GraphStore
from credit_like.graphs.vocabulary import Vocabulary

#: A capture of another split that repeats more of training's frame runs than this, above three times what chance
#: gives, holds recorded traffic of it. Captures of five real cars repeat none by chance (see ``_runs``); a copy, most.
SHARED_LIMIT = 0.02

#: Seconds by which clocks near 1.7e9 may be rounded, twice over.
_ROUNDING = 1e-5


def issue_certificate(
    captures: Sequence[Capture],
    duplicates: Sequence[tuple[str, str]],
    plan: SplitPlan,
    store: GraphStore,
    vocabulary: Vocabulary,
    scaler: FeatureScaler,
) -> dict[str, Any]:
    """Measure what a split really does and write it down; ``check_certificate`` says whether it is valid.

    Taken from the captures and from the store's windows, not from the plan's promises: the rows that each split uses,
    groups by content, drive time and frame runs between splits, windows by label and family. Vocabulary and scaler are
    fitted again on training windows, so that one fitted on anything else shows by its digest.

    ``captures`` are those that the store was built from, in the same order; else ValueError. The digest at the end
    covers everything before it. It guards against mistakes and careless edits, not against somebody who forges a
    certificate and its digest: that takes the raw logs.
    """
    if tuple(capture.name for capture in captures) != store.windows.capture_names:
        raise ValueError("the store was built from other captures, or in another order")
    groups = find_groups(captures)
    intervals, outside = used_intervals(captures, plan, store.windows)
    record, dropped = plan.record, plan.record["dropped_rows"]
    benign = training_windows(store)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "files": [
            {
                "capture": capture.name,
                "vehicle": capture.vehicle,
                "path": capture.source.path,
                "sha256": capture.source.sha256,
                "format": capture.source.format,
                "frames": len(capture.frames),
            }
            for capture in captures
        ],
        "duplicates": [list(pair) for pair in duplicates],
        "policy": plan.policy,
        "reason": record["reason"],
        "notes": record["notes"],
        "settings": record["settings"],
        "embargo": record["embargo"],
        "groups": groups.record(),
        "layouts": record["layouts"],
        "intervals": intervals,
        "disjointness": {
            "overlapping_rows": overlapping_rows(intervals),
            "smallest_gap": smallest_gap(groups.record(), intervals),
        },
        "run_overlap": run_overlap(captures, groups, intervals, record["embargo"]),
        "vocabulary": fit_again(
            vocabulary,
            lambda indices: Vocabulary.fit(store, indices),
            {**benign, "all training windows": store.select(TRAIN)},
        ),
        "scaler": fit_again(
            scaler, lambda indices: FeatureScaler.fit(store, indices, vocabulary, scaler.settings), benign
        ),
        "store": {"digest": store.digest, "windows": len(store), "outside_plan": outside},
        "rows": {
            "total": sum(len(capture.frames) for capture in captures),
            "planned": sum(segment.row_stop - segment.row_start for segment in plan.segments),
            **dropped,
            "tail": store.windows.dropped_frames,
            "skipped": store.windows.skipped_frames,
        },
        "counts": count_windows(captures, store.windows),
    }
    return {**content, "digest": _digest(content)}


def check_certificate(certificate: Mapping[str, Any]) -> list[str]:
    """What is wrong with a certificate, a plain sentence each; an empty list when it is valid.

    Everything that the certificate itself allows to recompute is recomputed: its digest, that no raw row is in two
    splits, that splits of one group are an embargo of drive time apart, that no file or vehicle or attack is where it
    must not be, that vocabulary and scaler are those of training windows, and that rows and windows add up. Never
    raises, whatever it is given. Not checked: that the logs still are what the certificate says.
    """
    try:
        text = _canonical({name: value for name, value in certificate.items() if name != "digest"})
        digest = certificate.get("digest")
        CertificateContent.model_validate_json(text, strict=True)
    except ValidationError as error:
        return [_malformed(problem) for problem in error.errors()]
    except (AttributeError, TypeError, ValueError, RecursionError):
        return ["a certificate is an object of plain JSON data"]
    content = json.loads(text)
    malformed = _check_names(content)
    if malformed:
        return malformed
    problems = []
    if digest != _digest(content):
        problems.append("the digest does not match the content: the certificate was changed after it was issued")
    for check in (_check_disjointness, _check_hold_outs, _check_overlap, _check_fits, _check_sums):
        problems += check(content)
    return problems


def _check_names(content: dict[str, Any]) -> list[str]:
    """Every capture is one file and in one group; every interval lies in a capture and belongs to a split."""
    frames = {file["capture"]: file["frames"] for file in content["files"]}
    grouped = [member["capture"] for group in content["groups"] for member in group["captures"]]
    problems = []
    if len(frames) < len(content["files"]) or sorted(grouped) != sorted(frames):
        problems.append("files and groups do not name the same captures, each once")
    for interval in content["intervals"]:
        where = f"rows {interval['row_start']}..{interval['row_stop']} of capture {interval['capture']!r}"
        if not 0 <= interval["row_start"] < interval["row_stop"] <= frames.get(interval["capture"], -1):
            problems.append(f"{where} do not exist")
        if interval["split"] not in BEFORE_TEST and not is_test(interval["split"]):
            problems.append(f"{where} are in {interval['split']!r}, which is no split")
        if interval["t_start"] > interval["t_stop"]:
            problems.append(f"{where} end before they start")
    return problems


def _check_disjointness(content: dict[str, Any]) -> list[str]:
    """No raw row, no drive time and no file is in two splits."""
    intervals, embargo = content["intervals"], content["embargo"]
    problems = []
    rows, gap = overlapping_rows(intervals), smallest_gap(content["groups"], intervals)
    if rows:
        problems.append(f"{rows} raw rows are in two splits")
    if gap == NO_CLOCK:
        problems.append("captures that share traffic but no clock are in two splits")
    elif gap is not None and gap < embargo - _ROUNDING:
        problems.append(f"two splits of one group are {gap:.6g} s of drive time apart; the embargo is {embargo:g} s")
    if {"overlapping_rows": rows, "smallest_gap": gap} != content["disjointness"]:
        problems.append("disjointness is not what the intervals give")
    if content["store"]["outside_plan"]:
        problems.append(f"{content['store']['outside_plan']} windows lie outside the segments planned for their split")

    source = {file["capture"]: (file["sha256"], file["path"]) for file in content["files"]}
    used: dict[str, dict[str, str]] = {}  # digest of a log -> role -> its path
    for interval in intervals:
        digest, path = source[interval["capture"]]
        used.setdefault(digest, {})[role(interval["split"])] = path
    for paths in used.values():
        if len(set(paths.values())) > 1:
            problems.append(f"the same log is in two splits under two names: {', '.join(sorted(set(paths.values())))}")
    left_out = {name for name, _ in content["duplicates"]} & set(source)
    problems += [f"duplicate {name!r} is said to be left out, but it is used" for name in sorted(left_out)]
    return problems


def _check_hold_outs(content: dict[str, Any]) -> list[str]:
    """Training, fusion and validation show nothing that was held out."""
    settings, problems = content["settings"], []
    if settings["embargo"] != content["embargo"]:
        problems.append(f"the embargo is {content['embargo']:g} s, but the settings ask for {settings['embargo']:g} s")
    vehicle = {file["capture"]: file["vehicle"] for file in content["files"]}
    for split in BEFORE_TEST:
        vehicles = {vehicle[x["capture"]] for x in content["intervals"] if x["split"] == split}
        held_out = sorted(vehicles & set(settings["hold_out_vehicles"]))
        problems += [f"vehicle {name!r} is held out, but {split} shows it" for name in held_out]
        counts = content["counts"].get(split, {"families": {}, "overlapping": {}})
        shown = set(counts["families"]) | set(counts["overlapping"])
        held_out = sorted(shown & set(settings["hold_out_attacks"]))
        problems += [f"attack {name!r} is held out, but {split} shows it" for name in held_out]
    return problems


def _check_overlap(content: dict[str, Any]) -> list[str]:
    """No split repeats the recorded traffic of one that is learnt from."""
    overlap = content["run_overlap"]
    used = {x["split"] for x in content["intervals"]}
    most = SHARED_LIMIT + 3 * overlap["chance"]
    missing = used - {TRAIN} - set(overlap["splits"])
    problems = [f"it was not measured how much {split} repeats of training" for split in sorted(missing)]
    for split, shared in overlap["splits"].items():
        learnt = "training or fusion" if FUSION in used - {split} else "training"
        problems += [
            f"{share:.1%} of the frame runs of {capture!r} in {split} occur in {learnt} too; by chance, "
            f"{overlap['chance']:.1%} would"
            for capture, share in shared["by_capture"].items()
            if share > most
        ]
    return problems


def _check_fits(content: dict[str, Any]) -> list[str]:
    """Vocabulary and scaler are what training windows give."""
    return [
        f"the {name} is not the one that training windows give: it was fitted on other data"
        for name in ("vocabulary", "scaler")
        if content[name]["digest"] != content[name]["refit_digest"] or content[name]["windows"] < 1
    ]


def _check_sums(content: dict[str, Any]) -> list[str]:
    """Rows and windows add up, and there is something to train on and something to test on."""
    rows, counts, problems = content["rows"], content["counts"], []
    total = sum(file["frames"] for file in content["files"])
    if rows["total"] != total or total != sum(rows[k] for k in ("planned", "embargo", "held_out", "too_short")):
        problems.append(f"the rows do not add up to the {total} frames of the files: {rows}")
    windows: Counter[str] = Counter()
    for interval in content["intervals"]:
        windows[interval["split"]] += interval["windows"]
    if dict(windows) != {split: count["windows"] for split, count in counts.items() if count["windows"]}:
        problems.append("the windows of the intervals are not those counted for the splits")
    if sum(windows.values()) != content["store"]["windows"]:
        problems.append("the windows of the intervals are not those of the store")
    for split, count in counts.items():
        labelled = count["benign"] + count["attack"] + count["unlabelled"]
        if labelled != count["windows"] or sum(count["families"].values()) > count["attack"]:
            problems.append(f"the window counts of {split} do not add up")
    if not windows[TRAIN] or not any(is_test(split) for split in windows):
        problems.append("there is no training window or no test window")
    return problems


def _malformed(problem: Mapping[str, Any]) -> str:
    where = ".".join(map(str, problem["loc"])) or "the certificate"
    return f"{where}: {problem['msg']}"


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()
