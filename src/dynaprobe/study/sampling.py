"""Candidates become samples: recordings averaged, networks rendered like a recording, all on one set of bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import xarray as xr

from dynaprobe.analysis.matched import match
from dynaprobe.core.errors import DataError, RatesError
from dynaprobe.study.battery import MIN_CONDITIONS
from dynaprobe.study.candidates import Candidate
from dynaprobe.study.common_ground import CommonGround, on_common_directions, rate_ranges
from dynaprobe.study.comparison import Population, population, softened_range
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.own_rates import own_population, softening_of
from dynaprobe.study.render import render
from dynaprobe.study.sample import PairSettings, Sample

OnSample = Callable[[int, str], None]


@dataclass(frozen=True)
class Sampled:
    """What all candidates have become.

    Attributes:
        samples: by candidate, one for a recording and one for each network.
        populations: by the name of the sample; none where there are averages alone.
        account: sentences on what was left out.
    """

    samples: Mapping[str, Sequence[Sample]]
    populations: Mapping[str, Population]
    account: tuple[str, ...]


def sample_all(
    candidates: Sequence[Candidate],
    ground: CommonGround,
    *,
    reference: str | None,
    seed: int,
    on_sample: OnSample | None = None,
) -> Sampled:
    """Average recordings, render networks, and bring all to the conditions and bins they share.

    Args:
        candidates: what is compared.
        ground: what they share.
        reference: the recording whose range of rates and number of units networks take; None takes the units of
            all recordings together for the range, and the number of the smallest.
        seed: of halves, noise and spikes, each under the name of the candidate.
        on_sample: hears how many samples are made, and of what.

    Raises:
        DataError: a recording without usable units, or nothing shared.
    """
    populations: dict[str, Population] = {}
    recorded: dict[str, xr.DataArray] = {}
    samples: dict[str, list[Sample]] = {}
    account: list[str] = []
    done = 0
    for candidate in sorted(candidates, key=lambda one: one.kind == "networks"):
        members = _heard(candidate, ground, recorded, reference=reference, seed=seed)
        contents = {f"{candidate.name}/{network.id}": network.content for network in candidate.networks}
        samples[candidate.name] = []
        for name, made in members:
            done += 1
            if on_sample is not None:
                on_sample(done, name)
            if isinstance(made, DataError):
                account.append(f"{name} is left out: {made}")
            elif isinstance(made, Population):
                populations[name] = made
                if candidate.recording is not None:
                    recorded[name] = made.rates
                content = contents.get(name, "")
                samples[candidate.name].append(
                    Sample(candidate.name, name, made.rates, made.halves, content=content)
                )
            else:
                samples[candidate.name].append(made)
        if not samples[candidate.name]:
            account.append(f"{candidate.name} has nothing left to compare.")
            del samples[candidate.name]
    matched, left_out = on_shared_bins(samples)
    return Sampled(matched, populations, (*account, *left_out))


def count_samples(candidates: Sequence[Candidate]) -> int:
    """How many samples there will be."""
    return sum(max(1, len(candidate.networks)) for candidate in candidates)


def check_units(samples: Mapping[str, Sequence[Sample]], settings: PairSettings, *, n_pcs: int) -> int:
    """The number of units of every sample in every score.

    Raises:
        DataError: too few units in the smallest sample.
    """
    counts = {sample.name: sample.n_units for members in samples.values() for sample in members}
    smallest = min(counts, key=lambda name: (counts[name], name))
    wanted = settings.n_units or counts[smallest]
    least = 2 * n_pcs
    if wanted < least or counts[smallest] < wanted:
        raise DataError(
            "candidates",
            rule=f"have at least {max(least, wanted)} usable units each",
            received=f"{counts[smallest]} of {smallest}",
            remedy="Leave it out, pool more sessions, or lower pairs.n_units or comparison.n_pcs",
        )
    return wanted


def on_shared_bins(samples: Mapping[str, Sequence[Sample]]) -> tuple[dict[str, list[Sample]], list[str]]:
    """All samples on the conditions and bins that all of them have, and what was left out.

    Raises:
        DataError: nothing that all share.
    """
    everyone = [sample for name in sorted(samples) for sample in samples[name]]
    shared = everyone[0].rates
    try:
        for sample in everyone[1:]:
            shared = match(shared, sample.rates).a
        found = {name: [_on(sample, shared) for sample in members] for name, members in samples.items()}
    except RatesError as error:
        raise DataError(
            "candidates",
            rule="share conditions and time bins",
            received=str(error),
            remedy="Compare recordings of one task, aligned to the same events and binned alike",
        ) from None
    if shared.sizes["condition"] < MIN_CONDITIONS:
        raise DataError(
            "candidates",
            rule=f"share at least {MIN_CONDITIONS} conditions, as cross-validation over them needs",
            received=", ".join(f"{sample.rates.sizes['condition']} of {sample.name}" for sample in everyone),
            remedy="Compare recordings of more conditions, or check which axis of an array is which",
        )
    left_out = [
        f"{sample.name}: {sample.rates.sizes[dim] - shared.sizes[dim]} of {sample.rates.sizes[dim]} {word} have "
        "no counterpart in all others and are left out."
        for sample in everyone
        for dim, word in (("condition", "conditions"), ("time", "time bins"))
        if sample.rates.sizes[dim] > shared.sizes[dim]
    ]
    return found, left_out


def _on(sample: Sample, shared: xr.DataArray) -> Sample:
    matched = match(shared, sample.rates)
    halves = [(matched.take_b(first), matched.take_b(second)) for first, second in sample.halves]
    return replace(sample, rates=matched.b, halves=halves)


def _heard(
    candidate: Candidate,
    ground: CommonGround,
    recorded: Mapping[str, xr.DataArray],
    *,
    reference: str | None,
    seed: int,
) -> Iterator[tuple[str, Population | Sample | DataError]]:
    """The samples of a candidate one after another; of a network that cannot be aligned, the error."""
    if candidate.recording is not None:
        restricted = on_common_directions(candidate.recording, ground.directions_deg)
        yield candidate.name, population(restricted, ground.settings, seed=seed)
    elif candidate.averages is not None:
        yield candidate.name, _averages(candidate.name, candidate.averages, ground)
    for network in candidate.networks:
        name = f"{candidate.name}/{network.id}"
        try:
            yield name, _network(network, name, ground, recorded, reference=reference, seed=seed)
        except DataError as error:
            # A network that hardly moves in some direction cannot be aligned to its movement.
            yield name, error


def _network(
    network: TrainedNetwork,
    name: str,
    ground: CommonGround,
    recorded: Mapping[str, xr.DataArray],
    *,
    reference: str | None,
    seed: int,
) -> Population:
    changes = {"directions_deg": ground.directions_deg, "analysis_delay_ms": ground.facts.delay_ms}
    matched = replace(network, task=network.task.with_changes(changes, where="the comparison"))
    if not recorded:
        return own_population(matched, ground.settings, n_repeats=ground.facts.n_repeats, seed=seed, name=name)
    known = None if reference is None else recorded.get(reference)
    like = rate_ranges(recorded) if known is None else known
    n_units = min(part.sizes["unit"] for part in ([known] if known is not None else recorded.values()))
    rendered = render(
        matched.network,
        matched.task,
        like=like,
        n_repeats=ground.facts.n_repeats,
        n_units=n_units,
        after_onset_ms=ground.settings.move_window_ms[1],
        seed=seed,
        name=name,
    )
    return population(rendered, ground.settings, seed=seed)


def _averages(name: str, rates: xr.DataArray, ground: CommonGround) -> Sample:
    """Condition averages without trials: both halves are all there is."""
    softening = softening_of(rates, ground.settings.softening_hz)
    whole = (rates / softened_range(rates, softening)).assign_attrs(rates.attrs)
    return Sample(name, name, whole, [(whole, whole)] * ground.settings.n_splits, has_trials=False)
