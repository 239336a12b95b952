"""How long an update takes: a leaky tanh network with state noise, 150 steps, float32, Adam, clipping."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.measure import Outcome, Row, Spread, alternate, markdown_table, ratio, spread
from benchmarks.products import LIBRARIES, limit_s, update_flop
from benchmarks.worker import Worker

TORCH, JAX = "PyTorch loop", "plain JAX"
SHARE, ALONE, LIMIT = "dynaprobe, 8 networks", "dynaprobe, one network", "arithmetic limit"
N_MEMBERS = 8
WITHOUT_TORCH = "PyTorch is not installed, so its column is left out; `make bench` installs it."

# Of each ratio: its name, above and below the line, both in time per network and update.
RATIOS = (
    ("times faster than PyTorch", TORCH, SHARE),
    ("times faster than plain JAX", JAX, SHARE),
    ("times the limit", SHARE, LIMIT),
    ("speed of one network over its share of 8", SHARE, ALONE),
)


@dataclass(frozen=True)
class Size:
    """The size of one update of one network."""

    n_units: int
    batch_size: int
    n_steps: int = 150

    @property
    def label(self) -> str:
        """``N 100, batch 64``."""
        return f"N {self.n_units}, batch {self.batch_size}"

    def arguments(self) -> dict[str, int]:
        """As keyword arguments of `build`."""
        return {"n_units": self.n_units, "batch_size": self.batch_size, "n_steps": self.n_steps}


SIZES = (Size(100, 64), Size(256, 64), Size(100, 8))
QUICK_SIZES = (Size(100, 8, 30),)


def per_update(size: Size, *, n_rounds: int, call_s: float, with_torch: bool) -> dict[str, list[float]]:
    """Seconds per network and update of every contender, and of the large products themselves, by round."""
    with ExitStack() as stack:

        def start(module: str, **arguments: int | str) -> Worker:
            return stack.enter_context(Worker(module, call_s=call_s, **arguments))

        workers = {
            JAX: start("benchmarks.plain_jax", **size.arguments()),
            SHARE: start("benchmarks.engine", **size.arguments(), n_members=N_MEMBERS),
            ALONE: start("benchmarks.engine", **size.arguments(), n_members=1),
            **{library: start("benchmarks.products", library=library) for library in LIBRARIES},
        }
        if with_torch:
            workers = {TORCH: start("benchmarks.pytorch_loop", **size.arguments()), **workers}
        calls_s = alternate([worker.contender(name) for name, worker in workers.items()], n_rounds)
    n_calls = {name: worker.n_calls for name, worker in workers.items()}
    networks = {name: N_MEMBERS if name == SHARE else 1 for name in workers}
    times_s = {
        name: [call_s / (n_calls[name] * networks[name]) for call_s in calls]
        for name, calls in calls_s.items()
        if name not in LIBRARIES
    }
    products_s = {library: calls_s[library] for library in LIBRARIES}
    large_s = {
        f"1024 x 1024 product, {name}": [call_s / n_calls[name] for call_s in products_s[name]]
        for name in LIBRARIES
    }
    return {**times_s, **large_s, LIMIT: limit_s(update_flop(**size.arguments()), products_s, n_calls)}


def quantities(times_s: dict[str, list[float]]) -> dict[str, tuple[str, Spread]]:
    """Times in ms and their ratios, with units, by name."""
    found = {name: ("ms", spread(values, 1e3)) for name, values in times_s.items()}
    for name, above, below in RATIOS:
        if above in times_s and below in times_s:
            found[name] = ("1", ratio(times_s[above], times_s[below]))
    return found


def rows_of(size: Size, found: dict[str, tuple[str, Spread]]) -> list[Row]:
    """Rows of the CSV file."""
    return [
        {
            **size.arguments(),
            "quantity": name,
            "unit": unit,
            "median": values.median,
            "min": values.low,
            "max": values.high,
        }
        for name, (unit, values) in found.items()
    ]


def summary_of(measured: Sequence[tuple[Size, dict[str, tuple[str, Spread]]]], *, with_torch: bool) -> str:
    """Two tables for the README: times, and what they come to."""
    names = [name for name in (TORCH, JAX, SHARE, ALONE, LIMIT) if name in measured[0][1]]
    ratios = [name for name, _, _ in RATIOS if name in measured[0][1]]
    tables = [
        markdown_table([{first: size.label, **{k: found[k][1].median for k in ks}} for size, found in measured])
        for first, ks in (("ms per network and update", names), ("ratio", ratios))
    ]
    parts = [
        "One update of a leaky tanh network with state noise (150 steps, float32, Adam): medians of calls that "
        "take turns in one run. The limit is the time of the three N × N products per step alone, at the rate of "
        "a 1024 × 1024 product. The times of dynaprobe include fresh trials and its penalties, the others do not.",
        *tables,
        *([] if with_torch else [WITHOUT_TORCH]),
    ]
    return "\n\n".join(parts)


def measure(*, quick: bool) -> Outcome:
    """Time all contenders at all sizes.

    Args:
        quick: one small size and two rounds, to see that everything works.
    """
    with_torch = importlib.util.find_spec("torch") is not None
    if not with_torch:
        print(WITHOUT_TORCH, file=sys.stderr)
    n_rounds, call_s, sizes = (2, 0.02, QUICK_SIZES) if quick else (11, 0.4, SIZES)
    measured = []
    for size in sizes:
        print(f"  {size.label}", file=sys.stderr, flush=True)
        times_s = per_update(size, n_rounds=n_rounds, call_s=call_s, with_torch=with_torch)
        measured.append((size, quantities(times_s)))
    rows = [row for size, found in measured for row in rows_of(size, found)]
    return Outcome(rows, summary_of(measured, with_torch=with_torch))
