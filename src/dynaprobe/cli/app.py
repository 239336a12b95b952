"""The command line: every command is one call into the rooms below."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dynaprobe import __version__
from dynaprobe.cli import sweeps
from dynaprobe.cli.console import TerminalProgress, fail, tell
from dynaprobe.cli.probe import probe
from dynaprobe.core.errors import DynaprobeError

ABOUT = "Train recurrent networks on the tasks animals do, compare them with recordings, find their mechanism."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=ABOUT)

RecordingOption = Annotated[
    Path | None,
    typer.Option("--recording", help="A .nwb, .mat or .nc file, or a folder of one kind, pooled."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of this run; new, or a run's with --resume.")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=2**31, help="The one seed behind every random draw.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in --out.")]
SettingsOption = Annotated[
    Path | None, typer.Option("--settings", help="TOML file with settings that differ from the defaults.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, e.g. --set fit.n_updates=200; may be repeated.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="A column of the file by its role, e.g. --map go_cue=go_time or direction=target_angle; trials by "
        "value, e.g. where=success==1; axes of arrays, e.g. arrays.dims=unit,time,condition. May be repeated; "
        "docs/recordings.md has them all.",
    ),
]

# With this code Typer ends on Ctrl-C, without a word.
INTERRUPTED = 130


def main() -> None:
    """Entry point: what the user can mend is one sentence, not a traceback."""
    # Work is spread over cores by members and by starts; threads inside small products only wait for one another.
    # NumPy reads this when it is first imported, which is later.
    for library in ("OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    try:
        app()
    except DynaprobeError as error:
        fail(error)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            how = "" if sys.argv[1:2] == ["sweep"] else ", with --resume if it has that"
            tell(f"Interrupted. What was finished is kept; the same command goes on{how}.")
        raise


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Nothing but the version; the commands do the work."""
    if show:
        TerminalProgress().say(f"dynaprobe {__version__}")
        raise typer.Exit


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
    settings_: SettingsOption = None,
    set_: SetOption = None,
    map_: MapOption = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Processes that analyse networks; one per core.")
    ] = None,
) -> None:
    """Run a paper's study: train networks, compare them with a recording, decide on the claims, write a report."""
    from dynaprobe.cli.inputs import column_mapping, study_settings
    from dynaprobe.cli.tables import verdict_table
    from dynaprobe.core.devices import prepare_devices
    from dynaprobe.studies.table import study_named
    from dynaprobe.study.study import Request, run_study

    progress = TerminalProgress()
    chosen = study_named(name)
    resolved = study_settings(chosen, preset, settings_, set_ or [])
    mapping = column_mapping(settings_, map_ or [])
    prepare_devices()
    command = shlex.join(["dynaprobe", *sys.argv[1:]])
    request = Request(out, recording, mapping, seed, resume, preset, command, processes)
    store = run_study(chosen, resolved, request, progress=progress)
    page = _report(store.folder, progress)
    progress.console.print(verdict_table(store))
    progress.say(f"Done in {progress.elapsed}. Everything is in {store.folder}")
    progress.say(f"Open {page} in a browser")


@app.command()
def settings(
    name: Annotated[str, typer.Argument(help="Which paper: kao2019.")] = "kao2019",
    preset: Annotated[str, typer.Option(help="smoke, demo, standard or full.")] = "demo",
) -> None:
    """Show every setting of a study by name, as TOML that --settings takes."""
    from dynaprobe.cli.inputs import as_toml, study_settings
    from dynaprobe.studies.table import study_named

    TerminalProgress().say(as_toml(study_settings(study_named(name), preset, None, [])))


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a finished run.")]) -> None:
    """Write the report of a run: one page that works offline, and every figure as SVG and PDF."""
    progress = TerminalProgress()
    page = _report(run, progress)
    progress.say(f"Open {page} in a browser")


@app.command()
def train(
    settings_: SettingsOption = None,
    out: OutOption = Path("runs/train"),
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    set_: SetOption = None,
) -> None:
    """Train an ensemble on a task, with the defaults or the tables task, network and fit of a settings file."""
    from dynaprobe.cli.inputs import changed
    from dynaprobe.cli.tables import network_table
    from dynaprobe.core.devices import prepare_devices
    from dynaprobe.core.settings import parse
    from dynaprobe.study.train_alone import TrainSettings, train_ensemble

    progress = TerminalProgress()
    prepare_devices()
    resolved = changed(parse(TrainSettings, {}), settings_, set_ or [])
    networks = train_ensemble(resolved, out, seed=seed, resume=resume, progress=progress)
    progress.console.print(network_table(networks))
    progress.say(f"Done in {progress.elapsed}. Networks are in {out / 'networks'}")


