"""What the tests of a comparison say, in plain sentences with the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.study.estimate import NETWORKS, UNITS, UNITS_AND_TRIALS
from dynaprobe.study.nearness import DIRECTIONS

# Below this, two digits after the point leave nothing to compare.
SMALL = 0.095


@dataclass(frozen=True)
class Said:
    """One finding.

    Attributes:
        text: the sentence.
        details: one line for each measure behind it.
    """

    text: str
    details: tuple[str, ...]


def nearness_sentences(near: xr.Dataset) -> list[Said]:
    """Which of two candidates is nearer to the reference, by how many measures, and where no test parts them."""
    rows = _rows(near)
    reference = near.attrs["reference"]
    said = []
    for first, second in dict.fromkeys((str(row["first"]), str(row["second"])) for row in rows):
        of_pair = [row for row in rows if (row["first"], row["second"]) == (first, second)]
        n = len(of_pair)
        for nearer, other, sign in ((first, second, 1), (second, first, -1)):
            parted = [row for row in of_pair if row["is_parted"] and sign * row["difference"] > 0]
            if parted:
                text = f"{nearer} is nearer to {reference} than {other} by {_count(len(parted), n)}."
                said.append(Said(text, tuple(_parted(row, sign) for row in parted)))
        open_ = [row for row in of_pair if not row["is_parted"]]
        if open_:
            text = (
                f"Which of {first} and {second} is nearer to {reference} cannot be said by "
                f"{_count(len(open_), n)}: the test does not separate them."
            )
            said.append(Said(text, tuple(_not_parted(row, near.attrs["power"]) for row in open_)))
    return said


def _count(n_of: int, n_all: int) -> str:
    """``2 of 5 measures``."""
    return f"{n_of} of {n_all} measures" if n_all > 1 else "the one measure"


def _parted(row: Mapping[str, Any], sign: int) -> str:
    near, far = (score_word(row[name]) for name in ("first_score", "second_score")[::sign])
    return f"{measure_word(row)}: {near} against {far}, p = {p_word(row['p_corrected'])}"


def _not_parted(row: Mapping[str, Any], power: float) -> str:
    """One measure: the difference and its interval, what would be found, and what it would take."""
    head = f"{measure_word(row)}: difference {score_word(row['difference'], '+')}"
    if not np.isfinite(row["p"]):
        return f"{head}, with no error to test it by (a single network)"
    ends = ", ".join(score_word(row[end], "+") for end in ("low", "high"))
    head += f" [{ends}], p = {p_word(row['p_corrected'])}"
    head += f"; a true difference of {score_word(row['found'])} would be found in {power:.0%} of simulated repeats"
    what = row["over"] if row["over"] in (NETWORKS, UNITS) else UNITS_AND_TRIALS
    if not np.isfinite(row["times"]):
        return f"{head}; one as small as seen would take more {what} than an honest number can be given for"
    least = f", and at least {_times(row['least_times'])}" if row["least_times"] > 1 else ""
    return f"{head}; one as seen would take about {_times(row['times'])} as many {what}{least}"


def _times(times: float) -> str:
    return f"{times:.0f} times" if times >= 10 else f"{times:.1f} times"


def measure_word(row: Mapping[str, Any]) -> str:
    """The measure in words, with the direction where there are two."""
    name = str(row["measure"]).replace("_", " ")
    direction = str(row.get("direction", DIRECTIONS[0]))
    return name if direction == DIRECTIONS[0] else f"{name} {direction}"


def score_word(value: float, sign: str = "") -> str:
    """A score with two digits after the point, or two digits that count where it is small."""
    text = f"{value:{sign}.2f}" if abs(value) >= SMALL or value == 0 else f"{value:{sign}.2g}"
    return text if "e" not in text else f"{value:{sign}.1e}"


def p_word(p: float) -> str:
    """A p-value; what is below a thousandth is said to be."""
    return "below .001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 0.9995 else "1"


def apart_sentences(scores: Mapping[str, xr.Dataset], *, level: float) -> list[Said]:
    """Which candidates can be told apart at all, and what the test of it could have found.

    Args:
        scores: by measure, with tests (`dynaprobe.study.pair_tables.with_tests`).
        level: confidence.
    """
    rows = [
        {**row, "measure": name, "is_symmetric": bool(data.attrs["is_symmetric"])}
        for name, data in scores.items()
        for row in _rows(data)
    ]
    names = sorted({str(row[side]) for row in rows for side in ("first", "second")})
    # Without the round-off of 1 - level, so that p of exactly alpha is found.
    alpha = round(1 - level, 12)
    said, untested, n_tested = [], [], 0
    for first, second in combinations(names, 2):
        of_pair = [row for row in rows if {row["first"], row["second"]} == {first, second}]
        tested = [row for row in of_pair if np.isfinite(row["apart_p"])]
        n_tested += bool(tested)
        if tested:
            said += _apart(first, second, tested, alpha=alpha)
        elif of_pair:
            untested.append(f"{first} and {second}: {of_pair[0]['untested'] or 'no score'}")
    if n_tested > 1:
        said.append(Said(_over_pairs(n_tested, alpha), ()))
    if untested:
        said.append(Said("Whether these can be told apart was not tested.", tuple(untested)))
    return said


def _over_pairs(n_tested: int, alpha: float) -> str:
    """What is corrected and what is not."""
    return (
        f"Whether two can be told apart is corrected over measures and not over pairs: of {n_tested} pairs of "
        f"equals {n_tested * alpha:.2g} would be told apart, on average."
    )


def _apart(first: str, second: str, tested: Sequence[Mapping[str, Any]], *, alpha: float) -> list[Said]:
    """The findings on one pair."""
    if min(row["apart_least_p"] for row in tested) > alpha:
        return [Said(_no_room(first, second, tested[0], alpha), ())]
    said = []
    parted = [row for row in tested if row["apart_p"] <= alpha]
    if parted:
        text = f"{first} and {second} can be told apart by {_count(len(parted), len(tested))}."
        said.append(Said(text, tuple(_apart_word(row) for row in parted)))
    open_ = [row for row in tested if row["apart_p"] > alpha]
    if open_:
        text = (
            f"{first} and {second} cannot be told apart by {_count(len(open_), len(tested))}: "
            "the test does not separate them."
        )
        said.append(Said(text, tuple(f"{_apart_word(row)}{_could_find(row)}" for row in open_)))
    return said


def _no_room(first: str, second: str, row: Mapping[str, Any], alpha: float) -> str:
    """A test whose smallest p is above its level, and what would bring it below."""
    least = p_word(row["apart_least_p"])
    if row["over"] == NETWORKS:
        enough = next(n for n in range(2, 100) if 2 / comb(2 * n, n) <= alpha)
        return (
            f"{first} and {second} cannot be told apart with so few networks: there are "
            f"{int(row['n_groupings'])} groupings of them, so p cannot fall below {least}. "
            f"{enough} on either side would do."
        )
    # Round-off must not ask for one more.
    enough = ceil(1 / alpha - 1e-6) - 1
    return (
        f"{first} and {second} cannot be told apart with so few random groups of their units: of "
        f"{int(row['n_groupings']) - 1} p cannot fall below {least}. Set pairs.n_regroupings to {enough} or more."
    )


def _apart_word(row: Mapping[str, Any]) -> str:
    name = str(row["measure"]).replace("_", " ")
    if not row["is_symmetric"]:
        name += f" from {row['first']} to {row['second']}"
    if np.isfinite(row["apart_null"]):
        said = (
            f"{score_word(row['apart_score'])} against {score_word(row['apart_null'])} in random groups of units"
        )
    else:
        said = score_word(row["score"])
    alone = f" ({p_word(row['apart_p_alone'])} alone)" if row["apart_p_alone"] < row["apart_p"] else ""
    return f"{name}: {said}, p = {p_word(row['apart_p'])}{alone}"


def _could_find(row: Mapping[str, Any]) -> str:
    """What a permutation test over units has the power to find, by simulation."""
    found = row["apart_found"]
    if np.isnan(found):
        return ""
    if np.isinf(found):
        return "; simulated, not even surrogates in place of all units of one side would be found"
    share = "all" if found >= 1 else f"{found:.0%} of the"
    return f"; simulated, surrogates in place of {share} units of one side would be found"


def _rows(data: xr.Dataset) -> list[dict[str, Any]]:
    along = [name for name in data.data_vars if data[name].dims == ("row",)]
    return [{str(name): data[name].values[k].item() for name in along} for k in range(data.sizes.get("row", 0))]
