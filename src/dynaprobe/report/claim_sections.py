"""The results section: claim by claim what is said, decided, measured and drawn, and what does not agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.report.gather import RunContents, learned
from dynaprobe.report.gather_probes import column, words
from dynaprobe.report.probe_figures import PERTURBATION
from dynaprobe.report.tables_probes import MechanismTable, mechanism_table
from dynaprobe.study.records import Verdict

TITLES = {
    "1": "Single units and population",
    "2": "Mechanisms",
    "3": "Noise at the inputs",
    "4": "Switched targets and new places",
    PERTURBATION: "Perturbation",
}
# Tables of `dynaprobe.report.csv_tables` that hold the numbers of a section.
TABLES = {
    "1": ("cells", "networks"),
    "2": ("by_mechanism", "mechanism_by_forced", "networks"),
    "3": ("by_mechanism", "associations", "networks"),
    "4": ("by_mechanism", "associations", "networks"),
    PERTURBATION: ("by_mechanism", "networks"),
}
# The paper asks no such question; users of networks do.
_PERTURBATION_LEAD = (
    "Not a claim of the paper: how networks of each mechanism recover from pulses to their state, and what they "
    "lose when units fall silent."
)
# The two probes say different things of a network when they differ by more than a third of their range.
APART = 1 / 3


@dataclass(frozen=True)
class Section:
    """One claim, or a topic without one.

    Attributes:
        id: of the element.
        heading: of the section.
        verdict: the claim and what the run says of it; None for a topic.
        lead: what stands there where there is no claim.
        said: the numbers behind the decision, part by part.
        table: means by mechanism; None where there are none.
        figures: in reading order.
        tables: names of the CSV files that hold its numbers.
    """

    id: str
    heading: str
    verdict: Verdict | None
    lead: str
    said: tuple[str, ...]
    table: MechanismTable | None
    figures: tuple[Any, ...]
    tables: tuple[str, ...] = ()


def sections(run: RunContents, figures: Sequence[Any]) -> list[Section]:
    """A section per claim in their order, then topics that have figures and no claim.

    Args:
        run: the run.
        figures: each with the section it belongs to.
    """
    by_mechanism = run.probes.by_mechanism if run.probes is not None else None
    claimed = {verdict.claim.id: verdict for verdict in run.verdicts}
    keys = [*claimed, *(key for key in TITLES if key not in claimed)]
    found = []
    for key in keys:
        verdict, mine = claimed.get(key), tuple(one for one in figures if one.section == key)
        table = mechanism_table(by_mechanism, key)
        if verdict is None and not mine and table is None:
            continue
        title = TITLES.get(key, "" if verdict is None else verdict.claim.id)
        heading = f"Claim {key}: {title[:1].lower()}{title[1:]}" if verdict and key in TITLES else title
        lead = _PERTURBATION_LEAD if key == PERTURBATION else "This run judged no claim on it."
        said = said_parts(verdict.sentence) if verdict is not None else ()
        csv = TABLES.get(key, ())
        found.append(Section(f"claim-{key}", heading, verdict, lead, said, table, mine, csv))
    return found


def said_parts(sentence: str) -> tuple[str, ...]:
    """A long sentence of a verdict in its parts, so that a page can list them; a short one stays whole."""
    parts = [part.strip() for part in sentence.split("; ")]
    return tuple(parts) if len(parts) > 3 else (sentence,)


def disagreements(run: RunContents) -> list[str]:
    """What does not agree: with the paper, between two measures of the same thing, and with what was asked for."""
    said = [
        f"Claim {verdict.claim.id} is {verdict.decision}: {verdict.claim.statement}"
        for verdict in run.verdicts
        if verdict.decision in ("opposed", "undecided")
    ]
    if run.probes is not None:
        said += _probes_apart(run.probes.networks)
        said += _confused(run.probes.confusion)
        said += _strata_apart(run.probes.associations)
    if run.networks is not None and "cell" in run.networks.variables:
        said += _lost(run.networks)
    return said


def _probes_apart(networks: xr.Dataset) -> list[str]:
    gap = column(networks, "suffices") - column(networks, "decides")
    known = np.isfinite(gap)
    said = []
    for sign, what in (
        (
            1,
            "their movement goes on without the target, and yet follows another target that contradicts the state",
        ),
        (-1, "their movement needs a target, and yet goes where the state says when that contradicts the target"),
    ):
        if n := int((sign * gap[known] > APART).sum()):
            said.append(
                f"The two probes of mechanism differ by more than a third in {n} of {int(known.sum())} networks: "
                f"{what}."
            )
    return said


def _confused(confusion: xr.Dataset | None) -> list[str]:
    if confusion is None:
        return []
    counts = confusion["count_learned" if "count_learned" in confusion else "count"]
    said = []
    for name in map(str, counts["forced"].values):
        row = counts.sel(forced=name)
        other = {
            str(verdict): int(row.sel(verdict=verdict)) for verdict in row["verdict"].values if verdict != name
        }
        if wrong := [f"{n} as {words(verdict)}" for verdict, n in other.items() if n]:
            said.append(
                f"Of {int(row.sum())} networks whose task forces them to be {words(name)}, the probes found "
                f"{', '.join(wrong)}."
            )
    return said


def _strata_apart(associations: xr.Dataset | None) -> list[str]:
    """Correlations of one sign within one kind of strata and of the other within another."""
    if associations is None or "name" not in associations.variables:
        return []
    names, strata = (associations[part].values.astype(str) for part in ("name", "strata"))
    low, high, rho = (associations[part].values.astype(float) for part in ("low", "high", "rho"))
    said = []
    for name in dict.fromkeys(names.tolist()):
        rows = [int(k) for k in np.flatnonzero((names == name) & np.isfinite(rho))]
        if len({float(sign) for sign in np.sign(rho[rows])}) > 1:
            parts = [
                f"{rho[k]:+.2f} within {strata[k]}"
                + (f" [{low[k]:+.2f}, {high[k]:+.2f}]" if np.isfinite([low[k], high[k]]).all() else "")
                for k in rows
            ]
            said.append(
                f"Mechanism index and performance, {name}: rank correlations differ in sign by what networks are "
                f"compared within ({'; '.join(parts)})."
            )
    return said


def _lost(networks: xr.Dataset) -> list[str]:
    cells, ok = networks["cell"].values.astype(str), learned(networks)
    lost = [cell for cell in dict.fromkeys(cells.tolist()) if not ok[cells == cell].any()]
    if not lost:
        return []
    return [f"In {len(lost)} of {len(set(cells.tolist()))} cells no network learned the task: {'; '.join(lost)}."]


def in_page_order(run: RunContents, figures: Sequence[Any]) -> list[Any]:
    """Figures as the page shows them, and numbers them: those of the claims first."""
    if run.pairs is not None:
        return list(figures)
    first = [figure for section in sections(run, figures) for figure in section.figures]
    return [*first, *(figure for figure in figures if figure not in first)]
