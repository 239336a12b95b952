"""Products in tiles: against NumPy around every edge of tiles and vectors, and the same however they are cut."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dynaprobe.core.random import generator
from dynaprobe.model.kernel.tiles import LANES, TILE_ROWS, TILE_VECTORS, add_product

ROWS = range(1, 2 * TILE_ROWS + 2)
# Up to more vectors than two tiles have, ending at every place of interest within the last one.
COLUMNS = [
    v * LANES + n for v in range(2 * TILE_VECTORS + 2) for n in (1, LANES // 2, LANES // 2 + 1, LANES - 1, LANES)
]
UNTOUCHED = np.float32(1e30)


@numba.njit
def _run(a, b, c, n_columns):
    n_rows, depth = a.shape
    width = b.shape[1]
    by_b, into = (b.ctypes.data, width, LANES), (c.ctypes.data, width, 0)
    add_product((a.ctypes.data, depth, 1), by_b, into, (n_rows, n_columns, depth))
    return a.size + b.size


def added(a, b, before):
    """``before + a @ b`` by tiles, and what stands behind the last vector of each row."""
    depth, n_columns = b.shape
    width = -(-n_columns // LANES) * LANES
    wide_b = np.zeros((depth, width + LANES), np.float32)
    wide_b[:, :n_columns] = b
    c = np.full((len(a), width + LANES), UNTOUCHED)
    c[:, :n_columns] = before
    _run(a, wide_b, c, n_columns)
    return c[:, :n_columns], c[:, width:]


def whole_numbers(rng, *shape):
    """Whose sums of products are exact in float32, in any order."""
    return rng.integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_products_are_those_of_numpy_and_nothing_behind_the_last_vector_changes(depth):
    rng = generator(depth, "test", "tiles")
    for n_rows in ROWS:
        for n_columns in COLUMNS:
            a, b, c = (whole_numbers(rng, *s) for s in ((n_rows, depth), (depth, n_columns), (n_rows, n_columns)))
            found, behind = added(a, b, c)
            assert_array_equal(found, c + a @ b, err_msg=f"{n_rows} rows, {n_columns} columns")
            assert_array_equal(behind, UNTOUCHED)


def test_a_sum_has_the_same_bits_however_the_product_is_cut():
    rng = generator(0, "test", "tiles")
    n_rows, n_columns, depth = max(ROWS), max(COLUMNS), 33
    a, b, c = (
        rng.normal(size=s).astype(np.float32) for s in ((n_rows, depth), (depth, n_columns), (n_rows, n_columns))
    )
    whole, _ = added(a, b, c)
    for columns in COLUMNS:
        part, _ = added(a, b[:, :columns], c[:, :columns])
        assert_array_equal(part, whole[:, :columns])
        # The same columns at the other end, where vectors begin elsewhere.
        part, _ = added(a, b[:, -columns:], c[:, -columns:])
        assert_array_equal(part, whole[:, -columns:])
    for rows in ROWS:
        part, _ = added(np.ascontiguousarray(a[-rows:]), b, c[-rows:])
        assert_array_equal(part, whole[-rows:])
