"""Charts as inline SVG: axes, ticks and series. Colours come from the page's style, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_like.evaluation.report.markup import Html, join, tag

Floats = NDArray[np.float64]

#: A chart's size in its own units, chosen so that its 12-unit text is about 12 px on a phone and 16 px on a desk.
WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 30, 40
#: Upper margin of a chart whose vertical axis has no label.
BARE_TOP = 12


@dataclass(frozen=True)
class Axis:
    """``low`` to ``high`` in data units, linear or logarithmic (both ends above 0); ``whole`` has ticks at integers."""

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def place(self, values: Floats, start: float, stop: float) -> Floats:
        """Positions between ``start`` and ``stop``; what lies outside the axis is put on its end."""
        low, high, values = self.low, self.high, np.asarray(values, np.float64)
        if self.log:
            low, high, values = math.log10(low), math.log10(high), np.log10(np.maximum(values, self.low))
        return start + np.clip((values - low) / (high - low), 0, 1) * (stop - start)

    def step(self, parts: int) -> float:
        """A round length (1, 2 or 5 times a power of ten) that the axis holds at most about ``parts`` times."""
        return _round_step((self.high - self.low) / parts)

    def ticks(self) -> list[tuple[float, str]]:
        """About five round values and how to write them."""
        if self.log:
            return _decades(self.low, self.high)
        step = max(1.0, self.step(5)) if self.whole else self.step(5)
        first = math.ceil(self.low / step - 1e-9)
        values = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        if max(abs(self.low), abs(self.high)) >= 1e5 or places > 4:  # does not fit left of the axis
            return [(value, f"{value:.3g}") for value in values]
        return [(value, f"{value:.{places}f}") for value in values]


@dataclass(frozen=True)
class Series:
    """One line, area or cloud of dots: ``style`` is a class of the page's style sheet (``model``, ``attack``, ...)."""

    name: str
    x: Floats
    y: Floats
    style: str
    steps: bool = False
    area: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A point (both coordinates) or a dashed line (one coordinate None) with a short text beside it."""

    text: str
    x: float | None
    y: float | None
    style: str = "threshold"


def chart(label: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[Mark] = ()) -> Html:
    """An SVG image with a legend below; ``label`` is what a screen reader says."""
    box = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP if y.label else BARE_TOP)
    parts = [_grid(x, y, box)]
    parts += [_series(x, y, one, box) for one in series]
    parts += [_mark(x, y, one, box) for one in marks]
    image = tag(
        "svg", *parts, class_="chart", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label, focusable="false"
    )
    if len(series) < 2:
        return image
    known = dict.fromkeys((one.style, one.name) for one in series)
    keys = [tag("li", tag("span", class_=f"key {style}"), name) for style, name in known]
    return join([image, tag("ul", *keys, class_="legend")])


def _grid(x: Axis, y: Axis, box: tuple[float, float, float, float]) -> Html:
    left, right, bottom, top = box
    parts = []
    for value, text in y.ticks():
        at = _short(y.place(np.array(value), bottom, top))
        parts.append(tag("path", d=f"M{left} {at}H{right}", class_="grid"))
        parts.append(tag("text", text, x=left - 6, y=at, class_="tick", text_anchor="end", dominant_baseline="middle"))
    for value, text in x.ticks():
        at = _short(x.place(np.array(value), left, right))
        parts.append(tag("path", d=f"M{at} {bottom}v4", class_="axis"))
        parts.append(tag("text", text, x=at, y=bottom + 17, class_="tick", text_anchor="middle"))
    parts.append(tag("path", d=f"M{left} {bottom}H{right}", class_="axis"))
    parts.append(tag("text", x.label, x=(left + right) / 2, y=bottom + 34, class_="label", text_anchor="middle"))
    if y.label:
        parts.append(tag("text", y.label, x=2, y=top - 16, class_="label"))
    return join(parts)


def _series(x: Axis, y: Axis, series: Series, box: tuple[float, float, float, float]) -> Html:
    left, right, bottom, top = box
    known = np.isfinite(series.x) & np.isfinite(series.y)
    across = np.round(x.place(series.x[known], left, right), 1)
    down = np.round(y.place(series.y[known], bottom, top), 1)
    if len(across) == 0:
        return Html("")
    if len(across) == 1 or series.dots:
        return join(
            tag("circle", cx=_short(a), cy=_short(d), r=3, class_=f"dot {series.style}")
            for a, d in zip(across, down, strict=True)
        )
    changed = np.ones(len(across), np.bool_)
    changed[1:-1] = (np.abs(np.diff(across)) + np.abs(np.diff(down)))[:-1] > 0
    across, down = across[changed], down[changed]
    points = [f"M{_short(across[0])} {_short(down[0])}"]
    for i in range(1, len(across)):
        at = f"H{_short(across[i])}V{_short(down[i])}" if series.steps else f"L{_short(across[i])} {_short(down[i])}"
        points.append(at)
    line = tag("path", d="".join(points), class_=f"line {series.style}")
    if not series.area:
        return line
    filled = f"{''.join(points)}V{_short(bottom)}H{_short(across[0])}Z"
    return join([tag("path", d=filled, class_=f"area {series.style}"), line])


def _mark(x: Axis, y: Axis, mark: Mark, box: tuple[float, float, float, float]) -> Html:
    left, right, bottom, top = box
    across = None if mark.x is None else float(x.place(np.array(mark.x), left, right))
    down = None if mark.y is None else float(y.place(np.array(mark.y), bottom, top))
    if across is not None and down is not None:
        shape = tag("circle", cx=_short(across), cy=_short(down), r=4.5, class_=f"point {mark.style}")
    elif across is not None:
        shape, down = tag("path", d=f"M{_short(across)} {bottom}V{top}", class_=f"mark {mark.style}"), top + 8
    else:
        down = bottom if down is None else down
        shape, across = tag("path", d=f"M{left} {_short(down)}H{right}", class_=f"mark {mark.style}"), right - 8
    beside = (across + 8, "start") if across < (left + right) / 2 else (across - 8, "end")
    below = down + 16 if down < (top + bottom) / 2 else down - 8
    return join(
        [shape, tag("text", mark.text, x=_short(beside[0]), y=_short(below), class_="note", text_anchor=beside[1])]
    )


def _round_step(rough: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten at or above ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if rough <= factor * power * (1 + 1e-9))


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    every = max(1, math.ceil(len(exponents) / 6))
    digits = "⁰¹²³⁴⁵⁶⁷⁸⁹"
    found = []
    for exponent in list(exponents)[::-1][::every]:
        power = "".join("⁻" if sign == "-" else digits[int(sign)] for sign in str(exponent))
        text = {0: "1", -1: "0.1", -2: "0.01", -3: "0.001", 1: "10", 2: "100", 3: "1000"}.get(exponent, f"10{power}")
        found.append((10.0**exponent, text))
    return found[::-1]


def _short(value: float | Floats) -> str:
    return f"{float(value):.1f}".removesuffix(".0")