@app.command()
def compare(
    candidates: Annotated[
        list[str],
        typer.Argument(help="Network files, folders of runs, recordings; PATH or NAME=PATH.", show_default=False),
    ],
    recording: Annotated[
        str | None,
        typer.Option("--recording", help="The reference: a recording that all others are compared with."),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="whole, or subject: every animal of a recording is a candidate.")
    ] = "whole",
    out: OutOption = Path("runs/compare"),
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    settings_: SettingsOption = None,
    set_: SetOption = None,
    map_: MapOption = None,
) -> None:
    """Compare networks and recordings in any mix: every pair by every measure, with tests, and write a report."""
    from dynaprobe.cli.inputs import changed, column_mapping, one_of
    from dynaprobe.cli.pair_tables import tell_comparison
    from dynaprobe.core.devices import prepare_devices
    from dynaprobe.study.compare_alone import run_comparison
    from dynaprobe.study.lineup import CompareSettings
    from dynaprobe.study.study import Request

    progress = TerminalProgress()
    resolved = changed(CompareSettings(), settings_, set_ or [])
    mapping = column_mapping(settings_, map_ or [])
    part = one_of("--by", by, ("whole", "subject"))
    prepare_devices()
    reference = None if recording is None else Path(recording)
    command = shlex.join(["dynaprobe", *sys.argv[1:]])
    request = Request(out, reference, mapping, seed, resume, "default", command)
    store = run_comparison(candidates, resolved, request, by=part, progress=progress)  # type: ignore[arg-type]
    page = _report(store.folder, progress)
    tell_comparison(store, progress.console)
    progress.say(f"Done in {progress.elapsed}. Everything is in {store.folder}")
    progress.say(f"Open {page} in a browser")


@app.command("fixed-points")
def fixed_points(
    network: Annotated[Path, typer.Argument(help="A network file, from a run's networks folder.")],
    out: Annotated[Path | None, typer.Option(help="Write all points and eigenvalues to this .nc file.")] = None,
    starts: Annotated[int, typer.Option(min=1, help="Starts of the search, per input.")] = 256,
    condition: Annotated[int, typer.Option(min=0, help="Condition whose inputs are gone through.")] = 0,
    seed: SeedOption = 0,
) -> None:
    """Find the fixed and slow points of a network at every input its trial goes through."""
    from dynaprobe.cli.tables import fixed_point_table
    from dynaprobe.core.devices import prepare_devices
    from dynaprobe.study.dynamics import fixed_points_of_trial
    from dynaprobe.study.networks import load_network
    from dynaprobe.study.store import write_tree

    progress = TerminalProgress()
    prepare_devices()
    loaded = load_network(network)
    points = fixed_points_of_trial(loaded.network, loaded.task, n_starts=starts, seed=seed, condition=condition)
    progress.console.print(fixed_point_table(points))
    progress.say(f"Starts without a fixed point: {points.status}")
    if out is not None:
        progress.say(f"All points are in {write_tree(out, {'fixed_points': points.to_dataset()})}")


@app.command()
def recording(
    path: Annotated[Path, typer.Argument(help="A .nwb, .mat, .nc or .npz file, or a folder of one kind.")],
    to: Annotated[
        Path | None, typer.Option(help="Also write it to this file: .nc, or .nwb where it has trials.")
    ] = None,
    settings_: SettingsOption = None,
    map_: MapOption = None,
) -> None:
    """Say what is read from a recording, how, and what is left out; convert it."""
    from dynaprobe.cli.inputs import column_mapping
    from dynaprobe.recordings.account import account_of
    from dynaprobe.recordings.export import write_recording
    from dynaprobe.recordings.load import kind_of, load_psth, load_recording

    progress = TerminalProgress()
    mapping = column_mapping(settings_, map_ or [])
    averages = kind_of(path, mapping) == "psth"
    found = load_psth(path, mapping) if averages else load_recording(path, mapping)
    for line in account_of(found):
        progress.say(line)
    if to is not None:
        progress.say(f"Written to {write_recording(found, to)}")


app.command("probe")(probe)


@app.command("simulate-recording")
def simulate_recording(
    out: Annotated[Path, typer.Argument(help="The .nwb file to write.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="n_units, n_repeats, n_targets, delay_ms, low_hz, high_hz or refractory_ms=VALUE."
        ),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Make a recording from a teacher network of known mechanism, as an NWB file."""
    from dynaprobe.cli.inputs import changed
    from dynaprobe.recordings.export import write_nwb
    from dynaprobe.study.study import SimulatedRecording
    from dynaprobe.study.teacher import teacher_recording

    progress = TerminalProgress()
    resolved = changed(SimulatedRecording(), None, set_ or [])
    recording = teacher_recording(**resolved.model_dump(), seed=seed)
    progress.say(recording.summary)
    progress.say(f"Written to {write_nwb(recording.sessions[0], out)}")


sweeps.add_to(app)


def _report(run: Path, progress: TerminalProgress) -> Path:
    from dynaprobe.report.html import write_report
    from dynaprobe.study.store import RunStore

    with progress.step("Write the report", 1) as step:
        page: Path = write_report(RunStore(run))
        step.update(1)
    return page


if __name__ == "__main__":
    main()
