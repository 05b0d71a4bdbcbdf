"""HTML in small pieces. Text is escaped by every function here; only ``Html`` values pass as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from credit_like.evaluation.report.words import count


class Html(str):
    """A string that is markup already; anything else is escaped on its way into the page."""

    __slots__ = ()


def safe(content: object) -> Html:
    """``content`` as markup: ``Html`` as it is, everything else escaped, quotes too."""
    return content if isinstance(content, Html) else Html(escape(str(content), quote=True))


def join(parts: Iterable[object]) -> Html:
    """The parts one after another."""
    return Html("".join(safe(part) for part in parts))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element. ``class_`` is ``class``, other underscores become dashes; None leaves an attribute out, True gives it
    without a value."""
    given = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        given.append(f" {label}" if value is True else f' {label}="{safe(value)}"')
    return Html(f"<{name}{''.join(given)}>{join(content)}</{name}>")


def breakable(name: str) -> Html:
    """A long name of a file or a test set, which may break after its slashes, dots and underscores."""
    return Html(re.sub(r"(?<=[/_.])(?=.)", "<wbr>", safe(name)))


def pointer(*path: object) -> str:
    """Where a figure stands in ``metrics.json``, as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


class Cell:
    """A table cell: what is shown, what it sorts by, and which figure of ``metrics.json`` it is.

    ``value`` is the full-precision number (None where there is none), ``figure`` its ``pointer``; both go into the page
    as ``data-value`` and ``data-figure``, so that every number can be traced and recomputed.
    """

    def __init__(self, shown: object, value: float | None = None, figure: str = "", note: str = "") -> None:
        self.shown, self.value, self.figure, self.note = shown, value, figure, note

    def html(self, name: str = "td", **attributes: object) -> Html:
        return tag(
            name,
            self.shown,
            data_value=None if self.value is None else repr(self.value),
            data_figure=self.figure or None,
            title=self.note or None,
            **attributes,
        )


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, sortable: bool = True, label: str = ""
) -> Html:
    """A table in a container of its own that scrolls sideways; the first cell of a row is its heading.

    Columns whose first row holds a ``Cell`` with a figure or a value are numbers, aligned to the right.
    """
    listed = [list(row) for row in rows]
    numeric = [bool(listed) and isinstance(cell, Cell) for cell in (listed[0] if listed else columns)]
    head = tag(
        "tr",
        *(
            tag("th", name, scope="col", class_="number" if n else None)
            for name, n in zip(columns, numeric, strict=True)
        ),
    )
    body = []
    for row in listed:
        cells = []
        for position, cell in enumerate(row):
            kind = "number" if numeric[position] else None
            name, scope = ("th", "row") if position == 0 else ("td", None)
            shown = cell if isinstance(cell, Cell) else Cell(cell)
            cells.append(shown.html(name, scope=scope, class_=kind))
        body.append(tag("tr", *cells))
    content = tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *body),
        class_="sortable" if sortable and len(listed) > 1 else None,
    )
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=label or caption)


def definitions(entries: Mapping[str, object]) -> Html:
    """Names and values side by side; a mapping in a value becomes a list of its own."""
    parts = []
    for name, value in entries.items():
        shown = definitions(value) if isinstance(value, Mapping) else _plain(value)
        parts.append(tag("div", tag("dt", name), tag("dd", shown)))
    return tag("dl", *parts)


def details(summary: object, *content: object, class_: str | None = None) -> Html:
    """Content that is folded away until asked for."""
    return tag("details", tag("summary", summary), *content, class_=class_)


def figure(heading: str, image: Html, caption: object, data: Html) -> Html:
    """A chart with its heading, what it says in words, and its data as a table folded away."""
    return tag(
        "figure",
        tag("h3", heading),
        image,
        tag("figcaption", caption),
        details("Data of this chart", data, class_="data"),
    )


def section(name: str, heading: str, *content: object) -> Html:
    """A section of the page that the navigation can point at."""
    return tag(
        "section", tag("h2", heading, id=f"{name}-heading"), *content, id=name, aria_labelledby=f"{name}-heading"
    )


def _plain(value: object) -> object:
    if isinstance(value, Html):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(str(_plain(item)) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e5 else count(value)
    if isinstance(value, int):
        return count(value)
    return "not known" if value is None or value == "" else value
