"""Many small systems of linear equations at once: one matrix after another, on all cores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from dynaprobe.core.devices import n_cores

TINY = 1e-300  # keeps a matrix of noughts from being singular


class Solver:
    """Solves systems by LAPACK in threads, each with whole matrices; a context, for it holds the threads.

    XLA hands a batch of matrices to LAPACK one after another on one core. LAPACK's own threads only get in each
    other's way at these sizes, so they are switched off inside the context. The numbers do not depend on the
    number of threads.
    """

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(threadpool_limits(1, user_api="blas"))
            self._n_threads = n_cores()
            self._pool = stack.enter_context(ThreadPoolExecutor(self._n_threads))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def newton(
        self, J: Float[np.ndarray, "row n n"], F: Float[np.ndarray, "row n"], *, singular: float
    ) -> tuple[Float[np.ndarray, "row n"], Bool[np.ndarray, " row"]]:
        """``-J^-1 F`` of every row, and whether J is regular: least pivot above `singular` times the largest."""
        steps, regular = np.full(F.shape, np.nan), np.zeros(len(F), dtype=bool)

        def one(row: int) -> None:
            # The transpose of a row-major matrix is what LAPACK reads without a copy; solving with it transposed
            # again is solving with J.
            factors, pivots, _ = lapack.dgetrf(J[row].T)
            sizes = np.abs(factors.diagonal())
            regular[row] = sizes.min() > singular * sizes.max()
            if regular[row]:
                steps[row] = -lapack.dgetrs(factors, pivots, F[row], trans=1)[0]

        self._for_all(one, len(F))
        return steps, regular

    def damped(
        self, A: Float[np.ndarray, "row n n"], b: Float[np.ndarray, "row n"], shift: Float[np.ndarray, " row"]
    ) -> Float[np.ndarray, "row n"]:
        """``(A + shift I)^-1 b`` of every row, A symmetric; not finite where that matrix is singular."""
        solutions = np.full(b.shape, np.nan)

        def one(row: int) -> None:
            matrix = A[row].copy()
            matrix.flat[:: len(matrix) + 1] += shift[row]
            _, _, solution, info = lapack.dgesv(matrix.T, b[row], overwrite_a=True)
            if info == 0:
                solutions[row] = solution

        self._for_all(one, len(b))
        return solutions

    def marquardt(
        self, J: Float[np.ndarray, "row n n"], F: Float[np.ndarray, "row n"], damping: Float[np.ndarray, " row"]
    ) -> Float[np.ndarray, "row n"]:
        """``-(J'J + m I)^-1 J'F`` of every row, m being `damping` times the mean diagonal element of J'J."""
        steps = np.full(F.shape, np.nan)

        def one(row: int) -> None:
            normal = J[row].T @ J[row]
            diagonal = normal.reshape(-1)[:: len(normal) + 1]
            diagonal += damping[row] * diagonal.mean() + TINY
            _, _, solution, info = lapack.dgesv(normal.T, F[row] @ J[row], overwrite_a=True)
            if info == 0:
                steps[row] = -solution

        self._for_all(one, len(F))
        return steps

    def _for_all(self, function: Callable[[int], None], n_rows: int) -> None:
        bounds = np.linspace(0, n_rows, self._n_threads + 1).astype(int)

        def part(k: int) -> None:
            with np.errstate(all="ignore"):
                for row in range(bounds[k], bounds[k + 1]):
                    function(row)

        list(self._pool.map(part, range(self._n_threads)))
