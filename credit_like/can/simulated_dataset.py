"""A data set out of nothing: simulated drives with attacks in them, in the layout of can-train-and-test."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from credit_like.can.attacks import ATTACK_FAMILIES, AttackSpec, resolve_attack
from credit_like.can.captures import AttackInterval
from credit_like.can.frames import FrameTable
from credit_like.can.injector import inject
from credit_like.can.metadata import INJECTION_METADATA
from credit_like.can.simulator import simulate
from credit_like.can.vehicles import VEHICLES
from credit_like.can.write_log import metadata_entry
from credit_like.can.writers import write_ctt_csv
from credit_like.config import UserError, closest
from credit_like.config.files import replacing

#: The folder of the logs, and the clock of the first drive (the others follow a day apart).
_LOGS, _EPOCH, _DAY = "drives", 1_700_000_000.0, 86_400.0
#: Seconds: bursts and the pauses between them last as long as in the real data with injected attacks.
_FIRST_BURST, _BURST, _PAUSE, _TAIL = 4.5, (1.5, 2.5), (1.5, 3.0), 1.0

#: Ways in which each family is carried out, drawn for every burst. Rates like those of the published data sets are easy
#: to find; slow floods, spoofing at an id's own rate and values that the id has had before are not.
_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "dos": ({}, {"period": 0.6e-3}, {"ids": (0x001, 0x002, 0x003), "period": 1e-3}),
    "fuzzing": ({}, {"period": 2e-3}, {"period": 8e-3}),
    "spoofing": ({}, {"period": 5e-3}, {"period": 10e-3, "values": "plausible"}, {"period": 20e-3, "values": "random"}),
    "replay": ({"lag": 4.0}, {"lag": 3.0}),
    "suspension": ({},),
    "masquerade": ({}, {"values": "random"}, {"values": "plausible"}),
}


def write_simulated_dataset(
    folder: str | Path,
    vehicle: str = "sedan",
    drives: int = 10,
    seconds: float = 40.0,
    attacks: Sequence[str] = ATTACK_FAMILIES,
    seed: int = 0,
    progress: bool = True,
    *,
    attack_free: int | None = None,
) -> list[Path]:
    """Write ``drives`` simulated drives of one vehicle as labelled logs; returns the logs' paths.

    Every drive is simulated with a seed of its own, so no two share traffic and they may be divided among training and
    test by file. Each is one CSV in the layout of can-train-and-test under ``folder/drives``. In the attacked ones
    bursts of 1.5 to 2.5 s alternate with benign stretches, the families of ``attacks`` taking turns in random order, in
    easy and in hard variants. ``folder/injection_metadata.json`` has an entry a log: counts, the interval of every
    burst in seconds from the first frame and, beside the fields that other data sets have there, ``"types"``: the
    family of every interval.

    The logs appear in ``folder`` all at once, when the last is written. The same arguments write the same bytes.

    Args:
        folder: is made where it is missing; must hold nothing but hidden files.
        vehicle: a name in ``VEHICLES``.
        drives: how many, the attack-free ones included.
        seconds: length of each; 10 s at least, so that a burst fits in.
        attacks: families of ``ATTACK_FAMILIES``; none for attack-free drives only.
        seed: not negative.
        progress: show a progress bar.
        attack_free: how many of the drives have no attack; a fifth by default (one at least, if there are three).

    Raises:
        UserError: for an unknown vehicle or family, lengths and counts that make no data set, or a folder that is in
            use or cannot be written.
    """
    root = Path(folder)
    free = _checked(root, vehicle, drives, seconds, attacks, attack_free)
    building = root / f".{_LOGS}.{uuid.uuid4().hex}.tmp"
    metadata = {}
    try:
        building.mkdir(parents=True)
        bar = tqdm(
            range(drives),
            desc=f"simulating {vehicle} drives",
            unit="drive",
            delay=2,
            disable=None if progress else True,  # None: no bar where stderr is no terminal
        )
        for number in bar:
            # Attack-free drives are spread evenly, the first drive is one of them.
            attacked = attacks if number * free // drives == (number - 1) * free // drives else ()
            name = f"drive-{number + 1:02d}.csv" if attacked else f"attack-free-{number + 1:02d}.csv"
            streams = np.random.SeedSequence([seed, number]).generate_state(2)
            benign = simulate(vehicle, seconds, int(streams[0]))
            rate = VEHICLES[vehicle].bitrate
            frames, entry = _attacked(benign, attacked, np.random.default_rng(streams[1]), rate)
            write_ctt_csv(replace(frames, t=frames.t + _EPOCH + number * _DAY), building / name)
            metadata[f"{_LOGS}/{name}"] = {**entry, "source": f"simulated drive {number + 1}", "vehicle": vehicle}
        with replacing(root / INJECTION_METADATA) as temporary:
            temporary.write_text(json.dumps(metadata, indent=1) + "\n", "utf-8")
        building.rename(root / _LOGS)
    except OSError as error:
        raise UserError(
            f"{root} cannot be written: {error.strerror or error}. "
            "Check that it may be written to and that the disk has space left."
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return [root / name for name in metadata]


def _checked(
    root: Path, vehicle: str, drives: int, seconds: float, attacks: Sequence[str], attack_free: int | None
) -> int:
    """The number of attack-free drives; UserError where the arguments make no data set."""
    if vehicle not in VEHICLES:
        known = ", ".join(VEHICLES)
        raise UserError(
            f"There is no simulated vehicle {vehicle!r}{closest(vehicle, VEHICLES)}; choose one of {known}."
        )
    for family in attacks:
        if family not in ATTACK_FAMILIES:
            hint = closest(family, ATTACK_FAMILIES)
            raise UserError(f"There is no attack family {family!r}{hint}; choose from {', '.join(ATTACK_FAMILIES)}.")
    if drives < 1 or not 10 <= seconds < float("inf"):
        raise UserError(
            f"A simulated data set needs at least one drive of at least 10 s; got {drives} drives of {seconds:g} s."
        )
    free = max(drives // 5, drives >= 3) if attack_free is None else attack_free
    if not 0 <= free <= drives:
        raise UserError(f"Of {drives} drives {free} cannot be attack-free; give 0 to {drives}.")
    if root.exists() and (not root.is_dir() or any(not path.name.startswith(".") for path in root.iterdir())):
        raise UserError(f"{root} holds something already; name an empty folder for the simulated logs.")
    return free if attacks else drives


def _attacked(
    frames: FrameTable, attacks: Sequence[str], rng: np.random.Generator, bitrate: int
) -> tuple[FrameTable, dict[str, Any]]:
    """The drive with bursts of the families in turn, and its metadata entry."""
    origin = float(frames.t[0])
    benign = frames
    intervals: list[AttackInterval] = []
    targets: list[str] = []
    for spec in _schedule(attacks, float(frames.t[-1]) - origin, rng):
        seed = int(rng.integers(1 << 31))
        targets.append(" ".join(f"0x{id:X}" for id in resolve_attack(frames, spec, seed).ids) or "XXX")
        frames, own = inject(frames, spec, seed, bitrate=bitrate)
        intervals += own
    entry = metadata_entry(frames, intervals, targets)
    if intervals:
        entry["normal_frames_missing"] = len(benign) - entry["normal"]
    return frames, entry


def _schedule(attacks: Sequence[str], seconds: float, rng: np.random.Generator) -> list[AttackSpec]:
    """Bursts that fill the drive: every family once in random order, then again in another."""
    specs: list[AttackSpec] = []
    queue: list[str] = []
    start = _FIRST_BURST + rng.uniform(0, 1)
    while attacks:
        stop = start + rng.uniform(*_BURST)
        if stop > seconds - _TAIL:
            break
        queue = queue or list(rng.permutation(list(attacks)))
        family = str(queue.pop())
        variants = _VARIANTS[family]
        variant = variants[int(rng.integers(len(variants)))]
        specs.append(AttackSpec(family=family, start=start, stop=stop, **variant))
        start = stop + rng.uniform(*_PAUSE)
    return specs
