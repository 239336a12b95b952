"""What the probes of a run left in its folder, and which networks stand for their mechanism in figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from dynaprobe.core.errors import DataError
from dynaprobe.study.store import RunStore

# In the order in which figures show them.
MECHANISM_NAMES = ("initial_condition", "input_driven", "mixed", "unclear")
ENDS = ("", "_low", "_high")
# Figures that lay all networks over one another need no more than these.
OVERLAID = ("input_noise", "target_switch", "locations_sweep", "locations_radii")
# Reading whole files of all networks would take minutes.
READ_OF_ALL = (*OVERLAID, "mechanism", "account")
# What a cell on the task as it is has for a delay law.
AS_SET = "as set"
# Columns that networks bring along from the table of probes.
JOINED = ("visibility", "delay_law", "forced", "mechanism", "mechanism_index")


@dataclass(frozen=True)
class Example:
    """A network that stands for its mechanism.

    Attributes:
        id: of the network.
        mechanism: the verdict of the probes.
        name: as it stands in figures, mechanism and settings on lines of their own.
        groups: its probes, by name.
    """

    id: str
    mechanism: str
    name: str
    groups: Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class ProbeContents:
    """The probes of a run as the report needs them.

    Attributes:
        networks: a row per network: mechanism and numbers.
        confusion, associations, by_mechanism: tables over networks; None where missing.
        overlaid: results of all networks by kind (`OVERLAID`) and id.
        typical: of every mechanism the network of median mechanism index.
        nearest: of every mechanism the network most like the recording at both levels, or else the typical one.
        n_unseen: networks that learned and have no probes to draw.
    """

    networks: xr.Dataset
    confusion: xr.Dataset | None
    associations: xr.Dataset | None
    by_mechanism: xr.Dataset | None
    overlaid: Mapping[str, Mapping[str, xr.Dataset]]
    typical: tuple[Example, ...]
    nearest: tuple[Example, ...]
    n_unseen: int

    @property
    def mechanisms(self) -> dict[str, str]:
        """Verdict of every network, by id."""
        return dict(zip(_text(self.networks, "id"), _text(self.networks, "mechanism"), strict=True))


def words(name: str) -> str:
    """A name of the code as it is said: ``initial_condition`` is ``initial condition``."""
    return name.replace("_", " ")


def column(networks: xr.Dataset, name: str) -> np.ndarray:
    """Numbers of every network; NaN where the table has no such column."""
    if name not in networks.variables:
        return np.full(networks.sizes["network"], np.nan)
    return np.asarray(networks[name].values, dtype=np.float64)


def is_control(networks: xr.Dataset) -> np.ndarray:
    """Networks that never see their target before the go cue: they have no preparation to compare."""
    return np.array([visibility == "from_go" for visibility in _text(networks, "visibility")], dtype=bool)


def without_controls(networks: xr.Dataset, found: Mapping[str, xr.Dataset]) -> Mapping[str, xr.Dataset]:
    """What was found of networks that take part in the claims; of all where there are no others."""
    ids = networks["id"].values.astype(str)[~is_control(networks)].tolist()
    own = {name: data for name, data in found.items() if name in ids}
    return own or found


def shortest_delays_ms(networks: xr.Dataset, names: Collection[str]) -> list[float]:
    """The shortest delays with which some networks were trained, each once and growing; none where not noted."""
    found = column(networks, "shortest_delay_ms")[np.isin(_text(networks, "id"), list(names))]
    return sorted(set(found[np.isfinite(found)].tolist()))


def is_forced(networks: xr.Dataset) -> np.ndarray:
    """Networks whose task leaves them one mechanism."""
    return np.array([bool(forced) for forced in _text(networks, "forced")], dtype=bool)


def lower_score(networks: xr.Dataset) -> np.ndarray:
    """The lower of single-unit and population similarity: high where a network is alike at both levels."""
    lower: np.ndarray = np.minimum(column(networks, "single_unit"), column(networks, "population"))
    return lower


def _text(networks: xr.Dataset, name: str) -> list[str]:
    if name not in networks.variables:
        return [""] * networks.sizes["network"]
    return [str(value) for value in networks[name].values]


def gather_probes(store: RunStore, networks: xr.Dataset | None, missing: list[str]) -> ProbeContents | None:
    """Read what the probes found; None, and a sentence, where a run holds nothing of them.

    Args:
        store: the run.
        networks: its table of networks; None where that is missing.
        missing: takes a sentence on each thing that cannot be shown.
    """
    groups = _load(store, "results/mechanisms", missing) if store.path("results/mechanisms.nc").is_file() else {}
    files = {file.stem: file for file in sorted(store.path("probes").glob("[!.]*.nc"))}
    if "networks" not in groups and not (files and networks is not None):
        missing.append(
            "Mechanisms, noise, switched targets, new places and perturbations are not shown: the run holds no "
            "results of probes."
        )
        return None
    found = {name: _load(store, f"probes/{name}", missing, READ_OF_ALL) for name in files}
    for name, probes in found.items():
        if reason := str(probes["account"].attrs.get("reason", "")) if "account" in probes else "":
            missing.append(f"Network {name} could not be probed: {reason}")
    if "networks" in groups:
        table = groups["networks"]
    else:
        assert networks is not None
        table = _table(networks, found)
        missing.append("Tables over the probes of all networks are missing: the run has not come so far.")
    return _contents(table, groups, found, lambda name: _load(store, f"probes/{name}", missing))


def _contents(
    table: xr.Dataset,
    groups: Mapping[str, xr.Dataset],
    found: Mapping[str, dict[str, xr.Dataset]],
    load: Callable[[str], dict[str, xr.Dataset]],
) -> ProbeContents:
    """Put together what was read of all networks; `load` reads all of one that stands for its mechanism."""
    ids = _text(table, "id")
    # Of the order of the table; a file of a network that is not in it has no mechanism to be drawn by.
    known = {name: found[name] for name in ids if name in found}
    overlaid = {
        kind: {name: probes[kind] for name, probes in known.items() if kind in probes} for kind in OVERLAID
    }
    probed = np.array([bool(set(known.get(name, {})) - {"account"}) for name in ids], dtype=bool)
    index, both = column(table, "mechanism_index"), lower_score(table)
    typical, nearest = [], []
    read = cache(load)
    for mechanism in MECHANISM_NAMES:
        of_kind = probed & (np.array(_text(table, "mechanism")) == mechanism)
        if (of_kind & ~is_control(table)).any():
            of_kind &= ~is_control(table)
        if not of_kind.any():
            continue
        middle = _median(index, np.flatnonzero(of_kind))
        comparable = of_kind & np.isfinite(both)
        best = int(np.nanargmax(np.where(comparable, both, np.nan))) if comparable.any() else middle
        typical.append(_example(table, middle, read))
        nearest.append(_example(table, best, read))
    n_unseen = int((_learned(table) & ~probed).sum())
    tables = {name: groups.get(name) for name in ("confusion", "associations", "by_mechanism")}
    return ProbeContents(table, **tables, overlaid=overlaid, typical=tuple(typical), nearest=tuple(nearest),
                         n_unseen=n_unseen)  # fmt: skip


def _median(values: np.ndarray, rows: np.ndarray) -> int:
    """The row of the median, the lower of two in the middle; ties go to the first, NaN last."""
    order = rows[np.argsort(values[rows], kind="stable")]
    n_known = int(np.isfinite(values[rows]).sum()) or rows.size
    return int(order[(n_known - 1) // 2])


def _example(table: xr.Dataset, k: int, read: Callable[[str], dict[str, xr.Dataset]]) -> Example:
    name, mechanism = _text(table, "id")[k], _text(table, "mechanism")[k]
    return Example(name, mechanism, f"{words(mechanism)}\n{settings_of(table, k)}", read(name))


def settings_of(table: xr.Dataset, k: int) -> str:
    """What a network was trained with: ``tanh, penalty 0.01, seed 0`` and, on the next line, its task."""
    seed = column(table, "seed")[k]
    parts = [words(_text(table, "activation")[k])]
    parts += [f"penalty {value:g}"] if np.isfinite(value := column(table, "penalty_rate")[k]) else []
    parts += [f"seed {seed:g}"] if np.isfinite(seed) else []
    return "\n".join(filter(None, [", ".join(filter(None, parts)), seen(table, k)]))


def seen(table: xr.Dataset, k: int) -> str:
    """When a network sees its target, and the law of its delays: ``target until go (short)``; empty where that is
    not noted.
    """
    visibility, law = _text(table, "visibility")[k], _text(table, "delay_law")[k]
    parts = [f"target {words(visibility)}"] if visibility else []
    return " ".join([*parts, *([f"({law})"] if law and law != AS_SET else [])])


def _learned(table: xr.Dataset) -> np.ndarray:
    return np.array([status == "converged" for status in _text(table, "status")], dtype=bool)


def _table(networks: xr.Dataset, found: Mapping[str, dict[str, xr.Dataset]]) -> xr.Dataset:
    """A table from single files, for a run that was interrupted before it made one."""
    names = [name + end for name in ("suffices", "decides", "mechanism_index") for end in ENDS]
    columns: dict[str, list[Any]] = {name: [] for name in ("mechanism", *names)}
    for name in map(str, networks["id"].values):
        verdict = found.get(name, {}).get("mechanism")
        columns["mechanism"].append("none" if verdict is None else str(verdict.attrs.get("mechanism", "none")))
        for number in names:
            columns[number].append(float("nan") if verdict is None else float(verdict[number]))
    return networks.assign({name: ("network", np.array(values)) for name, values in columns.items()})


def with_mechanisms(networks: xr.Dataset | None, probes: ProbeContents | None) -> xr.Dataset | None:
    """The table of networks with the columns `JOINED` of the probes, and the rows that it lacks: controls, which
    are not compared with the recording.
    """
    if networks is None or probes is None:
        return networks
    table = probes.networks
    known = _text(networks, "id")
    ids = [*known, *(name for name in _text(table, "id") if name not in known)]
    columns = {str(name): _column_of(networks, str(name), ids) for name in networks.variables if name != "id"}
    for name in (*JOINED, "status", "reason", "score", "cell", "activation", "penalty_rate", "seed"):
        if name in table.variables:
            joined, own = _column_of(table, name, ids), columns.get(name)
            columns[name] = joined if own is None else np.where(np.arange(len(ids)) < len(known), own, joined)
    coordinates = {str(name) for name in networks.coords} - {"id"}
    return xr.Dataset(
        {name: ("network", values) for name, values in columns.items() if name not in coordinates},
        coords={"id": ("network", np.array(ids)), **{name: ("network", columns[name]) for name in coordinates}},
        attrs=networks.attrs,
    )


def _column_of(table: xr.Dataset, name: str, ids: Sequence[str]) -> np.ndarray:
    """A column in the order of some ids; nothing where the table lacks one."""
    rows = {one: k for k, one in enumerate(_text(table, "id"))}
    at = np.array([rows.get(one, -1) for one in ids])
    values = table[name].values
    if not rows:
        return np.full(len(ids), "" if values.dtype.kind in "OUS" else np.nan)
    if values.dtype.kind in "OUS":
        return np.where(at >= 0, values.astype(str)[at], "")
    return np.where(at >= 0, values[at].astype(np.float64), np.nan)


def _load(
    store: RunStore, name: str, missing: list[str], only: Sequence[str] | None = None
) -> dict[str, xr.Dataset]:
    try:
        return store.load(name, only)
    except DataError as error:
        missing.append(str(error))
        return {}
