"""The report: every number traces back to the scores, nothing from outside gets in unescaped, no network is needed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_curve

from credit_like.can.captures import AttackInterval
from credit_like.config import UserError
from credit_like.evaluation import EvaluationSettings, Scores, evaluate, read_scores, write_report, write_scores
from credit_like.evaluation.report.words import count, percent, ratio
from tests.evaluation.outline import Outline

Write = Callable[..., Path]

HOSTILE = "</title></script></style><script>alert('x')</script>\"'&<b>"


@pytest.fixture(scope="module")
def page(run: Scores, report_of: Write) -> str:
    return report_of(run).read_text()


def at(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def figures(text: str) -> list[tuple[str, float | None]]:
    found = [x for _, x in Outline(text).elements if "data-figure" in x]
    return [(str(x["data-figure"]), float(x["data-value"]) if x.get("data-value") is not None else None) for x in found]


@pytest.mark.parametrize("tests", [("test",), ("test/known_vehicle_known_attack", "test/unknown_vehicle_known_attack")])
def test_every_figure_of_the_page_comes_from_the_scores_file(
    tests: tuple[str, ...], simulate_run: Callable[..., Scores], report_of: Write, tmp_path: Path
) -> None:
    run = simulate_run(seed=4, tests=tests, windows=300)
    write_scores(tmp_path / "scores.parquet", run.frame, run.intervals)
    again = evaluate(read_scores(tmp_path / "scores.parquet"), EvaluationSettings(bootstrap_rounds=100))
    shown = figures(report_of(run).read_text())
    assert len(shown) > 80
    for pointer, value in shown:
        assert value == at(again, pointer), pointer


def test_the_first_screen_has_the_five_main_figures(page: str, run: Scores) -> None:
    first = page[page.index('id="summary"') : page.index('id="attacks"')]
    metrics = evaluate(run, EvaluationSettings(bootstrap_rounds=100))
    windows, events = metrics["overall"]["windows"], metrics["overall"]["events"]
    shown = [ratio(windows[name]) for name in ("auroc", "f1", "recall")]
    shown += [count(windows["false_alarms_per_hour"]), f"{events['found']} of {events['events']}"]
    for value in shown:
        assert re.search(rf'<p class="value"[^>]*>{re.escape(value)}</p>', first), value
    assert "Split certificate valid." in first
    assert f"at most {percent(metrics['calibration']['promised_fpr'])} of benign windows alarm falsely" in first


def test_a_promise_that_cannot_be_made_is_not_printed_as_one(run: Scores, report_of: Write) -> None:
    text = report_of(run, metrics=evaluate(run, EvaluationSettings(target_fpr=1e-5, bootstrap_rounds=100))).read_text()
    assert "not promised" in text
    assert "It promises" not in text


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (6.0, "The model beats every control."),
        (-9.0, "A control beats the model."),
        (-1.6, "The model is not shown to beat every control."),
    ],
)
def test_the_first_screen_says_whether_the_model_beats_the_controls(
    shift: float, verdict: str, simulate_run: Callable[..., Scores], report_of: Write
) -> None:
    assert verdict in report_of(simulate_run(shift=shift, windows=400)).read_text()


def test_with_a_problem_no_test_figure_is_in_the_file(run: Scores, report_of: Write) -> None:
    problem = "rows 10 to 20 of drive/clean are in training and in test"
    text = report_of(run, problems=[problem]).read_text()
    assert figures(text) == []
    assert "The split certificate is not valid, so no test figure is printed." in text
    assert f"<li>{problem}</li>" in text
    assert 'class="panel bad" role="alert"' in text
    for section in ("attacks", "controls", "curves", "alarms"):
        assert f'id="{section}"' not in text
    for section in ("training", "certificate", "configuration"):
        assert f'id="{section}"' in text
    metrics = evaluate(run, EvaluationSettings(bootstrap_rounds=100))
    assert repr(metrics["overall"]["windows"]["auroc"]) not in text


def test_without_a_certificate_no_test_figure_is_in_the_file(run: Scores, report_of: Write) -> None:
    text = report_of(run, certificate=None).read_text()
    assert figures(text) == []
    assert "this run has no split certificate" in text


def test_nothing_from_outside_gets_in_unescaped(
    report_of: Write, windows_of: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    label = np.zeros(50, np.int8)
    label[20:30] = 1
    family = np.where(label == 1, HOSTILE, "")
    frame = pl.concat(
        [
            windows_of("validation", HOSTILE, 200),
            windows_of(f"test/{HOSTILE}", HOSTILE, 50, label=label, family=family, score=label * 0.9),
            windows_of("test", HOSTILE, 50, vehicle=[HOSTILE] * 50, label=label, family=family, score=label * 0.9),
        ]
    )
    log = tmp_path / "log.csv"
    log.write_text(f'epoch,"train_{HOSTILE.replace(chr(34), chr(34) * 2)}"\n0,1.0\n1,0.5\n')
    text = report_of(
        Scores(frame, {HOSTILE: (AttackInterval(HOSTILE, 1.2, 1.8),)}),
        title=HOSTILE,
        certificate={HOSTILE: HOSTILE, "long": [HOSTILE] * 50},
        config_text=HOSTILE,
        environment={HOSTILE: {HOSTILE: HOSTILE}},
        throughput={HOSTILE: [HOSTILE]},
        training_log=log,
    ).read_text()
    outline = Outline(text)
    assert outline.problems == []
    assert len(outline.of("script")) == len(outline.of("style")) == len(outline.of("title")) == 1
    assert not outline.of("b")
    assert text.count("alert(") > 10
    refused = report_of(Scores(frame, {}), problems=[HOSTILE]).read_text()
    assert len(Outline(refused).of("script")) == 1
    assert HOSTILE in unescape(refused)


def test_the_page_needs_no_network(page: str) -> None:
    for _, attributes in Outline(page).elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith("#")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert not re.search(r"\b(fetch|XMLHttpRequest|import|WebSocket)\b", page[page.index("<script>") :])


def test_the_markup_is_whole_and_says_what_things_are(page: str) -> None:
    outline = Outline(page)
    assert outline.problems == []
    ids = [x["id"] for _, x in outline.elements if "id" in x]
    assert len(ids) == len(set(ids))
    assert all(x.get("scope") in ("col", "row") for x in outline.of("th"))
    assert all(x.get("aria-label") and x.get("role") == "img" for x in outline.of("svg"))
    assert len(outline.of("caption")) == len(outline.of("table"))
    levels = [int(name[1]) for name, _ in outline.elements if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for _, attributes in outline.elements:
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_the_data_of_the_roc_chart_is_that_of_the_scores(page: str, run: Scores) -> None:
    data = page[page.index("Recall at a false-positive rate of at most") :]
    rows = run.frame.filter((pl.col("split") == "test") & ((pl.col("label") == 1) | ~pl.col("in_interval")))
    false_rate, recall, _ = roc_curve(rows["label"], rows["score"], drop_intermediate=False)
    for rate in (0.001, 0.01, 0.1):
        cell = re.search(rf'<th scope="row">{rate:g}</th><td class="number" data-value="([^"]+)">', data)
        cell = cell or re.search(rf'<th scope="row">{rate:g}</th><td data-value="([^"]+)"', data)
        assert cell is not None, rate
        assert float(cell[1]) == recall[false_rate <= rate].max()


def test_a_large_run_stays_under_five_megabytes(simulate_run: Callable[..., Scores], report_of: Write) -> None:
    one = simulate_run(windows=1000)
    copies = []
    for i in range(25):
        name = pl.when(pl.col("split") == "test").then(pl.col("capture") + f"/{i}").otherwise(pl.col("capture"))
        copies.append(one.frame.filter((pl.col("split") == "test") | (i == 0)).with_columns(capture=name))
    intervals = {f"{name}/{i}": known for name, known in one.intervals.items() for i in range(25)}
    path = report_of(Scores(pl.concat(copies), intervals))
    assert path.stat().st_size < 5_000_000
    text = path.read_text()
    assert "24 of 100 captures are shown" in text
    assert "The first 200 are shown" in text


def test_figures_that_are_undefined_say_so_and_why(windows_of: Callable[..., pl.DataFrame], report_of: Write) -> None:
    rng = np.random.default_rng(0)
    frame = pl.concat([windows_of(s, s, 200, score=rng.normal(0, 5, 200)) for s in ("validation", "test")])
    text = report_of(Scores(frame, {})).read_text()
    assert "no attack window" in text
    assert "ROC and precision-recall are undefined: no attack window." in text
    assert "The test sets hold no attack." in text
    assert "with no attack. " in text
    assert "Without an attack, detection could not be judged." in text
    assert "A row counts an attack" not in text
    tile = text[text.index("Attacks found") :].partition("</div>")[0]
    assert ">none to find</p>" in tile
    assert "the test sets hold no attack" in tile
    assert re.search(r">Attacks found</th><td[^>]*>none to find</td>", text)
    assert ">undefined: the score is not a probability</strong> (how far the score is from" in text
    assert "Controls:</strong> not compared, no control was scored." in text
    assert not re.search(r"\b(nan|inf|None)\b", text[text.index("<main>") : text.index("<script>")])


def test_without_a_test_set_the_first_screen_says_so(windows_of: Callable[..., pl.DataFrame], report_of: Write) -> None:
    text = report_of(Scores(windows_of("validation", "v", 200), {})).read_text()
    assert "There is no test set" in text


def test_training_curves_need_a_log_and_bear_gaps(run: Scores, report_of: Write, tmp_path: Path) -> None:
    assert "No training log was given." in report_of(run, training_log=None).read_text()
    log = tmp_path / "log.csv"
    log.write_text("epoch,train_loss,valid_loss,note\n0,inf,nan,x\n1,nan,nan,y\n")
    text = report_of(run, training_log=log).read_text()
    assert "No finite value." in text


def test_a_loss_that_is_its_only_part_is_drawn_once(run: Scores, report_of: Write, tmp_path: Path) -> None:
    log = "epoch,train_loss,valid_loss,train_dgi_loss,valid_dgi_loss\n0,3,2,3,2\n1,2,1,2,{}\n"
    for last, charts in ((1, ["Loss"]), (1.5, ["Loss", "DGI loss"])):
        (tmp_path / "log.csv").write_text(log.format(last))
        text = report_of(run, training_log=tmp_path / "log.csv").read_text()
        section = text[text.index('<section id="training"') :]
        assert re.findall(r"<h3>(.*?)</h3>", section[: section.index("</section>")]) == charts


def test_more_false_alarms_in_too_little_traffic_are_not_called_chance(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    rng = np.random.default_rng(0)
    parts = [windows_of("validation", "v", 200, score=rng.random(200)), windows_of("test", "t", 50, score=np.ones(50))]
    text = report_of(Scores(pl.concat(parts), {})).read_text()
    assert "which is more; there is too little test traffic to say whether by chance" in text
    assert "perhaps by chance" not in text


def test_training_curves_count_epochs_from_one(page: str) -> None:
    training = page[page.index('id="training"') : page.index('id="certificate"')]
    assert re.findall(r'<th scope="row">(\d+)</th>', training)[:3] == ["1", "2", "3"]


def test_a_timeline_has_the_alarms_of_its_capture_as_a_table(page: str, run: Scores) -> None:
    threshold = evaluate(run, EvaluationSettings(bootstrap_rounds=100))["calibration"]["threshold"]
    alarm = (pl.col("split") == "test") & (pl.col("score") > threshold)
    benign = (pl.col("label") == 0) & ~pl.col("in_interval")
    shown = re.findall(r"<td[^>]*>([\d,]+)</td><td[^>]*>([\d,]+)</td></tr>", page[page.index('id="alarms"') :])
    assert sum(int(hits) for hits, _ in shown) == run.frame.filter(alarm & ~benign).height
    assert sum(int(false) for _, false in shown) == run.frame.filter(alarm & benign).height


def test_a_timeline_shows_the_attacks_that_its_windows_could_see(
    windows_of: Callable[..., pl.DataFrame], report_of: Write
) -> None:
    later = [pl.col("t_start", "t_end") + 60.0, pl.col("row_start", "row_stop") + 100_000]
    test = pl.concat([windows_of("test", "c", 100), windows_of("test", "c", 100).with_columns(later)])
    attacks = tuple(AttackInterval("dos", t, t + 1.0) for t in (1.0, 30.0, 40.0, 62.0))  # two of them in between
    scores = Scores(pl.concat([windows_of("validation", "v", 200), test]), {"c": attacks})
    text = report_of(scores).read_text()
    strip = text[text.index('class="strip"') :].partition("</svg>")[0]
    assert "0 of 2 attacks found" in text
    assert strip.count('class="known"') == 2


@pytest.mark.parametrize("word", ["AUROC", "Recall", "Precision", "F1", "Window", "95 % interval", "Control", "MCC"])
def test_the_words_of_the_page_are_explained(page: str, word: str) -> None:
    assert f"<dt>{word}</dt>" in page[page.index('id="words"') :]


def test_the_page_is_the_same_when_written_again(run: Scores, report_of: Write) -> None:
    assert report_of(run).read_bytes() == report_of(run).read_bytes()


def test_a_report_that_cannot_be_written_is_an_error(run: Scores, report_of: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/report\.html cannot be written"):
        write_report(
            tmp_path / "nowhere" / "report.html",
            title="t",
            metrics=None,
            scores=None,
            certificate={},
            problems=[],
            config_text="",
            training_log=None,
            environment={},
            throughput={},
        )


def test_the_certificate_can_be_read_back_from_the_page(run: Scores, report_of: Write) -> None:
    issued = {"version": 3, "splits": {"train": [["a", 0, 100]] * 60}, "disjoint": True, "note": "<&>"}
    text = report_of(run, certificate=issued).read_text()
    whole = text[text.index("The whole certificate as JSON") :]
    assert json.loads(unescape(whole[whole.index("<code>") + 6 : whole.index("</code>")])) == issued


def test_the_first_screen_names_captures_that_share_traffic(run: Scores, page: str, report_of: Write) -> None:
    captures = sorted(run.frame.filter(pl.col("split") != "validation")["capture"].unique())
    groups = [{captures[0]: 0.0, captures[1]: 0.0, "elsewhere": 1.0}, {captures[2]: 0.0}]
    metrics = evaluate(run, EvaluationSettings(bootstrap_rounds=100), groups=groups)
    text = report_of(run, metrics=metrics).read_text()
    assert f"{captures[0]} and {captures[1]} share recorded traffic." in text
    assert text.count("share recorded traffic") == 1
    assert "share recorded traffic" not in page
