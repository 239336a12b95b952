"""The second half of a study on its own: compare trained networks with a recording."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynaprobe.core.errors import DataError
from dynaprobe.study.battery import BatterySettings, check_recording, compare
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.records import Verdict
from dynaprobe.study.study import Run, Study


def network_files(paths: Sequence[Path]) -> list[Path]:
    """Network files among paths: a file stands for itself, a run's folder for all its networks.

    Raises:
        DataError: a path that is neither.
    """
    found: list[Path] = []
    for path in paths:
        folder = path / "networks" if (path / "networks").is_dir() else path
        files = sorted(folder.glob("*.nc")) if folder.is_dir() else [path] if path.is_file() else []
        if not files:
            raise DataError(
                "network",
                rule="be a network file or the folder of a run",
                received=str(path),
                remedy="Train networks first, with `dynaprobe train` or `dynaprobe study`",
            )
        found += files
    return found


def comparison_of(paths: Sequence[Path]) -> Study:
    """The comparison of trained networks with a recording, as a study without claims of its own.

    Raises:
        DataError: a path without networks, or two different networks of one name.
    """
    by_name: dict[str, tuple[Path, TrainedNetwork]] = {}
    for file in network_files(paths):
        network = load_network(file)
        known, _ = by_name.setdefault(network.id, (file, network))
        # Results are kept by name: those of the first would silently stand for the second.
        if known.read_bytes() != file.read_bytes():
            raise DataError(
                "network",
                rule="have a name of its own",
                received=f"{network.id}, which is another network in {known.parent}",
                remedy="Compare the two runs one at a time, each into its own --out",
                where=file.parent,
            )

    def run(run: Run) -> tuple[list[Verdict], dict[str, Any]]:
        for file, network in by_name.values():
            copy = run.store.make_folder("networks") / f"{network.id}.nc"
            if not copy.exists():
                run.store.adopt(file, f"networks/{network.id}")
        networks = [network for _, network in by_name.values()]
        cells = {network.id: _cell(network) for network in networks}
        _, facts = compare(run, networks, run.settings, cells=cells)
        return [], facts

    return Study(
        name="compare",
        title="Networks compared with a recording",
        citation="",
        methods=(),
        claims=(),
        settings=BatterySettings,
        presets={"default": {}},
        check=check_recording,
        run=run,
        inputs={name: hashlib.sha256(file.read_bytes()).hexdigest() for name, (file, _) in by_name.items()},
    )


def _cell(network: TrainedNetwork) -> str:
    parts = [
        f"{k} {v:g}" if isinstance(v, int | float) else str(v) for k, v in network.labels.items() if k != "seed"
    ]
    return ", ".join(parts) or network.network.activation_name
