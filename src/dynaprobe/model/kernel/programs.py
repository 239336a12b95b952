"""Kernels that Python calls, compiled once and kept between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit

from dynaprobe.core.devices import cache_folder


@cache
def stamp_of_sources() -> str:
    """Changes with every source of the kernels; numba by itself looks at one file only."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def program(function: Callable[..., None], signature: Any = None) -> Callable[..., None]:
    """`function` compiled, or loaded from the cache of compiled programs; runs without Python's lock.

    Args:
        function: of a kernel.
        signature: numba's; None compiles at the first call, for the arguments of that call.
    """
    folder = cache_folder()
    config: Any = numba.config
    elsewhere, config.CACHE_DIR = config.CACHE_DIR, str(folder / f"kernels_{stamp_of_sources()}") if folder else ""
    try:
        options = {"nogil": True, "cache": folder is not None, "error_model": "numpy"}
        made: Callable[..., None] = (
            njit(signature, **options)(function) if signature else njit(**options)(function)
        )
    finally:
        config.CACHE_DIR = elsewhere
    return made
