"""How alike are two populations? One table of measures, each a way to put a number on it.

A measure compares condition-averaged rates with matched conditions and times (see `dynaprobe.analysis.matched`)
and any units. `dynaprobe.analysis.bounds` puts every one of them between its floor and its ceiling. To add a
measure, write its file and a row here: contract tests run over the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from dynaprobe.analysis.cca import compare_cca, prepare_cca
from dynaprobe.analysis.cka import compare_cka, prepare_cka
from dynaprobe.analysis.dynamical_similarity import compare_dynamics, prepare_dynamics
from dynaprobe.analysis.linear_regression import compare_back, compare_forth, prepare_regression
from dynaprobe.analysis.matrix import check_matched, one_thread
from dynaprobe.analysis.principal_angles import compare_axes, prepare_condition_axes, prepare_time_axes
from dynaprobe.analysis.rsa import compare_rsa, prepare_rsa
from dynaprobe.analysis.shape_distance import (
    compare_angular,
    compare_angular_held_out,
    compare_procrustes,
    prepare_shape,
)
from dynaprobe.core.errors import SettingsError


@dataclass(frozen=True)
class Measure:
    """One way to compare two populations.

    Attributes:
        name: how it is asked for.
        title: words for a table, with the range.
        kind: "similarity" grows with likeness, "distance" falls with it.
        is_symmetric: whether swapping the sides leaves the score as it is; where not, it reads from a to b.
        prepare: what can be computed of one side alone, from rates ``(condition, time, unit)``.
        compare: the score of two prepared sides; NaN where it is not defined.
        least, most: ends of the range of scores; infinite where there is none.
    """

    name: str
    title: str
    kind: Literal["similarity", "distance"]
    is_symmetric: bool
    prepare: Callable[[xr.DataArray], Any]
    compare: Callable[[Any, Any], float]
    least: float = -math.inf
    most: float = math.inf

    @one_thread
    def score(self, a: xr.DataArray, b: xr.DataArray) -> float:
        """The score of two populations with matched conditions and times.

        Args:
            a, b: rates with dims ``(condition, time, unit)``; units need not match.

        Raises:
            RatesError: when conditions or times do not match, or are too few.
        """
        check_matched(a, b, names=("a", "b"))
        return self.compare(self.prepare(a), self.prepare(b))

    @property
    def sign(self) -> int:
        """1 where more is more alike, -1 where less is."""
        return 1 if self.kind == "similarity" else -1


MEASURES: tuple[Measure, ...] = (
    Measure(
        "cca",
        "canonical correlation, held-out conditions (-1 to 1)",
        "similarity",
        True,
        prepare_cca,
        compare_cca,
        -1.0,
        1.0,
    ),
    Measure(
        "procrustes_distance",
        "Procrustes distance of shapes of size 1 (0 to 1.41)",
        "distance",
        True,
        prepare_shape,
        compare_procrustes,
        0.0,
        math.sqrt(2),
    ),
    Measure(
        "angular_distance",
        "angle between shapes (0 to 1.57 rad)",
        "distance",
        True,
        prepare_shape,
        compare_angular,
        0.0,
        math.pi / 2,
    ),
    Measure(
        "angular_distance_held_out",
        "angle between shapes, held-out conditions (0 to 3.14 rad)",
        "distance",
        True,
        prepare_shape,
        compare_angular_held_out,
        0.0,
        math.pi,
    ),
    Measure(
        "regression_forth",
        "R2 of b predicted from a, held-out conditions (to 1)",
        "similarity",
        False,
        prepare_regression,
        compare_forth,
        -math.inf,
        1.0,
    ),
    Measure(
        "regression_back",
        "R2 of a predicted from b, held-out conditions (to 1)",
        "similarity",
        False,
        prepare_regression,
        compare_back,
        -math.inf,
        1.0,
    ),
    Measure(
        "cka",
        "linear kernel alignment, unbiased (about 0 to 1)",
        "similarity",
        True,
        prepare_cka,
        compare_cka,
        -1.0,
        1.0,
    ),
    Measure(
        "rsa",
        "correlation of distances between conditions (-1 to 1)",
        "similarity",
        True,
        prepare_rsa,
        compare_rsa,
        -1.0,
        1.0,
    ),
    Measure(
        "dsa_distance",
        "angle between linear dynamics, DSA (0 to 3.14 rad)",
        "distance",
        True,
        prepare_dynamics,
        compare_dynamics,
        0.0,
        math.pi,
    ),
)


# Likeness along one axis of the data. Surrogates that keep the covariance along it keep the likeness with it, so
# these stand apart: `bounded` takes them with keep="NC" and keep="TN".
MODE_MEASURES: tuple[Measure, ...] = (
    Measure(
        "time_overlap",
        "overlap of leading time courses (0 to 1)",
        "similarity",
        True,
        prepare_time_axes,
        compare_axes,
        0.0,
        1.0,
    ),
    Measure(
        "condition_overlap",
        "overlap of leading profiles over conditions (0 to 1)",
        "similarity",
        True,
        prepare_condition_axes,
        compare_axes,
        0.0,
        1.0,
    ),
)


def measure_named(name: str) -> Measure:
    """The measure with this name.

    Raises:
        SettingsError: when there is none.
    """
    for measure in (*MEASURES, *MODE_MEASURES):
        if measure.name == name:
            return measure
    names = ", ".join(measure.name for measure in (*MEASURES, *MODE_MEASURES))
    raise SettingsError("measure", rule=f"be one of {names}", received=name, remedy="Choose one of these")
