"""python -m benchmarks.realism: simulated traffic beside real captures, and how well trees tell the two apart.

Needs the real captures (``CREDIT_LIKE_DATA``). Writes benchmarks/results/realism.json, and its tables into
docs/realism.md. Takes a minute.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks._captures import CAPTURES, missing
from benchmarks._realism_page import tables_of, with_tables
from benchmarks._traffic import FEATURES, ORDER, PAYLOAD, TIMING, capture_figures, window_features
from credit_like.can import LOGGERS, VEHICLES, FrameTable, read_log, simulate

RESULTS = Path(__file__).parent / "results" / "realism.json"
PAGE = Path(__file__).parents[1] / "docs" / "realism.md"

#: Real cars, with their captures of normal traffic; all buses run at 500 kbit/s.
CARS = {
    "Mitsubishi Ralliart": (
        "canbuslogs_raw/ralliart/autoshiftwot.log.gz",
        "canbuslogs_raw/ralliart/enginestart.log.gz",
    ),
    "Nissan 350Z": ("canbuslogs_raw/nissan350z_turnonlog.log",),
    "Chevrolet Camaro": ("camaro_ctt_format/train_01/attack-free-1.csv.gz", "canbuslogs_raw/camaro/reverselog.trc.gz"),
    "Volvo V40": ("daga_v40/clean/V40_03.can.zip",),
    "Subaru 2008": (
        "canbuslogs_raw/subaru08/revlogwithstockecu.trc.gz",
        "canbuslogs_raw/subaru08/trac_control_off_on.trc",
    ),
    "CrySyS car": ("crysys_s11/S-1-1-benign.log",),
}
BITRATE = 500_000
WINDOW = 100
#: Windows of a vehicle that the trees see, and how many blocks of time they are divided into for cross-validation.
WINDOWS, BLOCKS = 300, 5
#: Drives of each simulated vehicle, and their seconds.
DRIVES, SECONDS = 4, 40.0
REAL_LOGGERS = tuple(name for name in LOGGERS if name != "ideal")
GROUPS = {"all": FEATURES, "timing": TIMING, "order of ids": ORDER, "payload": PAYLOAD}

Floats = NDArray[np.float64]


def main() -> None:
    if missing("realism"):
        return
    real = {car: [read_log(CAPTURES / log)[0].frames for log in logs] for car, logs in CARS.items()}
    ideal = {name: [simulate(name, SECONDS, seed) for seed in range(DRIVES)] for name in VEHICLES}
    logged = {
        name: [simulate(name, SECONDS, seed, logger=REAL_LOGGERS[seed % len(REAL_LOGGERS)]) for seed in range(DRIVES)]
        for name in VEHICLES
    }
    cars = {car: windows_of(captures, BITRATE) for car, captures in real.items()}
    simulated = {"ideal logger": of_vehicles(ideal), "loggers that err": of_vehicles(logged)}
    report = {
        "traffic": {
            **{car: rounded(capture_figures(captures[0], BITRATE)) for car, captures in real.items()},
            **{
                f"simulated {name}": rounded(capture_figures(drives[0], VEHICLES[name].bitrate))
                for name, drives in ideal.items()
            },
        },
        "loggers": {
            f"simulated sedan, {logger}": gap_figures(simulate("sedan", SECONDS, 0, logger=logger))
            for logger in LOGGERS
        }
        | {car: gap_figures(captures[0]) for car, captures in real.items()},
        "distance": distances(cars, simulated["loggers that err"]),
        "auroc": {name: told_apart(cars, tables) for name, tables in simulated.items()},
        "yardsticks": {
            "one real car from the others": one_from_the_others(cars),
            "real cars from real cars": halves(cars),
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), report), "utf-8")
    print("\n\n".join(tables_of(report).values()))


def of_vehicles(drives: dict[str, list[FrameTable]]) -> dict[str, Floats]:
    return {name: windows_of(captures, VEHICLES[name].bitrate) for name, captures in drives.items()}


def windows_of(captures: list[FrameTable], bitrate: int) -> Floats:
    """float64[WINDOWS, 29]: features of windows that are spread evenly over a vehicle's captures, in order of time."""
    starts = [(frames, start) for frames in captures for start in range(0, len(frames) - WINDOW, WINDOW)]
    chosen = np.linspace(0, len(starts) - 1, min(WINDOWS, len(starts))).astype(int)
    return np.array([window_features(starts[k][0][starts[k][1] : starts[k][1] + WINDOW], bitrate) for k in chosen])


