"""What the files beside the logs say of their licence; nothing is guessed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

_FILE = re.compile(r"^(licen[sc]e|copying)(\.\w+)?$", re.IGNORECASE)
_README = re.compile(r"^readme(\.\w+)?$", re.IGNORECASE)
_LINE = re.compile(r"^[\s#*>|-]*licen[sc]e\**\s*[:=]\**\s*(?P<text>\S.*)$", re.IGNORECASE)
_TOPIC = re.compile(r"^[\s*#>-]*\w[\w ]*\**:\s")
_MOST = 1 << 20  # bytes; nobody writes a longer README


@dataclass(frozen=True)
class Licence:
    """A licence as it is stated: the words, and the file that they stand in."""

    text: str
    source: str


def stated_licences(path: Path) -> list[Licence]:
    """The licences stated in README, JSON metadata and licence files in ``path`` (or beside it, where it is a file).

    Of a README what follows "Licence:" up to the end of the paragraph or the next "Word:", of JSON the entry "license"
    at the top, of a licence file its title. Folders below ``path`` are not searched.
    """
    folder = path if path.is_dir() else path.parent
    found = []
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.stat().st_size > _MOST:
            continue
        text = ""
        if _README.match(file.name):
            text = _of_readme(_text(file).splitlines())
        elif _FILE.match(file.name):
            text = next((line.strip(" #") for line in _text(file).splitlines() if line.strip(" #")), "")
        elif file.suffix == ".json":
            text = _of_json(_text(file))
        if text:
            found.append(Licence(text.strip(), file.name))
    return found


def _of_readme(lines: list[str]) -> str:
    for number, match in enumerate(map(_LINE.match, lines)):
        if match:
            rest = takewhile(lambda line: line.strip() and not _TOPIC.match(line), lines[number + 1 :])
            return " ".join([match["text"], *rest])
    return ""


def _of_json(text: str) -> str:
    try:
        data = json.loads(text)
    except ValueError:  # not ours to judge: the reader of the logs has said what it thinks of it
        return ""
    entries = {str(key).lower(): value for key, value in data.items()} if isinstance(data, dict) else {}
    return next((str(entries[key]) for key in ("license", "licence") if isinstance(entries.get(key), str)), "")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
