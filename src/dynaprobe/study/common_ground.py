"""What several candidates share: directions, windows, and the recording that networks are rendered like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.recordings.session import Recording, Session
from dynaprobe.study.battery import MIN_CONDITIONS, directions_deg
from dynaprobe.study.candidates import Candidate
from dynaprobe.study.comparison import ComparisonSettings, Timing, resolve, timing, within

# Directions of two recordings this near to each other are one direction.
SAME_DEG = 1.0
# Trials a direction where no recording says how many there are.
OWN_REPEATS = 20
# Where there are condition averages alone, nothing is cut around the go cue.
NO_DELAY_MS = 1000.0


@dataclass(frozen=True)
class CommonGround:
    """What all candidates of a comparison go through.

    Attributes:
        settings: preprocessing with every window given.
        facts: timing that networks follow: the shortest delay, the median repeats.
        directions_deg: the directions all of them have.
        has_recording: whether there is a recording that networks are rendered like.
        account: sentences on what was chosen and left out.
    """

    settings: ComparisonSettings
    facts: Timing
    directions_deg: tuple[float, ...]
    has_recording: bool
    account: tuple[str, ...]


def common_ground(
    candidates: Sequence[Candidate], reference: str | None, settings: ComparisonSettings
) -> CommonGround:
    """Find what the candidates share, from facts of theirs that do not depend on the order they are named in.

    Windows fit the shortest delay, so that in no candidate the window from target onset runs into the movement.

    Args:
        candidates: all of them, the reference included.
        reference: the candidate that networks have as many trials as, where one was named.
        settings: preprocessing, windows left open or not.

    Raises:
        DataError: other conditions than directions, no three directions that all share, an event that a recording
            lacks, a delay without room for the windows.
    """
    recordings = {c.name: c.recording for c in candidates if c.recording is not None}
    tables = {name: directions_deg(recording) for name, recording in recordings.items()}
    tables |= _directions_of_averages(candidates)
    if not recordings:
        tables |= _directions_of_networks(candidates)
    shared = shared_directions(tables) if tables else ()
    clocks = {name: timing(recording) for name, recording in recordings.items()} or _timing_of_networks(candidates)
    facts = Timing(
        delay_ms=min((clock.delay_ms for clock in clocks.values()), default=NO_DELAY_MS),
        reaction_time_ms=float(np.median([clock.reaction_time_ms for clock in clocks.values()] or [0.0])),
        n_repeats=clocks[reference].n_repeats
        if reference in clocks
        else int(np.median([clock.n_repeats for clock in clocks.values()] or [1])),
    )
    resolved = resolve(settings, facts)
    cut: list[str] = []
    if not clocks:
        resolved, cut = _as_far_as_averages(resolved, candidates)
    return CommonGround(
        settings=resolved,
        facts=facts,
        directions_deg=shared,
        has_recording=bool(recordings),
        account=(*_account(tables, clocks, shared, facts), *cut),
    )


def shared_directions(tables: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """The directions that all tables hold, round the circle and within a degree, as the first by name has them.

    Raises:
        DataError: fewer than cross-validation over directions needs.
    """
    names = sorted(tables)
    shared = [
        direction
        for direction in tables[names[0]]
        if all(_position(direction, tables[other]) is not None for other in names[1:])
    ]
    if len(shared) < MIN_CONDITIONS:
        shown = "; ".join(f"{name}: {', '.join(f'{d:g}' for d in tables[name])}" for name in names)
        raise DataError(
            "candidates",
            rule=f"share at least {MIN_CONDITIONS} directions of the reach, within {SAME_DEG:g} degree",
            received=shown,
            remedy="Compare recordings of the same directions, or check --map direction=COLUMN",
        )
    return tuple(shared)


def _position(direction: float, among: Sequence[float]) -> int | None:
    apart = np.abs((np.asarray(among) - direction + 180.0) % 360.0 - 180.0)
    return int(apart.argmin()) if apart.size and apart.min() <= SAME_DEG else None


def on_common_directions(recording: Recording, shared: Sequence[float]) -> Recording:
    """The trials of the shared directions, which carry the shared values: 359.9 and 0 are one label then."""
    own = directions_deg(recording)
    places = {row: k for k, direction in enumerate(shared) if (row := _position(direction, own)) is not None}
    if len(own) == len(shared) and all(own[row] == shared[k] for row, k in places.items()):
        return recording
    renamed = {own[row]: float(shared[k]) for row, k in places.items()}
    return Recording(tuple(_with_directions(s, renamed) for s in recording.sessions), recording.source)


def _with_directions(session: Session, renamed: Mapping[float, float]) -> Session:
    kept = session.trials["direction_deg"].isin(list(renamed))
    trials = session.trials[kept].copy()
    trials["direction_deg"] = [renamed[value] for value in trials["direction_deg"]]
    # All else stays: without the width of its bins, counts would be cut into finer ones unnoticed.
    return replace(session, trials=trials)


def rate_ranges(populations: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """The units of several recordings side by side, in order of name: what networks are rendered like."""
    parts = [populations[name] for name in sorted(populations)]
    times = parts[0]["time"]
    plain = [part.reset_coords(drop=True).drop_vars("unit", errors="ignore") for part in parts]
    joined = xr.concat(
        plain, dim="unit", combine_attrs="override", join="override", coords="minimal", compat="override"
    )
    joined["time"].attrs.update(times.attrs)
    if "segment" in parts[0].coords:
        joined = joined.assign_coords(segment=parts[0]["segment"])
    return joined.transpose(*parts[0].dims)


def _directions_of_averages(candidates: Sequence[Candidate]) -> dict[str, tuple[float, ...]]:
    """Directions of the averages; where nothing else is compared, averages need none."""
    tables = {}
    for candidate in candidates:
        if candidate.averages is None:
            continue
        if "direction_deg" in candidate.averages.coords:
            tables[candidate.name] = tuple(float(value) for value in candidate.averages["direction_deg"].values)
        elif any(other.averages is None for other in candidates):
            raise DataError(
                "condition averages",
                rule="say which direction each condition is, as networks and other recordings do",
                received=f"{candidate.averages.sizes['condition']} conditions without directions",
                remedy="Name the array that holds them with --map direction=NAME",
                where=candidate.name,
            )
    return tables


def _as_far_as_averages(
    settings: ComparisonSettings, candidates: Sequence[Candidate]
) -> tuple[ComparisonSettings, list[str]]:
    """Windows around movement onset as far as all averages reach, and a sentence where they were cut."""
    found = settings
    for candidate in candidates:
        if candidate.averages is not None:
            found = within(found, candidate.averages)
    if found == settings:
        return settings, []
    (low, high), (left, right) = found.move_window_ms, settings.move_window_ms
    return found, [
        f"Windows around movement onset are cut to {low:g} to {high:g} ms, of {left:g} to {right:g} ms, as far as "
        "the averages reach."
    ]


def _directions_of_networks(candidates: Sequence[Candidate]) -> dict[str, tuple[float, ...]]:
    """Directions of the tasks; a task whose conditions are something else cannot be asked for directions."""
    tables = {}
    for candidate in candidates:
        for network in candidate.networks:
            columns = network.task.conditions.columns
            if "direction_deg" not in columns:
                raise DataError(
                    "networks",
                    rule="have been trained on reaches in several directions",
                    received=f"{network.task_name}, whose conditions are {', '.join(columns)}",
                    remedy="Compare networks of a reaching task",
                    where=candidate.name,
                )
            at = columns.index("direction_deg")
            values = dict.fromkeys(float(row[at]) for row in network.task.conditions.rows)
            tables[candidate.name] = tuple(values)
    return tables


def _timing_of_networks(candidates: Sequence[Candidate]) -> dict[str, Timing]:
    """The analysis trial of the tasks; as many repeats as a usual session has of a direction."""
    clocks = {}
    for candidate in candidates:
        for network in candidate.networks:
            task = network.task
            delay_ms = float(getattr(task, "analysis_delay_ms", 0.0))
            clocks[candidate.name] = Timing(delay_ms, float(getattr(task, "reaction_time_ms", 0.0)), OWN_REPEATS)
    return clocks


def _account(
    tables: Mapping[str, Sequence[float]], clocks: Mapping[str, Timing], shared: Sequence[float], facts: Timing
) -> tuple[str, ...]:
    sentences = []
    if shared:
        sentences.append(f"Compared on {len(shared)} directions: {', '.join(f'{d:g}' for d in shared)} degrees.")
    for name, table in tables.items():
        if len(table) > len(shared):
            sentences.append(f"{name} has {len(table) - len(shared)} further directions, which are left out.")
    longer = {name: clock.delay_ms for name, clock in clocks.items() if clock.delay_ms > facts.delay_ms}
    if longer:
        others = ", ".join(f"{name} ({delay:g} ms)" for name, delay in longer.items())
        sentences.append(
            f"Windows fit the shortest median delay, {facts.delay_ms:g} ms; later bins of {others} are left out."
        )
    return tuple(sentences)
