"""Compiles the few inner loops that decide how long a list of 17 million rows takes: a byte, a label, a pair at a time.

numba instead of an extension in C: no compiler at installation, the same wheel on every platform and on Databricks,
and loops that read as the Python they are. Compiling takes seconds, once for a machine: the result is kept beside the
source or, where that is a zip or read-only, in the user's cache folder. It is made anew when the loop's own file
changes; after a change in a loop of another file that is compiled into it, remove `__pycache__` (the tests do).
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")

_COUNTED: dict[str, Any] = {"nogil": True}
_UNCOUNTED: dict[str, Any] = {"nogil": True, "_nrt": False}  # numba uses _nrt itself for what must not touch Python


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`function` over numpy arrays and scalars as machine code; arrays are not checked for their bounds."""
    return _compile(function, _COUNTED)


def uncounted(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """As `compiled`, for what is called for every byte, word or tag of a list and gets the whole list as an array.

    numba counts the references to an array in every function that is not inlined, or has more than one way out, with
    two locked instructions: half of the time to parse a list. These functions neither make arrays nor keep them, so
    nothing is there to be counted; numba refuses to compile one that makes an array.
    """
    return _compile(function, _UNCOUNTED)


def _compile(function: Callable[_P, _R], options: dict[str, Any]) -> Callable[_P, _R]:
    try:
        return cast("Callable[_P, _R]", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither place can be written (an executor without a home): each process compiles anew
        return cast("Callable[_P, _R]", numba.njit(**options)(function))
