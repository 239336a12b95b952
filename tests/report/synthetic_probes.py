"""Probes for made-up runs: those of a small untrained network, under verdicts and numbers that tests choose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import xarray as xr

from dynaprobe.analysis.probes.local_dynamics import flow_fields, linear_prediction, spectra_along_trial
from dynaprobe.model.rnn import CTRNN
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probing import ProbeSettings, probe_network
from dynaprobe.study.store import RunStore
from dynaprobe.tasks.reach import DelayedReach

SMALL = ProbeSettings(
    noise_sd=(0.0, 0.5, 1.0), n_noise_trials=2, switch_ms=(-100.0, 50.0), pulse_ms=(0.0, 100.0),
    pulse_sizes=(1.0, 2.0), moments_ms=(-100.0, 100.0), n_fixed_point_starts=4,
)  # fmt: skip
INDEX = {"initial_condition": 0.9, "input_driven": 0.1, "mixed": 0.5, "unclear": 0.45}
NUMBERS = (
    "clean_error", "excess_error_preparatory", "excess_error_movement", "excess_error_throughout",
    "switch_success_early", "switch_success_late", "direction_error_between_fraction", "horizon_go_ms",
    "pulse_half_life_ms",
)  # fmt: skip


@cache
def small_probes() -> dict[str, xr.Dataset]:
    """All probes of one untrained network but its fixed points, as a run stores them."""
    task = DelayedReach(n_targets=4, dt_ms=20.0)
    network = CTRNN.make(NetworkSettings(n_units=8, dt_ms=20.0), n_inputs=3, n_outputs=4, seed=0)
    one = TrainedNetwork("one", network, "delayed_reach", task, "untrained", "", {}, {}, xr.Dataset())
    found = probe_network(one, SMALL, which=("mechanism", "noise", "switch", "locations", "perturb"))
    trials, moments_ms = task.condition_trials(), SMALL.moments_ms
    found["local_spectra"] = spectra_along_trial(network, trials, moments_ms=moments_ms)
    found["linear_prediction"] = linear_prediction(network, trials, starts_ms=moments_ms)
    found["flow_fields"] = flow_fields(network, trials, moments_ms=moments_ms)
    return {name: result.to_dataset() for name, result in found.items()}


def with_verdict(mechanism: str, index: float) -> dict[str, xr.Dataset]:
    """The probes under a verdict of their own."""
    groups = dict(small_probes())
    measures = ("suffices", "decides", "mechanism_index")
    names = [f"{name}{end}" for name in measures for end in ("", "_low", "_high")]
    verdict = groups["mechanism"].assign(dict.fromkeys(names, index))
    groups["mechanism"] = verdict.assign_attrs(mechanism=mechanism)
    return groups | {"account": xr.Dataset(attrs={"reason": ""})}


def mechanism_table(
    mechanisms: Sequence[str], *, ids: Sequence[str] | None = None, per_cell: int = 2, seed: int = 0
) -> xr.Dataset:
    """A row per verdict; ``none`` is a network that did not learn. A cell holds `per_cell` networks."""
    rng = np.random.default_rng(seed)
    n = len(mechanisms)
    spread = 0.05 * rng.random(n)
    index = np.array([INDEX.get(name, np.nan) for name in mechanisms]) + spread
    known = np.isfinite(index)
    numbers = {name: np.where(known, rng.random(n), np.nan) for name in NUMBERS}
    for name, values in (("mechanism_index", index), ("suffices", index + 0.02), ("decides", index - 0.02)):
        numbers |= {name: values, f"{name}_low": values - 0.03, f"{name}_high": values + 0.03}
    numbers |= {name: np.where(known, rng.random(n), np.nan) for name in ("single_unit", "population", "score")}
    numbers["shortest_delay_ms"] = np.where(np.arange(n) // per_cell % 2, 0.0, 100.0)
    cells = np.arange(n) // per_cell
    seen = ["throughout" if cell % 2 else "until_go" for cell in cells]
    texts = {
        "cell": [f"cell {cell}" for cell in cells],
        "activation": ["tanh" if cell % 3 else "relu" for cell in cells],
        "visibility": seen,
        "delay_law": ["delayed"] * n,
        "forced": ["initial_condition" if one == "until_go" else "" for one in seen],
        "status": ["converged" if ok else "below_threshold" for ok in known],
        "reason": ["" if ok else "did not learn the task" for ok in known],
        "mechanism": list(mechanisms),
    }
    return xr.Dataset(
        {name: ("network", values) for name, values in numbers.items()}
        | {name: ("network", np.array(values)) for name, values in texts.items()}
        | {"penalty_rate": ("network", 0.01 * (cells // 2)), "seed": ("network", np.arange(n) % per_cell)},
        coords={"id": ("network", np.array(ids if ids is not None else [f"n{k}" for k in range(n)]))},
    )


def tables() -> dict[str, xr.Dataset]:
    """The tables over networks that go with `mechanism_table`."""
    names = ("initial_condition", "input_driven", "mixed", "unclear")
    rows = [(m, s) for m in NUMBERS[1:7] for s in ("activation and penalty", "cell")]
    n = len(rows)
    associations = xr.Dataset(
        {
            "name": ("row", np.array([measure.replace("_", " ") for measure, _ in rows])),
            "strata": ("row", np.array([strata for _, strata in rows])),
            "x": ("row", np.array(["mechanism_index"] * n)),
            "y": ("row", np.array([measure for measure, _ in rows])),
            "rho": ("row", np.linspace(0.6, 0.4, n)),
            "low": ("row", np.tile([0.2, -np.inf], n // 2)),
            "high": ("row", np.tile([0.8, np.inf], n // 2)),
            "p": ("row", np.full(n, 0.0002)),
            "n": ("row", np.full(n, 12)),
            "n_strata": ("row", np.full(n, 3)),
        }
    )
    counts = np.array([[3, 0, 1, 0], [0, 5, 0, 0]])
    confusion = xr.Dataset(
        {"count": (("forced", "verdict"), counts), "n_trained": ("forced", np.array([5, 5]))},
        coords={"forced": list(names[:2]), "verdict": list(names)},
    )
    measures = ["suffices", "excess_error_throughout", "switch_success_early", "pulse_half_life_ms"]
    shape = (len(names), len(measures))
    by_mechanism = xr.Dataset(
        {
            "mean": (("mechanism", "measure"), np.full(shape, 0.5)),
            "low": (("mechanism", "measure"), np.tile([[0.4], [0.4], [-np.inf], [np.nan]], (1, len(measures)))),
            "high": (("mechanism", "measure"), np.tile([[0.6], [0.6], [np.inf], [np.nan]], (1, len(measures)))),
            "n": (("mechanism", "measure"), np.tile([[4], [3], [1], [0]], (1, len(measures)))),
        },
        coords={"mechanism": list(names), "measure": measures},
    )
    return {"confusion": confusion, "associations": associations, "by_mechanism": by_mechanism}


def add_probes(
    store: RunStore, fixed_points: xr.Dataset, *, with_tables: bool = True, verdicts: Sequence[str] = tuple(INDEX)
) -> None:
    """Give a run probes of every network that learned, and the tables over them.

    Args:
        store: a run with a summary.
        fixed_points: of every network.
        with_tables: without them a run was interrupted before it made any.
        verdicts: dealt to the networks in turn.
    """
    networks = store.load("results/summary")["networks"]
    ok = networks["status"].values.astype(str) == "converged"
    dealt = [verdicts[k % len(verdicts)] if ok[k] else "none" for k in range(ok.size)]
    ids = [str(name) for name in networks["id"].values]
    for name, verdict in zip(ids, dealt, strict=True):
        if verdict != "none":
            groups = with_verdict(verdict, INDEX[verdict])
            store.save(f"probes/{name}", groups | {"fixed_points": fixed_points})
    if with_tables:
        table = mechanism_table(dealt, ids=ids)
        own = {name: ("network", networks[name].values) for name in ("cell", "activation", "penalty_rate", "seed")}
        own |= {name: ("network", networks[name].values) for name in ("single_unit", "population", "status")}
        store.save("results/mechanisms", {"networks": table.assign(own), **tables()})
