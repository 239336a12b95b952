"""How the parts of a kernel are compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import njit

# Called by compiled code only: what would let Python call them costs most of the time to compile.
inner: Any = partial(njit, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# Loops that become vector instructions. A division by zero gives infinity, as a test for it would keep them from
# it; no reordering, as sums of unequal size rely on their order.
vectorised: Any = partial(inner, error_model="numpy", fastmath={"contract", "nsz"})

# Sums that may run in any order.
reordered: Any = partial(inner, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
