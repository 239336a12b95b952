"""What training minimises: masked squared error plus penalties, one row each in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.trials import Trials
from dynaprobe.model.rnn import AbstractNetwork

Scalar = Float[Array, ""]


class Activity(eqx.Module):
    """What a penalty may look at, time-major.

    Attributes:
        rates: r.
        valid: 1 from the start of a trial to the last bin in which an output is asked for, 0 in the padding.
    """

    rates: Float[Array, "time trial unit"]
    valid: Float[Array, "time trial"]


@dataclass(frozen=True)
class Penalty:
    """One row of the table.

    Attributes:
        summary: the term as an equation.
        term: the term of a network and its activity, before its weight. None for the vanishing-gradient term,
            which is no function of these: it lives in the backward pass (`dynaprobe.model.recurrence.evolve`).
    """

    summary: str
    term: Callable[[AbstractNetwork, Activity], Scalar] | None


def _mean_squared_rate(network: AbstractNetwork, activity: Activity) -> Scalar:
    del network
    n_values = jnp.sum(activity.valid) * activity.rates.shape[-1]
    return jnp.sum(activity.valid[..., None] * activity.rates**2) / n_values


def _mean_squared_weight(matrix: str) -> Callable[[AbstractNetwork, Activity], Scalar]:
    def term(network: AbstractNetwork, activity: Activity) -> Scalar:
        del activity
        return jnp.mean(network.weights()[matrix] ** 2)

    return term


# By name of the setting (and of the ensemble's hyperparameter) that holds the weight.
PENALTIES: dict[str, Penalty] = {
    "penalty_rate": Penalty("mean r^2 over trials, valid times and units", _mean_squared_rate),
    "penalty_weight_in": Penalty("mean W_in^2", _mean_squared_weight("in")),
    "penalty_weight_rec": Penalty("mean W_rec^2", _mean_squared_weight("rec")),
    "penalty_weight_out": Penalty("mean W_out^2", _mean_squared_weight("out")),
    "penalty_vanishing": Penalty("mean (|(dx_t+1/dx_t)' dE/dx_t+1| / |dE/dx_t+1| - 1)^2", None),
}


class Terms(eqx.Module):
    """The cost of one batch and its parts.

    Attributes:
        cost: loss + penalties; the vanishing-gradient term appears only together with gradients.
        loss: the masked mean squared error.
        outputs: z.
    """

    cost: Scalar
    loss: Scalar
    outputs: Float[Array, "trial time output"]


def masked_loss(outputs: Float[Array, "..."], targets: Float[Array, "..."], mask: Float[Array, "..."]) -> Scalar:
    """Mean squared error ``sum m (z - target)^2 / sum m`` over everything the mask m asks for."""
    return jnp.sum(mask * (outputs - targets) ** 2) / jnp.sum(mask)


def valid_bins(mask: Float[Array, "trial time output"]) -> Float[Array, "time trial"]:
    """1 up to and including the last bin in which a trial asks for something, 0 after it."""
    asked = jnp.any(mask > 0, axis=-1).T
    return jax.lax.cummax(asked.astype(mask.dtype), axis=0, reverse=True)


def cost(
    network: AbstractNetwork, penalties: Mapping[str, Scalar], trials: Trials, key: PRNGKeyArray | None
) -> Terms:
    """Loss and penalties of one network on one batch.

        cost = sum m (z - target)^2 / sum m + sum_k lambda_k P_k

    The gradient with respect to the weights holds the vanishing-gradient term as well, and the gradient with
    respect to ``penalties["penalty_vanishing"]`` is that term; see `dynaprobe.model.recurrence.evolve`.

    Args:
        network: one network.
        penalties: lambda_k for every row of `PENALTIES`.
        trials: the batch.
        key: key of the noise; None runs without.
    """
    valid = valid_bins(trials.mask)
    drive = network.drive(jnp.swapaxes(trials.inputs, 0, 1), key)
    start = jnp.broadcast_to(network.initial_state(), drive.shape[1:])
    _, rates = network.evolve(drive, start, penalties["penalty_vanishing"] * valid / jnp.sum(valid))
    outputs = jnp.swapaxes(network.readout(rates), 0, 1)
    loss = masked_loss(outputs, trials.targets, trials.mask)
    activity = Activity(rates, valid)
    terms = [penalties[name] * row.term(network, activity) for name, row in PENALTIES.items() if row.term]
    return Terms(loss + sum(terms), loss, outputs)


def check_hyperparameters(names: Mapping[str, object]) -> None:
    """Refuse hyperparameters of an ensemble that training does not know.

    Raises:
        SettingsError: when a name is not a row of `PENALTIES`.
    """
    for name in names:
        if name not in PENALTIES:
            raise SettingsError(
                "hyperparameter",
                rule=f"be one of {', '.join(PENALTIES)}",
                received=name,
                remedy="Rename it, or add a row to the table of penalties",
            )
