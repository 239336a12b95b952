"""Kernels that Python calls, compiled once and kept between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import numba
from numba import njit, types
from numba.core.errors import NumbaError

from dynaprobe.core.devices import cache_folder

T = TypeVar("T")


@cache
def stamp_of_sources() -> str:
    """Changes with every source of the kernels; numba by itself looks at one file only."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


_ONE_AT_A_TIME = RLock()  # the folder is a setting of the whole process


def with_cache(compile_all: Callable[[bool], T]) -> T:
    """What ``compile_all(cache)`` gives, numba's files being looked for in the cache of compiled programs.

    Files that cannot be read, as a full disk may leave them, stay where they are, for others may use them; the
    code is compiled again into a second folder, and kept nowhere if that is broken too.

    Args:
        compile_all: hands `cache` on to numba: whether compiled code is kept.
    """
    config: Any = numba.config
    with _ONE_AT_A_TIME:
        for folder in _folders():
            elsewhere, config.CACHE_DIR = config.CACHE_DIR, str(folder)
            try:
                return compile_all(True)
            except NumbaError:  # in the kernel, not in the cache
                raise
            except Exception:  # a broken pickle may raise anything
                continue
            finally:
                config.CACHE_DIR = elsewhere
        return compile_all(False)


def _folders() -> list[Path]:
    parent, name = cache_folder(), f"kernels_{stamp_of_sources()}"
    return [] if parent is None else [parent / name, parent / f"{name}_again"]


class Program:
    """A kernel, compiled or loaded when it is first called; runs without Python's lock."""

    def __init__(self, function: Callable[..., None], argument_types: tuple[Any, ...] = ()) -> None:
        """Of `function`, which returns nothing.

        Args:
            function: the kernel.
            argument_types: numba's; without them the types of the first call.
        """
        self._function, self._types = function, argument_types
        self._compiled: Callable[..., None] | None = None

    def __call__(self, *args: Any) -> None:
        """Run it."""
        if self._compiled is None:
            with _ONE_AT_A_TIME:
                self._compiled = self._compiled or with_cache(lambda kept: self._made(kept, args))
        self._compiled(*args)

    def _made(self, kept: bool, args: tuple[Any, ...]) -> Callable[..., None]:
        signature = types.void(*(self._types or map(numba.typeof, args)))
        made: Callable[..., None] = njit(signature, nogil=True, cache=kept, error_model="numpy")(self._function)
        return made
