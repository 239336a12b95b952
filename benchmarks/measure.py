"""What every benchmark shares: taking turns, medians, facts about the machine, tables.

A benchmark is a module of this folder with a function ``measure(*, quick: bool) -> Outcome`` and a row in
`benchmarks.run`, which writes what it returns.
"""

from __future__ import annotations

import csv
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

# Thread pools spin for some milliseconds after their last task; the next contender should not pay for that.
SETTLE_S = 0.05
PACKAGES = ("jax", "numpy", "torch", "dynaprobe")

Value = str | int | float
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Contender:
    """One way of doing a piece of work.

    Attributes:
        name: what it is called in tables; unique within a benchmark.
        run: does the work once and returns after all of it is done (of JAX: `jax.block_until_ready`).
    """

    name: str
    run: Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some repetitions."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What a benchmark gives to `benchmarks.run`, which writes it.

    Attributes:
        rows: the numbers, one mapping per row of the CSV file, all with the same keys.
        summary: Markdown for the README, without the line about the machine; empty for none.
        figure: a figure to keep as SVG, if there is one.
    """

    rows: Sequence[Row]
    summary: str = ""
    figure: Figure | None = None


def alternate(contenders: Sequence[Contender], n_rounds: int) -> dict[str, list[float]]:
    """Time contenders in turns, round by round, so that a drift of the machine hits all alike.

    Each runs once before, untimed: that compiles and fills the caches.

    Args:
        contenders: who takes part.
        n_rounds: timed calls of each.

    Returns:
        Seconds of every call by name of the contender; calls at one position belong to one round.
    """
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    if len(times) < len(contenders):
        raise ValueError(f"contenders share a name: {[contender.name for contender in contenders]}")
    for contender in contenders:
        contender.run()
    for _ in range(n_rounds):
        for contender in contenders:
            time.sleep(SETTLE_S)
            start_s = time.perf_counter()
            contender.run()
            times[contender.name].append(time.perf_counter() - start_s)
    return times


def spread(values: Sequence[float], scale: float = 1.0) -> Spread:
    """Median, smallest and largest of `values`, each times `scale`."""
    scaled = np.asarray(values, dtype=np.float64) * scale
    return Spread(float(np.median(scaled)), float(scaled.min()), float(scaled.max()))


def ratio(numerator: Sequence[float], denominator: Sequence[float], scale: float = 1.0) -> Spread:
    """Spread of the quotients round by round, which a drift over the rounds does not touch."""
    pairs = zip(numerator, denominator, strict=True)
    return spread([above / below for above, below in pairs], scale)


def n_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not offered outside Linux
        return os.cpu_count() or 1


def machine() -> dict[str, str]:
    """Facts that a reader needs to judge the numbers; no names of hosts or folders."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "processor": _processor(),
        "cores": str(n_cores()),
        "system": f"{_system()} ({platform.machine()})",
        "python": platform.python_version(),
        **versions,
    }


def machine_line() -> str:
    """The facts as one sentence of Markdown."""
    facts = machine()
    versions = ", ".join(f"{name} {facts[name]}" for name in ("python", *PACKAGES))
    return f"Measured on {facts['cores']} cores of {facts['processor']}, {facts['system']}; {versions}."


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows that share their keys as CSV, floats with at least three significant digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: short(value) for name, value in row.items()} for row in rows)


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows that share their keys as a Markdown table; numbers stand to the right."""
    names = list(rows[0])
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    lines = [names, ["---:" if right else "---" for right in numeric]]
    lines += [[short(row[name]) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(value: Value) -> str:
    """A number with three significant digits, never as a power of ten; words as they are."""
    if not isinstance(value, float):
        return str(value)
    if not np.isfinite(value) or value == 0:
        return f"{value:g}"
    n_decimals = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{n_decimals}f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, AttributeError, KeyError):
        return f"{platform.system()} {platform.release()}"
