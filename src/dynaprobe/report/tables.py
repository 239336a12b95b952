"""Numbers of a run as rows of text: what a table shows, and the exact value behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.report.gather import learned

NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """One column of the table of networks.

    Attributes:
        name: variable of the summary.
        title: heading.
        form: how numbers are written; empty for text.
        meaning: what a reader must know.
    """

    name: str
    title: str
    form: str = ""
    meaning: str = ""


NETWORK_COLUMNS: tuple[Column, ...] = (
    Column("id", "Network"),
    Column("activation", "Activation"),
    Column("penalty_rate", "Rate penalty", "g"),
    Column("visibility", "Target seen", "", "when the network sees its target"),
    Column("mechanism", "Mechanism", "", "verdict of the two causal probes"),
    Column("mechanism_index", "Index", ".2f", "mechanism index: 0 input needed and decides, 1 state"),
    Column("status", "Status"),
    Column("score", "Score", ".3f", "smaller R² of velocity and position on fresh trials"),
    Column("single_unit", "Single units", ".2f", "0 surrogates of neurons, 1 other neurons of the recording"),
    Column(
        "single_unit_raw",
        "r",
        ".2f",
        "median correlation of neurons with their best network unit, on held-out trials",
    ),
    Column(
        "single_unit_p",
        "p",
        ".3f",
        "chance of so high a single-unit similarity among surrogates; not corrected for the number of networks",
    ),
    Column(
        "feature_similarity",
        "Features",
        ".2f",
        "distance of unit features: 0 surrogates of the recording, 1 two halves of its neurons",
    ),
    Column("motif_distance", "Motifs", ".2f", "distance of the spread over motifs from the recording's, 0 to 1"),
    Column(
        "motif_p",
        "p (mot.)",
        ".3f",
        "chance of so large a distance when units are dealt anew; not corrected for the number of networks",
    ),
    Column("population", "Population", ".2f", "0 surrogates of neurons, 1 other neurons of the recording"),
    Column(
        "population_raw",
        "r (pop.)",
        ".2f",
        "mean held-out canonical correlation of network and neurons",
    ),
    Column(
        "population_p",
        "p (pop.)",
        ".3f",
        "chance of so high a population similarity among surrogates; not corrected for the number of networks",
    ),
    Column(
        "alignment_index",
        "Align.",
        ".2f",
        "movement variance in preparatory PCs over the most that so many PCs could hold, 1 for equal subspaces",
    ),
    Column("jpca_r2_skew", "R² rot.", ".2f", "jPCA: share of the changes explained by a pure rotation"),
    Column("jpca_hz", "Hz", ".2f", "jPCA: frequency of the fastest plane"),
    Column(
        "n_pcs_90", "PCs", "d", "principal components for 90 % of the variance, noise of the estimate included"
    ),
)


# Columns that runs without probes do not have.
PROBED = ("visibility", "mechanism", "mechanism_index")


def network_columns(networks: xr.Dataset) -> tuple[Column, ...]:
    """The columns of a run: all, but those of probes only where it has some."""
    return tuple(c for c in NETWORK_COLUMNS if c.name not in PROBED or c.name in networks.variables)


@dataclass(frozen=True)
class Value:
    """One field of a table: as shown, and exactly."""

    text: str
    exact: str
    is_text: bool


@dataclass(frozen=True)
class Row:
    """One network."""

    values: tuple[Value, ...]
    learned: bool


# What is known of controls, which were not compared with the recording.
_OF_CONTROLS = ("id", "activation", "penalty_rate", *PROBED, "status", "score")


def control_columns(networks: xr.Dataset) -> tuple[Column, ...]:
    """The columns of the table of controls."""
    return tuple(column for column in network_columns(networks) if column.name in _OF_CONTROLS)


def network_rows(networks: xr.Dataset, columns: Sequence[Column] | None = None) -> list[Row]:
    """A row per network, in the order of the grid; None takes all columns of the run."""
    counts, columns = learned(networks), network_columns(networks) if columns is None else columns
    return [
        Row(tuple(_value(networks, column, k) for column in columns), bool(counts[k]))
        for k in range(networks.sizes["network"])
    ]


def failed_networks(networks: xr.Dataset) -> list[tuple[str, str]]:
    """Name and reason of every network that does not count."""
    reasons = networks["reason"].values if "reason" in networks else np.full(networks.sizes["network"], "")
    return [
        (str(networks["id"].values[k]), str(reasons[k]) or str(networks["status"].values[k]).replace("_", " "))
        for k in np.flatnonzero(~learned(networks))
    ]


def _value(networks: xr.Dataset, column: Column, k: int) -> Value:
    if column.name not in networks.variables:
        return Value(NOTHING, "", not column.form)
    found = networks[column.name].values[k]
    if not column.form:
        text = str(found) if column.name == "id" else str(found).replace("_", " ")
        return Value(text, text, True)
    return number(float(found), column.form)


def number(value: float, form: str) -> Value:
    """A number as it is shown, with the number itself."""
    if not np.isfinite(value):
        return Value(NOTHING, "", False)
    text = f"{int(value):d}" if form == "d" else f"{value:{form}}"
    # A number that rounds to nothing has no sign.
    text = text.lstrip("-") if float(text) == 0 else text
    return Value(text.replace("-", "\N{MINUS SIGN}") if form != "g" else text, repr(value), False)


def recording_row(recording: xr.Dataset, networks: xr.Dataset) -> list[Value]:
    """The recording's own numbers under the columns of the networks, where there are such."""
    values = [Value("recording", "recording", True)]
    for column in network_columns(networks)[1:]:
        known = bool(column.form) and column.name in recording
        values.append(number(float(recording[column.name]), column.form) if known else Value("", "", True))
    return values


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and values."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += flat_settings(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) if value else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
