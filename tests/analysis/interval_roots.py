"""All zeros of h -> tanh(h W) - h in a box, proven by interval arithmetic: a second route that misses none.

Source: Krawczyk's operator as in Moore, Kearfott & Cloud (2009), Introduction to Interval Analysis, chapter 8.
"""

import numpy as np

PAD = 1e-12  # outward rounding: generously above the round-off of sums of at most four products of order one
MAX_ROUNDS = 200


def _krawczyk(centre, radius, W):
    """``K(X) = c - Y G(c) + (I - Y G'(X)) (X - c)`` for boxes X = c +- r, as its centre and radius."""
    argument = np.einsum("bi,ij->bj", centre, W)
    spread = np.einsum("bi,ij->bj", radius, np.abs(W)) + PAD
    low, high = argument - spread, argument + spread
    nearest_zero = np.where(low > 0, low, np.where(high < 0, high, 0.0))
    steepest, flattest = 1 - np.tanh(nearest_zero) ** 2, 1 - np.tanh(np.maximum(-low, high)) ** 2
    # G'_ji = slope_j W_ij - delta_ij with every slope somewhere between its bounds
    middle = np.einsum("bj,ij->bji", (steepest + flattest) / 2, W) - np.eye(W.shape[0])
    reach = np.einsum("bj,ij->bji", (steepest - flattest) / 2, np.abs(W))
    Y = np.linalg.inv(middle)
    value = np.tanh(argument) - centre
    k_centre = centre - np.einsum("bij,bj->bi", Y, value)
    # I - Y G'(X) has midpoint 0 because Y inverts the midpoint of G'(X)
    k_radius = np.einsum("bij,bjk,bk->bi", np.abs(Y), reach, radius) + PAD * np.abs(Y).sum(axis=2)
    return k_centre, k_radius


def all_fixed_points(W, half_width=1.05):
    """Every fixed point of h <- tanh(h W), ``(point, unit)``; it lies in [-1, 1]^n, since tanh does.

    Boxes that the operator proves empty are dropped, boxes that it maps into themselves hold exactly one zero,
    the rest are cut in two. Returns only when no box is left undecided, so nothing is missed.
    """
    n = W.shape[0]
    # Off centre, so that symmetric zeros do not come to lie on a cut again and again.
    centre, radius = np.full((1, n), 0.013), np.full((1, n), half_width)
    found = []
    for _ in range(MAX_ROUNDS):
        if not len(centre):
            break
        k_centre, k_radius = _krawczyk(centre, radius, W)
        low = np.maximum(centre - radius, k_centre - k_radius)
        high = np.minimum(centre + radius, k_centre + k_radius)
        alive = (low <= high).all(axis=1)
        # A zero on a cut belongs to two boxes: test a slightly larger one, and count equal zeros once below.
        wide = 1.1 * radius
        w_centre, w_radius = _krawczyk(centre, wide, W)
        one = (np.abs(w_centre - centre) + w_radius < wide).all(axis=1)
        found.extend(w_centre[alive & one])
        rest = alive & ~one
        centre, radius = (low[rest] + high[rest]) / 2, (high[rest] - low[rest]) / 2
        widest = radius.argmax(axis=1)
        rows = np.arange(len(centre))
        half = radius.copy()
        half[rows, widest] *= 0.5
        shift = np.zeros_like(half)
        shift[rows, widest] = half[rows, widest]
        centre, radius = np.concatenate([centre - shift, centre + shift]), np.concatenate([half, half])
    else:
        raise AssertionError(f"{len(centre)} boxes are still undecided")
    zeros = [_polished(h, W) for h in found]
    distinct = []
    for h in zeros:
        if all(np.abs(h - other).max() > 1e-8 for other in distinct):
            distinct.append(h)
    return np.array(distinct)


def _polished(h, W):
    for _ in range(50):
        J = (1 - np.tanh(h @ W) ** 2)[:, None] * W.T - np.eye(len(h))
        h = h - np.linalg.solve(J, np.tanh(h @ W) - h)
    return h
