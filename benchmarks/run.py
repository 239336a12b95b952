"""Run the benchmarks, keep their numbers, write the README's section: ``python -m benchmarks.run [--quick]``."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Outcome, machine_line, write_csv
from benchmarks.worker import ROOT

# In the order of the README; each is a module with `measure`.
NAMES = ("training", "scaling", "memory", "startup", "fixed_points", "sweeps")
RESULTS, QUICK_RESULTS = ROOT / "benchmarks" / "results", ROOT / "runs" / "benchmarks"
README = ROOT / "README.md"
START, END = "<!-- bench:start -->", "<!-- bench:end -->"


def keep(name: str, outcome: Outcome, folder: Path) -> None:
    """Write rows, figure and the README's words, whose last line says on what machine they were measured."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / f"{name}.csv", outcome.rows)
    if outcome.figure is not None:
        outcome.figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    (folder / f"{name}.md").write_text(f"{outcome.summary}\n\n{machine_line()}\n", encoding="utf-8")


def section(folder: Path) -> str:
    """The words of all benchmarks kept in `folder`; a machine that several share is told once, after them."""
    parts: list[str] = []
    previous = ""
    for name in NAMES:
        file = folder / f"{name}.md"
        if not file.is_file():
            continue
        words, _, machine = file.read_text(encoding="utf-8").strip().rpartition("\n\n")
        if previous and machine != previous:
            parts.append(previous)
        parts += [words] if words else []
        previous = machine
    return "\n\n".join([*parts, previous]).strip()


def rewritten(text: str, inside: str) -> str:
    """`text` with `inside` between the two markers; nothing else changes.

    Raises:
        ValueError: when a marker is missing, stands twice, or the end comes before the start.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(END) < text.index(START):
        raise ValueError(f"the text needs {START} and, after it, {END}, each once")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n{inside}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, few rounds: shows that all works; README untouched"
    )
    parser.add_argument("--only", choices=NAMES, action="append", metavar="NAME", help=", ".join(NAMES))
    chosen = parser.parse_args(arguments)
    folder = QUICK_RESULTS if chosen.quick else RESULTS
    for name in chosen.only or NAMES:
        start_s = time.perf_counter()
        print(f"{name} ...", file=sys.stderr, flush=True)
        outcome = importlib.import_module(f"benchmarks.{name}").measure(quick=chosen.quick)
        keep(name, outcome, folder)
        print(f"{outcome.summary}\n\n({name}: {time.perf_counter() - start_s:.0f} s)\n", flush=True)
    if not chosen.quick:
        README.write_text(rewritten(README.read_text(encoding="utf-8"), section(folder)), encoding="utf-8")
    print(f"{machine_line()}\nNumbers are in {folder.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
