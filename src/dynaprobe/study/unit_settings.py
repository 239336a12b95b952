"""How single units are analysed."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from dynaprobe.core.settings import Settings

Fraction = Annotated[float, Field(gt=0, lt=1)]


class UnitSettings(Settings):
    """What the analyses of single trials and of single units take.

    Attributes:
        baseline_window_ms: around target onset; the control epoch of tuning, and what responses are measured from.
        latency_window_ms: where latencies are looked for, from target onset.
        latency_sd_ms: kernel of the rates behind latencies, narrow because it makes them early.
        latency_run_ms: how long a response must last to count.
        n_permutations: behind the p-values of tuning, of its correlation and of distances.
        n_latency_null: nulls, and draws of trials, behind latencies.
        n_surrogates: surrogates behind the floor of the distance of unit features.
        false_discovery: rate at which units count as selective, responsive or matched.
    """

    baseline_window_ms: tuple[float, float] = (-150.0, 0.0)
    latency_window_ms: tuple[float, float] = (0.0, 500.0)
    latency_sd_ms: Annotated[float, Field(ge=0)] = 10.0
    latency_run_ms: Annotated[float, Field(gt=0)] = 40.0
    n_permutations: Annotated[int, Field(ge=1)] = 1000
    n_latency_null: Annotated[int, Field(ge=19)] = 200
    n_surrogates: Annotated[int, Field(ge=1)] = 20
    false_discovery: Fraction = 0.05

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("baseline_window_ms", "latency_window_ms"):
            start_ms, stop_ms = getattr(self, name)
            if not start_ms < stop_ms:
                raise ValueError(f"{name} starts before it stops")
        return self
