"""The command `probe`: interfere with trained networks and see what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dynaprobe.cli.console import TerminalProgress

# Figures with a row or a column for each network show the first of them only.
MOST_ROWS = 4


def probe(
    networks: Annotated[list[Path], typer.Argument(help="Network files, or folders of runs that hold some.")],
    mechanism: Annotated[
        bool, typer.Option("--mechanism", help="Take the target away at go; swap states.")
    ] = False,
    noise: Annotated[
        bool, typer.Option("--noise", help="Noise at the inputs by strength, channel, epoch.")
    ] = False,
    switch: Annotated[bool, typer.Option("--switch", help="Switch the target around the go cue.")] = False,
    locations: Annotated[bool, typer.Option("--locations", help="New directions and distances.")] = False,
    perturb: Annotated[bool, typer.Option("--perturb", help="Pulses to the state, silent units.")] = False,
    dynamics: Annotated[bool, typer.Option("--dynamics", help="Fixed points, modes, flow fields.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for results and figures.")] = Path("runs/probe"),
    settings_: Annotated[
        Path | None, typer.Option("--settings", help="TOML file with settings that differ from the defaults.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. --set within=0.1; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31, help="The seed behind every draw.")] = 0,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Networks probed side by side; one per core.")
    ] = None,
) -> None:
    """Probe trained networks: mechanism, noise, switched targets, new places and more; all if none is named.

    Networks that were probed in the same way into the same folder are not probed again. Those of another task than
    the delayed reach are named and left out.
    """
    from dynaprobe.cli.inputs import changed
    from dynaprobe.cli.probe_table import probe_table
    from dynaprobe.core.devices import prepare_devices
    from dynaprobe.core.errors import SettingsError
    from dynaprobe.study.candidates import network_files
    from dynaprobe.study.networks import load_network
    from dynaprobe.study.probe_battery import probe_files, read_probes
    from dynaprobe.study.probe_numbers import trained_delay_ms
    from dynaprobe.study.probing import PROBES, ProbeSettings
    from dynaprobe.study.store_folder import ResultFolder

    progress = TerminalProgress()
    asked = dict(zip(PROBES, (mechanism, noise, switch, locations, perturb, dynamics), strict=True))
    # Figures are drawn by mechanism, which costs next to nothing to find.
    which = [name for name in PROBES if asked[name] or name == "mechanism" or not any(asked.values())]
    resolved = changed(ProbeSettings(), settings_, set_ or [])
    files = list(dict.fromkeys(file for path in networks for file in network_files(path)))
    loaded = {}
    for file in files:
        try:
            loaded[file] = load_network(file)
        except SettingsError as error:
            # Of another task, which this version may not know.
            progress.say(f"{file.stem} is left out: {error}")
    prepare_devices()
    store = ResultFolder(out)
    probe_files(list(loaded), store, resolved, which=which, seed=seed, n_processes=processes, progress=progress)
    results = {one.id: read_probes(store, one.id) for one in loaded.values()}
    for name, found in results.items():
        if not found.results:
            progress.say(f"{name} was not probed: {found.reason}")
    results_of = {name: found.results for name, found in results.items() if found.results}
    probed = [one for one in loaded.values() if one.id in results_of]
    progress.console.print(probe_table(probed, results_of))
    delays_ms = [trained_delay_ms(one) for one in probed]
    names = _figures(results_of, out / "figures", delays_ms) if results_of else []
    progress.say(f"Results are in {out / 'probes'}, {len(names)} figures in {out / 'figures'}")
    progress.say(f"Done in {progress.elapsed}")


def _figures(
    results: Mapping[str, Mapping[str, Any]], folder: Path, shortest_delays_ms: Sequence[float]
) -> list[str]:
    """Draw what was probed and write it; the names of the figures."""
    from dynaprobe.report.export import save_figure
    from dynaprobe.report.figures import dynamics, probes, probes_dynamics

    mechanisms = {name: str(groups["mechanism"].data.attrs["mechanism"]) for name, groups in results.items()}

    def of(kind: str, most: int | None = None) -> dict[str, Any]:
        return dict([(name, groups[kind]) for name, groups in results.items() if kind in groups][:most])

    drawn = {}
    if of("input_noise"):
        drawn["noise"] = probes.noise_figure(of("input_noise"), mechanisms)
    if of("target_switch"):
        drawn["switch"] = probes.switch_figure(of("target_switch"), mechanisms, shortest_delays_ms)
        drawn["switch_path"] = probes.switch_path_figure(of("target_switch", MOST_ROWS))
    if of("locations_sweep"):
        drawn["locations"] = probes.locations_figure(of("locations_sweep"), of("locations_radii"), mechanisms)
        drawn["places"] = probes.places_figure(of("locations_radii", 2 * MOST_ROWS))
    if of("flow_fields"):
        drawn["flow"] = probes_dynamics.flow_figure(of("flow_fields", MOST_ROWS))
        drawn["spectra"] = dynamics.spectra_figure(of("fixed_points", MOST_ROWS))
        drawn["fixed_points"] = dynamics.fixed_points_figure(of("fixed_points", MOST_ROWS))
    for name in list(results)[:MOST_ROWS]:
        groups = results[name]
        if "pulses" in groups:
            silenced = {kind: result for kind, result in groups.items() if kind.startswith("silencing")}
            drawn[f"perturb-{name}"] = probes_dynamics.pulses_figure(groups["pulses"], silenced)
        if "local_spectra" in groups:
            drawn[f"local-{name}"] = probes_dynamics.local_dynamics_figure(
                groups["local_spectra"], groups["linear_prediction"]
            )
    for name, figure in drawn.items():
        save_figure(figure, folder, name)
    return list(drawn)
