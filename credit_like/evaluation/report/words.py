"""Numbers and names as people read them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

THIN = "\u202f"  # narrow no-break space, before a unit
MINUS = "\u2212"
#: Where more false alarms than promised were measured on so few windows that there is no interval.
TOO_LITTLE = "there is too little test traffic to say whether by chance"


def ratio(value: float | None) -> str:
    """A figure between -1 and 1 with three decimals; one that only rounds to 1 is not shown as 1."""
    if value is None:
        return "undefined"
    if 0.9995 <= value < 1:
        return f"{value:.5f}" if value < 0.999995 else ">" + THIN + "0.99999"
    return f"{value:.3f}".replace("-", MINUS)


def decimals(values: Iterable[float | None]) -> int:
    """With how many decimals ratios that are compared are written, and their differences: three, or five where three
    would show two of them as one, or one as 1."""
    known = sorted({value for value in values if value is not None})
    near = any(0 < b - a < 0.0005 and b - a >= 0.000005 for a, b in itertools.pairwise(known))
    return 5 if near or any(0.9995 <= value < 1 for value in known) else 3


def alike(values: Iterable[float | None]) -> Callable[[float], str]:
    """How to write each of the ratios ``values``, so that all have the same decimals."""
    if decimals(values) == 3:
        return ratio
    return lambda value: ratio(value) if 0.9995 <= value < 1 else f"{value:.5f}".replace("-", MINUS)


def percent(value: float) -> str:
    """A share as percent, two significant digits below 10 %."""
    shown = value * 100
    if shown == 0 or shown >= 9.95:
        return f"{shown:.1f}".removesuffix(".0") + THIN + "%"
    return f"{shown:#.2g}" + THIN + "%"


def signed(value: float) -> str:
    """A difference with its sign: three decimals, more where they would all be 0; rounding alone has no sign."""
    if abs(value) < 1e-12:
        return "0.000"
    form = "+.3f" if abs(value) >= 0.0005 else "+.5f" if abs(value) >= 0.000005 else "+.0e"
    return f"{value:{form}}".replace("-", MINUS)


def effect(value: float) -> str:
    """A difference of scores, which have any size: with its sign, four significant digits from 10 on."""
    if abs(value) < 10:
        return signed(value)
    return ("+" if value > 0 else MINUS) + number(abs(value))


def count(value: float) -> str:
    """A number with three significant digits at least, its thousands parted by commas as everywhere."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 1 else f"{value:.3g}"


def number(value: float, digits: int = 4) -> str:
    """A score, a threshold or a learning rate: so many significant digits, with the thousands parted where it is large;
    one that only rounds to 1 is not shown as 1."""
    if value < 1 and f"{value:.{digits}g}" == "1":
        return ratio(value)
    if 1e4 <= abs(value) < 1e12:
        return count(float(f"{value:.{digits}g}"))
    return f"{value:.{digits}g}".replace("-", MINUS)


def seconds(value: float) -> str:
    """A stretch of time in the unit that suits it."""
    if value < 0.0995:
        return f"{value * 1000:.2g}{THIN}ms" if value < 0.00995 else f"{value * 1000:.0f}{THIN}ms"
    if value < 9.95:
        return f"{value:.2g}{THIN}s"
    if value < 59.5:
        return f"{value:.0f}{THIN}s"
    minutes = round(value / 60)
    if value < 3570:
        whole, rest = divmod(round(value), 60)
        return f"{whole}{THIN}min" + (f" {rest}{THIN}s" if rest and whole < 10 else "")
    return f"{minutes // 60}{THIN}h" + (f" {minutes % 60}{THIN}min" if minutes % 60 else "")


def raised(settings: Mapping[str, Any]) -> str:
    """What a window above the threshold did: it alarmed, or not yet, where an alarm takes several such windows."""
    return "alarmed" if settings["alarm"]["n"] == 1 else "were above the threshold"


def family(name: str) -> str:
    """An attack family's name without underscores."""
    return name.replace("_", " ") or "not named"


def set_name(name: str) -> str:
    """``test/known_vehicle_unknown_attack`` without its prefix and underscores; ``test`` as it is."""
    return name.removeprefix("test/").replace("_", " ")


def listing(names: Sequence[str], limit: int = 6) -> str:
    """``a, b and c``; beyond ``limit`` names the rest is counted."""
    shown = list(names[:limit])
    if len(names) > limit:
        shown.append(f"{len(names) - limit} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def plural(value: int, one: str, many: str = "") -> str:
    """``1 window``, ``2 windows``."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"
