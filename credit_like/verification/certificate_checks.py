"""What a split certificate says, held against the raw logs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.verification.checks import Finding, differences, many
from credit_like.verification.traffic import RUN_LENGTH, SharedTraffic, group_problems, run_overlap
from credit_like.verification.windows import cut, rows_of, window_table

#: Above so many frames the certificate's frame runs are a sample, and its shares are estimates.
_SAMPLED_ABOVE = 1 << 22
#: A capture that repeats more of training's frame runs than this, above three times what chance gives, holds a copy.
_SHARED_LIMIT = 0.02
#: Seconds by which a gap may be rounded.
_ROUNDING = 1e-5

_CERTIFICATE = (
    *("format", "version", "files", "duplicates", "policy", "reason", "notes", "settings", "embargo", "groups"),
    *("layouts", "intervals", "disjointness", "run_overlap", "vocabulary", "scaler", "store", "rows", "counts"),
)


class CertificateChecks:
    """The checks of a certificate; ``data`` is the section of the run's configuration of that name."""

    def __init__(
        self,
        claimed: Mapping[str, Any],
        data: Mapping[str, Any],
        captures: Sequence[Capture],
        duplicates: Sequence[tuple[str, str]],
    ) -> None:
        benign = data["split"]["unlabelled"] == "benign"
        self.captures = {x.name: _taken_as_benign(x) if benign else x for x in captures}
        self.claimed, self.data, self.duplicates = claimed, data, duplicates
        window = data["window"]
        self.length, self.step = window["window"], window["stride"] or window["window"]

    def certificate(self) -> Finding:
        content = {name: value for name, value in self.claimed.items() if name != "digest"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest, problems = hashlib.sha256(text.encode()).hexdigest(), []
        if digest != self.claimed["digest"]:
            problems.append("its digest is not that of its content: it was changed after it was issued")
        known = {"format": "credit_like split certificate", "version": 1}
        problems += differences({name: content.get(name) for name in known}, known)
        problems += [f"not verified: {name}" for name in content if name not in _CERTIFICATE]
        problems += [f"{name} is missing" for name in _CERTIFICATE if name not in content]
        return "its digest with its content, its entries with those known here", problems

    def settings(self) -> Finding:
        split = self.data["split"]
        problems = list(differences(self.claimed["settings"], split, "settings"))
        if self.claimed["embargo"] != split["embargo"]:
            problems.append(f"the embargo is {self.claimed['embargo']} s; the configuration says {split['embargo']} s")
        return "the certificate's with those of the configuration", problems

    def logs(self) -> Finding:
        claimed = {file["capture"]: file for file in self.claimed["files"]}
        problems = [f"{name!r} is not among the logs" for name in claimed if name not in self.captures]
        problems += [f"{name!r} is not in the certificate" for name in self.captures if name not in claimed]
        if len(claimed) < len(self.claimed["files"]):
            problems.append("a capture is named twice")
        for name in claimed.keys() & self.captures.keys():
            capture = self.captures[name]
            found = {
                "sha256": capture.source.sha256,
                "format": capture.source.format,
                "vehicle": capture.vehicle,
                "frames": len(capture.frames),
            }
            problems += differences({key: claimed[name][key] for key in found}, found, repr(name))
        duplicates = sorted(map(list, self.duplicates))
        problems += differences(sorted(map(list, self.claimed["duplicates"])), duplicates, "duplicates")
        frames = sum(len(capture.frames) for capture in self.captures.values())
        return f"SHA-256 and frames of {many(len(claimed), 'capture')}, {frames:,} frames", problems

    @cached_property
    def _cut(self) -> list[list[dict[str, Any]]]:
        """The windows of each interval of the certificate; none where its rows do not exist."""
        return [
            cut(x, self.captures[x["capture"]], self.length, self.step) if self._exists(x) else []
            for x in self.claimed["intervals"]
        ]

    @cached_property
    def windows(self) -> pl.DataFrame:
        """Every window that the certificate speaks of, cut from the logs; ``index`` is its place in the graph store."""
        rows = [row for rows in self._cut for row in rows]
        return window_table(rows).with_row_index("index")

    def _exists(self, interval: Mapping[str, Any]) -> bool:
        frames = self.captures[interval["capture"]].frames if interval["capture"] in self.captures else ()
        return 0 <= interval["row_start"] < interval["row_stop"] <= len(frames)

    def intervals(self) -> Finding:
        problems = []
        for interval, windows in zip(self.claimed["intervals"], self._cut, strict=True):
            where = f"rows {interval['row_start']}..{interval['row_stop']} of {interval['capture']!r}"
            if not self._exists(interval):
                problems.append(f"{where} do not exist")
                continue
            t = self.captures[interval["capture"]].frames.t
            found = {
                "t_start": float(t[interval["row_start"]]),
                "t_stop": float(t[interval["row_stop"] - 1]),
                "windows": len(windows),
            }
            if windows:  # an interval runs from the first to the last row that its windows use
                found["row_start"] = min(window["row_start"] for window in windows)
                found["row_stop"] = max(window["row_stop"] for window in windows)
            problems += differences({name: interval[name] for name in found}, found, where)
        total = self.claimed["store"]["windows"]
        problems += differences({"store.windows": total}, {"store.windows": self.windows.height})
        problems += differences(
            {"store.outside_plan": self.claimed["store"]["outside_plan"]}, {"store.outside_plan": 0}
        )
        compared = f"{many(len(self.claimed['intervals']), 'interval')}, cut into {self.windows.height:,} windows"
        return compared, problems

    def counts(self) -> Finding:
        found = {split: self._counts(split) for split in dict.fromkeys(self.windows["split"])}
        claimed = {split: count for split, count in self.claimed["counts"].items() if count["windows"]}
        problems = list(differences(claimed, found, "counts"))
        rows = self.claimed["rows"]
        total = sum(len(capture.frames) for capture in self.captures.values())
        if rows["total"] != total or rows["total"] != sum(
            rows[x] for x in ("planned", "embargo", "held_out", "too_short")
        ):
            problems.append(f"the rows do not add up to the {total:,} frames of the logs: {rows}")
        if rows["planned"] != self._covered() + rows["tail"] + rows["skipped"]:
            problems.append(f"{self._covered():,} rows are in windows; the certificate's rows say otherwise: {rows}")
        return "windows by split, label and family; rows by what became of them", problems

    def _counts(self, split: str) -> dict[str, Any]:
        own = self.windows.filter(pl.col("split") == split)
        families = Counter(own.filter((pl.col("label") == 1) & (pl.col("family") != ""))["family"])
        overlapping: Counter[str] = Counter()
        for row in own.filter((pl.col("label") != 1) & pl.col("in_interval")).iter_rows(named=True):
            known = self.captures[row["capture"]].intervals
            overlapping.update({x.family for x in known if row["t_start"] <= x.stop and row["t_end"] >= x.start})
        label = Counter(own["label"])
        return {
            "windows": own.height,
            "benign": label[0],
            "attack": label[1],
            "unlabelled": label[-1],
            "families": dict(families),
            "overlapping": dict(overlapping),
        }

    def _covered(self) -> int:
        """Raw rows that are in at least one window."""
        covered = 0
        streams = self.windows.group_by("capture", "bus", "split", maintain_order=True)
        for (capture, bus, _), part in streams:
            own = np.cumsum(self.captures[str(capture)].frames.bus == bus)
            spans = [
                (int(own[start]) - 1, int(own[stop - 1]))
                for start, stop in part.sort("row_start").select("row_start", "row_stop").iter_rows()
            ]
            covered += sum(stop - start for start, stop in spans)
            covered -= sum(max(0, before[1] - after[0]) for before, after in pairwise(spans))
        return covered

    def disjointness(self) -> Finding:
        problems = []
        for name, capture in self.captures.items():
            seen = np.zeros(len(capture.frames), np.int8)
            for split in {x["split"] for x in self.claimed["intervals"]}:
                own = np.zeros(len(seen), np.bool_)
                for x in self.claimed["intervals"]:
                    if x["capture"] == name and x["split"] == split:
                        own[x["row_start"] : x["row_stop"]] = True
                seen += own
            if (seen > 1).any():
                problems.append(f"{int((seen > 1).sum()):,} rows of {name!r} are in two splits")
        gap, claimed = self._smallest_gap(), self.claimed["disjointness"]
        embargo = self.data["split"]["embargo"]
        if gap is not None and gap < embargo - _ROUNDING:
            problems.append(
                f"two splits of one group are {gap:.6g} s of drive time apart; the embargo is {embargo:g} s"
            )
        problems += differences(claimed, {"overlapping_rows": 0, "smallest_gap": gap}, "disjointness")
        return f"rows of every two splits, and drive time between them (least {_seconds(gap)})", problems

    def _smallest_gap(self) -> float | None:
        """Least drive time between different splits of a group (test sets count as one); None where none is divided."""
        gaps = []
        for group in self.claimed["groups"]:
            member = {m["capture"]: m for m in group["captures"]}
            spans = sorted(
                (x["t_start"] + m["offset"] - m["spread"], x["t_stop"] + m["offset"] + m["spread"], _role(x["split"]))
                for x in self.claimed["intervals"]
                if (m := member.get(x["capture"]))
            )
            reached: dict[str, float] = {}
            for start, stop, role in spans:
                gaps += [start - end if group["aligned"] else -1e9 for other, end in reached.items() if other != role]
                reached[role] = max(stop, reached.get(role, stop))
        return min(gaps, default=None)

    def hold_outs(self) -> Finding:
        """Nothing that was held out is in a split that a trainer sees, or that chooses its best epoch."""
        split, problems = self.data["split"], []
        before_test = self.windows.filter(~pl.col("split").str.starts_with("test"))
        shown = {"vehicle": set(before_test["vehicle"]), "attack": set(before_test["family"])}
        for name in dict.fromkeys(before_test["split"]):
            shown["attack"] |= self._counts(name)["overlapping"].keys()
        for what in ("vehicle", "attack"):
            held_out = split[f"hold_out_{what}s"]
            problems += [f"{what} {x!r} is held out, but not from training" for x in held_out if x in shown[what]]
        names = ", ".join([*split["hold_out_vehicles"], *split["hold_out_attacks"]])
        return f"what training and validation show, with what is held out ({names or 'nothing'})", problems

    @cached_property
    def traffic(self) -> SharedTraffic:
        return SharedTraffic(list(self.captures.values()))

    def groups(self) -> Finding:
        problems = group_problems(self.traffic, self.claimed["groups"])
        pairs = len(list(combinations(self.captures, 2)))
        return f"runs of {RUN_LENGTH} frames of {many(pairs, 'pair')} of captures, and their clocks", problems

    def frame_runs(self) -> Finding:
        claimed = self.claimed["run_overlap"]
        found = run_overlap(
            self.traffic, self.claimed["groups"], self.claimed["intervals"], self.data["split"]["embargo"]
        )
        sampled = sum(len(capture.frames) for capture in self.captures.values()) > _SAMPLED_ABOVE
        if sampled:
            claimed, found = _without_counts(claimed), _without_counts(found)
        problems = list(differences(claimed, found, "run_overlap", tolerance=0.01 if sampled else 1e-9))
        most = _SHARED_LIMIT + 3 * found["chance"]
        problems += [
            f"{share:.1%} of the frame runs of {capture!r} in {split} are in what is learnt from"
            for split, shared in found["splits"].items()
            for capture, share in shared["by_capture"].items()
            if share > most
        ]
        return f"those of {many(len(found['splits']), 'split')} with those of training", problems

    def rows(self, windows: pl.DataFrame) -> Iterator[tuple[Capture, NDArray[np.int64]]]:
        """Windows by capture: the raw rows of each, int64[m, window]."""
        for (name,), part in windows.group_by("capture", maintain_order=True):
            capture = self.captures[str(name)]
            spans = part.select("bus", "row_start", "row_stop").iter_rows()
            yield capture, np.stack([rows_of(capture, *span) for span in spans])


def _taken_as_benign(capture: Capture) -> Capture:
    return replace(capture, frames=replace(capture.frames, label=np.maximum(capture.frames.label, 0)))


def _without_counts(overlap: Mapping[str, Any]) -> dict[str, Any]:
    splits = {x: {k: v for k, v in shared.items() if k != "runs"} for x, shared in overlap["splits"].items()}
    return {**overlap, "splits": splits}


def _role(split: str) -> str:
    return "test" if split.startswith("test") else split


def _seconds(gap: float | None) -> str:
    return "none: no group is divided" if gap is None else f"{gap:.3g} s"
