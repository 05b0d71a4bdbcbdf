"""How inner loops are compiled: by numba, on first use, kept on disk where that can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import config, njit
from numba.core import codegen

Function = TypeVar("Function", bound=Callable[..., Any])


def _use_whole_vectors() -> None:
    """Let numba use all 512 bits of an AVX-512 register, where the processor is not of those that slow down for it.

    LLVM takes 256 for every Intel processor; only those older than the instructions asked for here lower their clock
    noticeably. It made a GATv2 layer's loop over the edges 1.2 times as fast. Nothing changes where ``NUMBA_CPU_NAME``
    or ``NUMBA_CPU_FEATURES`` is set, nor once numba has compiled something for another library.
    """
    settings: Any = config
    features = codegen.get_host_cpu_features()
    if settings.CPU_NAME is None and settings.CPU_FEATURES is None and "+avx512vbmi2" in features:
        settings.CPU_FEATURES = f"{features},-prefer-256-bit"


_use_whole_vectors()


def compiled(function: Function, **options: Any) -> Function:
    """``function`` compiled, without the interpreter's lock while it runs, so that threads run side by side.

    ``options`` are those of ``numba.njit``. The machine code is kept beside the source file, in the user's cache
    folder, or in ``NUMBA_CACHE_DIR``. Where none of these can be written (a read-only installation and no home) it is
    compiled again in every process, which takes seconds, instead of failing.
    """
    options = {"nogil": True} | options
    try:
        return cast(Function, njit(cache=True, **options)(function))
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        return cast(Function, njit(**options)(function))


def compiled_arithmetic(function: Function) -> Function:
    """``compiled_division`` for loops over numbers: sums may be reordered, so that they vectorise; NaN and infinity
    keep their meaning."""
    return compiled(function, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


def compiled_division(function: Function) -> Function:
    """``compiled`` where a division by zero is infinite or NaN and no error, as numbers in tensors have it. Without the
    test for zero, divisions vectorise: that made the scaling of features nearly three times as fast."""
    return compiled(function, error_model="numpy")


def compiled_parser(function: Function) -> Function:
    """``compiled`` for functions that allocate no array: without counting references to those that they are given.

    numba raises and drops the reference count of every array that a function takes, with an atomic operation each: of
    340 ns for a candump line that was 250. Its option to leave that out has an underscore, so a numba that does not
    know it is used without.
    """
    try:
        return compiled(function, error_model="numpy", _nrt=False)
    except KeyError:
        return compiled(function, error_model="numpy")
