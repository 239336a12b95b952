"""What a comparison says on the terminal: scores of pairs, what each is alone, and sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dynaprobe.cli.tables import score_table
from dynaprobe.study.pair_tables import PAIRS_PREFIX
from dynaprobe.study.sentences import score_word
from dynaprobe.study.store import RunStore

# Beyond so many rows the terminal shows the pairs with the reference alone.
MOST_ROWS = 60
# p-values up to this are counted where there are several.
SMALL_P = 0.05
# Columns of the table of what each candidate is alone: name in the summary and heading.
ALONE = {
    "alignment_index": "align.",
    "alignment_chance": "chance",
    "alignment_p": "p",
    "jpca_r2_skew": "jPCA R2",
    "jpca_p": "p rot.",
    "jpca_ratio": "ratio",
    "jpca_hz": "Hz",
    "participation_ratio": "PR",
    "condition_independent_fraction": "shared",
}


def tell_comparison(store: RunStore, console: Console) -> None:
    """Print the tables and the sentences of a finished comparison."""
    manifest = store.manifest()
    found = store.load("results/comparison")
    scores = {name: found[f"{PAIRS_PREFIX}{name}"] for name in manifest["measures"]}
    reference = manifest.get("reference_name")
    n_rows = sum(data.sizes["row"] for data in scores.values())
    shorter = reference is not None and n_rows > MOST_ROWS
    for data in scores.values():
        console.print(pair_table(data, only=reference if shorter else None))
    console.print(
        Text(
            "floor: surrogates of either side; ceil.: the same units in other trials, mean of both sides; "
            "placed: 0 at the floor, 1 at the ceiling; p: chance of surrogates so alike; apart: chance of random "
            "groups of the same units or networks so unlike, corrected over measures. Intervals and p hold one by "
            "one.",
            style="dim",
        )
    )
    if shorter:
        console.print(f"Shown are the pairs with {reference}.", highlight=False, markup=False)
    console.print(f"All {n_rows} rows: {store.path('results', 'pairs.csv')}", soft_wrap=True, highlight=False)
    alone = found.get("alone")
    if alone is not None and alone.sizes.get("sample", 0):
        console.print(alone_table(alone))
    if manifest.get("counts"):
        console.print(score_table(store))
    for one in manifest["sentences"]:
        console.print(Text(one["text"], style="bold"), soft_wrap=not console.is_terminal)
        for detail in one["details"]:
            console.print(Padding(Text(detail), (0, 0, 0, 4)), soft_wrap=False)


def pair_table(data: xr.Dataset, *, only: str | None = None) -> Table:
    """The scores of one measure: a row for every pair, or for those with one candidate."""
    word = str(data.attrs["measure"]).replace("_", " ")
    n_units = int(data.attrs["n_units"])
    more = "more" if data.attrs["kind"] == "similarity" else "less"
    table = Table(
        title=f"{word}: {data.attrs['title']}; {more} is more alike; {n_units} units",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    join = " | " if data.attrs["is_symmetric"] else " > "
    table.add_column("pair", overflow="fold", min_width=14)
    for heading in (f"score [{data.attrs['level']:.0%}]", "floor", "ceil.", "placed", "p", "apart"):
        table.add_column(heading, justify="right", no_wrap=True)
    for k in range(data.sizes["row"]):
        row = {str(name): data[name].values[k] for name in data.data_vars if data[name].dims == ("row",)}
        if only is not None and only not in (row["first"], row["second"]):
            continue
        mark = " *" if int(row["shared"]) else ""
        table.add_row(f"{row['first']}{join}{row['second']}{mark}", *_numbers(row))
    if (data["shared"].values > 0).any():
        table.caption = "* both hold some of the same units: those are left out of the larger one"
        table.caption_justify = "left"
    return table


def _numbers(row: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f" [{number(row['low'])}, {number(row['high'])}]" if math.isfinite(row["low"]) else ""
    return (
        f"{number(row['score'])}{interval}",
        number(row["floor"]),
        number(row["ceiling"]),
        f"{row['placed']:.2f}" if math.isfinite(row["placed"]) else "-",
        chance(row["p_floor"]),
        chance(row["apart_p"]),
    )


def alone_table(alone: xr.Dataset) -> Table:
    """What every candidate is by itself; of several networks the mean, and of p how many are small."""
    table = Table(
        title="Each alone",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,  # ten columns have to fit into 80 characters
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("candidate", overflow="fold", min_width=9)
    shown = {name: heading for name, heading in ALONE.items() if name in alone}
    for heading in shown.values():
        table.add_column(heading, justify="right", no_wrap=True)
    of = alone["candidate"].values.astype(str)
    for candidate in dict.fromkeys(of.tolist()):
        members = np.flatnonzero(of == candidate)
        name = candidate if members.size == 1 else f"{candidate} (mean of {members.size})"
        table.add_row(name, *(_shown(column, alone[column].values[members]) for column in shown))
    if len(set(of.tolist())) < of.size:
        table.caption = f"of several networks, p: how many of those that were tested have p <= {SMALL_P:g}"
        table.caption_justify = "left"
    return table


def _shown(column: str, values: np.ndarray) -> str:
    """One number, or of several networks the mean; p-values have no mean, so small ones are counted."""
    known = values[np.isfinite(values)]
    if not known.size:
        return "-"
    if not column.endswith("_p"):
        return number(float(known.mean()))
    return chance(float(known[0])) if values.size == 1 else f"{int((known <= SMALL_P).sum())}/{known.size}"


def number(value: float) -> str:
    """Two digits after the point, or two that count where it is small; a dash where there is none."""
    return score_word(float(value)) if math.isfinite(value) else "-"


def chance(value: float) -> str:
    """A p-value, as it is written: .012."""
    if not math.isfinite(value):
        return "-"
    return "<.001" if value < 0.001 else "1" if value >= 0.9995 else f"{value:.3f}".removeprefix("0")
