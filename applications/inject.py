"""credit-like inject LOG --attack FAMILY --start S --seconds S -o LOG: a log -> the same log with an attack in it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from applications._cli import parser, run
from applications._new_log import add_new_log, describe, new_log_format
from applications._reading import add_reading, reading_of
from applications._values import BITRATE, FAMILY_NAMES, SEED, Name, Number, arbitration_id, payload

if TYPE_CHECKING:
    import argparse

    from credit_like.can import AttackSpec, Capture

_EPILOG = f"""families: {", ".join(FAMILY_NAMES)}

example:
  credit-like inject drive.log --attack masquerade --id 0x1A0 --start 5 --seconds 3 -o attacked.csv"""


def main(argv: list[str]) -> None:
    """Write the log and say what the attack did; UserError for an attack that cannot be, or a log that is none."""
    made = parser("inject", "Put an attack into a log, as the bus would have carried it.", _EPILOG)
    made.add_argument("log", type=Path, metavar="LOG", help="the log; it stays as it is")
    seconds = Number(float, above=0, unit="seconds")
    made.add_argument(
        "--attack", type=Name(FAMILY_NAMES), required=True, metavar="FAMILY", help="one of the families below"
    )
    made.add_argument(
        "--start",
        type=Number(float, least=0, unit="seconds"),
        default=5.0,
        metavar="S",
        help="seconds from the first frame (default: 5)",
    )
    made.add_argument(
        "--seconds", type=seconds, default=3.0, metavar="S", help="length of the attack in seconds (default: 3)"
    )
    made.add_argument(
        "--id",
        type=arbitration_id,
        action="append",
        default=[],
        metavar="ID",
        help="an id to attack in hexadecimal, 0x1A0 or 1A0; may be repeated (default: chosen by the seed)",
    )
    made.add_argument("--seed", type=SEED, default=0, metavar="N", help="of everything left to chance (default: 0)")
    made.add_argument(
        "--period",
        type=seconds,
        metavar="S",
        help="seconds between two attack frames (default: 0.0003 for dos, 0.0005 for fuzzing, 0.001 for spoofing)",
    )
    made.add_argument(
        "--payload",
        type=payload,
        metavar="HEX",
        help="what the attacker sends, two hexadecimal digits a byte (default: as --values says)",
    )
    made.add_argument(
        "--values",
        type=Name(("fixed", "random", "plausible")),
        metavar="KIND",
        help="payloads of spoofing and masquerade: fixed (one, drawn once; the default), random (one a frame), or "
        "plausible (what the id sent at another time)",
    )
    made.add_argument(
        "--lag", type=seconds, metavar="S", help="replay: how many seconds earlier its frames were sent (default: 4)"
    )
    made.add_argument(
        "--bus", type=Number(int, least=0, most=255), metavar="N", help="the bus that is attacked (default: 0)"
    )
    made.add_argument(
        "--bitrate",
        type=BITRATE,
        metavar="N",
        help="bit/s of that bus (default: that of the simulated vehicle, else 500000)",
    )
    add_reading(made, "--read-as")
    add_new_log(made)
    options = made.parse_args(argv)

    from credit_like.can import VEHICLES, inject, resolve_attack, write_log

    format = new_log_format(options, [options.log])
    attack = _attack(options)
    capture = _read(options)
    known = VEHICLES.get(capture.vehicle)
    bitrate = options.bitrate or (known.bitrate if known else 500_000)
    attack = resolve_attack(capture.frames, attack, options.seed)
    frames, (interval,) = inject(capture.frames, attack, options.seed, bitrate=bitrate)

    ids = " ".join(f"0x{id:03X}" for id in attack.ids) or "random ids"
    targets = dict.fromkeys(capture.intervals, "") | {interval: ids}
    intervals = tuple(sorted(targets, key=lambda attack: (attack.start, attack.stop)))
    attacked = replace(capture, frames=frames, intervals=intervals)
    files = write_log(
        attacked, options.output, format, targets=[targets[one] for one in intervals], source=options.log.name
    )
    print(_effect(capture, attacked, attack, ids))
    print(describe(files, format, attacks=len(intervals)))


def _attack(options: argparse.Namespace) -> AttackSpec:
    """The attack that the options describe. Raises ConfigError where they do not go together."""
    from pydantic import ValidationError

    from credit_like.can import AttackSpec
    from credit_like.config import ConfigError

    chosen = {name: getattr(options, name) for name in ("period", "payload", "values", "lag", "bus")}
    try:
        return AttackSpec(
            family=options.attack,
            start=options.start,
            stop=options.start + options.seconds,
            ids=tuple(options.id),
            **{name: value for name, value in chosen.items() if value is not None},
        )
    except ValidationError as error:
        raise ConfigError("\n".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None


def _read(options: argparse.Namespace) -> Capture:
    from credit_like.can import read_log
    from credit_like.can.write_log import with_labels_beside
    from credit_like.config import UserError

    captures = read_log(options.log, **reading_of(options).model_dump())
    if len(captures) > 1:
        names = ", ".join(capture.name for capture in captures)
        raise UserError(f"{options.log} holds {len(captures)} captures ({names}); put each into a log of its own")
    for defect in captures[0].source.defects:
        print(f"note: {options.log}:{defect.line}: {defect.reason}")
    return with_labels_beside(captures[0])


def _effect(before: Capture, after: Capture, attack: AttackSpec, ids: str) -> str:
    """What the attack did to the log, in one line."""
    attacking = int((after.frames.label == 1).sum() - (before.frames.label == 1).sum())
    missing = len(before.frames) - len(after.frames)
    if attack.family == "masquerade":
        effect = f"{attacking:,} frames rewritten"
    elif attack.family == "suspension":
        effect = f"{missing:,} frames taken out"
    else:
        effect = f"{attacking:,} frames added, {missing + attacking:,} of the vehicle's own lost to the bus"
    return f"{attack.family} ({ids}) from {attack.start:g} s to {attack.stop:g} s: {effect}, {len(after.frames):,} now"


if __name__ == "__main__":
    sys.exit(run(main))
