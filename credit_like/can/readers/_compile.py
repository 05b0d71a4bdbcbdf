"""How parsers are compiled: numba without the GIL, cached, and without counting references to arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """``function`` compiled by numba on first use; it works on arrays that it is given and must not allocate any.

    numba raises and drops the reference count of every array that a function takes, with an atomic operation each: of
    340 ns for a candump line that was 250. Its option to leave that out has an underscore, so a numba that does not
    know it is used without.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, njit(**options, _nrt=False)(function))  # type: ignore[call-overload]
    except KeyError:
        return cast(Function, njit(**options)(function))
