"""What the compiled searches do with rows of numbers, of either precision."""

from __future__ import annotations

from dynaprobe.model.kernel.decorators import inner, reordered, vectorised


@reordered
def dot(a, b):
    """a'b in float64."""
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@vectorised
def add_multiple(a, factor, b):
    """A <- a + factor b."""
    for j in range(a.size):
        a[j] += factor * b[j]


@vectorised
def scale(values, factor):
    """Multiply all by a factor."""
    for j in range(values.size):
        values[j] *= factor


@vectorised
def swap(a, b):
    """Exchange two rows."""
    for j in range(a.size):
        kept = a[j]
        a[j] = b[j]
        b[j] = kept


@inner
def length(values):
    """Euclidean."""
    total = 0.0
    for k in range(values.size):
        total += values[k] * values[k]
    return total**0.5


@inner
def distance(a, b):
    """Euclidean."""
    total = 0.0
    for k in range(a.size):
        total += (a[k] - b[k]) * (a[k] - b[k])
    return total**0.5
