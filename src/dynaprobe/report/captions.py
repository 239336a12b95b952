"""What a reader must know of each figure: what is shown, how many, in which units, how it was computed.

Where the paper is silent, a caption says "our choice". Numbers come from the results themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.analysis.result import Result

Results = Mapping[str, Any]
EVENT_PHRASES = {"target_on": "target onset", "go_cue": "the go cue", "move_onset": "movement onset"}


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def each_side(results: Mapping[str, Result], what: str, dim: str = "unit") -> str:
    """``Units: 142 (recording) and 100 (tanh)``."""
    return f"{what}: {listed([f'{result.data.sizes[dim]} ({name})' for name, result in results.items()])}"


def _first(results: Results) -> Any:
    return next(iter(results.values()))


def what_failed(results: Mapping[str, Result]) -> str:
    """What failed on any side, in words; nothing where nothing did."""
    failed = [f"{name}: {result.status}" for name, result in results.items() if result.failures]
    return f" Not everything succeeded: {'; '.join(failed)}." if failed else ""


def _p_value(n_draws: int) -> str:
    """What p means, and how small it can get."""
    return (
        f"p: chance of so high a score among the surrogates, at least 1 / {n_draws + 1} = "
        f"{1 / (n_draws + 1):.3f}; not corrected for the number of networks."
    )


_CEILING = (
    "The ceiling is what the very same neurons reach in other trials, which other neurons of the same recording "
    "do not reach; the scale of the table and of figures 1 and 2 ends at the latter."
)


_RENDERED = (
    "Networks are rendered as spiking recordings (Poisson spikes; each unit's rates mapped onto the range of a "
    "recorded PSTH; as many trials as the median session holds of a condition). "
)


def _rate_unit(data: xr.Dataset) -> str:
    return str((data["mean"].attrs or data.attrs).get("rate_unit", "spikes/s"))


def psth(sides: Mapping[str, xr.Dataset]) -> str:
    """Of the PSTHs."""
    counts = []
    for name, data in sides.items():
        n = data["n_trials"].values if "n_trials" in data else np.array([])
        trials = f", {int(n.min())} to {int(n.max())} trials a condition" if n.size else ""
        counts.append(f"{data.sizes['unit']} units{trials} ({name})")
    steps = [line for line in str(_first(sides)["mean"].attrs.get("preprocessing", "")).split("\n") if line]
    done = f" Preprocessing, the same on both sides: {'; '.join(steps)}." if steps else ""
    is_split = any("segment" in data.coords for data in sides.values())
    has_trials = any("sem" in data for data in sides.values())
    return (
        "Rates of single units averaged over the trials of each condition, "
        + ("with the standard error as a band, " if has_trials else "")
        + f"in {listed(list(dict.fromkeys(_rate_unit(data) for data in sides.values())))}"
        + (", around two events (the time axis is broken between them): " if is_split else ": ")
        + f"{listed(counts)}.{done} "
        + (_RENDERED if has_trials else "")
        + "Units: in each row the "
        "member of one of the first motifs that is most like its prototype (next figure); where there is no "
        "gallery, units evenly spaced in rank among the half that is modulated most. Rendering and units are our "
        "choice."
    )


def gallery(results: Results) -> str:
    """Of the motif gallery."""
    s = _first(results).settings
    return (
        f"Prototypes of {s.get('n_motifs')} clusters of PSTH shapes, found on the recording, and the fraction "
        f"of each side's units that is nearest to each (dot) with its {s.get('confidence', 0.95):.0%} Wilson "
        "interval. Each PSTH is centred, scaled to length 1 and turned so that the condition with the highest "
        f"peak comes first; k-means on the leading {s.get('n_pcs')} PCs of the shapes. "
        f"{each_side(results, 'Units')}. Number of clusters, scaling and turning are our "
        f"choice.{what_failed(results)}"
    )


def classes(results: Results) -> str:
    """Of the classes of PSTHs."""
    s = _first(results).settings
    return (
        f"Left: fraction of units in each class, with {s.get('confidence', 0.95):.0%} Wilson intervals; the "
        "classes above the line add to 1, the features below overlap them. A unit is tuned in an epoch when "
        f"the cosine fit to direction has a depth above {s.get('tuned', 0):g} of its range, multiphasic when "
        f"its movement tuning swings at least {s.get('n_phases')} times, and turning when its preferred "
        f"direction changes by more than {s.get('turn_deg', 0):g}°; these bars are our choice. Right: "
        "correlation over directions of the mean rate in the preparatory with that in the movement epoch. "
        f"{each_side(results, 'Units')}.{what_failed(results)}"
    )


def unit_match(results: Results) -> str:
    """Of single-unit similarity."""
    data, s = _first(results).data, _first(results).settings
    return (
        f"For each of {data.sizes['unit']} recorded units, the correlation of its PSTH with that of the network "
        "unit most like it. The unit is chosen on one half of the recorded trials and judged on the other. "
        f"Floor: the same for {data.sizes['draw']} tensor-maximum-entropy surrogates of the network, which keep "
        "its means and covariances over times, units and conditions. Ceiling: one half of the recorded trials "
        f"against the other. {_p_value(data.sizes['draw'])} The mean over conditions was "
        f"{'subtracted' if s.get('condition_mean') == 'subtract' else 'kept'} first. The network is represented "
        f"by one half of its trials. {_CEILING} This measure is our choice.{what_failed(results)}"
    )


def pca(results: Results) -> str:
    """Of the principal components."""
    threshold = _first(results).settings.get("threshold", 0.9)
    ratios = [f"{float(r.data['participation_ratio']):.1f} for {name}" for name, r in results.items()]
    return (
        "Left: trajectories of each condition in the planes of PC 1 with PC 2 and with PC 3, of "
        "soft-normalised rates (range + constant), centred per unit; the cross-condition mean stays in. The "
        f"axes are each side's own. Right: cumulative variance, dashed at {threshold:.0%}. "
        f"{each_side(results, 'Units')}. Participation ratio: {listed(ratios)}. Signs: the largest loading of "
        f"each PC is positive.{what_failed(results)}"
    )


def condition_independent(results: Results) -> str:
    """Of the condition-independent fraction."""
    return (
        "Share of the variance over conditions and times that the mean over conditions carries, before it is "
        "removed for other analyses. Left: all units together; open symbols have the part of the estimation "
        "noise removed. Independent noise alone would give 1 / number of conditions. Right: distribution over "
        f"single units. {each_side(results, 'Units')}. Kaufman et al. (2016).{what_failed(results)}"
    )


def jpca(results: Results) -> str:
    """Of the rotations."""
    s = _first(results).settings
    return (
        f"The fastest jPCA plane in the window {s.get('start_ms', 0):g} to {s.get('stop_ms', 0):g} ms around "
        f"{EVENT_PHRASES.get(str(s.get('event')), str(s.get('event')))}, dots at its first bin. Rates are "
        f"soft-normalised, the mean over conditions subtracted, and reduced to {s.get('n_pcs')} PCs; changes "
        "from bin to bin are regressed on the state, once with any matrix and once with a skew-symmetric one "
        "(pure rotation); R² is uncentred. The plane's variance is a share of all variance in the window, "
        "the mean over conditions aside. Surrogates: next figure. "
        f"{each_side(results, 'Conditions', 'condition')}. Churchland et al. (2012).{what_failed(results)}"
    )


def alignment(results: Results) -> str:
    """Of the alignment index."""
    dims = [f"{int(r.data['n_dims'])} for {name}" for name, r in results.items()]
    s = _first(results).settings
    return (
        "How much of one epoch's variance the leading PCs of the other hold, over the most that so many axes "
        f"could. Dimensions: the smallest number with {s.get('threshold', 0):.0%} of the preparatory variance, "
        f"at most {s.get('max_dims')} ({listed(dims)}). Grey: {s.get('n_chance')} random subspaces drawn from "
        "the covariance of both epochs together (bar: their mean); p is the chance of an index at most as large, "
        f"at least 1 / {int(s.get('n_chance', 0)) + 1}. Low values mean that preparation and movement use "
        "different dimensions; noise of the estimate lowers them too. Elsayed et al. "
        f"(2016).{what_failed(results)}"
    )


def cca(results: Results) -> str:
    """Of population similarity."""
    data, s = _first(results).data, _first(results).settings
    return (
        f"Canonical correlations of {s.get('n_pcs')} PCs of the network with as many of the recording. "
        "Directions are found without one condition at a time and judged on it (solid, mean over halves of the "
        "recorded trials); dotted, for comparison, without holding anything out and against all recorded trials. "
        f"Lines and bands: mean and middle 95 % of {data.sizes['draw']} tensor-maximum-entropy surrogates of the "
        f"network against the same halves (floor) and of {data.sizes['split']} split halves of the recording "
        f"against each other (ceiling). {_p_value(data.sizes['draw'])} The network is represented by one "
        f"half of its trials. {_CEILING} Number of PCs and cross-validation are our choice.{what_failed(results)}"
    )


def spectra(results: Results) -> str:
    """Of the eigenvalues."""
    starts = int(_first(results).data.sizes["start"])
    return (
        "Eigenvalues of the Jacobian at fixed and slow points, for every input that a trial of the first "
        "condition goes through, in order; at most 6 points per input, the one that most starts led to in full "
        f"colour. Right of the vertical line a mode grows. {each_side(results, 'Points', 'point')}. Newton and "
        f"Levenberg-Marquardt searches in double precision from states the network visited, {starts} per "
        f"input.{what_failed(results)}"
    )


def fixed_points(results: Results) -> str:
    """Of where fixed points lie."""
    return (
        f"The same points ({each_side(results, 'number', 'point')}) in the plane of their own first two PCs "
        "(states, a.u.). A grey line leads from a point to the one that the network settles at when the next "
        "input of the trial comes on. The plane is our choice."
    )


def behaviour(examples: Mapping[str, xr.Dataset]) -> str:
    """Of what the networks do."""
    return (
        f"One noise-free trial of each of {_first(examples).sizes['condition']} directions. Above: position, in "
        "units of the target's radius. Below: speed from the go cue; dashed, what was asked for."
    )


def similarity(networks: xr.Dataset, settings: xr.Dataset) -> str:
    """Of single-unit against population similarity."""
    n = int(np.isfinite(networks["single_unit"].values.astype(float)).sum())
    level = float(settings.attrs.get("level", 0.95))
    n_comparisons = int(settings.attrs.get("n_comparisons", 1))
    n_tasks = len(set(networks["visibility"].values.tolist())) if "visibility" in networks.variables else 1
    alike = " Settings that differ in the task alone look alike here; the next figure names them."
    alike = alike if n_tasks > 1 else ""
    return (
        f"Each of {n} networks that learned the task (faint) and the mean of every setting of the grid "
        f"(outlined) with its {level:.0%} Student interval over seeds, Bonferroni-corrected for {n_comparisons} "
        "intervals; a setting with a single network has none, and intervals that leave the panel are cut. The "
        "recorded neurons are parted at random in two, again and again: 1 is how like one part is to the other, 0 "
        "how like surrogates of the one part (tensor maximum entropy, same covariances over time, units and "
        "conditions) are to the other; a network is compared with the same neurons, with as many units. Scores "
        "may fall outside. On the diagonal a network comes as near to the neurons unit by unit as it does as a "
        "population. Intervals hold for this recording: its own sampling noise is not in them. The scale is our "
        f"choice.{alike}"
    )


def settings(rows: xr.Dataset) -> str:
    """Of the settings one by one."""
    return (
        "The same numbers, setting by setting: mean with the same corrected interval over seeds (above the line) "
        "and every network (below it); on the right the difference of the two scores, network by network. In "
        "brackets, how many networks learned the task of how many were trained "
        f"({int(rows['n_learned'].sum())} of {int(rows['n_networks'].sum())} in all). Intervals that leave the "
        "panel are cut."
    )


def training(networks: xr.Dataset, n_failed: int, threshold: float | None) -> str:
    """Of the training curves."""
    bar = (
        f" A network counts when its score on fresh trials reaches {threshold:g} (our choice)."
        if threshold
        else ""
    )
    return (
        "Task loss at every update and score (the smaller R² of velocity and position) at every validation, "
        f"for {networks.sizes['network']} networks.{bar} {n_failed} did not learn the task; they are listed "
        "with reasons in the table of networks and take no part in any comparison. Scores below -0.5 are cut."
    )
