"""The commands for many networks: run a sweep, look at its results."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from dynaprobe.cli.console import TerminalProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from dynaprobe.study.deltas import SweepSettings
    from dynaprobe.study.engines import Engine
    from dynaprobe.study.jobs import JobSettings
    from dynaprobe.study.store_sweep import SweepStore
    from dynaprobe.study.sweeping import SweepReport

SOME_FAILED = 1
# Characters of a line in a file, beyond which no table is of use.
WIDEST = 1000


def add_to(app: typer.Typer) -> None:
    """Give an application these commands."""
    app.command()(sweep)
    app.command()(runs)


def sweep(
    settings: Annotated[Path, typer.Argument(help="TOML file with tables task, network, fit and sweep.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the store; new, or one to go on with.")] = Path(
        "runs/sweep"
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="The one seed behind every random draw.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. --set fit.n_updates=200; may be repeated.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes of this machine; one per core, if not given.")
    ] = None,
    memory_gb: Annotated[
        float | None,
        typer.Option(min=3, help="Limit of memory (addresses, in GB) for each process of this machine."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers do the work.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Queue to submit workers to: slurm, pbs, sge, lsf, htcondor or oar.")
    ] = None,
    show_script: Annotated[
        bool, typer.Option("--show-script", help="Show what --cluster would submit, and end.")
    ] = False,
    track: Annotated[
        list[str] | None, typer.Option(help="Follow the training with tensorboard or wandb; may be repeated.")
    ] = None,
) -> None:
    """Train every network of a sweep that has no result yet. Stop it at will; the same command goes on."""
    from dynaprobe.study.engine_table import engine_of, job_script
    from dynaprobe.study.store_sweep import SweepStore
    from dynaprobe.study.tracking import check_trackers

    progress = TerminalProgress()
    base, table, options = _read(settings, set_ or [])
    if show_script:
        progress.say(job_script(cluster, options))
        return
    check_trackers(track or [])
    store = SweepStore(out)

    def start() -> Engine:
        own = {"n_processes": processes, "memory_gb": memory_gb}
        return engine_of(scheduler=scheduler, cluster=cluster, options=options, own=own, say=progress.say)

    try:
        report = _run(base, table, store, start, progress=progress, seed=seed, track=track or [], where=settings)
    except KeyboardInterrupt:
        progress.say(f"{out} holds {len(store.finished())} networks; others in work go on from their checkpoints")
        raise
    _close(report, progress, out)


def runs(
    folder: Annotated[Path, typer.Argument(help="Store of a sweep, or folder of a run.")],
    where: Annotated[
        str | None, typer.Option(help="Which rows, e.g. \"activation == 'tanh' and penalty_rate > 0\".")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Column to sort by, e.g. score; -score puts the best first.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many rows on the terminal.")] = 40,
    csv: Annotated[Path | None, typer.Option(help="Write all rows and columns to this file.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare every file with its checksum.")] = False,
) -> None:
    """Show the results of a store as a table, also while a sweep is at work."""
    from dynaprobe.study.filters import matching, sorted_by
    from dynaprobe.study.store_index import table_of, write_table
    from dynaprobe.study.store_sweep import SweepStore

    progress = TerminalProgress()
    store = SweepStore(folder)
    if store.manifest_path.is_file():
        store.check()
    table = table_of(folder)
    total = len(table)
    if where is not None:
        table = matching(table, where)
    if sort is not None:
        table = sorted_by(table, sort)
    for path, suffix in ((csv, ".csv"), (parquet, ".parquet")):
        if path is not None:
            named = path if path.suffix == suffix else path.with_name(path.name + suffix)
            progress.say(f"{len(table)} rows written to {write_table(table, named)}")
    if csv is None and parquet is None:
        _print_whole(progress.console, _result_table(table.head(limit)))
    more = (
        f"; the first {limit} are shown, --csv writes all" if len(table) > limit and not (csv or parquet) else ""
    )
    progress.say(f"{len(table)} of {total} results{more}")
    _tell_state(folder, progress, check=check)


def _read(file: Path, changes: Sequence[str]) -> tuple[JobSettings, SweepSettings, dict[str, Any]]:
    from dynaprobe.cli.inputs import dotted, parse_changes
    from dynaprobe.core.settings import load_toml, parse
    from dynaprobe.study.deltas import SweepSettings
    from dynaprobe.study.jobs import JobSettings

    values = load_toml(file)
    table = parse(SweepSettings, values.pop("sweep", {}), where=f"{file}: sweep")
    options = values.pop("cluster", {})
    base = parse(JobSettings, {}).with_changes(dotted(values), where=file)
    if changes:
        base = base.with_changes(parse_changes(changes), where="--set")
    return base, table, options


def _run(
    base: JobSettings,
    table: SweepSettings,
    store: SweepStore,
    start: Callable[[], Engine],
    *,
    progress: TerminalProgress,
    seed: int,
    track: Sequence[str],
    where: Path,
) -> SweepReport:
    from dynaprobe.study.deltas import changes_of, jobs_of
    from dynaprobe.study.search import run_search
    from dynaprobe.study.sweeping import run_sweep

    seeds = table.seeds_from(seed)

    def jobs(changes: Any) -> Any:
        return jobs_of(base, changes, seeds, seed=seed, where=where)

    # What is wrong with the settings is said before the folder is made and anything is started.
    wanted = jobs(changes_of(table, seed=seed)) if table.search is None else []
    store.open()
    command = shlex.join(["dynaprobe", *sys.argv[1:]])
    store.note_sweep(
        {"base": base.model_dump(mode="json"), "sweep": table.model_dump(mode="json"), "seed": seed},
        command=command,
    )
    with closing(start()) as engine:

        def run(jobs: Any) -> SweepReport:
            return run_sweep(
                jobs, store, engine, n_members=table.together, n_tries=table.tries, tracking=track, board=progress
            )

        if table.search is None:
            return run(wanted)
        report, best = run_search(table.search, jobs, run, store, seed=seed, say=progress.say)
    progress.say("Best: " + (", ".join(f"{name} = {value}" for name, value in best.items()) or "no setting"))
    return report


def _close(report: SweepReport, progress: TerminalProgress, out: Path) -> None:
    parts = [
        f"{len(report.computed)} networks trained",
        *([f"{len(report.already)} were there"] if report.already else []),
        *([f"{len(report.by_others)} by another sweep, or by a process that ended"] if report.by_others else []),
    ]
    progress.say(f"Done in {progress.elapsed}: {', '.join(parts)}. Look at them with dynaprobe runs {out}")
    for name, reason in report.untracked.items():
        progress.say(
            f"Curves for {name} have gaps: {reason}. The results are complete; their histories hold every update"
        )
    if report.failures:
        progress.say(f"{len(report.failures)} of {report.n_jobs} jobs have no result:")
        for job, reason in report.failures.items():
            progress.say(f"  {job}: {reason}")
        raise typer.Exit(SOME_FAILED)


def _result_table(runs: pd.DataFrame) -> Table:
    """Results of a store: status, score, and the settings in which they differ."""
    always = [name for name in ("id", "status", "score") if name in runs]
    # Versions and times differ as well, and say little here.
    varied = [str(name) for name in runs if "." in str(name) and not str(name).startswith("version.")]
    varied = [name for name in varied if runs[name].map(str).nunique() > 1]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in (*always, *varied):
        # A heading longer than what stands below it breaks between its words.
        words = name.rsplit(".", 1)[-1].replace("_", " ")
        longest = max((len(_shown(value)) for value in runs[name]), default=0)
        table.add_column(words if len(words) <= longest else words.replace(" ", "\n"), overflow="fold")
    for _, row in runs.iterrows():
        table.add_row(*(_shown(row[name]) for name in (*always, *varied)))
    return table


def _print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is where it goes into a file or a pipe, so that every row is one whole line."""
    if console.is_terminal:
        console.print(table)
        return
    options = console.options.update(max_width=WIDEST)
    Console(file=console.file, width=Measurement.get(console, options, table).maximum).print(table)


def _shown(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - which NaN is not
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tell_state(folder: Path, progress: TerminalProgress, *, check: bool) -> None:
    from dynaprobe.study.store_index import damaged
    from dynaprobe.study.store_sweep import SweepStore

    store = SweepStore(folder)
    if store.manifest_path.is_file():
        store.check()
        running = store.claims.at_work()
        if running:
            progress.say(f"{len(running)} in work")
        for job, reason in store.failures().items():
            progress.say(f"{job} has no result: {reason}")
    if check:
        found = damaged(folder)
        for said in found.values():
            progress.say(said)
        progress.say(
            f"{len(found)} damaged files; the same sweep computes them again" if found else "All are whole"
        )
        if found:
            raise typer.Exit(SOME_FAILED)
