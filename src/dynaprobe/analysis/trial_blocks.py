"""What analyses of single trials share: checked blocks of trials, and means over the trials of a condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dynaprobe.core.errors import RatesError
from dynaprobe.core.rates import check_rates

TRIAL_DIMS = ("trial", "time", "unit")
# Doubles held at a time by the draws of a test: 4 million are 32 MB.
MOST_VALUES = 4_000_000


@dataclass(frozen=True)
class TrialBlock:
    """Units that share their trials.

    Attributes:
        values: rates, shape ``(trial, time, unit)``.
        member: 1 where a trial is of a condition, shape ``(condition, trial)``.
    """

    values: Float[np.ndarray, "trial time unit"]
    member: Float[np.ndarray, "condition trial"]

    @property
    def n_trials(self) -> Float[np.ndarray, " condition"]:
        """Trials of every condition."""
        return np.asarray(self.member.sum(axis=1))


@dataclass(frozen=True)
class TrialTable:
    """All blocks of a population, with conditions numbered alike.

    Attributes:
        blocks: the units, block after block.
        time_ms: start of every bin.
        direction_deg: direction of every condition; None where trials have none.
        coords: coordinates along unit, over all blocks.
    """

    blocks: tuple[TrialBlock, ...]
    time_ms: np.ndarray
    direction_deg: np.ndarray | None
    coords: dict[str, Any]

    @property
    def n_conditions(self) -> int:
        """Number of conditions."""
        return int(self.blocks[0].member.shape[0])


def trial_table(trials: Sequence[xr.DataArray], name: str = "trials") -> TrialTable:
    """Check blocks of single trials against one another.

    Args:
        trials: one array per group of units that share their trials, dims ``(trial, time, unit)``, with the
            coordinate ``condition`` along trial, and ``direction_deg`` where tuning is asked for.
        name: what to call them in a message.

    Raises:
        RatesError: when there is no block, a block lacks conditions or has too few trials, or times differ.
    """
    blocks = list(trials)
    if not blocks:
        raise RatesError(
            name, rule="hold at least one block", received="none", remedy="Pass one array per session"
        )
    for block in blocks:
        check_rates(block, dims=TRIAL_DIMS, name=name)
        if "condition" not in block.coords or block["condition"].dims != ("trial",):
            raise RatesError(
                f"{name}.condition",
                rule="be a coordinate along trial",
                received=sorted(map(str, block.coords)),
                remedy="Say which condition every trial belongs to",
            )
    _check_times(blocks, name)
    labels = np.unique(np.concatenate([block["condition"].values for block in blocks]))
    members = [(labels[:, None] == block["condition"].values).astype(float) for block in blocks]
    fewest = min(int(member.sum(axis=1).min()) for member in members)
    if labels.size < 2 or fewest < 2:
        raise RatesError(
            f"{name}.condition",
            rule="have at least two conditions, each with two trials in every block",
            received=f"{labels.size} conditions, {fewest} trials in the smallest",
            remedy="Leave out blocks or conditions with too few trials",
        )
    return TrialTable(
        blocks=tuple(
            TrialBlock(np.asarray(block.values, dtype=np.float64), member)
            for block, member in zip(blocks, members, strict=True)
        ),
        time_ms=np.asarray(blocks[0]["time"].values, dtype=np.float64),
        direction_deg=_directions(blocks, members, name),
        coords=_unit_coords(blocks),
    )


def _check_times(blocks: list[xr.DataArray], name: str) -> None:
    first = blocks[0]["time"].values
    for block in blocks[1:]:
        if block.sizes["time"] != first.size or np.abs(block["time"].values - first).max() > 1e-3:
            raise RatesError(
                f"{name}.time",
                rule=f"be the same {first.size} bins in every block",
                received=f"{block.sizes['time']} bins from {block['time'].values[0]:g} ms",
                remedy="Cut the same window from all blocks",
            )


def _directions(blocks: list[xr.DataArray], members: list[np.ndarray], name: str) -> np.ndarray | None:
    """The one direction of every condition."""
    if any("direction_deg" not in block.coords for block in blocks):
        return None
    found = [
        [np.unique(block["direction_deg"].values[row > 0]) for row in member]
        for block, member in zip(blocks, members, strict=True)
    ]
    each = [np.unique(np.concatenate(column)) for column in zip(*found, strict=True)]
    mixed = next((values for values in each if values.size > 1), None)
    if mixed is not None:
        raise RatesError(
            f"{name}.direction_deg",
            rule="be one direction per condition",
            received=mixed.tolist(),
            remedy="Number conditions by direction, or average over the other task variables",
        )
    return np.array([float(values[0]) for values in each])


def _unit_coords(blocks: list[xr.DataArray]) -> dict[str, Any]:
    """Coordinates along unit that all blocks have."""
    shared = set.intersection(*({str(c) for c in b.coords if b[c].dims == ("unit",)} for b in blocks))
    return {name: ("unit", np.concatenate([block[name].values for block in blocks])) for name in sorted(shared)}


def epoch_means(table: TrialTable) -> list[TrialBlock]:
    """The blocks with every trial averaged over time, which leaves one bin."""
    return [TrialBlock(block.values.mean(axis=1, keepdims=True), block.member) for block in table.blocks]


def condition_sums(
    member: Float[np.ndarray, "*draw condition trial"], values: Float[np.ndarray, "trial time unit"]
) -> Float[np.ndarray, "*draw condition time unit"]:
    """Sums over the trials of every condition, or over weighted trials."""
    flat = values.reshape(values.shape[0], -1)
    rows = member.reshape(-1, member.shape[-1])
    sums: np.ndarray = (rows @ flat).reshape(*member.shape[:-1], *values.shape[1:])
    return sums


def shuffled_members(
    block: TrialBlock, n_draws: int, source: np.random.Generator
) -> Iterator[Float[np.ndarray, "draw condition trial"]]:
    """Conditions dealt anew to the trials of a block, `n_draws` times, in pieces that fit into memory."""
    n_conditions, n_trials = block.member.shape
    n_values = n_conditions * max(n_trials, block.values[0].size)
    for n_here in pieces(n_draws, n_values):
        order = source.permuted(np.tile(np.arange(n_trials), (n_here, 1)), axis=1)
        yield np.moveaxis(block.member[:, order], 0, 1)


def pieces(n_draws: int, n_values: int) -> list[int]:
    """How many draws to hold at a time, where one takes `n_values` doubles."""
    most = max(1, MOST_VALUES // max(n_values, 1))
    return [most] * (n_draws // most) + ([n_draws % most] if n_draws % most else [])
