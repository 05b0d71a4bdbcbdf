"""The whole document around the sections of a report, with its style and script inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from credit_like.evaluation.report.markup import Html, safe, tag


def page(title: str, body: Sequence[Html], anchors: Mapping[str, str]) -> str:
    """An HTML document; ``anchors`` are ids of sections and their names in the menu, for those that ``body`` holds."""
    here = files(__package__)
    style, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    content = "\n".join(body)
    links = [
        tag("li", tag("a", name, href=f"#{anchor}")) for anchor, name in anchors.items() if f'id="{anchor}"' in content
    ]
    menu = tag("nav", tag("ul", *links), aria_label="Sections")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{safe(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#summary">Skip to the summary</a>\n{menu}\n<main>\n{content}\n</main>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )
