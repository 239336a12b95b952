"""The settings of the study, and the named sets of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dynaprobe.core.settings import Settings
from dynaprobe.model.settings import ActivationName, NetworkSettings
from dynaprobe.study.battery import BatterySettings
from dynaprobe.study.jobs import check_one_clock
from dynaprobe.study.probing import ProbeSettings
from dynaprobe.study.study import SimulatedRecording
from dynaprobe.tasks.reach import DelayedReach, Visibility
from dynaprobe.tasks.reach_axes import reach_variant
from dynaprobe.training.settings import FitSettings, Weight

Activations = Annotated[tuple[ActivationName, ...], Field(min_length=1)]
Penalties = Annotated[tuple[Weight, ...], Field(min_length=1)]
DelayLaw = Literal["mixed", "delayed", "short", "long"]
Bar = Annotated[float, Field(gt=0, lt=1)]

# Our choice, by search on the protocol's task and its variants. A rate of 1e-2 learns the task with the target in
# sight in 200 updates, but not those in which it goes off; from 3e-3 both activations learn all of them. Every
# network of a preset gets the same.
TRAINING = FitSettings(
    n_updates=2000,
    batch_size=64,
    learning_rate=3e-3,
    learning_rate_end=1e-4,
    warmup_updates=30,
    checkpoint_every=100,
)


class Variant(Settings):
    """Cells on a variant of the task: when the target is seen, and how long the delay is.

    Attributes:
        visibility: row of `dynaprobe.tasks.reach_axes.VISIBILITY`.
        delay_law: row of `dynaprobe.tasks.reach_axes.DELAY_LAWS`.
        activations, rate_penalties: the cells, every combination.
    """

    visibility: Visibility
    delay_law: DelayLaw = "delayed"
    activations: Activations = ("tanh", "relu")
    rate_penalties: Penalties = (0.0,)


class Kao2019Settings(Settings):
    """Settings of the study; defaults are those of the protocol.

    Attributes:
        task: the delayed reach; its directions and its delay in analyses are taken from the recording.
        network: what all networks share; `activations` sets the activation.
        fit: training; `rate_penalties` sets the rate penalty.
        activations, rate_penalties: the grid of the paper, on the task as it is.
        variants: further cells on variants of the task.
        sizes, weight_penalties: where given, further axes of every cell: numbers of units, and weights of the
            penalty on all weights.
        n_seeds: networks of every cell.
        battery: how networks are compared with the recording.
        probes: how networks are probed.
        simulated: the recording that is made where none is given.
        reproduces: the bar of claims 1 and 2, as a fraction of the way from surrogates to neurons (our choice).
        follows: the bar of claim 4 for switched targets, a share of trials (our choice).
    """

    task: DelayedReach = DelayedReach()
    network: NetworkSettings = NetworkSettings()
    fit: FitSettings = TRAINING
    activations: Activations = ("tanh", "relu")
    rate_penalties: Penalties = (0.0, 1e-4, 1e-3, 1.9e-3, 1e-2, 1e-1, 1.0)
    variants: tuple[Variant, ...] = ()
    sizes: tuple[Annotated[int, Field(ge=2)], ...] = ()
    weight_penalties: tuple[Weight, ...] = ()
    n_seeds: Annotated[int, Field(ge=1)] = 5
    battery: BatterySettings = BatterySettings()
    probes: ProbeSettings = ProbeSettings()
    simulated: SimulatedRecording = SimulatedRecording()
    reproduces: Bar = 0.5
    follows: Bar = 0.5

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_one_clock(self.task, self.network)
        for name in ("activations", "rate_penalties", "sizes", "weight_penalties", "variants"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                # The same network would count twice, and intervals over seeds would be too narrow.
                raise ValueError(f"{name} are different from one another")
        for variant in self.variants:
            task = reach_variant(self.task, visibility=variant.visibility, delay_law=variant.delay_law)
            if task == self.task:
                raise ValueError(
                    f"variants differ from the task itself, not {variant.visibility} with {variant.delay_law} "
                    f"delays"
                )
        return self


_ALL: tuple[ActivationName, ...] = ("tanh", "relu", "softplus", "rectified_tanh", "sigmoid")


def _variants(activations: tuple[ActivationName, ...], rate_penalties: tuple[float, ...]) -> tuple[Variant, ...]:
    """Tasks on which mechanisms differ, and the controls."""
    return tuple(
        Variant(visibility=visibility, activations=activations, rate_penalties=rate_penalties)
        for visibility in ("off_around_go", "until_go", "from_go")
    )


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "network.n_units": 50,
        "fit.n_updates": 300,
        "fit.batch_size": 32,
        "fit.learning_rate": 2e-2,
        "activations": ("tanh",),
        "rate_penalties": (0.0, 1e-2),
        "n_seeds": 2,
        "battery.comparison.n_splits": 2,
        "battery.comparison.n_floor": 20,
        "battery.comparison.n_chance": 200,
        "battery.comparison.units.n_permutations": 200,
        "battery.comparison.units.n_latency_null": 100,
        "battery.comparison.n_surrogates": 19,
        "battery.n_fixed_point_starts": 32,
        "probes.noise_sd": (0.0, 0.3, 1.0),
        "probes.n_noise_trials": 20,
        "probes.n_fixed_point_starts": 32,
    },
    "demo": {
        "fit.n_updates": 1500,
        "rate_penalties": (0.0, 1e-2),
        "variants": (Variant(visibility="until_go"),),
        "n_seeds": 4,
        "battery.comparison.n_splits": 4,
        "battery.comparison.n_floor": 50,
        "battery.comparison.units.n_latency_null": 100,
        "battery.comparison.n_surrogates": 39,
        "battery.n_fixed_point_starts": 48,
        "probes.noise_sd": (0.0, 0.1, 0.3, 1.0),
        "probes.n_noise_trials": 20,
        "probes.n_fixed_point_starts": 48,
    },
    "standard": {
        "rate_penalties": (0.0, 1.9e-3, 1e-1),
        "variants": _variants(("tanh", "relu"), (1.9e-3,)),
        "battery.n_fixed_point_starts": 128,
    },
    "full": {
        "fit.n_updates": 4000,
        "activations": _ALL,
        "variants": _variants(_ALL, (0.0, 1.9e-3, 1e-1)),
        "n_seeds": 10,
        "battery.comparison.n_splits": 20,
        "battery.comparison.n_floor": 200,
    },
}
