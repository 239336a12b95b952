"""Tuning of single units to direction in every epoch of a trial, tested on single trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.analysis.matrix import check_at_least, one_thread
from dynaprobe.analysis.multiple_tests import benjamini_hochberg, check_fraction, wilson_interval
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.trial_blocks import (
    TrialBlock,
    TrialTable,
    condition_sums,
    epoch_means,
    shuffled_members,
    trial_table,
)
from dynaprobe.analysis.unit_classes import LEAST_DIRECTIONS
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator

# Sums of the same numbers in another order differ in the last bits; spike counts tie often.
TIES = 1e-9


@dataclass(frozen=True)
class DirectionTuning(Result):
    """Tuning of every unit in every epoch.

    Variables of `data`:
        preferred_direction_deg (epoch, unit): where the cosine fit peaks, 0 to 360; NaN where rates are constant.
        preferred_direction_se_deg (epoch, unit): its standard error, to first order; meaningful well below 60.
        depth (epoch, unit): amplitude of the cosine fit, in the unit of the rates.
        depth_corrected (epoch, unit): the same with the part removed that noise of the means adds.
        r_squared (epoch, unit): share of the variance over conditions that the cosine fit holds.
        r_squared_corrected (epoch, unit): the same without noise of the means; may leave [0, 1]; NaN where the
            means vary no more than noise makes them.
        p_value, p_cosine (epoch, unit): of any difference between conditions, and of a cosine alone.
        q_value (epoch, unit): `p_value` adjusted for the units of an epoch (Benjamini-Hochberg).
        is_selective (epoch, unit): `q_value` at or below the false discovery rate.
        n_selective, fraction, fraction_low, fraction_high (epoch): units selective at that rate, with the Wilson
            interval for units as a sample; units of one session share trials, which the interval does not know.
        fraction_nominal (epoch): units with p at or below alpha, of which chance alone gives alpha.
        mean_rate (epoch, unit): mean over conditions.
        n_tested: units with a p-value.
    """


@one_thread
def direction_tuning(
    epochs: Mapping[str, Sequence[xr.DataArray]],
    *,
    seed: int,
    n_permutations: int = 1000,
    false_discovery: float = 0.05,
    alpha: float = 0.05,
    confidence: float = 0.95,
) -> DirectionTuning:
    """Direction tuning and its significance from single trials.

    With m_c the mean of condition c over its n_c trials (each trial averaged over the epoch), the fit is
    ``m_c = b + x cos theta_c + y sin theta_c`` by least squares over conditions, the depth ``sqrt(x^2 + y^2)`` and
    the preferred direction ``atan2(y, x)``. With P the projection onto the centred cosine and sine, Q onto all
    differences of conditions and ``D = diag(s_c^2 / n_c)`` the noise of the means,

        r_squared = m'Pm / m'Qm,    r_squared_corrected = (m'Pm - tr PD) / (m'Qm - tr QD)
        depth_corrected = sqrt(max(0, x^2 + y^2 - var x - var y))

    Tests deal the conditions anew to the trials of a block, all its units together. Statistics: between-condition
    sum of squares ``sum n_c (m_c - m)^2`` (as F, the total being fixed) and the sum of squares that the cosine fit
    to single trials explains. ``p = (k + 1) / (n + 1)``.

    Args:
        epochs: for every epoch its single trials (see `dynaprobe.analysis.trial_blocks.trial_table`).
        seed: names the stream of the permutations.
        n_permutations: deals of the conditions.
        false_discovery: rate at which units count as selective.
        alpha: bar of `fraction_nominal`.
        confidence: of the intervals of fractions.

    Raises:
        RatesError: when trials lack a direction, there are fewer than 4, or epochs hold other units.

    Sources: Georgopoulos et al. 1982, J Neurosci 2:1527 (cosine tuning); Pospisil & Bair 2021, PLoS Comput Biol
    17:e1009212 (noise in the fraction of variance explained).
    """
    check_at_least("n_permutations", n_permutations, 1)
    tables = {name: trial_table(trials, f"trials of {name}") for name, trials in epochs.items()}
    _check_epochs({name: table.coords for name, table in tables.items()})
    found = [_of_epoch(table, generator(seed, "tuning", name), n_permutations) for name, table in tables.items()]
    settings = {"seed": seed, "n_permutations": n_permutations, "p_from": "permutations of single trials"}
    first = next(iter(tables.values()))
    return _record(
        list(tables),
        found,
        coords=first.coords,
        settings=settings,
        rates=(false_discovery, alpha, confidence),
        failures={},
    )


def _of_epoch(table: TrialTable, source: np.random.Generator, n_permutations: int) -> dict[str, np.ndarray]:
    """Fit and p-values of all units in one epoch."""
    if table.direction_deg is None or np.unique(table.direction_deg % 360).size < LEAST_DIRECTIONS:
        raise RatesError(
            "direction_deg",
            rule=f"be a coordinate along trial with at least {LEAST_DIRECTIONS} directions",
            received="none" if table.direction_deg is None else table.direction_deg.tolist(),
            remedy="Say the direction of every trial in degrees",
        )
    angle = np.deg2rad(table.direction_deg)
    design = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)
    parts = []
    for block in epoch_means(table):
        n = block.n_trials[:, None, None]
        mean = condition_sums(block.member, block.values) / n
        square = condition_sums(block.member, block.values**2)
        # Round-off of the difference of two sums must not become a negative variance.
        variance = np.maximum(square - n * mean**2, 0.0) / (n - 1)
        fit = _fit(mean[:, 0], (variance / n)[:, 0], design)
        p_values = _permuted(block, design, n_permutations, source)
        parts.append(fit | dict(zip(("p_value", "p_cosine"), p_values, strict=True)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _permuted(
    block: TrialBlock, design: np.ndarray, n_permutations: int, source: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """p-values of any selectivity and of a cosine; NaN for units whose trials are all alike."""
    centred = block.values - block.values.mean(axis=0)
    n = block.n_trials
    # Cosine and sine of the trials' directions, orthonormal and free of the mean over trials.
    regressors = design[:, 1:] - (n @ design[:, 1:]) / n.sum()
    basis = regressors @ np.linalg.inv(np.linalg.cholesky((regressors.T * n) @ regressors)).T

    def statistics(member: np.ndarray) -> np.ndarray:
        sums = condition_sums(member, centred)[..., 0, :]
        between = (sums**2 / n[:, None]).sum(axis=-2)
        cosine = (np.einsum("ck,...cu->...ku", basis, sums) ** 2).sum(axis=-2)
        return np.stack([between, cosine])

    observed = statistics(block.member)
    at_least = np.zeros(observed.shape)
    for members in shuffled_members(block, n_permutations, source):
        at_least += (statistics(members) >= observed[:, None] * (1 - TIES)).sum(axis=1)
    total = (centred[:, 0] ** 2).sum(axis=0)
    varies = total > TIES**2 * (block.values[:, 0] ** 2).sum(axis=0)
    p_value, p_cosine = np.where(varies, (at_least + 1) / (n_permutations + 1), np.nan)
    return p_value, p_cosine


def _fit(
    mean: Float[np.ndarray, "condition unit"],
    noise: Float[np.ndarray, "condition unit"],
    design: Float[np.ndarray, "condition 3"],
) -> dict[str, np.ndarray]:
    """The cosine fit to condition means whose noise has the variances `noise`."""
    inverse = np.linalg.pinv(design)
    _, x, y = inverse @ mean
    var_x, var_y = (inverse[1:] ** 2) @ noise
    cov_xy = (inverse[1] * inverse[2]) @ noise
    everything = np.eye(mean.shape[0]) - 1 / mean.shape[0]
    explained = design @ inverse - 1 / mean.shape[0]
    held, total = (np.einsum("cu,cd,du->u", mean, q, mean) for q in (explained, everything))
    noise_held, noise_total = (np.diag(q) @ noise for q in (explained, everything))
    varies = total > TIES**2 * (mean**2).sum(axis=0)
    power = np.where(varies, x**2 + y**2, 1.0)
    turn = (y**2 * var_x + x**2 * var_y - 2 * x * y * cov_xy) / power**2
    room = total - noise_total
    nan = np.nan
    return {
        "preferred_direction_deg": np.where(varies, np.rad2deg(np.arctan2(y, x)) % 360, nan),
        "preferred_direction_se_deg": np.where(varies, np.rad2deg(np.sqrt(np.maximum(turn, 0.0))), nan),
        "depth": np.sqrt(x**2 + y**2),
        "depth_corrected": np.sqrt(np.maximum(x**2 + y**2 - var_x - var_y, 0.0)),
        "r_squared": np.where(varies, held / np.where(varies, total, 1.0), nan),
        "r_squared_corrected": np.where(
            varies & (room > 0), (held - noise_held) / np.where(room > 0, room, 1.0), nan
        ),
        "mean_rate": mean.mean(axis=0),
    }


def _check_epochs(coords: Mapping[str, dict[str, tuple[str, np.ndarray]]]) -> None:
    first, *others = coords.items()
    for name, found in others:
        same = found.keys() == first[1].keys() and all(
            np.array_equal(found[key][1], first[1][key][1]) for key in found
        )
        if not same:
            raise RatesError(
                f"trials of {name}",
                rule=f"hold the units of {first[0]} in the same order",
                received="other units",
                remedy="Cut all epochs from the same blocks",
            )


def _record(
    names: list[str],
    found: list[dict[str, np.ndarray]],
    *,
    coords: Mapping[str, object],
    settings: dict[str, object],
    rates: tuple[float, float, float],
    failures: dict[str, int],
) -> DirectionTuning:
    """Tables of all epochs, adjusted p-values, and fractions with intervals."""
    false_discovery, alpha, confidence = rates
    for name, value in zip(("false_discovery", "alpha", "confidence"), rates, strict=True):
        check_fraction(name, value)
    sizes = {part["p_value"].size for part in found}
    if len(sizes) > 1:
        raise RatesError(
            "epochs", rule="hold the same units", received=sorted(sizes), remedy="Cut them from the same rates"
        )
    tables = {name: np.stack([part[name] for part in found]) for name in found[0]}
    q_value = np.stack([benjamini_hochberg(p) for p in tables["p_value"]])
    selective = q_value <= false_discovery
    tested = np.isfinite(tables["p_value"])
    spans = [
        wilson_interval(int(s.sum()), int(t.sum()), confidence) for s, t in zip(selective, tested, strict=True)
    ]
    nominal = [
        float((p[t] <= alpha).mean()) if t.any() else np.nan
        for p, t in zip(tables["p_value"], tested, strict=True)
    ]
    data = xr.Dataset(
        {
            **{name: (("epoch", "unit"), table) for name, table in tables.items()},
            "q_value": (("epoch", "unit"), q_value),
            "is_selective": (("epoch", "unit"), selective),
            "n_selective": ("epoch", selective.sum(axis=1)),
            **{
                name: ("epoch", np.array(column))
                for name, column in zip(
                    ("fraction", "fraction_low", "fraction_high"), zip(*spans, strict=True), strict=True
                )
            },
            "fraction_nominal": ("epoch", np.array(nominal)),
            "n_tested": ("epoch", tested.sum(axis=1)),
        },
        coords={"epoch": names, **coords},
    )
    still = int((~tested).any(axis=0).sum())
    if still:
        failures = failures | {"unit whose trials are all alike in an epoch, not tested": still}
    settings |= {"false_discovery": false_discovery, "alpha": alpha, "confidence": confidence}
    return DirectionTuning(data, settings, failures)
