"""Scores of all pairs as one table, and as matrices of distances with their maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dynaprobe.analysis.embedding import Embedding, classical_scaling

# Columns of the table, in the order in which they are read.
COLUMNS = (
    *("first", "second", "score", "low", "high", "error", "over", "floor", "ceiling", "p_floor", "placed"),
    *("apart_p", "apart_p_alone", "apart_score", "apart_null", "apart_least_p", "apart_found"),
    *("n_floor_failed", "shared", "reason"),
)


# Before the name of a measure, in the file of a comparison.
PAIRS_PREFIX = "pairs_"
# What the test that parts two candidates adds to the rows of both.
APART = tuple(column for column in COLUMNS if column.startswith("apart_"))


def with_tests(data: xr.Dataset, tests: Mapping[tuple[str, str], xr.Dataset]) -> xr.Dataset:
    """The scores of one measure with what parts the candidates of every row.

    Args:
        data: a result of `dynaprobe.study.pairwise.score_measure`.
        tests: results of `dynaprobe.study.parting.part_pair` by the names of the pair, in order.

    Returns:
        The rows with the columns `APART`, n_groupings, and ``untested``, the reason where there is no test.
    """
    names = (*APART, "n_groupings")
    found: dict[str, list[float]] = {name: [] for name in names}
    untested = []
    for first, second in zip(data["first"].values, data["second"].values, strict=True):
        is_back = first > second
        test = tests[(str(second), str(first)) if is_back else (str(first), str(second))]
        of_row = (test["measure"].values == data.attrs["measure"]) & (test["is_back"].values == is_back)
        at = int(np.flatnonzero(of_row)[0])
        for name in names:
            found[name].append(float(test[name].values[at]))
        untested.append(str(test.attrs["untested"]))
    return data.assign(
        {name: ("row", np.array(values)) for name, values in {**found, "untested": untested}.items()}
    )


def pair_table(scores: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """One row for every measure and pair."""
    parts = []
    for name, data in scores.items():
        columns = {column: data[column].values for column in COLUMNS}
        about = {"measure": name, "kind": data.attrs["kind"], "n_units": data.attrs["n_units"]}
        parts.append(pd.DataFrame({**about, **columns}))
    table = pd.concat(parts, ignore_index=True)
    order = ["measure", "kind", *COLUMNS[:2], "n_units", *COLUMNS[2:]]
    return table[order]


def distance_matrix(data: xr.Dataset) -> tuple[xr.DataArray, str, tuple[str, ...]]:
    """Scores of one measure as a matrix of distances.

    A distance is taken as it is and a similarity s becomes ``1 - s``, 0 for populations that are alike in all that
    is measured; the two directions of a measure that is not symmetric are averaged. The diagonal is 0: a
    population is no distance from itself, although other trials of it are.

    Args:
        data: a result of `dynaprobe.study.pairwise.score_measure`.

    Returns:
        The matrix, dims ``(item, other)``, in order of name; how scores became distances, in words; candidates
        left out because a score of theirs is missing, or they hold another one whole.
    """
    names = [str(name) for name in data["candidate"].values]
    place = {name: k for k, name in enumerate(names)}
    total, count = np.zeros((2, len(names), len(names)))
    # What is left of a recording without a part of it is not where the recording stands.
    scores = np.where(data["is_rest"].values > 0, np.nan, data["score"].values)
    for first, second, score in zip(data["first"].values, data["second"].values, scores, strict=True):
        i, j = place[str(first)], place[str(second)]
        for at in ((i, j), (j, i)):
            total[at] += score
            count[at] += 1
    values = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    is_similarity = data.attrs["kind"] == "similarity"
    # Round-off may leave a similarity a hair above 1.
    values = np.clip(1 - values, 0, None) if is_similarity else values
    np.fill_diagonal(values, 0.0)
    kept = list(range(len(names)))
    while kept and not np.isfinite(values[np.ix_(kept, kept)]).all():
        missing = (~np.isfinite(values[np.ix_(kept, kept)])).sum(axis=1)
        kept.remove(kept[int(missing.argmax())])
    words = "1 - similarity" if is_similarity else "as measured"
    if not data.attrs["is_symmetric"]:
        words += ", mean of both directions"
    labels = [names[k] for k in kept]
    matrix = xr.DataArray(
        values[np.ix_(kept, kept)], dims=("item", "other"), coords={"item": labels, "other": labels}
    )
    return matrix, words, tuple(name for name in names if name not in labels)


def embed(data: xr.Dataset) -> Embedding | None:
    """The map of one measure; None where fewer than two candidates have all their scores."""
    matrix, words, left_out = distance_matrix(data)
    if matrix.sizes["item"] < 2:
        return None
    found = classical_scaling(matrix)
    failures = {f"{name} left out: a score is missing, or others are parts of it": 1 for name in left_out}
    settings = {**found.settings, "distance": words, "measure": data.attrs["measure"]}
    return Embedding(found.data, settings, {**found.failures, **failures})
