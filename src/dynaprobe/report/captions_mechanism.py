"""Captions of the figures of claim 2: mechanisms, and the dynamics of networks side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from dynaprobe.analysis.probes.causal import (
    INITIAL_CONDITION_ABOVE,
    INPUT_DRIVEN_BELOW,
    LEAST_EXPLAINED,
    LEAST_REACH,
)
from dynaprobe.report.captions import listed
from dynaprobe.report.gather_probes import (
    MECHANISM_NAMES,
    Example,
    ProbeContents,
    column,
    is_control,
    is_forced,
    lower_score,
    words,
)

VERDICT = (
    "colour and marker are the verdict of the two causal probes (target taken away at the go cue; state of one "
    "direction with the input of another)"
)


def of_mechanisms(networks: xr.Dataset, where: np.ndarray | None = None) -> str:
    """``12 networks: 5 initial condition, 7 mixed``, of those in `where` that have a verdict."""
    found = networks["mechanism"].values.astype(str)
    inside = np.ones(found.size, dtype=bool) if where is None else where
    counts = {name: int((inside & (found == name)).sum()) for name in MECHANISM_NAMES}
    parts = [f"{count} {words(name)}" for name, count in counts.items() if count]
    total = sum(counts.values())
    return f"{total} network{'s' if total != 1 else ''}" + (f" ({', '.join(parts)})" if parts else "")


def mechanism_map(probes: ProbeContents) -> str:
    """Of the map of both probes and of the confusion matrix."""
    networks = probes.networks
    x, y = column(networks, "decides"), column(networks, "suffices")
    shown = np.isfinite(x) & np.isfinite(y)
    text = (
        f"{of_mechanisms(networks, shown)} on trials of their own task, without noise. Across: weight of the "
        "state where the state of one direction meets the input of another at the go cue (1: the state alone "
        "decides where the movement goes). Upwards: what remains of the movement when the target is taken away "
        "at the go cue (1: all). Lines are 95 % bootstrap intervals over conditions. The mechanism index is the "
        "mean of the two; where it lies in its upper or lower third, the map is tinted. A network is "
        f"initial-condition when its whole interval lies above {INITIAL_CONDITION_ABOVE:.2f}, input-driven when "
        f"it lies below {INPUT_DRIVEN_BELOW:.2f}, unclear when the end points of the swap follow neither state "
        f"nor input (R² below {LEAST_EXPLAINED:g}, or weights that add up to less than {LEAST_REACH:g}), else "
        "mixed. Index and thirds are our choice."
    )
    if is_forced(networks)[shown].any():
        text += " Black rings: networks whose task leaves them one mechanism."
    if probes.confusion is not None:
        text += " " + confusion_words(probes.confusion)
    return text


def confusion_words(confusion: xr.Dataset) -> str:
    """What the matrix counts, with its numbers."""
    counts = confusion["count_learned" if "count_learned" in confusion else "count"]
    parts = []
    for name in map(str, counts["forced"].values):
        row = counts.sel(forced=name)
        right = int(row.sel(verdict=name)) if name in row["verdict"].values else 0
        parts.append(f"{right} of {int(row.sum())} forced to be {words(name)}")
    return (
        "Right: verdicts on networks that learned and whose mechanism was forced by the task (the target always "
        f"off from the go cue on, or shown only from then on); framed cells are as forced: {listed(parts)} were "
        "found as such."
    )


def mechanism_cells(probes: ProbeContents) -> str:
    """Of the index cell by cell."""
    networks = probes.networks
    cells = networks["cell"].values.astype(str)
    ok = networks["status"].values.astype(str) == "converged" if "status" in networks.variables else cells == ""
    lost = [cell for cell in dict.fromkeys(cells) if not ok[cells == cell].any()]
    text = (
        "A row for every cell of the grid: what the networks see of the target and how long they wait, activation "
        "and rate penalty; in brackets how many learned of how many were trained. Every network with its 95 % "
        "bootstrap interval over conditions, seeds from above to below; the tint marks the thirds as in the map."
    )
    if lost:
        text += f" In {len(lost)} of {len(set(cells))} cells no network learned."
    return text


def similarity_by_mechanism(probes: ProbeContents, bar: float | None) -> str:
    """Of similarity at both levels, by mechanism."""
    networks = probes.networks
    both = lower_score(networks)
    known = np.isfinite(both)
    text = (
        f"{of_mechanisms(networks, known)} that were compared with the recording; {VERDICT}. Scale as in figure 1."
    )
    near = [
        f"{words(one.mechanism)}: {one.id}, {_of(networks, one.id, 'single_unit'):.2f} and "
        f"{_of(networks, one.id, 'population'):.2f}"
        for one in probes.nearest
        if np.isfinite(_of(networks, one.id, "single_unit"))
    ]
    if near:
        text += (
            " Ringed is, of every mechanism, the network whose lower score is highest (single units and "
            f"population): {'; '.join(near)}."
        )
    if bar is not None:
        alike = {
            name: int((known & (both >= bar) & (networks["mechanism"].values.astype(str) == name)).sum())
            for name in MECHANISM_NAMES
        }
        parts = [f"{count} {words(name)}" for name, count in alike.items() if count]
        text += (
            f" Tinted: both scores at or above {bar:g} (our choice): {listed(parts) if parts else 'no network'}."
        )
    if (n := int((is_control(networks) & ~known).sum())) > 0:
        text += f" {n} networks that see the target only from the go cue on have no preparation to compare."
    return text


def _of(networks: xr.Dataset, name: str, measure: str) -> float:
    row = np.flatnonzero(networks["id"].values.astype(str) == name)
    return float(column(networks, measure)[row[0]]) if row.size else float("nan")


def chosen(examples: Sequence[Example], *, nearest: bool) -> str:
    """Which networks stand for their mechanism."""
    names = listed([f"{one.id} ({words(one.mechanism)})" for one in examples])
    rule = (
        "Of every mechanism the network most like the recording at both levels; where none was compared, the one "
        "of median mechanism index"
        if nearest
        else "Of every mechanism the network of median mechanism index (of an even number, the lower of the two "
        "in the middle)"
    )
    return f"{rule}: {names}. Which networks are drawn is our choice."


def flow(examples: Sequence[Example]) -> str:
    """Of flow fields side by side."""
    data = examples[0].groups["flow_fields"]
    moments = listed([f"{at:g}" for at in data["moment_ms"].values])
    return (
        f"Flow of the state at {moments} ms from the go cue, in the plane of the first two principal components "
        "of each network's states, through the state of that moment and with the input of that moment. Arrows "
        "have one length, grey tells the speed in the plane. Ring: the state of the moment; thick: what its "
        "condition does in the next 150 ms; thin: all conditions. The plane holds the share of variance written "
        f"on the axes; what flows out of it is not seen. {chosen(examples, nearest=True)}"
    )


def fixed_points_along(examples: Sequence[Example]) -> str:
    """Of fixed points along the trial."""
    counts = [
        f"{group.sizes['point']} ({words(one.mechanism)})"
        for one in examples
        if (group := one.groups.get("fixed_points")) is not None
    ]
    return (
        "Fixed and slow points at every input that a trial of the first condition goes through, in the plane of "
        f"their own first two PCs; number of points: {listed(counts)}. A grey line leads from a point to the one "
        f"at which the network settles when the next input comes on. {chosen(examples, nearest=True)}"
    )


def point_modes(examples: Sequence[Example]) -> str:
    """Of the spectra around fixed points."""
    return (
        "Eigenvalues of the Jacobian at fixed and slow points, a column for every input of the trial, at most 6 "
        "points each, the one that most starts led to in full colour. Right of the vertical line a mode grows. "
        f"{chosen(examples, nearest=True)}"
    )


def moment_modes(examples: Sequence[Example]) -> str:
    """Of the spectra along the trial."""
    return (
        "Eigenvalues of the Jacobian at the states that a trial passes through (not at fixed points), for every "
        "condition (colour), with the input of that moment. They say how differences between neighbouring "
        f"trajectories grow (right of the line), fade and turn. {chosen(examples, nearest=True)}"
    )


def prediction(examples: Sequence[Example], networks: xr.Dataset) -> str:
    """Of linear prediction."""
    tolerance = setting_of(examples[0].groups["linear_prediction"], "tolerance")
    parts = []
    for one in examples:
        if np.isfinite(horizon := _of(networks, one.id, "horizon_go_ms")):
            parts.append(f"{horizon:.0f} ms ({words(one.mechanism)})")
    text = (
        "Error of the state predicted by the linear model of a moment, and of a state that stands still "
        "(dotted), in units of the spread over conditions at that time: at 1, the mean over conditions predicts "
        "as well."
    )
    if tolerance is not None:
        text += f" Dashed: the error of {tolerance:g} up to which a prediction counts (our choice)."
    if parts:
        text += f" From the go cue on it holds for {listed(parts)}."
    return f"{text} {chosen(examples, nearest=True)}"


def setting_of(data: xr.Dataset, name: str) -> float | None:
    """A number among the settings of a result; None where there is none."""
    value = json.loads(data.attrs.get("settings", "{}")).get(name)
    return float(value) if isinstance(value, int | float) else None
