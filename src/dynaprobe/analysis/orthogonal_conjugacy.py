"""The orthogonal change of coordinates under which two square matrices agree best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm

from dynaprobe.core.random import generator

# Pairs of random starts beside those from eigenvectors. Random matrices up to size 15 that are conjugate are found
# to be so in every trial; for unrelated ones of that size the maximum is found to about 1 %.
N_RANDOM_PAIRS = 6
# Symmetric matrices whose eigenvectors turn along with the coordinates.
FORMS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda M: M + M.T,
    lambda M: M.T @ M,
    lambda M: M @ M.T,
    lambda M: M @ M + (M @ M).T,
    lambda M: M.T @ M - M @ M.T,
)
# After so many steps from every start only the best few go on.
N_SCOUTING, N_KEPT = 20, 4
# Newton's method ends the walk where its Hessian, of n (n - 1) / 2 angles, is small; beyond, gradient steps do.
MOST_FOR_NEWTON, N_NEWTON, N_STEPS = 20, 50, 2000
# A walk has arrived when this many steps add less than this fraction of the product of the norms.
N_STALLED, ARRIVED = 20, 1e-12


def best_conjugation(
    A: Float[np.ndarray, "n n"], B: Float[np.ndarray, "n n"], *, seed: int = 0
) -> tuple[Float[np.ndarray, "n n"], float]:
    """The orthogonal Q that maximises ``f(Q) = tr(A' Q B Q')``, and the maximum.

    It minimises ``|A - Q B Q'|``, reflections allowed. The trace parts contribute ``tr(A) tr(B) / n`` whatever Q
    is and are taken off, which leaves a well scaled problem for slow dynamics, whose matrices are near the
    identity. f has many local maxima and, unless both matrices are symmetric or both skew, no closed form; so it
    is climbed along its gradient on the group, ``W = G Q' - Q G'`` with ``G = A Q B' + A' Q B``, by Cayley steps
    ``Q <- (I - t W / 2)^-1 (I + t W / 2) Q`` of Barzilai and Borwein's length, and then by Newton's steps, from
    several starts: the identity, the eigenvectors of symmetric forms such as ``A + A'`` and ``A'A`` matched with
    those of B, and random rotations and reflections. An exact conjugacy of matrices in general position is among
    the starts. Swapping A and B transposes Q and changes nothing else.

    Args:
        A, B: square matrices of one size.
        seed: names the stream of the random starts.

    Source: Wen & Yin 2013, Math. Program. 142:397 for the steps; Ostrow et al. 2023, NeurIPS 36 for the problem.
    """
    n = A.shape[0]
    flat = [M - np.trace(M) / n * np.eye(n) for M in (A, B)]
    norms = [float(np.linalg.norm(M)) for M in flat]
    trace = float(np.trace(A) * np.trace(B)) / n
    # A multiple of the identity agrees equally with every rotation of anything.
    if min(norms) <= 1e-14 * max(float(np.linalg.norm(A)), float(np.linalg.norm(B))) or n == 1:
        return np.eye(n), trace + float((flat[0] * flat[1]).sum())
    first, second = flat[0] / norms[0], flat[1] / norms[1]
    Q, value = _climb(first, second, _starts(first, second, seed=seed), n_steps=N_SCOUTING)
    best = np.argsort(-value, kind="stable")[:N_KEPT]
    if n <= MOST_FOR_NEWTON:
        ends = [_newton(first, second, start) for start in Q[best]]
        Q, value = np.stack([end[0] for end in ends]), np.array([end[1] for end in ends])
    else:
        Q, value = _climb(first, second, Q[best], n_steps=N_STEPS)
    top = int(np.argmax(value))
    # Q and -Q are one conjugation.
    best_Q = Q[top] * (-1.0 if Q[top].sum() < 0 else 1.0)
    return best_Q, trace + float(value[top]) * norms[0] * norms[1]


def _starts(A: np.ndarray, B: np.ndarray, *, seed: int) -> Float[np.ndarray, "start n n"]:
    n = A.shape[0]
    starts = [np.eye(n), *(_eigenframes(A, B, form) for form in FORMS)]
    normal = generator(seed, "orthogonal_conjugacy", n).standard_normal((N_RANDOM_PAIRS, n, n))
    for rotation in np.linalg.qr(normal)[0]:
        starts += [rotation, rotation.T]
    # Steps are rotations, so that starts of both determinants are needed.
    flip = np.diag([-1.0, *np.ones(n - 1)])
    return np.stack([*starts, *(start @ flip for start in starts)])


def _eigenframes(A: np.ndarray, B: np.ndarray, form: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Q that takes the eigenvectors of a symmetric form of B to those of A in their order.

    Under an exact conjugacy they agree up to their signs d. With A~, B~ the matrices in their frames,
    ``f = d' (A~ * B~) d``, elementwise: d starts from the leading eigenvector and single signs are flipped while f
    grows.
    """
    first, second = (np.linalg.eigh(form(M))[1] for M in (A, B))
    product = (first.T @ A @ first) * (second.T @ B @ second)
    product = product + product.T
    np.fill_diagonal(product, 0.0)
    signs = np.where(np.linalg.eigh(product)[1][:, -1] < 0, -1.0, 1.0)
    for _ in range(4 * A.shape[0]):
        pull = signs * (product @ signs)
        weakest = int(np.argmin(pull))
        if pull[weakest] >= 0:
            break
        signs[weakest] *= -1
    return np.asarray(first * signs @ second.T)


