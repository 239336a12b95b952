"""Compiled functions over rows that come in any number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

CHUNK = 64  # rows computed together: 64 Jacobians of 100 x 100 in float64 stay within a processor's cache
SMALL_CHUNK = 8
MANY = 1024  # rows computed together where no row needs a matrix of its own


def in_chunks(
    function: Callable[..., tuple[Any, ...]],
    first: Any,
    *arrays: np.ndarray,
    chunk: int = CHUNK,
    run_all: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map,
) -> list[np.ndarray]:
    """``function(first, *arrays)`` along the leading axis of the arrays, in chunks of one of two sizes.

    JAX compiles a function anew for every shape; here it meets two. The last chunk is filled up with copies of its
    first row, whose results are thrown away.

    Args:
        function: maps rows to rows, each row by itself.
        first: handed on as it is.
        *arrays: at least one row each, all the same number.
        chunk: rows of a large chunk.
        run_all: as `map`; the one of a pool of threads computes several chunks at a time, to the same numbers.
    """
    n_rows = len(arrays[0])

    def piece(bounds: tuple[int, int]) -> list[np.ndarray]:
        begin, size = bounds
        rows = np.arange(begin, begin + size)
        rows[rows >= n_rows] = begin
        out = function(first, *(array[rows] for array in arrays))
        return [np.asarray(part)[: n_rows - begin] for part in out]

    pieces = list(run_all(piece, _chunks(n_rows, chunk)))
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


def _chunks(n_rows: int, chunk: int) -> list[tuple[int, int]]:
    """Where each chunk begins, and its size: large ones, and small ones for what fills less than half of one."""
    small = SMALL_CHUNK if chunk == CHUNK else CHUNK
    n_large = (n_rows + chunk // 2) // chunk
    large = [(chunk * k, chunk) for k in range(n_large)]
    return large + [(begin, small) for begin in range(chunk * n_large, n_rows, small)]
