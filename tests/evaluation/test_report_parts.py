"""Parts of the report by themselves: the verdict on controls, axes, the certificate, and how numbers are written."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.evaluation.report.axes import Axis
from credit_like.evaluation.report.certificate import certificate
from credit_like.evaluation.report.charts import histogram, score_axis
from credit_like.evaluation.report.summary import _controls
from credit_like.evaluation.report.words import count, effect, number, percent, ratio, seconds, signed
from tests.evaluation.outline import Outline

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def sentence(**controls: tuple[float, float, tuple[float, float] | None]) -> str:
    """What the first screen says of controls given as AUROC, the model's lead and its interval."""
    names = ("auroc", "difference", "difference_interval")
    known = {name.replace("_", " "): dict(zip(names, x, strict=True)) for name, x in controls.items()}
    return unescape(re.sub("<[^>]*>", "", _controls(known)))


def test_every_control_has_to_be_beaten_with_certainty() -> None:
    weak, wide = (0.8, 0.15, (0.1, 0.2)), (0.7, 0.25, (-0.01, 0.5))
    assert sentence(timing_only=weak).startswith("The model beats every control. The best of the 1, timing alone,")
    both = sentence(timing_only=weak, model_without_edges=wide)
    assert both.startswith(
        "The model is not shown to beat every control. Not clearly beaten: the same model without edges, which reaches"
    )
    assert "+0.250 (95 % interval \u22120.010 to +0.500)" in both
    assert "too little traffic for an interval" in sentence(timing_only=(0.8, 0.15, None))
    assert sentence(model_with_rewired_edges=(0.99, -0.1, (-0.2, -0.05))).startswith("A control beats the model.")


def test_a_fusion_that_uses_an_expert_is_not_held_against_itself() -> None:
    names = ("auroc", "difference", "difference_interval")
    same, other = (
        dict(zip(names, (0.9, 0.0, (0.0, 0.0)), strict=True)),
        dict(zip(names, (0.8, 0.1, (0.05, 0.2)), strict=True)),
    )
    controls = {"GAT alone": same, "timing only": other}
    text = unescape(re.sub("<[^>]*>", "", _controls(controls, {"rule": "gat"})))
    assert text.startswith(
        "The model beats every control. Its policy was not shown to be better on validation, so this"
    )
    assert "fusion uses GAT alone. The best of the 1, timing alone," in text
    mixed = unescape(re.sub("<[^>]*>", "", _controls(controls, {"rule": "policy"})))
    assert mixed.startswith("The model is not shown to beat every control.")
    assert "by 0.000 (95 % interval 0.000 to 0.000)" in mixed


def test_scores_far_above_the_threshold_are_drawn_on_a_logarithmic_axis() -> None:
    """Distances from a centre reach millions; on a linear axis all else would be one pixel."""
    rng = np.random.default_rng(0)
    benign, attack = rng.gamma(2.0, 2.0, 500), 10 ** rng.uniform(2, 7, 500)
    axis, _ = score_axis(np.concatenate([benign, attack]), 25.0)
    assert axis.log
    at = axis.place(np.array([np.quantile(benign, 0.01), 25.0, 1e4, 1e6]), 0.0, 1.0)
    assert (np.diff(at) > 0.1).all()
    text = histogram(np.arange(1000) >= 500, np.concatenate([benign, attack]), 25.0)
    assert "The axis of scores is logarithmic." in text
    assert not score_axis(benign, 25.0)[0].log
    assert not score_axis(np.append(attack, np.full(5, -1.0)), 25.0)[0].log
    assert score_axis(rng.random(100), 0.5)[0] == Axis("score", 0.0, 1.0)


def test_what_a_split_repeats_of_training_is_one_table() -> None:
    splits = {"test": {"runs": 9, "in_train": 0.25, "by_capture": {"a/long/name.log": 0.5, "b.log": 0.0}}}
    shown = str(certificate({"run_overlap": {"run_length": 16, "chance": 0.125, "splits": splits}}))
    table = shown[shown.index("<table") : shown.index("</table>")]
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", table.replace("<wbr>", ""))
    assert [cell for row in ("by chance", "test") for cell in cells if cell == row] == ["by chance"] + ["test"] * 3
    assert {"all of them", "a/long/name.log", "b.log", "0.125", "0.25", "0.5"} <= set(cells)


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["counts", "files", "embargo"]), JSON, max_size=6))
def test_a_certificate_of_any_shape_can_be_shown(content: dict[str, Any]) -> None:
    outline = Outline(certificate(content))
    assert outline.problems == []
    assert len(outline.of("h2")) == 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (ratio(0.99996), "0.99996"),
        (ratio(0.9999999), ">\u202f0.99999"),
        (ratio(1.0), "1.000"),
        (ratio(None), "undefined"),
        (percent(0.0123), "1.2\u202f%"),
        (percent(0.0), "0\u202f%"),
        (percent(0.1234), "12.3\u202f%"),
        (percent(0.0204), "2.0\u202f%"),
        (percent(0.0996), "10\u202f%"),
        (ratio(-0.0123), "\u22120.012"),
        (signed(0.0), "0.000"),
        (signed(1.1e-16), "0.000"),
        (signed(-0.0123), "\u22120.012"),
        (signed(-0.00042), "\u22120.00042"),
        (signed(0.000001), "+1e\u221206"),
        (effect(-0.25), "\u22120.250"),
        (effect(332860.897), "+332,900"),
        (number(30240000.0), "30,240,000"),
        (number(0.5590123), "0.559"),
        (number(0.99964), "0.9996"),
        (number(0.99996), "0.99996"),
        (number(0.9999999, 6), ">\u202f0.99999"),
        (number(1.0), "1"),
        (number(-0.00001234), "\u22121.234e\u221205"),
        (count(12345), "12,345"),
        (count(0.1234), "0.12"),
        (count(12.34), "12.3"),
        (seconds(0.0031), "3.1\u202fms"),
        (seconds(0.31), "0.31\u202fs"),
        (seconds(59.6), "1\u202fmin"),
        (seconds(192), "3\u202fmin 12\u202fs"),
        (seconds(7300), "2\u202fh 2\u202fmin"),
    ],
)
def test_numbers_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected
