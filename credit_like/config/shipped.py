"""The configurations that come with the project, found by bare name: ``gat`` is ``conf/gat.yml``."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_configs() -> dict[str, Path]:
    """Name -> file, in alphabetical order.

    The wheel carries the files inside the package; in a checkout (an editable install too) they are ``conf/``
    beside it, where a reader looks for them.
    """
    inside, beside = _PACKAGE / "conf", _PACKAGE.parent / "conf"
    folder = inside if inside.is_dir() else beside
    return {path.stem: path for path in sorted(folder.glob("*.yml"))}
