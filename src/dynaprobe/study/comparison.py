"""What is compared: a recording as a population ready for analysis, and how a network is scored against it.

Networks come as spiking recordings (see `dynaprobe.study.render`), so both sides go through the same lines. What
is computed of each side alone stands in `dynaprobe.study.describe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from dynaprobe.analysis.cca import cca_with_bounds
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogate_families import check_families
from dynaprobe.analysis.unit_match import unit_match
from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.core.preprocess import concatenate_segments, soft_normalise, window
from dynaprobe.core.rates import bin_width_ms
from dynaprobe.core.settings import Settings
from dynaprobe.recordings.binning import PsthSettings, Segment, binned
from dynaprobe.recordings.psth import average
from dynaprobe.recordings.session import Recording
from dynaprobe.study.single_trials import SingleTrials, single_trials
from dynaprobe.study.unit_settings import UnitSettings

Window = tuple[float, float]


class ComparisonSettings(Settings):
    """How populations are preprocessed and compared.

    Attributes:
        psth: bins, kernel and least number of trials.
        target_window_ms: window around target onset; None ends it at the recording's median go cue.
        move_window_ms: window around movement onset.
        preparatory_window_ms: within the delay, from target onset; None takes 500-1000 ms for delays of a second
            and more, 150-450 ms for shorter ones.
        peri_movement_window_ms: around movement onset.
        jpca_window_ms: around movement onset.
        softening_hz: constant of the soft normalisation, in spikes/s.
        n_pcs: principal components for jPCA and CCA.
        max_alignment_dims: cap on the dimensions of the alignment index.
        n_motifs: clusters of PSTH shapes.
        n_splits: random halvings of the trials.
        n_floor: surrogates behind every floor.
        n_chance: random subspaces behind the chance alignment.
        units: how single units are analysed.
        n_surrogates: surrogates behind every test of a population alone.
        families: what surrogates of jPCA keep, names of `dynaprobe.analysis.surrogate_families`.
    """

    psth: PsthSettings = PsthSettings()
    target_window_ms: Window | None = None
    move_window_ms: Window = (-250.0, 350.0)
    preparatory_window_ms: Window | None = None
    peri_movement_window_ms: Window = (-50.0, 250.0)
    jpca_window_ms: Window = (-50.0, 150.0)
    softening_hz: Annotated[float, Field(ge=0)] = 5.0
    n_pcs: Annotated[int, Field(ge=2, multiple_of=2)] = 6
    max_alignment_dims: Annotated[int, Field(ge=1)] = 4
    n_motifs: Annotated[int, Field(ge=2)] = 6
    n_splits: Annotated[int, Field(ge=1)] = 10
    n_floor: Annotated[int, Field(ge=1)] = 100
    n_chance: Annotated[int, Field(ge=1)] = 1000
    units: UnitSettings = UnitSettings()
    n_surrogates: Annotated[int, Field(ge=1)] = 100
    families: Annotated[tuple[str, ...], Field(min_length=1)] = ("T", "TN", "TNC", "covariance")

    @model_validator(mode="after")
    def _check(self) -> Self:
        within = {
            "target_window_ms": None,
            "move_window_ms": None,
            "preparatory_window_ms": "target_window_ms",
            "peri_movement_window_ms": "move_window_ms",
            "jpca_window_ms": "move_window_ms",
        }
        check_families(self.families)
        for name, outer_name in within.items():
            inner, outer = getattr(self, name), getattr(self, outer_name) if outer_name else None
            if inner and not inner[0] < inner[1]:
                raise ValueError(f"{name} starts before it stops")
            if inner and outer and (inner[0] < outer[0] or inner[1] > outer[1]):
                raise ValueError(f"{name} lies inside {outer_name}")
        return self


@dataclass(frozen=True)
class Timing:
    """What the windows of a comparison are measured from.

    Attributes:
        delay_ms: median time from target onset to go cue.
        reaction_time_ms: median time from go cue to movement onset.
        n_repeats: median number of trials per session and condition.
    """

    delay_ms: float
    reaction_time_ms: float
    n_repeats: int


@dataclass(frozen=True)
class Population:
    """A recording, ready for analysis.

    Attributes:
        rates: PSTHs in spikes/s, both alignments joined along time, dims ``(condition, time, unit)``.
        standard_error: their standard errors, same dims.
        n_trials: trials behind every PSTH, dims ``(condition, unit)``.
        halves: pairs of the same from disjoint halves of the trials, soft-normalised by the scale of all trials.
        left_out: what was left out on the way, by reason.
        trials: single trials of the same units, where the recording has them.
    """

    rates: xr.DataArray
    standard_error: xr.DataArray
    n_trials: xr.DataArray
    halves: Sequence[tuple[xr.DataArray, xr.DataArray]]
    left_out: Mapping[str, int]
    trials: SingleTrials = field(default_factory=SingleTrials)


def averages_population(rates: xr.DataArray) -> Population:
    """Condition averages of which there are no trials; what needs trials, halves or errors then says so."""
    unknown = xr.full_like(rates.isel(time=0, drop=True), np.nan)
    trials = SingleTrials(None, "averages over trials are all there is", "Give the recording with its trials")
    return Population(rates, xr.full_like(rates, np.nan), unknown, (), {}, trials)


def timing(recording: Recording) -> Timing:
    """Median delay, reaction time and number of repeats of a recording.

    Raises:
        DataError: when target onset, go cue or movement onset are missing, no trial has two in a row, or movement
            comes before the go cue.
    """
    for event in ("target_on", "go_cue", "move_onset"):
        if event not in recording.event_names:
            raise DataError(
                event,
                rule="be an event of the recording",
                received=f"the events {', '.join(recording.event_names)}",
                remedy=f"Name its column with --map {event}=COLUMN",
                where=recording.source,
            )
    frames = [session.trials for session in recording.sessions]

    def median_ms(first: str, second: str) -> float:
        spans = np.concatenate([(frame[second] - frame[first]).to_numpy(np.float64) for frame in frames])
        if not np.isfinite(spans).any():
            raise DataError(
                f"{first} and {second}",
                rule="both have a time in at least one trial",
                received=f"none in {spans.size} trials",
                remedy=f"Name other columns with --map {first}=COLUMN or --map {second}=COLUMN",
                where=recording.source,
            )
        return float(np.nanmedian(spans)) * 1e3

    delay_ms, reaction_time_ms = median_ms("target_on", "go_cue"), median_ms("go_cue", "move_onset")
    if reaction_time_ms <= 0:
        raise DataError(
            "move_onset",
            rule="come after go_cue, in the median trial",
            received=f"a median of {reaction_time_ms:g} ms after it",
            remedy="Name other columns with --map go_cue=COLUMN or --map move_onset=COLUMN",
            where=recording.source,
        )
    columns = list(recording.conditions.columns)
    repeats = np.concatenate([frame.groupby(columns).size().to_numpy() for frame in frames])
    # Files round event times; to the millisecond is what the windows need.
    return Timing(round(delay_ms), round(reaction_time_ms), int(np.median(repeats)))


def resolve(settings: ComparisonSettings, facts: Timing) -> ComparisonSettings:
    """The settings with every window given, those left open filled from the recording's timing.

    Raises:
        DataError: when the delay is too short for a preparatory window.
    """
    dt_ms = settings.psth.dt_ms
    long_delay = facts.delay_ms >= 1000 - dt_ms
    preparatory = settings.preparatory_window_ms or ((500.0, 1000.0) if long_delay else (150.0, 450.0))
    if preparatory[1] > facts.delay_ms + dt_ms:
        raise DataError(
            "preparatory_window_ms",
            rule=f"end before the go cue, at the median delay of {facts.delay_ms:g} ms",
            received=list(preparatory),
            remedy=_window_advice(facts.delay_ms, dt_ms),
        )
    target = settings.target_window_ms or (-50.0, max(preparatory[1], dt_ms * (facts.delay_ms // dt_ms)))
    return settings.with_changes({"target_window_ms": target, "preparatory_window_ms": preparatory})


# Windows around movement onset; what is analysed lies inside the first.
_AROUND_MOVE = ("move_window_ms", "peri_movement_window_ms", "jpca_window_ms")


def within(settings: ComparisonSettings, rates: xr.DataArray) -> ComparisonSettings:
    """The settings with windows around movement onset cut to what averages around it hold.

    They stay as they are for rates around another event, or where nothing would be left of one.
    """
    time = rates["time"]
    if time.attrs.get("event") != "move_onset" or "segment" in rates.coords:
        return settings
    first_ms, stop_ms = float(time[0]), float(time[-1]) + bin_width_ms(rates)
    cuts = {}
    for name in _AROUND_MOVE:
        low, high = getattr(settings, name)
        cuts[name] = max(low, first_ms), min(high, stop_ms)
    return settings.with_changes(cuts) if all(low < high for low, high in cuts.values()) else settings


def _window_advice(delay_ms: float, dt_ms: float) -> str:
    if delay_ms < 4 * dt_ms:
        return "Without a delay there is no preparation to compare; check the columns of target_on and go_cue"
    return f"Set preparatory_window_ms of the comparison inside it, e.g. [{delay_ms / 4:g}, {delay_ms:g}]"


def population(recording: Recording, settings: ComparisonSettings, *, seed: int) -> Population:
    """PSTHs of a recording around target onset and movement onset, and split halves of the same.

    Args:
        recording: a real one, or a network rendered as one.
        settings: resolved settings (see `resolve`).
        seed: of the random halves.
    """
    if settings.target_window_ms is None:
        raise DataError(
            "target_window_ms",
            rule="be resolved",
            received=None,
            remedy="Call resolve(settings, timing(recording))",
        )
    segments = [Segment("target_on", *settings.target_window_ms), Segment("move_onset", *settings.move_window_ms)]
    trials = binned(recording, segments, settings=settings.psth)
    whole = average(trials)
    rates = concatenate_segments([whole[s.event].mean for s in segments])
    scale = softened_range(rates, settings.softening_hz)
    halves = []
    for split in range(settings.n_splits):
        pair = [average(trials, half=half, seed=seed, split=split) for half in (0, 1)]
        joined = [concatenate_segments([half[s.event].mean for s in segments]) for half in pair]
        # Each half by the scale of all trials: the halves of one unit must not differ by their own noise's range.
        halves.append(tuple((half / scale).assign_attrs(half.attrs) for half in joined))
    return Population(
        rates=rates,
        standard_error=concatenate_segments([whole[s.event].standard_error for s in segments]),
        n_trials=whole[segments[0].event].n_trials,
        halves=halves,  # type: ignore[arg-type]
        left_out=whole[segments[0].event].left_out,
        trials=single_trials(
            recording,
            settings.psth,
            settings.units,
            target_window_ms=settings.target_window_ms,
            move_window_ms=settings.move_window_ms,
        ),
    )


def score(
    network: Population, recording: Population, settings: ComparisonSettings, *, seed: int
) -> dict[str, Result]:
    """How like all recorded neurons a network is, unit by unit and as a population, with the network's own null.

    The p-values ask whether surrogates of the network do as well. The ceiling of these records is what the very
    same neurons reach in other trials; where a network stands between chance and other neurons is for
    `dynaprobe.study.yardstick.place` to say. The network is represented by one half of its trials, as the
    recording is by halves.
    """
    model = network.halves[0][0]
    target = soft_normalise(recording.rates, constant=settings.softening_hz)
    model, target = conditions_alike(model), conditions_alike(target)
    halves = [tuple(conditions_alike(half) for half in pair) for pair in recording.halves]
    return {
        "unit_match": unit_match(model, halves, seed=seed, n_floor=settings.n_floor),  # type: ignore[arg-type]
        "cca": cca_with_bounds(
            model,
            target,
            halves_b=halves,  # type: ignore[arg-type]
            seed=seed,
            n_floor=settings.n_floor,
            n_pcs=settings.n_pcs,
            n_components=min(settings.n_pcs, target.sizes["condition"] - 1),
        ),
    }


def cut(rates: xr.DataArray, event: str, span_ms: Window | None) -> xr.DataArray:
    """The bins of one segment in a window."""
    assert span_ms is not None
    known = rates["time"].attrs.get("event")
    if "segment" in rates.coords:
        chosen = rates.isel(time=rates["segment"].values == event)
    elif known == event:
        chosen = rates
    else:
        raise RatesError(
            "rates",
            rule=f"be aligned to {event}",
            received=f"{known} alone",
            remedy="Give the recording with its trials, or averages around both events"
            if known in ("target_on", "move_onset")
            else "Name what happens at 0 ms with --map arrays.event=EVENT; other events need trials",
        )
    time = chosen["time"].assign_attrs(units="ms", event=event, dt_ms=bin_width_ms(rates))
    return window(chosen.assign_coords(time=time), start_ms=span_ms[0], stop_ms=span_ms[1])


def softened_range(rates: xr.DataArray, softening_hz: float) -> xr.DataArray:
    """What soft normalisation divides every unit by."""
    spread = rates.max(("condition", "time")) - rates.min(("condition", "time")) + softening_hz
    scale: xr.DataArray = xr.where(spread > 0, spread, 1.0)
    return scale


def conditions_alike(rates: xr.DataArray) -> xr.DataArray:
    """Rates with conditions numbered in order, so that two sides can be matched whatever their labels."""
    return rates.assign_coords(condition=np.arange(rates.sizes["condition"]))
