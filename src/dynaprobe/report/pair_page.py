"""The part of a report that a comparison of many candidates adds: what is said, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dynaprobe.report.figures.pairs import kinds_of, map_figure, matrix_figure, pair_scores_figure
from dynaprobe.report.gather_pairs import PairContents
from dynaprobe.report.tables import Column, Value, number

# What makes a figure: file name, heading, caption, and the drawing of it.
FigureParts = tuple[str, str, str, Callable[[], Figure]]
# A map of two points is a line whose length is their distance: the matrix says as much.
LEAST_ON_A_MAP = 3

# p-values up to this are counted where there are several.
SMALL_P = 0.05

PAIR_COLUMNS: tuple[Column, ...] = (
    Column("first", "First"),
    Column("second", "Second"),
    Column("score", "Score", ".3f", "mean over halvings of the trials, half against half"),
    Column("low", "From", ".3f", "lower end of the interval"),
    Column("high", "To", ".3f", "upper end of the interval"),
    Column(
        "over",
        "Over",
        "",
        "what the interval is over: units and, if there are any, trials; or networks (seeds)",
    ),
    Column("floor", "Floor", ".3f", "mean of surrogates of either side against the other"),
    Column("ceiling", "Ceiling", ".3f", "the same units in other trials, mean of both sides"),
    Column("placed", "Placed", ".2f", "0 at the floor, 1 at the ceiling"),
    Column("p_floor", "p", ".3f", "chance of a surrogate so alike; the larger of the two sides'"),
    Column(
        "apart_p",
        "p apart",
        ".3f",
        "chance of random groups of the same units, or of the same networks, that are so little alike; corrected "
        "over measures, not over pairs",
    ),
    Column("shared", "Shared", "d", "units that both hold, left out of the larger one where enough are left"),
    Column("reason", "Remark"),
)
# Columns that are left out of a table in which they say nothing.
DROPPED = ("shared", "reason")
ALONE_COLUMNS: tuple[Column, ...] = (
    Column("alignment_index", "Alignment", ".2f", "of preparatory and movement subspaces, 1 for equal ones"),
    Column("alignment_chance", "Chance", ".2f", "mean alignment of random subspaces"),
    Column(
        "alignment_p",
        "p",
        ".3f",
        "chance of so low an alignment; of several networks, how many of those tested have p of at most "
        f"{SMALL_P:g}",
    ),
    Column("jpca_r2_skew", "R² rot.", ".2f", "jPCA: share of the changes explained by a pure rotation"),
    Column("jpca_p", "p rot.", ".3f", "chance of surrogates (TNC) that rotate as much; counted as p is"),
    Column("jpca_r2_m", "R² lin.", ".2f", "jPCA: share explained by any linear map"),
    Column("jpca_ratio", "Ratio", ".2f", "of the two"),
    Column("jpca_hz", "Hz", ".2f", "frequency of the fastest plane"),
    Column("n_pcs_90", "PCs", ".1f", "principal components for 90 % of the variance"),
    Column("participation_ratio", "PR", ".1f", "participation ratio"),
    Column("condition_independent_fraction", "Shared", ".2f", "share of the variance that all conditions share"),
)


def pair_context(pairs: PairContents) -> dict[str, Any]:
    """What the template shows of a comparison."""
    n = len(pairs.candidates)
    lead = f"{n} candidates, compared in pairs by {len(pairs.scores)} measures"
    lead += f", with {pairs.reference} as the reference." if pairs.reference else ", without a reference."
    return {
        "lead": lead,
        "candidates": list(pairs.candidates.values()),
        "account": pairs.account,
        "findings": pairs.sentences,
        "columns": PAIR_COLUMNS,
        "tables": [_table(pairs, name) for name in pairs.scores],
        "alone_columns": ALONE_COLUMNS,
        "alone": _alone(pairs),
    }


def _table(pairs: PairContents, name: str) -> dict[str, Any]:
    data = pairs.scores[name]
    more = "more" if data.attrs["kind"] == "similarity" else "less"
    level = float(data.attrs.get("level", 0.95))
    rows = []
    columns = [column for column in PAIR_COLUMNS if column.name not in DROPPED or _says_something(data, column)]
    for k in range(data.sizes["row"]):
        rows.append([_value(data[column.name].values[k], column) for column in columns])
    direction = "" if data.attrs["is_symmetric"] else " The score reads from the first to the second."
    return {
        "name": name,
        "title": name.replace("_", " "),
        "lead": (
            f"{data.attrs['title'][0].upper()}{data.attrs['title'][1:]}: a {data.attrs['kind']}, {more} is more "
            f"alike; {int(data.attrs['n_units'])} units on either side; {level:.0%} intervals.{direction}"
        ),
        "columns": columns,
        "rows": rows,
    }


def _says_something(data: xr.Dataset, column: Column) -> bool:
    """Whether any row of a column is more than nothing."""
    return bool(any(data[column.name].values.tolist()))


def _value(found: Any, column: Column) -> Value:
    if not column.form:
        return Value(str(found), str(found), True)
    return number(float(found), column.form)


def _alone(pairs: PairContents) -> list[list[Value]]:
    """One row for every candidate: the mean over its networks, which their number says."""
    if pairs.alone is None or not pairs.alone.sizes.get("sample", 0):
        return []
    of = pairs.alone["candidate"].values.astype(str)
    rows = []
    for candidate in dict.fromkeys(of.tolist()):
        members = np.flatnonzero(of == candidate)
        name = candidate if members.size == 1 else f"{candidate} (mean of {members.size})"
        numbers = [
            _of_members(pairs.alone[column.name].values[members], column)
            if column.name in pairs.alone
            else Value("", "", True)
            for column in ALONE_COLUMNS
        ]
        rows.append([Value(name, name, True), *numbers])
    return rows


def _of_members(values: np.ndarray, column: Column) -> Value:
    """One number, or of several networks the mean; p-values have no mean, so small ones are counted."""
    known = values[np.isfinite(values)]
    if values.size == 1 or not known.size:
        return number(float(values[0]), column.form)
    if not column.name.endswith("_p"):
        return number(float(known.mean()), column.form)
    n_small = int((known <= SMALL_P).sum())
    return Value(f"{n_small} of {known.size}", str(n_small / known.size), False)


def pair_figures(pairs: PairContents) -> Iterator[FigureParts]:
    """The figures of a comparison, in reading order."""
    scores = {name: data for name, data in pairs.scores.items() if np.isfinite(data["score"].values).any()}
    if scores:
        yield (
            "pairs",
            "Every pair by every measure",
            _scores_caption(pairs),
            lambda: pair_scores_figure(scores, pairs.reference),
        )
    if pairs.maps:
        yield "distances", "Distances of all pairs", _MATRIX_CAPTION, lambda: matrix_figure(pairs.maps)
    maps = {name: one for name, one in pairs.maps.items() if one.data.sizes["item"] >= LEAST_ON_A_MAP}
    if maps:
        kinds = kinds_of(pairs.candidates)
        yield "map", "Candidates on a map", _MAP_CAPTION, lambda: map_figure(maps, kinds)


def _scores_caption(pairs: PairContents) -> str:
    data = next(iter(pairs.scores.values()))
    level = float(data.attrs.get("level", 0.95))
    colours = " Orange: pairs with the reference; blue: all others." if pairs.reference else ""
    return (
        f"Scores of every pair with {level:.0%} intervals, one by one: over units and trials (parts "
        "of the units and halves of the trials of either side) where both sides are one population, and over "
        "networks where a candidate has several. Grey tick: mean of tensor-maximum-entropy surrogates of either "
        "side against the other, which share its means and covariances over times, units and conditions. Black "
        f"tick: what the same units reach in other trials, mean of both sides.{colours} "
        f"{int(data.attrs['n_units'])} units of every population, half of the trials against the other half where "
        "there are trials. "
        "Conditions are fixed: no interval is over them. A star marks pairs of which one holds units of "
        "the other, which are left out of it."
    )


_MATRIX_CAPTION = (
    "Distances between candidates, averaged over both directions of measures that have two; a similarity s is "
    "shown as 1 - s. Candidates stand in the order of average-linkage clustering by the measure itself, turned so "
    "that neighbours are as near as can be. No noise is removed: another sample of one population is not at 0."
)
_MAP_CAPTION = (
    "Classical scaling of the matrices of the figure before: the plane that keeps most of the squared distances. "
    "Stress is Kruskal's stress 1 of the distances on the plane (0 where they are those of the matrix), held the "
    "share of the eigenvalues that the plane keeps. Axes are in order of what they hold, each turned so that the "
    "candidate farthest out is on the positive side; directions have no other meaning."
)
