"""credit-like simulate -o LOG [--vehicle NAME] [--minutes M] [--seed N] [--logger NAME]: a simulated drive -> a log."""

from __future__ import annotations

import sys

from applications._cli import parser, run
from applications._new_log import add_new_log, describe, new_log_format
from applications._values import BITRATE, LOGGER_NAMES, LONGEST_DRIVE, SEED, VEHICLE_NAMES, Name, Number

_EXAMPLE = """example:
  credit-like simulate --vehicle sedan --minutes 10 --seed 1 -o drive.log"""


def main(argv: list[str]) -> None:
    """Write the log and say what is in it; UserError for what cannot be simulated or written."""
    made = parser("simulate", "Simulate a drive and write what a logger on its bus would have recorded.", _EXAMPLE)
    minutes = Number(float, least=0.002, most=LONGEST_DRIVE, unit="minutes")
    vehicles, loggers = Name(VEHICLE_NAMES), Name(LOGGER_NAMES)
    made.add_argument(
        "--vehicle", type=vehicles, default="sedan", metavar="NAME", help="sedan, van or truck (default: sedan)"
    )
    made.add_argument(
        "--minutes", type=minutes, default=1.0, metavar="M", help="length of the drive, 6 hours at most (default: 1)"
    )
    made.add_argument("--seed", type=SEED, default=0, metavar="N", help="another seed, another drive (default: 0)")
    made.add_argument("--bitrate", type=BITRATE, metavar="N", help="bit/s of the bus (default: the vehicle's own)")
    made.add_argument(
        "--logger",
        type=loggers,
        default="ideal",
        metavar="NAME",
        help="whose clock errors the times have: ideal (none, the default), adapter, pcan, interrupt or polled",
    )
    add_new_log(made)
    options = made.parse_args(argv)

    from credit_like.can import VEHICLES, Capture, SourceFile, bus_load, simulate, write_log

    format = new_log_format(options)
    frames = simulate(options.vehicle, options.minutes * 60, options.seed, options.bitrate, options.logger)
    nowhere = SourceFile(path="", sha256="", format="", reason="simulated", frames=len(frames))
    drive = Capture(options.output.name, frames, nowhere, vehicle=options.vehicle)
    files = write_log(drive, options.output, format, source=f"simulated, seed {options.seed}")

    load = bus_load(frames, options.bitrate or VEHICLES[options.vehicle].bitrate)
    print(
        f"{len(frames):,} frames of {len(set(frames.id.tolist()))} ids in {options.minutes:g} min of a simulated "
        f"{options.vehicle}; bus load {load:.0%}"
    )
    print(describe(files, format, attacks=0))


if __name__ == "__main__":
    sys.exit(run(main))
