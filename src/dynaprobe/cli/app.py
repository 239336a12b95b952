"""The command line: every command is one call into the rooms below."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dynaprobe.cli.console import TerminalProgress, fail
from dynaprobe.core.errors import DynaprobeError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

RecordingOption = Annotated[
    Path | None,
    typer.Option("--recording", help="NWB file, or folder of NWB files pooled into one population."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of this run; new, or a run's with --resume.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="The one seed behind every random draw.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in --out.")]
SettingsOption = Annotated[
    Path | None, typer.Option("--settings", help="TOML file with settings that differ from the defaults.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, e.g. --set fit.n_updates=200; may be repeated.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="A column of the file by its role, e.g. --map go_cue=go_time; may be repeated."),
]


def main() -> None:
    """Entry point: what the user can mend is one sentence, not a traceback."""
    try:
        app()
    except DynaprobeError as error:
        fail(error)
    except KeyboardInterrupt:
        fail(DynaprobeError("run", rule="go on", received="an interrupt", remedy="Continue with --resume"))


@app.command()
def tasks(
    name: Annotated[str | None, typer.Argument(help="A task, to see its conditions and epochs.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Write a figure of one trial to NAME.svg and NAME.pdf in this folder.")
    ] = None,
) -> None:
    """List the tasks, or show one."""
    from dynaprobe.cli import tables
    from dynaprobe.tasks.table import task_entry

    progress = TerminalProgress()
    if name is None:
        progress.console.print(tables.task_table())
        return
    entry = task_entry(name)
    task = entry.task.model_validate({})
    trials = task.condition_trials()
    progress.say(f"{name}: {entry.summary}\n{entry.citation}")
    progress.say(f"inputs {', '.join(task.input_names)}; outputs {', '.join(task.output_names)}")
    progress.console.print(tables.condition_table(task))
    progress.console.print(tables.epoch_table(task, trials))
    if figure is not None:
        from dynaprobe.report.export import save_figure
        from dynaprobe.report.figures.trial import trial_figure

        save_figure(trial_figure(trials), figure, name)
        progress.say(f"Figure of one trial: {figure / name}.svg and .pdf")


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Which paper: kao2019.")],
    preset: Annotated[str, typer.Option(help="smoke, demo, standard or full.")] = "demo",
    recording: RecordingOption = None,
    out: OutOption = Path("runs/study"),
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    settings: SettingsOption = None,
    set_: SetOption = None,
    map_: MapOption = None,
) -> None:
    """Run a paper's study: train networks, compare them with a recording, decide on the claims, write a report."""
    from dynaprobe.cli.inputs import column_mapping, study_settings
    from dynaprobe.cli.tables import verdict_table
    from dynaprobe.core.devices import prepare_devices
    from dynaprobe.studies.table import study_named
    from dynaprobe.study.study import Request, run_study

    progress = TerminalProgress()
    chosen = study_named(name)
    resolved = study_settings(chosen, preset, settings, set_ or [])
    mapping = column_mapping(settings, map_ or [])
    prepare_devices()
    request = Request(out, recording, mapping, seed, resume, preset, shlex.join(["dynaprobe", *sys.argv[1:]]))
    store = run_study(chosen, resolved, request, progress=progress)
    page = _report(store.folder, progress)
    progress.console.print(verdict_table(store))
    progress.say(f"Done in {progress.elapsed}. Everything is in {store.folder}")
    progress.say(f"Open {page} in a browser")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a finished run.")]) -> None:
    """Write the report of a run: one page that works offline, and every figure as SVG and PDF."""
    progress = TerminalProgress()
    page = _report(run, progress)
    progress.say(f"Open {page} in a browser")


def _report(run: Path, progress: TerminalProgress) -> Path:
    from dynaprobe.report.html import write_report
    from dynaprobe.study.store import RunStore

    with progress.step("Write the report", 1) as step:
        page: Path = write_report(RunStore(run))
        step.update(1)
    return page


if __name__ == "__main__":
    main()
