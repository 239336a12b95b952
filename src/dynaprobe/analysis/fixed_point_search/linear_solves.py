"""Many small systems of linear equations at once: one matrix after another, chunks of them on all cores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import blas, lapack
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from dynaprobe.analysis.batches import in_chunks
from dynaprobe.core.devices import n_cores
from dynaprobe.model.kernel.step_rules import LEAST_PIVOT, TINY

Kernel = Callable[..., None]
# Of J'J in single precision: least over largest pivot, and the damping that stands above its round-off.
LEAST_PIVOT_SQUARED, LEAST_DAMPING = 1e-5, 1e-5


class Solver:
    """Solves systems by LAPACK, and hands chunks of work to threads; a context, for it holds the threads.

    XLA hands a batch of matrices to LAPACK one after another on one core. LAPACK's own threads only get in each
    other's way at these sizes, so they are switched off inside the context. The numbers do not depend on the
    number of threads, because the chunks do not.
    """

    def __init__(self, kernels: tuple[Kernel, Kernel] | None = None) -> None:
        """A solver that may take single precision.

        Args:
            kernels: for `rough_newton` and `rough_marquardt`, as in `dynaprobe.model.kernel.elimination`; None
                solves in float64 by LAPACK, which is their reference.
        """
        self._kernels = kernels

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

    def in_chunks(
        self, function: Callable[..., tuple[Any, ...]], first: Any, *arrays: np.ndarray
    ) -> list[np.ndarray]:
        """As `dynaprobe.analysis.batches.in_chunks`, chunks divided among the threads, in 64-bit floats."""

        def in_thread(*args: Any) -> tuple[Any, ...]:
            with jax.enable_x64(True), np.errstate(all="ignore"):  # both hold for one thread only
                return function(*args)

        return in_chunks(in_thread, first, *arrays, run_all=self._pool.map)

    def for_pieces(self, work: Callable[[slice], None], n_rows: int, piece: int) -> None:
        """``work(rows)`` for `piece` rows at a time, divided among the threads; each row by itself."""
        pieces = [slice(begin, begin + piece) for begin in range(0, n_rows, piece)]
        run_all = map if len(pieces) == 1 else self._pool.map
        for _ in run_all(work, pieces):
            pass

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

        _for_all(one, len(F))
        return steps, regular

    def rough_newton(
        self, J: Float[np.ndarray, "row n n"], F: Float[np.ndarray, "row n"], *, singular: float
    ) -> tuple[Float[np.ndarray, "row n"], Bool[np.ndarray, " row"]]:
        """As `newton`, but in single precision wherever the pivots allow it."""
        if self._kernels is None:
            return self.newton(J, F, singular=singular)
        steps, pivots = np.full(F.shape, np.nan), np.zeros(len(F))
        self._kernels[0](np.ascontiguousarray(J), np.ascontiguousarray(F), steps, pivots)
        regular = pivots >= LEAST_PIVOT
        rows = np.flatnonzero(~regular)
        if rows.size:
            steps[rows], regular[rows] = self.newton(J[rows], F[rows], singular=singular)
        return steps, regular

    def rough_marquardt(
        self, J: Float[np.ndarray, "row n n"], F: Float[np.ndarray, "row n"], damping: Float[np.ndarray, " row"]
    ) -> Float[np.ndarray, "row n"]:
        """As `marquardt`, but in single precision wherever damping and pivots allow it."""
        if self._kernels is None:
            return self.marquardt(J, F, damping)
        steps, pivots = np.full(F.shape, np.nan), np.zeros(len(F))
        self._kernels[1](np.ascontiguousarray(J), np.ascontiguousarray(F), damping, steps, pivots)
        rows = np.flatnonzero(~((pivots >= LEAST_PIVOT_SQUARED) & (damping >= LEAST_DAMPING)))
        if rows.size:
            steps[rows] = self.marquardt(J[rows], F[rows], damping[rows])
        return steps

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

        _for_all(one, len(b))
        return solutions

    def descent(
        self, H: Float[np.ndarray, "row n n"], g: Float[np.ndarray, "row n"], shift: Float[np.ndarray, " row"]
    ) -> Float[np.ndarray, "row n"]:
        """``-(H + shift I)^-1 g`` of every row where that matrix is positive definite, else not finite."""
        steps = np.full(g.shape, np.nan)

        def one(row: int) -> None:
            matrix = H[row].copy()
            matrix.flat[:: len(matrix) + 1] += shift[row]
            _, solution, info = lapack.dposv(matrix.T, g[row], overwrite_a=True)
            if info == 0:
                steps[row] = -solution

        _for_all(one, len(g))
        return steps

    def marquardt(
        self, J: Float[np.ndarray, "row n n"], F: Float[np.ndarray, "row n"], damping: Float[np.ndarray, " row"]
    ) -> Float[np.ndarray, "row n"]:
        """``-(J'J + m I)^-1 J'F`` of every row, m being `damping` times the mean diagonal element of J'J."""
        steps = np.full(F.shape, np.nan)

        def one(row: int) -> None:
            # One triangle of J'J; the transpose of a row-major J is what BLAS reads without a copy.
            normal = blas.dsyrk(1.0, J[row].T)
            diagonal = normal.T.reshape(-1)[:: len(normal) + 1]
            diagonal += damping[row] * diagonal.mean() + TINY
            gradient = F[row] @ J[row]
            _, solution, info = lapack.dposv(normal, gradient)
            if info != 0:  # positive definite but for round-off
                _, _, solution, info = lapack.dgesv(np.triu(normal) + np.triu(normal, 1).T, gradient)
            if info == 0:
                steps[row] = -solution

        _for_all(one, len(F))
        return steps


def _for_all(function: Callable[[int], None], n_rows: int) -> None:
    with np.errstate(all="ignore"):
        for row in range(n_rows):
            function(row)
