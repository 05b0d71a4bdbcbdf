"""credit-like ingest LOG... -o frames.parquet: logs -> one Parquet file, which is read back like them, only faster."""

from __future__ import annotations

import sys
from pathlib import Path

from applications._cli import parser, run
from applications._logs import open_logs, print_notes
from applications._output import add_output, require_writable
from applications._reading import add_reading, reading_of

_EXAMPLE = """example:
  credit-like ingest logs/ -o frames.parquet
  credit-like train gat data.path=frames.parquet"""


def main(argv: list[str]) -> None:
    """Write the file and say what is in it; UserError for a log that cannot be read, or a file that is there."""
    made = parser(
        "ingest",
        "Read logs once and keep their frames, with labels, attacks and defects, in one Parquet file. Every command\n"
        "that takes a log takes it. Memory does not grow with the logs.",
        _EXAMPLE,
    )
    made.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="a log, or a folder of logs")
    add_output(made, "FILE", "the file to write, such as frames.parquet")
    add_reading(made)
    options = made.parse_args(argv)

    from credit_like.can import ingest
    from credit_like.can.dataset import defect_notes
    from credit_like.config import ConfigError

    if options.output.suffix != ".parquet":
        raise ConfigError(f"--output must end in .parquet; got {options.output}")
    require_writable(options.output, options.logs, force=options.force)
    logs, notes = open_logs(options.logs, reading_of(options))
    done = ingest(logs, options.output)
    print_notes([*notes, *defect_notes([capture.source for capture in done.captures])])
    for left_out, kept in done.duplicates:
        print(f"note: {left_out} has the content of {kept}, which is used once")
    frames, size = sum(capture.frames for capture in done.captures), options.output.stat().st_size
    print(
        f"{options.output}: {frames:,} frames of {len(done.captures)} capture(s) in {len(logs) - len(done.duplicates)} "
        f"log(s), {size / 1e6:.1f} MB, {size / frames:.1f} bytes a frame"
    )


if __name__ == "__main__":
    sys.exit(run(main))