def _climb(
    A: np.ndarray, B: np.ndarray, Q: Float[np.ndarray, "start n n"], *, n_steps: int
) -> tuple[Float[np.ndarray, "start n n"], Float[np.ndarray, " start"]]:
    """Walk uphill from every start at once."""
    eye = np.eye(A.shape[0])
    value, W = _slope(A, B, Q)
    length = np.full(Q.shape[0], 0.5)
    before = value
    for step in range(n_steps):
        if step % N_STALLED == N_STALLED - 1:
            if (value - before < ARRIVED).all():
                break
            before = value
        size = _inner(W, W)
        half = 0.5 * length[:, None, None] * W
        tried = np.linalg.solve(eye - half, (eye + half) @ Q)
        new_value, new_W = _slope(A, B, tried)
        # Where walks have arrived, values differ by round-off only.
        better = new_value >= value - 1e-15
        change = new_W - W
        curvature = np.abs(_inner(change, W))
        proposed = np.divide(length * size, curvature, out=np.full_like(length, 2.0), where=curvature > 0)
        length = np.where(better, np.clip(proposed, 1e-3, 20.0), length / 4)
        keep = better[:, None, None]
        Q, W, value = np.where(keep, tried, Q), np.where(keep, new_W, W), np.where(better, new_value, value)
    return Q, value


def _newton(A: np.ndarray, B: np.ndarray, Q: Float[np.ndarray, "n n"]) -> tuple[Float[np.ndarray, "n n"], float]:
    """The maximum next to one start.

    With ``T = Q B Q'`` and E_k the elementary skew matrices, ``f(exp(sum w_k E_k) Q)`` has the gradient
    ``<A, [E_k, T]>`` and the Hessian ``-(<[E_k, A], [E_l, T]> + <[E_l, A], [E_k, T]>) / 2`` in w.
    """
    n = A.shape[0]
    rows, columns = np.triu_indices(n, 1)
    basis = np.zeros((rows.size, n, n))
    basis[np.arange(rows.size), rows, columns] = 1.0
    basis[np.arange(rows.size), columns, rows] = -1.0
    D = (basis @ A - A @ basis).reshape(rows.size, -1)
    value = float((A * (Q @ B @ Q.T)).sum())
    for _ in range(N_NEWTON):
        T = Q @ B @ Q.T
        C = (basis @ T - T @ basis).reshape(rows.size, -1)
        gradient, half = C @ A.ravel(), D @ C.T
        # f is not concave everywhere: each axis of the Hessian is climbed with its size, whatever its sign.
        curvature, axes = np.linalg.eigh((half + half.T) / 2)
        size = np.maximum(np.abs(curvature), 1e-8 * np.abs(curvature).max())
        step = axes @ (axes.T @ gradient / size)
        # A step of more than a radian or so leaves the quadratic behind.
        step *= min(1.0, 1.0 / max(float(np.linalg.norm(step)), 1e-300))
        for _ in range(20):
            tried = expm(np.tensordot(step, basis, axes=1)) @ Q
            new = float((A * (tried @ B @ tried.T)).sum())
            if new > value:
                break
            step /= 4
        gain = new - value
        if gain <= 0:
            break
        Q, value = tried, new
        if gain < ARRIVED:
            break
    return Q, value


def _slope(A: np.ndarray, B: np.ndarray, Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f and its gradient on the group, for every start."""
    QB = Q @ B
    turned = QB @ Q.swapaxes(-1, -2)
    value: np.ndarray = (A * turned).sum(axis=(-2, -1))
    # G Q' = A Q B' Q' + A' Q B Q'
    outer = A @ turned.swapaxes(-1, -2) + A.T @ turned
    return value, outer - outer.swapaxes(-1, -2)


def _inner(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    product: np.ndarray = (X * Y).sum(axis=(-2, -1))
    return product
