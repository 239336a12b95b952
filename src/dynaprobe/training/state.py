"""Where a fit stands: everything needed to go on with it, as arrays."""

from __future__ import annotations

from enum import IntEnum

import equinox as eqx
import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array, DTypeLike, Float, Int, UInt32

from dynaprobe.core.errors import SettingsError
from dynaprobe.model.ensemble import Ensemble
from dynaprobe.model.rnn import AbstractNetwork
from dynaprobe.training.settings import FitSettings


class Phase(IntEnum):
    """What keeps a member from being updated, if anything does."""

    TRAINING = 0
    LOSS_NOT_FINITE = 1
    GRADIENT_NOT_FINITE = 2
    OUT_OF_PATIENCE = 3


class History(eqx.Module):
    """What happened at each update; NaN where nothing did.

    Attributes:
        loss: masked mean squared error of the training batch.
        cost: loss + penalties, vanishing-gradient term included.
        gradient_norm: length of the gradient before clipping.
        validation_cost: loss + penalties on the held-out trials, without the vanishing-gradient term.
        validation_loss: masked mean squared error on the held-out trials.
        validation: measures of the task on the held-out trials, by name.
    """

    loss: Float[Array, "*member update"]
    cost: Float[Array, "*member update"]
    gradient_norm: Float[Array, "*member update"]
    validation_cost: Float[Array, "*member update"]
    validation_loss: Float[Array, "*member update"]
    validation: dict[str, Float[Array, "*member update"]]

    def to_dataset(self, seeds: np.ndarray) -> xr.Dataset:
        """The history with dims member and update; update k is the (k + 1)-th."""
        named = {name: getattr(self, name) for name in _HISTORY_NAMES}
        named |= {f"validation_{name}": values for name, values in self.validation.items()}
        data = {name: (("member", "update"), np.asarray(values)) for name, values in named.items()}
        return xr.Dataset(data, coords={"seed": ("member", np.asarray(seeds))})


_HISTORY_NAMES = ("loss", "cost", "gradient_norm", "validation_cost", "validation_loss")


class MemberState(eqx.Module):
    """The part of the state that belongs to members; every array has a leading axis member outside the update.

    Attributes:
        network: current parameters.
        optimiser: moments of Adam.
        phase: see `Phase`.
        stopped_at: update at which the phase left TRAINING, -1 before.
        best: parameters of the lowest validation cost; the initial ones before the first validation.
        best_cost: that cost.
        best_update: the update after which it was measured, -1 before.
        n_stale: validations since.
        history: see `History`.
    """

    network: AbstractNetwork
    optimiser: optax.OptState
    phase: Int[Array, "*member"]
    stopped_at: Int[Array, "*member"]
    best: AbstractNetwork
    best_cost: Float[Array, "*member"]
    best_update: Int[Array, "*member"]
    n_stale: Int[Array, "*member"]
    history: History


class FitState(eqx.Module):
    """A fit between two updates: a tree of arrays. Saved and read back, it continues to the same numbers.

    Attributes:
        n_done: number of updates done.
        seed: the seed of the fit, kept so that another one is refused.
        members: what belongs to members.
    """

    n_done: Int[Array, ""]
    seed: UInt32[Array, ""]
    members: MemberState


# Clipping comes before and the learning rate after it, see `dynaprobe.training.update.update_member`.
OPTIMISER = optax.scale_by_adam()


def initial_state(ensemble: Ensemble, settings: FitSettings, measures: tuple[str, ...], *, seed: int) -> FitState:
    """The state before the first update; also the template into which a saved state is read.

    Args:
        ensemble: the untrained networks.
        settings: settings of the fit.
        measures: names that `task.performance` returns.
        seed: seed of the fit.
    """
    n_members = ensemble.n_members

    def empty() -> Float[Array, "*member update"]:
        return _filled((n_members, settings.n_updates), np.nan)

    parameters = eqx.filter(ensemble.networks, ensemble.networks.trainable())
    # Moments and counts of Adam start at 0.
    moments = jax.eval_shape(jax.vmap(OPTIMISER.init), parameters)
    history = History(
        **{name: empty() for name in _HISTORY_NAMES}, validation={name: empty() for name in sorted(measures)}
    )
    members = MemberState(
        network=ensemble.networks,
        optimiser=jax.tree.map(lambda leaf: _filled(leaf.shape, 0, leaf.dtype), moments),
        phase=_filled((n_members,), Phase.TRAINING, np.int32),
        stopped_at=_filled((n_members,), -1, np.int32),
        best=ensemble.networks,
        best_cost=_filled((n_members,), np.inf),
        best_update=_filled((n_members,), -1, np.int32),
        n_stale=_filled((n_members,), 0, np.int32),
        history=history,
    )
    return FitState(_filled((), 0, np.int32), _filled((), seed, np.uint32), members)


def _filled(shape: tuple[int, ...], value: float, dtype: DTypeLike = np.float32) -> Array:
    """As `jnp.full`, which compiles a program for every shape."""
    filled: Array = jax.device_put(np.full(shape, value, dtype))
    return filled


def check_resumable(state: FitState, fresh: FitState) -> None:
    """Refuse to continue a state that belongs to another fit.

    Args:
        state: the state to continue.
        fresh: the initial state of the fit asked for.

    Raises:
        SettingsError: when seed, ensemble or number of updates differ.
    """
    if int(state.seed) != int(fresh.seed):
        raise SettingsError(
            "seed",
            rule=f"be that of the fit to resume ({int(state.seed)})",
            received=int(fresh.seed),
            remedy="Give the same seed, or start a new fit",
        )
    alike = eqx.tree_equal(jax.tree.map(lambda _: 0, state), jax.tree.map(lambda _: 0, fresh)) is True and all(
        a.shape == b.shape and a.dtype == b.dtype
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(fresh), strict=True)
    )
    if not alike:
        raise SettingsError(
            "resume",
            rule="be a state of the same ensemble and number of updates",
            received=f"{state.members.history.loss.shape} members and updates",
            remedy=f"Expected {fresh.members.history.loss.shape}; resume with the settings of the first run",
        )
