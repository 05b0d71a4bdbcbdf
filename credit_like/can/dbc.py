"""Names of ids and signals from a DBC file, through the package cantools."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_like.config import UserError

_EXTENDED_KEY = 1 << 32


def id_text(key: int) -> str:
    """A node key (extended flag in bit 32, then the id) as people write ids: ``0x1A0``, eight digits for 29 bits."""
    return f"0x{key & 0x1FFFFFFF:0{8 if key & _EXTENDED_KEY else 3}X}"


class DbcNames:
    """What a DBC file calls ids and signals; without a file nothing has a name.

    ``messages`` maps node keys to what ``cantools`` knows of a message.
    """

    def __init__(self, messages: Mapping[int, Any] | None = None) -> None:
        self._messages = dict(messages or {})

    @classmethod
    def read(cls, path: Path) -> DbcNames:
        """The names of a DBC file.

        Raises UserError when the extra ``dbc`` is not installed, or the file is missing or cannot be read.
        """
        if not Path(path).is_file():
            raise UserError(f"--dbc {path}: there is no such file")
        if importlib.util.find_spec("cantools") is None:
            raise UserError(
                f"--dbc {path}: DBC files need the package cantools; install the extra: pip install 'credit-like[dbc]'"
            )
        from cantools.database import Error, load_file

        try:
            database: Any = load_file(str(path), database_format="dbc", strict=False)
        except (Error, ValueError, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"--dbc {path}: this is no DBC file that can be read ({reason})") from error
        return cls({(_EXTENDED_KEY if m.is_extended_frame else 0) | m.frame_id: m for m in database.messages})

    def message(self, key: int) -> str:
        """The message's name, or the empty string."""
        return self._messages[key].name if key in self._messages else ""

    def signals(self, key: int, payload: bytes) -> dict[str, str]:
        """Signal -> value with its unit, as far as the payload reaches; nothing where the DBC file does not know it."""
        message = self._messages.get(key)
        if message is None:
            return {}
        from cantools.database import DecodeError

        try:
            decoded = message.decode(payload, allow_truncated=True)
        except (DecodeError, ValueError):  # a multiplexer value, or a length, that the file does not describe
            return {}
        units = {signal.name: signal.unit or "" for signal in message.signals}
        return {name: _shown(value, units.get(name, "")) for name, value in decoded.items()}


def _shown(value: Any, unit: str) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}".rstrip()
