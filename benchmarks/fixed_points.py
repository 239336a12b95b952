"""The search for fixed points against the usual way, and its cost against units and starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.adam_jax import N_UPDATES
from benchmarks.finder import network_of
from benchmarks.measure import Outcome, Row, alternate, markdown_table, ratio, spread
from benchmarks.worker import Worker
from dynaprobe.analysis.fixed_points import find_fixed_points, starts_from_states
from dynaprobe.model.ensemble import Ensemble
from dynaprobe.model.settings import NetworkSettings
from dynaprobe.tasks.reach import DelayedReach
from dynaprobe.training.fit import fit
from dynaprobe.training.settings import FitSettings

OURS, ADAM = "dynaprobe, float64", "Adam compiled by JAX, float32"
WAYS = {OURS: "benchmarks.finder", ADAM: "benchmarks.adam_jax"}
if find_spec("torch"):
    WAYS["Adam in a PyTorch loop, float32"] = "benchmarks.adam_torch"
TRAINED, MULTISTABLE = "trained to reach", "multistable"
GAIN = 2.0  # of the Gaussian weights of the multistable network, beyond 1 times the root of N
START_NOISE = 0.2  # of the standard deviation of the visited states
TOL_ADAM = 1e-12  # q of the step, from which Adam's user calls a state a fixed point
PATIENT = 10  # times as many updates under a schedule as much slower, for those who wait until Adam has arrived
LONGER = f"{ADAM}, {PATIENT} times as patient"
NEAR = 1e-4  # farther apart than round-off of float32 leaves polished points


def prepare(file: Path, *, n_units: int, n_starts: int, n_updates: int, seed: int = 0) -> None:
    """Train a network to reach; keep weights, starts near its trials and a delay's input in `file`."""
    task = DelayedReach()
    made = Ensemble.make(NetworkSettings(n_units=n_units), n_inputs=3, n_outputs=4, seeds=[seed])
    settings = FitSettings(n_updates=n_updates, batch_size=16, n_validation_trials=16)
    network = fit(task, made, settings, seed=seed).ensemble.member(0)
    states = np.asarray(network.rollout(task.condition_trials().inputs).states, dtype=np.float64)
    starts = starts_from_states(states, n_starts, noise_sd=START_NOISE * float(states.std()), seed=seed)
    weights: dict[str, Any] = {name: np.asarray(getattr(network, name)) for name in ("w_in", "w_rec", "b")}
    np.savez(file, starts=starts, input=np.array([1.0, 0.0, 1.0]), **weights)


def prepare_multistable(file: Path, *, n_units: int, n_starts: int, seed: int = 0) -> None:
    """A network with many fixed points: Gaussian weights of sd `GAIN` / sqrt(N), no input; as by `prepare`."""
    rng = np.random.default_rng(seed)
    w_rec = GAIN / np.sqrt(n_units) * rng.standard_normal((n_units, n_units))
    np.fill_diagonal(w_rec, 0.0)
    x = 2.0 * rng.standard_normal((64, n_units))
    visited = []
    for _ in range(300):
        x = x + 0.2 * (-x + np.tanh(x) @ w_rec.T)
        visited.append(x)
    states = np.stack(visited[20:])
    starts = starts_from_states(states, n_starts, noise_sd=START_NOISE * float(states.std()), seed=seed)
    weights = {"w_in": np.zeros((n_units, 3)), "w_rec": w_rec, "b": np.zeros(n_units)}
    single = {name: value.astype(np.float32) for name, value in weights.items()}
    np.savez(file, starts=starts, input=np.zeros(3), **single)


def compared(folder: Path, network: str, file: Path, *, n_starts: int, n_rounds: int) -> list[Row]:
    """Times of all ways in turns, and which points each has found."""
    found = {name: folder / f"found{k}.npz" for k, name in enumerate([*WAYS, LONGER])}
    with ExitStack() as stack:
        workers = {}
        for name, module in WAYS.items():
            size = {"n_starts": n_starts} if name == OURS else {}
            workers[name] = stack.enter_context(
                Worker(module, file=str(file), points_file=str(found[name]), **size)
            )
        calls_s = alternate([worker.contender(name) for name, worker in workers.items()], n_rounds)
        per_s = {name: [call / workers[name].n_calls for call in calls] for name, calls in calls_s.items()}
    more: dict[str, Any] = {"file": str(file), "points_file": str(found[LONGER]), "times_longer": PATIENT}
    with Worker(WAYS[ADAM], **more) as workers[LONGER]:
        # Half a minute each time, so once.
        per_s[LONGER] = [seconds(workers[LONGER].run) / workers[LONGER].n_calls]
    with np.load(found[OURS]) as kept:
        ours, n_ours = kept["x"], int(kept["n_ended"])
    rows: list[Row] = []
    for name, calls in per_s.items():
        points, n_ended = (ours, n_ours) if name == OURS else polished(file, found[name])
        shared = 0 if not len(ours) else sum(np.linalg.norm(ours - x, axis=1).min() <= NEAR for x in points)
        beside = [spread(per_s[OURS]).median] if name == LONGER else per_s[OURS]
        rows.append(
            {
                "what": network,
                "way": name,
                "n_units": ours.shape[1],
                "n_starts": n_starts,
                "s_median": spread(calls).median,
                "s_min": spread(calls).low,
                "s_max": spread(calls).high,
                "times_slower": ratio(calls, beside).median,
                "n_points": len(points),
                "n_points_of_dynaprobe": int(shared),
                "n_starts_at_q": n_ended,
                "peak_mb": workers[name].peak_bytes / 1e6,
            }
        )
    return rows


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def polished(file: Path, found: Path) -> tuple[np.ndarray, int]:
    """The zeros that a float32 search has led to, merged by dynaprobe's rule, and how many starts reached one."""
    with np.load(found) as kept, np.load(file) as problem:
        near, drive = kept["x"][kept["q"] < TOL_ADAM], problem["input"]
        if not len(near):
            return near, 0
        exact = find_fixed_points(network_of(file).vector_field, near, drive, kind="vector_field").data
    return exact["x"].values[exact["point_kind"].values == "fixed_point"], len(near)


