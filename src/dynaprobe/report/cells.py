"""Cells of a grid as figures and tables name and order them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynaprobe.report.gather_probes import column, words

# What a network was trained on; the other axes of a grid say how.
TASK_AXES = ("visibility", "delay_law")


def texts(networks: xr.Dataset, name: str) -> list[str]:
    """A column of words; empty where the table has no such column."""
    return [str(value) for value in networks[name].values] if name in networks.variables else []


def cells_in_order(networks: xr.Dataset) -> list[str]:
    """Cells of the grid, those of one task together: by visibility and delay law, then as they stand."""
    cells = texts(networks, "cell")
    tasks = [
        tuple(texts(networks, name)[k] if name in networks.variables else "" for name in TASK_AXES)
        for k in range(len(cells))
    ]
    order = list(dict.fromkeys(tasks))
    first = {cell: tasks[cells.index(cell)] for cell in dict.fromkeys(cells)}
    return sorted(first, key=lambda cell: order.index(first[cell]))


def cell_label(networks: xr.Dataset, cell: str) -> str:
    """``until go, delayed: tanh, 0.01``: the cell as a row is called, from its columns where they are there."""
    if cell not in texts(networks, "cell"):
        return cell.replace("penalty_rate", "penalty")
    k = texts(networks, "cell").index(cell)
    task = ", ".join(words(values[k]) for name in TASK_AXES if (values := texts(networks, name)) and values[k])
    if not task or "activation" not in networks.variables or not np.isfinite(column(networks, "penalty_rate")[k]):
        return cell.replace("penalty_rate", "penalty")
    own = f"{words(texts(networks, 'activation')[k])}, {column(networks, 'penalty_rate')[k]:g}"
    # Further axes, such as the number of units, are known to the name of the cell alone.
    alike = [
        other
        for other in dict.fromkeys(texts(networks, "cell"))
        if other != cell and _same_row(networks, k, texts(networks, "cell").index(other))
    ]
    return cell.replace("penalty_rate", "penalty") if alike else f"{task}: {own}"


def _same_row(networks: xr.Dataset, k: int, other: int) -> bool:
    axes = [name for name in (*TASK_AXES, "activation", "penalty_rate") if name in networks.variables]
    return all(str(networks[name].values[k]) == str(networks[name].values[other]) for name in axes)
