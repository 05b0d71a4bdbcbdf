"""What a log's findings mean: it is refused with a message, or used with a list of defects."""

from __future__ import annotations

from credit_like.can.captures import Defect
from credit_like.can.errors import LogError
from credit_like.can.readers import Reader
from credit_like.can.readers._findings import EXAMPLES, LISTED, BadLine, Findings
from credit_like.can.readers._recognise import excerpt
from credit_like.can.readers._rows import REASONS

#: Time may run backwards this often, and on the share of lines that may be bad, before a log is refused.
_FREE_RESTARTS = 16


def refuse(label: str, reader: Reader, reason: str, findings: Findings, max_bad_lines: float) -> None:
    """Raises LogError where the content is not to be trusted as a log of this format, recognised for ``reason``."""
    title, units = reader.title, f"{reader.unit}s"
    if findings.wrong_label is not None:
        raise LogError(
            f"{label}:{findings.wrong_label.number}: unknown label in {excerpt(findings.wrong_label.text)}; {title} "
            f"knows {', '.join(reader.label_tokens)}; correct the label or remove the line"
        )
    count = findings.bad_lines
    if count > max_bad_lines * findings.lines:
        first = "; ".join(_described(line, reader.unit) for line in findings.bad[:EXAMPLES])
        raise LogError(
            f"{label}: {count} of {findings.lines} {units} ({count / findings.lines:.3%}) are no frames of {title} "
            f"({reader.shape}), more than {max_bad_lines:.3%}. {first}. Mend the {units}, name the format if it is "
            "another, or allow more with --max-bad-lines or data.max_bad_lines"
        )
    if findings.rows == 0:
        short = f"; {findings.short}" if findings.short else ""
        raise LogError(f"{label}: holds no frame ({title}, {reason}{short}); give a log with frames")
    if len(findings.restarts) > max(_FREE_RESTARTS, max_bad_lines * findings.rows) or len(findings.restarts) >= LISTED:
        line, back = findings.restarts[0]
        more = " or more" if len(findings.restarts) >= LISTED else ""
        raise LogError(
            f"{label}:{line}: time runs backwards by {back:g} s, and so it does {len(findings.restarts)}{more} times "
            f"in {findings.rows} frames; sort the log by time, or split it into its recordings"
        )


def defects(reader: Reader, findings: Findings) -> list[Defect]:
    """Every line that was not taken as it stood, in their order, then what is said of the whole log."""
    found = [Defect(line.number, REASONS[line.code]) for line in findings.bad]
    found += [
        Defect(line, f"time runs backwards by {back:g} s: a new capture starts here")
        for line, back in findings.restarts
    ]
    if findings.cut is not None:
        found.append(Defect(findings.cut.number, REASONS[findings.cut.code]))
    found.sort(key=lambda defect: defect.line)
    found += [
        Defect(0, f"{count} more {reader.unit}s are no frames: {REASONS[code]}")
        for code, count in findings.unlisted.items()
    ]
    if findings.short:
        found.append(Defect(0, findings.short))
    if findings.events == 1:
        found.append(Defect(findings.first_event, "no CAN frame but another event"))
    elif findings.events:
        where = f", the first is {reader.unit} {findings.first_event}" if findings.first_event else ""
        found.append(Defect(0, f"{findings.events} {reader.unit}s are no CAN frames but other events{where}"))
    return found


def _described(line: BadLine, unit: str) -> str:
    text = f": {excerpt(line.text)}" if line.text else ""
    return f"{unit} {line.number}: {REASONS[line.code]}{text}"
