"""Compiled functions over rows that come in any number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CHUNK = 64  # rows computed together: 64 Jacobians of 100 x 100 in float64 stay within a processor's cache
SMALL_CHUNK = 8


def in_chunks(function: Callable[..., tuple[Any, ...]], first: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    """``function(first, *arrays)`` along the leading axis of the arrays, in chunks of one of two sizes.

    JAX compiles a function anew for every shape; here it meets two. The last chunk is filled up with copies of its
    first row, whose results are thrown away.

    Args:
        function: maps rows to rows, each row by itself.
        first: handed on as it is.
        *arrays: at least one row each, all the same number.
    """
    n_rows = len(arrays[0])
    pieces = []
    for begin, size in _chunks(n_rows):
        rows = np.arange(begin, begin + size)
        rows[rows >= n_rows] = begin
        out = function(first, *(array[rows] for array in arrays))
        pieces.append([np.asarray(part)[: n_rows - begin] for part in out])
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


def _chunks(n_rows: int) -> list[tuple[int, int]]:
    """Where each chunk begins, and its size: large ones, and small ones for what fills less than half of one."""
    n_large = (n_rows + CHUNK // 2) // CHUNK
    large = [(CHUNK * k, CHUNK) for k in range(n_large)]
    return large + [(begin, SMALL_CHUNK) for begin in range(CHUNK * n_large, n_rows, SMALL_CHUNK)]
