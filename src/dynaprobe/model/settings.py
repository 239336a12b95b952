"""Settings of a network."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from dynaprobe.core.settings import Settings
from dynaprobe.model.activations import activation


def _known(name: str) -> str:
    activation(name)
    return name


# A row of the table of activations: the table is the only list of names.
ActivationName = Annotated[str, AfterValidator(_known)]
Noise = Annotated[float, Field(ge=0)]


class NetworkSettings(Settings):
    """A leaky network of rate units and its start; defaults of Kao (2019), see `dynaprobe.model.rnn.CTRNN`.

    Attributes:
        n_units: number of units N.
        activation: a row of `dynaprobe.model.activations.ACTIVATIONS`.
        tau_ms: time constant of every unit.
        dt_ms: step; must equal that of the task. ``dt_ms = tau_ms`` gives the plain discrete network.
        noise_state: s_rec; a unit without input fluctuates with about this standard deviation (exact as dt -> 0).
        noise_input: s_in, for all input channels, or one value per channel.
        spectral_radius: g, largest eigenvalue modulus of the initial recurrent weights.
        density: fraction of recurrent connections that exist.
        dale_excitatory_fraction: fraction of excitatory units; None for units of mixed sign.
    """

    n_units: Annotated[int, Field(ge=1)] = 100
    activation: ActivationName = "tanh"
    tau_ms: Annotated[float, Field(gt=0)] = 50.0
    dt_ms: Annotated[float, Field(gt=0)] = 10.0
    noise_state: Noise = 0.05
    noise_input: Noise | tuple[Noise, ...] = 0.05
    spectral_radius: Annotated[float, Field(ge=0)] = 1.1
    density: Annotated[float, Field(gt=0, le=1)] = 1.0
    dale_excitatory_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dt_ms > self.tau_ms:
            raise ValueError(f"dt_ms ({self.dt_ms:g}) does not exceed tau_ms ({self.tau_ms:g})")
        return self
