"""Tables of what probes found: cells of the grid, and means by mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from dynaprobe.report.cells import cells_in_order
from dynaprobe.report.gather import learned
from dynaprobe.report.gather_probes import MECHANISM_NAMES, column, words
from dynaprobe.report.tables import NOTHING, Column, Value, number

CELL_COLUMNS: tuple[Column, ...] = (
    Column("cell", "Cell"),
    Column("visibility", "Target seen"),
    Column("delay_law", "Delays"),
    Column("n_networks", "Networks", "d", "trained"),
    Column("n_learned", "Learned", "d", "networks that learned the task"),
    Column("score", "Score", ".3f", "mean over all networks that ended with one, learned or not"),
    Column("mechanisms", "Mechanisms found"),
)


@dataclass(frozen=True)
class Measure:
    """A measure of probes in the table by mechanism.

    Attributes:
        title: with the unit.
        section: the claim it belongs to.
        form: how numbers are written.
    """

    title: str
    section: str
    form: str = ".2f"


MEASURES: dict[str, Measure] = {
    "single_unit": Measure("single-unit similarity (0 surrogates, 1 neurons)", "2"),
    "population": Measure("population similarity (0 surrogates, 1 neurons)", "2"),
    "mechanism_index": Measure("mechanism index (0 input, 1 state)", "2"),
    "suffices": Measure("movement that remains without target (fraction)", "2"),
    "decides": Measure("weight of the state in a swap (fraction)", "2"),
    "decides_shown": Measure("the same with the target in sight throughout (fraction)", "2"),
    "horizon_go_ms": Measure("linear model of the go cue holds for (ms)", "2", ".0f"),
    "clean_error": Measure("end-point error without noise (a.u.)", "3", ".3f"),
    "excess_error_preparatory": Measure("excess error, noise in preparation (a.u.)", "3", ".3f"),
    "excess_error_movement": Measure("excess error, noise in movement (a.u.)", "3", ".3f"),
    "excess_error_throughout": Measure("excess error, noise throughout (a.u.)", "3", ".3f"),
    "tolerated_sd_preparatory": Measure("tolerated noise in preparation (sd, a.u.)", "3"),
    "tolerated_sd_movement": Measure("tolerated noise in movement (sd, a.u.)", "3"),
    "tolerated_sd_throughout": Measure("tolerated noise throughout (sd, a.u.)", "3"),
    "switch_success_early": Measure("switches before the go cue followed (fraction of pairs)", "4"),
    "switch_success_early_trained": Measure(
        "of these, with at least the shortest trained delay left (fraction of pairs)", "4"
    ),
    "switch_success_early_short": Measure(
        "of these, closer to the go cue than any trained delay (fraction of pairs)", "4"
    ),
    "switch_success_late": Measure("switches from the go cue on followed (fraction of pairs)", "4"),
    "visited_early": Measure("early switches past B's preparatory state (fraction of pairs)", "4"),
    "reaction_early_ms": Measure("outputs go with an early switch after (ms)", "4", ".0f"),
    "direction_error_between_deg": Measure("direction error at new places (degrees)", "4", ".1f"),
    "direction_error_between_fraction": Measure("the same over the angle to the nearest trained (fraction)", "4"),
    "n_too_short_between": Measure(
        "movements to new places too short for a direction, left out of both (number per network)", "4", ".1f"
    ),
    "error_between": Measure("end-point error at new places (a.u.)", "4", ".3f"),
    "gain_near": Measure("amplitude gain at the smallest distance (fraction)", "4"),
    "gain_far": Measure("amplitude gain at the largest distance (fraction)", "4"),
    "pulse_half_life_ms": Measure("half-life of a pulse (ms)", "perturbation", ".0f"),
}


@dataclass(frozen=True)
class MechanismTable:
    """Means by mechanism, as a page shows them.

    Attributes:
        headings: mechanisms that occur.
        rows: what is measured, and a text per mechanism.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def mechanism_table(by_mechanism: xr.Dataset | None, section: str) -> MechanismTable | None:
    """Mean, interval and number of networks of the measures of a section; None where there are none."""
    if by_mechanism is None:
        return None
    known = [str(name) for name in by_mechanism["measure"].values]
    mine = {name: measure for name, measure in MEASURES.items() if measure.section == section and name in known}
    counts = by_mechanism["n"].sel(measure=list(mine))
    mechanisms = [
        str(name) for name in by_mechanism["mechanism"].values if mine and (counts.sel(mechanism=name) > 0).any()
    ]
    rows = tuple(
        (
            measure.title,
            tuple(
                _interval(by_mechanism.sel(measure=name, mechanism=mechanism), measure.form)
                for mechanism in mechanisms
            ),
        )
        for name, measure in mine.items()
        if (counts.sel(measure=name) > 0).any()
    )
    return MechanismTable(tuple(map(words, mechanisms)), rows) if rows and mechanisms else None


def _interval(row: xr.Dataset, form: str) -> str:
    n = int(row["n"])
    if n == 0:
        return NOTHING
    mean, low, high = (number(float(row[name]), form).text for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}], n {n}" if np.isfinite([row["low"], row["high"]]).all() else f"{mean}, n {n}"


def cell_rows(networks: xr.Dataset) -> list[tuple[Value, ...]]:
    """A row per cell of the grid, cells of one task together."""
    if "cell" not in networks.variables or "mechanism" not in networks.variables:
        return []
    members, ok, scores = networks["cell"].values.astype(str), learned(networks), column(networks, "score")
    rows = []
    for cell in cells_in_order(networks):
        here = members == cell
        known = scores[here][np.isfinite(scores[here])]
        found = networks["mechanism"].values.astype(str)[here]
        rows.append(
            (
                _words(cell),
                *(_words(_task(networks, name, here)) for name in ("visibility", "delay_law")),
                number(float(here.sum()), "d"),
                number(float((here & ok).sum()), "d"),
                number(float(known.mean()) if known.size else float("nan"), ".3f"),
                _words(_counts(found)),
            )
        )
    return rows


def _task(networks: xr.Dataset, name: str, here: np.ndarray) -> str:
    values = networks[name].values.astype(str)[here] if name in networks.variables else np.array([""])
    return words(str(values[0])) or NOTHING


def _words(text: str) -> Value:
    return Value(text, text, True)


def _counts(found: np.ndarray) -> str:
    counts: Mapping[str, int] = {name: int((found == name).sum()) for name in MECHANISM_NAMES}
    return ", ".join(f"{count} {words(name)}" for name, count in counts.items() if count) or NOTHING