def along(axis: str, file: Path, n_units: int, n_starts: int, n_rounds: int) -> Row:
    """Time and memory of one size."""
    with Worker("benchmarks.finder", file=str(file), n_starts=n_starts) as worker:
        calls_s = alternate([worker.contender(axis)], n_rounds)[axis]
        time = spread(calls_s, 1 / worker.n_calls)
        peak_mb = worker.peak_bytes / 1e6
    return {
        "what": axis,
        "way": OURS,
        "n_units": n_units,
        "n_starts": n_starts,
        "s_median": time.median,
        "s_min": time.low,
        "s_max": time.high,
        "times_slower": 1.0,
        "n_points": "",
        "n_points_of_dynaprobe": "",
        "n_starts_at_q": "",
        "peak_mb": peak_mb,
    }


def exponent(rows: Sequence[Row]) -> float:
    """Slope of log time against log starts, over the larger half of the sizes."""
    part = rows[len(rows) // 2 :] if len(rows) > 3 else rows
    sizes, times = ([float(row[name]) for row in part] for name in ("n_starts", "s_median"))
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def figure_of(rows: Sequence[Row]) -> Figure:
    """Time against units and against starts, both scales logarithmic."""
    figure = Figure(figsize=(5.0, 2.4), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, axis, label in zip(panels, ("n_units", "n_starts"), ("units N", "starts"), strict=True):
        chosen = [row for row in rows if row["what"] == axis]
        panel.plot(
            [float(row[axis]) for row in chosen],
            [float(row["s_median"]) for row in chosen],
            "o-",
            color="#0072B2",
            markersize=3.5,
            linewidth=1.2,
        )
        panel.set(xscale="log", yscale="log", xlabel=label)
        panel.set_xticks([float(row[axis]) for row in chosen], [str(row[axis]) for row in chosen])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("time (s per search)")
    return figure


def measure(*, quick: bool) -> Outcome:
    """Compare, then go along units and starts.

    Args:
        quick: a small network and few starts, to see that everything works.
    """
    n_units, n_starts, n_updates, n_rounds = (20, 64, 5, 1) if quick else (100, 1024, 300, 3)
    units, starts = ((20, 30), (32, 64)) if quick else ((50, 100, 200, 500), (256, 1024, 4096, 20_000))
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "compared.npz"
        prepare(file, n_units=n_units, n_starts=max(starts), n_updates=n_updates)
        everything: dict[str, Any] = dict(np.load(file))
        few = {**everything, "starts": everything["starts"][:n_starts]}
        np.savez(file, **few)
        rows = compared(folder, TRAINED, file, n_starts=n_starts, n_rounds=n_rounds)
        many = folder / "multistable.npz"
        prepare_multistable(many, n_units=n_units, n_starts=n_starts)
        rows += compared(folder, MULTISTABLE, many, n_starts=n_starts, n_rounds=n_rounds)
        np.savez(file, **everything)
        for n in starts:
            print(f"  {n} starts", file=sys.stderr, flush=True)
            rows.append(along("n_starts", file, n_units, n, 1 if n > 5000 else n_rounds))
        for n in units:
            print(f"  {n} units", file=sys.stderr, flush=True)
            other = folder / f"units{n}.npz"
            prepare(other, n_units=n, n_starts=n_starts, n_updates=max(5, n_updates // 10))
            rows.append(along("n_units", other, n, n_starts, 1 if n > 200 else n_rounds))
    power = exponent([row for row in rows if row["what"] == "n_starts"])
    return Outcome(rows, summary_of(rows, n_units, n_starts, power), figure_of(rows))


def summary_of(rows: Sequence[Row], n_units: int, n_starts: int, power: float) -> str:
    """Markdown for the README."""
    table: list[Row] = [
        {
            "network": row["what"],
            "search": row["way"],
            "s": row["s_median"],
            "times slower": row["times_slower"],
            "points": row["n_points"],
            "of these found by dynaprobe": row["n_points_of_dynaprobe"],
            "starts that ended below tolerance": row["n_starts_at_q"],
        }
        for row in rows
        if row["what"] in (TRAINED, MULTISTABLE)
    ]
    return (
        f"Fixed points from {n_starts} starts around the trajectories of two networks of {n_units} units: one "
        f"trained to reach, and one of Gaussian weights of gain {GAIN:g}, which has many. Adam runs until every "
        f"start has q < {TOL_ADAM:g} or no longer changes, at most {N_UPDATES} updates: in PyTorch with the "
        "defaults of FixedPointFinder, compiled by JAX with a better learning rate, and there also with "
        f"{PATIENT * N_UPDATES} updates whose rate falls {PATIENT} times as slowly, timed once. Its points are "
        "polished before they are counted.\n\n"
        f"{markdown_table(table)}\n\n"
        "![Time of a search against units and starts](benchmarks/results/fixed_points.svg)\n\n"
        "Adam ends with its updates, or where its learning rate has fallen to nothing; how many starts have "
        f"arrived by then the last column says. Time grows with the number of starts to the power {power:.2f}."
    )
