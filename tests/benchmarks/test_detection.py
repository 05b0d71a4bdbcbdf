"""The detection benchmark: it goes on where it stopped, counts what it says, and its page is its results."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from applications._data import load_data
from applications._job import load_job
from benchmarks._detection_cells import KNOWN, NEW_ATTACK, NEW_VEHICLE, Division, Plan, families, read_division
from benchmarks._detection_page import LEVEL, ahead, best_of, tables_of, with_tables
from benchmarks.detection import PAGE, RESULTS, divisions, main, merged, spread

AGAIN = "run `python -m benchmarks.detection` where the real captures are, and commit what it writes"
QUICK = ["trainer.epochs=1", "model.width=8", "loader.batch_size=64"]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return json.loads(RESULTS.read_text("utf-8"))


def test_the_tables_of_the_page_are_the_measured_figures(report: dict[str, Any]) -> None:
    page = PAGE.read_text("utf-8")
    assert sorted(re.findall(r"<!-- table: (\w+) -->", page)) == sorted(tables_of(report))
    assert with_tables(page, report) == page, AGAIN
    prose = re.sub(r"<!-- table.*?<!-- end -->", "", page, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d|\d ?%", prose)


def test_the_page_says_where_a_control_wins(report: dict[str, Any]) -> None:
    verdict = tables_of(report)["verdict"]
    for setting in (KNOWN, NEW_ATTACK, NEW_VEHICLE):
        judged = [best for d in report["divisions"] if d["setting"] == setting and (best := best_of(d))]
        lost = sum(control > model + LEVEL for _, model, _, control in judged)
        line = next(line for line in verdict.splitlines() if line.startswith(f"- **{setting}**"))
        assert (f"of {len(judged)}," in line and f"a control in {lost}" in line) if judged else "not run" in line


def test_who_is_ahead() -> None:
    assert ahead(("gat", 0.9, "timing only", 0.8)) == "a model"
    assert ahead(("gat", 0.8, "timing only", 0.9)) == "a control"
    assert ahead(("gat", 0.9996, "timing only", 1.0)) == "neither"


def test_mean_and_spread_over_seeds() -> None:
    assert spread([0.5, 0.7]) == {"mean": pytest.approx(0.6), "std": pytest.approx(0.02**0.5)}
    assert spread([0.5]) == {"mean": 0.5, "std": 0.0}
    assert spread([0.5, None]) is None
    assert spread([]) is None


def test_a_part_that_is_run_anew_leaves_the_rest_and_whatever_has_more_seeds() -> None:
    def report(overrides: Sequence[str] = (), **divisions: dict[str, int]) -> dict[str, Any]:
        made = [
            {"setting": KNOWN, "sets": [name], "held_out": "", "models": {m: {"seeds": n} for m, n in models.items()},
             "refused": {} if "gat" in models else {"gat": "why"}}
            for name, models in divisions.items()
        ]  # fmt: skip
        return {"overrides": list(overrides), "models": ["gat", "dgi_ocgin"], "divisions": made}

    before = report(a={"gat": 5, "dgi_ocgin": 1}, b={"gat": 1})
    now = report(b={"dgi_ocgin": 1}, a={"gat": 2, "dgi_ocgin": 3})
    first, second = merged(before, now)["divisions"]
    assert first["models"] == {"gat": {"seeds": 5}, "dgi_ocgin": {"seeds": 3}}
    assert second["models"] == {"gat": {"seeds": 1}, "dgi_ocgin": {"seeds": 1}}
    assert second["refused"] == {}
    assert merged(before, report(["model.width=8"], a={"gat": 1}))["divisions"][0]["models"] == {"gat": {"seeds": 1}}


def test_what_a_division_judges() -> None:
    assert Division(KNOWN, ("a",)).judges("test")
    assert not Division(KNOWN, ("a",)).judges("validation")
    held = Division(NEW_ATTACK, ("a",), "dos")
    assert held.judges("test/known_vehicle_unknown_attack")
    assert not held.judges("test/known_vehicle_known_attack")
    other = Division(NEW_VEHICLE, ("a", "b"), "b")
    assert other.judges("test/unknown_vehicle_known_attack")
    assert other.judges("test/unknown_vehicle_unknown_attack")
    assert not other.judges("test/known_vehicle_known_attack")


def test_models_that_learn_from_others_ask_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--models", "rl_fusion", "gat"])
    assert "rl_fusion learns from dgi_ocgin: name them in --models too" in capsys.readouterr().err


def test_every_family_and_every_vehicle_is_held_out_once(real_data: Path, tmp_path: Path) -> None:
    plan, sets = Plan(real_data, tmp_path), ["nissan350z_road_format", "crysys_s11"]
    if not all((real_data / name).is_dir() for name in sets):
        pytest.skip(f"no {' and '.join(sets)} in {real_data}")
    found = divisions(plan, sets, (KNOWN, NEW_ATTACK, NEW_VEHICLE))
    assert [d.name for d in found] == [
        "known: nissan350z_road_format",
        "known: crysys_s11",
        "unseen attack: nissan350z_road_format, fuzzing",  # a suspension has no attack frame
        "unseen attack: nissan350z_road_format, masquerade",
        "unseen attack: nissan350z_road_format, spoofing",
        "unseen vehicle: nissan350z_road_format",
        "unseen vehicle: crysys_s11",
    ]
    data = read_division(plan, found[-1])
    table = data.store.windows
    trained = {table.capture_names[number] for number in table.capture[data.windows("train")]}
    assert {name.partition("/")[0] for name in trained} == {"nissan350z_road_format"}
    assert {capture.vehicle for capture in data.captures} == set(sets)
    held = read_division(plan, found[2])
    train = held.store.windows[held.windows("train", 1)]
    assert {train.families[number] for number in train.family} == {"masquerade", "spoofing"}
    assert families(held) == ["fuzzing", "masquerade", "spoofing"]


@pytest.mark.slow
def test_a_part_of_it_runs_and_goes_on(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (real_data / "crysys_s11").is_dir():
        pytest.skip(f"no crysys_s11 in {real_data}")
    page = tmp_path / "page.md"
    page.write_text("<!-- table: known_auroc -->\n<!-- end -->\n")
    given = ["--sets", "crysys_s11", "--divisions", "known", "--models", "gat", "dgi_ocgin", "--jobs", "1"]
    given += ["--work", str(tmp_path / "work")]
    given += ["--page", str(page), "--results", str(tmp_path / "found.json")]
    given += [word for change in QUICK for word in ("--override", change)]
    main([*given, "--seeds", "1"])
    told = capsys.readouterr().out
    assert all(f"known: crysys_s11: {model}, seed 0: AUROC" in told for model in ("gat", "dgi_ocgin"))
    main([*given, "--seeds", "2"])
    told = capsys.readouterr().out
    assert "gat, seed 0: kept" in told
    assert "gat, seed 1: AUROC" in told
    (found,) = json.loads((tmp_path / "found.json").read_text())["divisions"]
    assert [found["models"][model]["seeds"] for model in ("gat", "dgi_ocgin")] == [2, 2]
    assert found["models"]["dgi_ocgin"]["raw_weights_auroc"] is not None
    assert {"id look-up", "timing only", "gradient-boosted trees", "isolation forest"} == set(found["controls"])
    assert "| CrySyS car |" in page.read_text()
    (config,) = (tmp_path / "work" / "runs").glob("*/known_crysys_s11/gat-0/config.yml")
    store = load_data(load_job(config)[0].data).store
    assert found["windows"]["attack"] == len(store.select("test", label=1)) > 0
