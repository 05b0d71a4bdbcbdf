"""credit-like inspect LOG...: what a log is, what is in it, what is wrong with it, and its traffic over time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from applications._cli import parser, run
from applications._logs import open_logs, print_notes
from applications._plot import plot
from applications._reading import add_reading, reading_of
from applications._values import BITRATE

if TYPE_CHECKING:
    from credit_like.can import AttackInterval, CaptureFacts, LogScan, SourceFile
    from credit_like.can.survey import IdCount, Survey

_EXAMPLE = """example:
  credit-like inspect drive.log --bitrate 250000"""

#: Everything fits a terminal of 80 columns.
_WIDTH, _LABEL = 80, 10
_COLUMNS = _WIDTH - _LABEL - 1
#: So many of the busiest ids, defects and attacks are shown.
_IDS, _DEFECTS, _ATTACKS = 8, 5, 6
#: Later times than this (2001) are seconds since 1970, earlier ones since the logger was switched on.
_EPOCH = 1e9


def main(argv: list[str]) -> None:
    """Print one page a log; UserError for a log that cannot be read."""
    made = parser(
        "inspect", "Say what a log is, what is in it and what is wrong with it. It is read once, in blocks.", _EXAMPLE
    )
    made.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="a log, or a folder of logs")
    made.add_argument(
        "--bitrate", type=BITRATE, default=500_000, metavar="N", help="bit/s of the buses (default: 500000)"
    )
    add_reading(made)
    options = made.parse_args(argv)

    logs, notes = open_logs(options.logs, reading_of(options))
    for log in logs.values():
        print("\n".join(page(log, options.bitrate)))
        print()
    print_notes(notes)


def page(log: LogScan, bitrate: int) -> Iterator[str]:
    """The lines about one log, which is read now."""
    from credit_like.can.survey import Survey

    surveys: dict[str, Survey] = {}
    for frames in log.frames():
        surveys.setdefault(frames.capture_names[0], Survey()).add(frames)
    ranks = log.bus_ranks()
    captures = log.captures()
    yield log.label
    yield from _entry("format", f"{log.format}: {log.reason}")
    for capture in captures:
        if len(captures) > 1:
            yield f"\ncapture {capture.name}"
        yield from _capture(capture, surveys[capture.name], ranks.tolist(), bitrate)
    yield from _defects(captures[0].source)


def _capture(facts: CaptureFacts, survey: Survey, ranks: Sequence[int], bitrate: int) -> Iterator[str]:
    rate = f", {survey.frames / survey.seconds:,.0f} a second" if survey.seconds > 0 else ""
    yield from _entry("frames", f"{survey.frames:,} in {survey.seconds:,.1f} s{rate}")
    yield from _entry("clock", _clock(survey))
    if facts.vehicle:
        yield from _entry("vehicle", facts.vehicle)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in survey.kinds.most_common())
    length = f"{survey.shortest} to {survey.longest}" if survey.shortest < survey.longest else survey.longest
    yield from _entry("kinds", f"{kinds}; {length} payload bytes")
    for bus in sorted(survey.bits, key=ranks.__getitem__):
        own = [key for of, key in survey.ids if of == bus]
        yield from _entry(
            f"bus {ranks[bus]}",
            f"load {survey.load(bus, bitrate):.1%} at {bitrate / 1000:g} kbit/s; {_id_counts(own)}",
        )
    yield from _entry("busiest", _table_head())
    busiest = sorted(survey.ids.items(), key=lambda item: (-item[1].frames, item[0]))
    for (bus, key), count in busiest[:_IDS]:
        yield _table_row(ranks[bus], key, count, survey.frames)
    yield from _entry("labels", _labels(survey))
    yield from _entry("attacks", _attacks(facts.intervals, survey.start))
    yield from _entry("traffic", "frames a second")
    yield from plot(survey.rate_over_time(_COLUMNS).tolist(), "0 s", f"{survey.seconds:,.1f} s", margin=_LABEL)
    if facts.intervals and survey.seconds > 0:
        yield f"{'attack':>{_LABEL - 2}}  {_marks(facts.intervals, survey)}".rstrip()


def _entry(label: str, text: str) -> Iterator[str]:
    """A label in the first columns, and the text beside it on as many lines as it needs."""
    for number, line in enumerate(wrap(text, _WIDTH - _LABEL, break_on_hyphens=False) or [""]):
        yield f"{'' if number else label:<{_LABEL}}{line}"


def _clock(survey: Survey) -> str:
    gap = ""
    if survey.gap > 0:
        gap = f"; longest silence {survey.gap * 1000:,.1f} ms at {survey.gap_start - survey.start:,.1f} s"
    if survey.start < _EPOCH:
        return f"from {survey.start:,.3f} s to {survey.stop:,.3f} s{gap}"
    begin, end = (f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S}" for t in (survey.start, survey.stop))
    return f"{begin} to {end.removeprefix(begin[:11])} UTC{gap}"


def _id_counts(keys: Sequence[int]) -> str:
    from credit_like.can.survey import is_extended

    long = sum(map(is_extended, keys))
    counts = [
        f"{count} {'id' if count == 1 else 'ids'} of {bits} bits"
        for bits, count in ((11, len(keys) - long), (29, long))
        if count
    ]
    return ", ".join(counts) or "no id"


def _table_head() -> str:
    return f"{'id':<12}{'bus':>3}{'frames':>12}{'share':>8}{'every':>12}{'bytes':>7}"


def _table_row(bus: int, key: int, count: IdCount, frames: int) -> str:
    from credit_like.can.survey import is_extended

    id = f"0x{key & 0x1FFFFFFF:08X}" if is_extended(key) else f"0x{key:03X}"
    every = f"{count.period * 1000:,.1f} ms"
    mean = count.payload_bytes / count.frames
    return f"{'':<{_LABEL}}{id:<12}{bus:>3}{count.frames:>12,}{count.frames / frames:>8.1%}{every:>12}{mean:>7.1f}"


def _labels(survey: Survey) -> str:
    words = {0: "normal", 1: "attack", -1: "without a label"}
    said = [f"{survey.labels[label]:,} {word}" for label, word in words.items() if survey.labels[label]]
    families = ", ".join(f"{family or 'unnamed'} {count:,}" for family, count in survey.attacks.most_common())
    return ", ".join(said) + (f" ({families})" if families else "")


def _attacks(intervals: Sequence[AttackInterval], start: float) -> str:
    if not intervals:
        return "none known"
    shown = [f"{one.family} {one.start - start:.1f} to {one.stop - start:.1f} s" for one in intervals[:_ATTACKS]]
    more = f", and {len(intervals) - len(shown)} more" if len(intervals) > len(shown) else ""
    return f"{len(intervals)}: {', '.join(shown)}{more}"


def _marks(intervals: Sequence[AttackInterval], survey: Survey) -> str:
    """A line under the plot with a mark wherever there is an attack."""
    width = survey.seconds / _COLUMNS
    edges = [survey.start + column * width for column in range(_COLUMNS)]
    return "".join("^" if any(i.start <= e + width and i.stop >= e for i in intervals) else " " for e in edges)


def _defects(source: SourceFile) -> Iterator[str]:
    defects = source.defects
    yield from _entry("defects", f"{len(defects):,}" if defects else "none")
    lines = [defect for defect in defects if defect.line]
    for defect in lines[:_DEFECTS]:
        yield from _entry("", f"line {defect.line}: {defect.reason}")
    if len(lines) > _DEFECTS:
        yield from _entry("", f"and {len(lines) - _DEFECTS:,} more lines")
    for defect in defects:
        if not defect.line:
            yield from _entry("", defect.reason)


if __name__ == "__main__":
    sys.exit(run(main))