def gap_figures(frames: FrameTable) -> dict[str, float]:
    figures = rounded(capture_figures(frames, BITRATE))
    return {name: figures[name] for name in ("jitter", "back to back", "shorter than the frame")}


def distances(cars: dict[str, Floats], simulated: dict[str, Floats]) -> dict[str, float]:
    """How far every vehicle's median window is from that of the nearest real car (another one, for a real car).

    Features count in standard deviations over the real cars; the distance is the root mean square over features.
    """
    simulated = {f"simulated {name}": table for name, table in simulated.items()}
    middle = {name: np.median(table, axis=0) for name, table in (cars | simulated).items()}
    scale = np.std([middle[car] for car in cars], axis=0)
    scale[scale == 0] = 1.0

    def nearest(name: str) -> float:
        return min(float(np.sqrt(np.mean(((middle[name] - middle[car]) / scale) ** 2))) for car in cars if car != name)

    return {name: round(nearest(name), 2) for name in middle}


def told_apart(cars: dict[str, Floats], simulated: dict[str, Floats]) -> dict[str, dict[str, float | list[float]]]:
    """AUROC of trees that tell simulated windows from real ones, by group of features.

    ``same vehicles``: trained on other times of the same vehicles. ``new vehicles``: one real car and one simulated
    vehicle are held out in turn, the median over all pairs and the lowest and highest tenth.
    """
    found = {}
    for group, features in GROUPS.items():
        columns = [FEATURES.index(name) for name in features]
        real, made = ([table[:, columns] for table in side.values()] for side in (cars, simulated))
        found[group] = {"same vehicles": round(same_vehicles(real, made), 3), **spread(list(new_vehicles(real, made)))}
    return found


def one_from_the_others(cars: dict[str, Floats]) -> dict[str, float]:
    """For comparison: the same trees asked whether a window is of one real car or of the others."""
    return {
        car: round(same_vehicles([table for other, table in cars.items() if other != car], [cars[car]]), 3)
        for car in cars
    }


def halves(cars: dict[str, Floats]) -> dict[str, float | list[float]]:
    """For comparison: real cars halved in every way, one of each half held out: here there is nothing to be found."""
    scores: list[float] = []
    names = list(cars)
    for half in itertools.combinations(names[1:], len(names) // 2 - 1):
        first = [cars[names[0]], *(cars[name] for name in half)]
        second = [cars[name] for name in names[1:] if name not in half]
        scores += new_vehicles(first, second)
    return spread(scores)


def spread(scores: list[float]) -> dict[str, float | list[float]]:
    low, median, high = np.quantile(scores, [0.1, 0.5, 0.9])
    return {"new vehicles": round(float(median), 3), "tenths": [round(float(low), 3), round(float(high), 3)]}


def same_vehicles(negative: list[Floats], positive: list[Floats]) -> float:
    tables = negative + positive
    label = np.repeat([0] * len(negative) + [1] * len(positive), [len(table) for table in tables])
    block = np.concatenate([np.arange(len(table)) * BLOCKS // len(table) for table in tables])
    features = np.concatenate(tables)
    score = np.zeros(len(label))
    for held_out in range(BLOCKS):
        train = block != held_out
        score[~train] = trees(features[train], label[train], features[~train])
    return float(roc_auc_score(label, score))


def new_vehicles(negative: list[Floats], positive: list[Floats]) -> Iterator[float]:
    for no, yes in itertools.product(range(len(negative)), range(len(positive))):
        others = [table for k, table in enumerate(negative) if k != no], [t for k, t in enumerate(positive) if k != yes]
        label = np.repeat([0, 1], [sum(map(len, side)) for side in others])
        test = np.concatenate([negative[no], positive[yes]])
        score = trees(np.concatenate(others[0] + others[1]), label, test)
        yield float(roc_auc_score(np.repeat([0, 1], [len(negative[no]), len(positive[yes])]), score))


def trees(features: Floats, label: NDArray[np.int64], test: Floats) -> Floats:
    """Scores of ``test``, higher for label 1."""
    model = HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=15, early_stopping=False, random_state=0)
    with threadpool_limits(1, "openmp"):  # so small a fit waits for its threads
        return model.fit(features, label).predict_proba(test)[:, 1]


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


if __name__ == "__main__":
    main()
