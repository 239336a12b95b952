"""What is compared: networks and recordings under the names a user gave them, read and checked before any work."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import xarray as xr

from dynaprobe.core.errors import DataError, SettingsError
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping
from dynaprobe.recordings.load import kind_of, load_psth, load_recording, recording_files
from dynaprobe.recordings.session import Recording
from dynaprobe.study.networks import TrainedNetwork, load_network
from dynaprobe.study.store import read_tree

Part = Literal["whole", "subject"]
OnFile = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One thing that is compared: a recording, or networks that differ in nothing but their seeds.

    Attributes:
        name: what it is called, unique.
        path: where it was found.
        recording: a recording with trials.
        averages: a recording of which there are condition averages alone, dims ``(condition, time, unit)``.
        networks: the networks that learned their task.
        files: the network files, those that did not learn included, by id.
        left_out: networks that did not learn their task, with the reason.
        copies: networks left out because they are another one under a second name, with the name of that.
    """

    name: str
    path: Path
    recording: Recording | None = None
    averages: xr.DataArray | None = None
    networks: tuple[TrainedNetwork, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["recording", "averages", "networks"]:
        """What it is."""
        if self.recording is not None:
            return "recording"
        return "averages" if self.averages is not None else "networks"

    @property
    def is_usable(self) -> bool:
        """Whether there is something to compare."""
        return self.kind != "networks" or bool(self.networks)

    @property
    def about(self) -> str:
        """One sentence on what it holds."""
        if self.recording is not None:
            return self.recording.summary
        if self.averages is not None:
            sizes = self.averages.sizes
            return (
                f"{self.path.name}: averages over trials, {sizes['unit']} units, {sizes['condition']} conditions."
            )
        n = len(self.networks)
        failed = f" {len(self.left_out)} did not learn the task and are left out." if self.left_out else ""
        copied = "".join(
            f" {name} is {other} under another name and is left out." for name, other in self.copies.items()
        )
        return f"{n} network{'s' * (n != 1)} of {self.path.name}.{failed}{copied}"


@dataclass(frozen=True)
class Given:
    """One argument of a comparison.

    Attributes:
        name: the name that was given with it, as ``name=path``; None where there was none.
        path: where it is.
    """

    name: str | None
    path: Path

    @classmethod
    def parse(cls, text: str) -> Given:
        """``name=path`` or a path; a path that exists is one, whatever signs it holds."""
        name, separator, rest = text.partition("=")
        if not separator or "/" in name or Path(text).exists():
            return cls(None, Path(text))
        if not name.strip() or not rest:
            raise SettingsError(
                "candidate",
                rule="be a path, or read NAME=PATH",
                received=text,
                remedy="For example joe=data/joe",
            )
        return cls(name.strip(), Path(rest))

    @property
    def is_network(self) -> bool:
        """Whether networks lie there."""
        if self.path.is_dir():
            return (self.path / "networks").is_dir() or any(map(holds_network, sorted(self.path.glob("*.nc"))[:1]))
        return self.path.suffix == ".nc" and self.path.is_file() and holds_network(self.path)


def holds_network(file: Path) -> bool:
    """Whether a netCDF file holds a network."""
    try:
        return "network" in read_tree(file)
    except DataError:
        return False


def network_files(path: Path) -> list[Path]:
    """Network files at a path: a file stands for itself, a run's folder for all its networks.

    Raises:
        DataError: a path that is neither.
    """
    folder = path / "networks" if (path / "networks").is_dir() else path
    files = sorted(folder.glob("*.nc")) if folder.is_dir() else [path] if path.is_file() else []
    if not files:
        raise DataError(
            "network",
            rule="be a network file or the folder of a run",
            received=str(path),
            remedy="Train networks first, with `dynaprobe train` or `dynaprobe study`",
        )
    return files


def read_candidates(
    words: Sequence[str],
    *,
    mapping: ColumnMapping = DEFAULT_MAPPING,
    by: Part = "whole",
    known: dict[Path, Recording] | None = None,
    on_progress: OnFile | None = None,
) -> list[Candidate]:
    """Read what a user named, in the order it was named.

    A recording is one candidate or, by subject, one for every animal in it. The networks of a run are one
    candidate for every combination of settings, whose members differ in their seeds.

    Args:
        words: paths, or ``name=path``.
        mapping: columns of the recordings.
        by: whether recordings stand as a whole or for each subject.
        known: recordings that were read already, by path; takes those that are read now.
        on_progress: called after every file of a recording.

    Raises:
        DataError: nothing to read at a path, two candidates of one name.
    """
    candidates: list[Candidate] = []
    for given in [Given.parse(word) for word in words]:
        _check_there(given)
        if given.is_network:
            candidates += _networks(given)
        else:
            candidates += read_recordings(given, mapping=mapping, by=by, known=known, on_progress=on_progress)
    check_names([candidate.name for candidate in candidates])
    return candidates


def read_recordings(
    given: Given,
    *,
    mapping: ColumnMapping,
    by: Part = "whole",
    known: dict[Path, Recording] | None = None,
    on_progress: OnFile | None = None,
) -> list[Candidate]:
    """The recording at a path, as a whole or one for every animal; averages cannot be parted.

    Args:
        given: name and path.
        mapping: columns.
        by: whether it stands as a whole or for each subject.
        known: what was read already, by path; takes what is read now.
        on_progress: called after every file.

    Raises:
        DataError: nothing to read there.
    """
    if kind_of(given.path, mapping) == "psth":
        return [Candidate(given.name or given.path.stem, given.path, averages=load_psth(given.path, mapping))]
    path = given.path.resolve()
    if known is None or path not in known:
        recording = load_recording(given.path, mapping, on_progress=on_progress)
        if known is not None:
            known[path] = recording
    else:
        recording = known[path]
    if by == "whole":
        return [Candidate(given.name or recording.source, given.path, recording)]
    prefix = f"{given.name} " if given.name else ""
    return [Candidate(f"{prefix}{name}", given.path, part) for name, part in by_subject(recording).items()]


def fingerprint_of(words: Sequence[str], mapping: ColumnMapping = DEFAULT_MAPPING) -> dict[str, str]:
    """SHA-256 of the files behind every argument, by the argument."""
    found = {}
    for word in words:
        given = Given.parse(word)
        _check_there(given)
        digest = hashlib.sha256()
        if given.is_network:
            files = network_files(given.path)
        else:
            files = recording_files(given.path) if kind_of(given.path, mapping) == "trials" else [given.path]
        for file in files:
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
        found[word] = digest.hexdigest()
    return found


def check_names(names: Sequence[str]) -> None:
    """Refuse two candidates of one name.

    Raises:
        DataError: names the first of them.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            "candidates",
            rule="differ in their names",
            received=f"{twice[0]} {Counter(names)[twice[0]]} times",
            remedy="Give each a name of its own, as NAME=PATH",
        )


def by_subject(recording: Recording) -> dict[str, Recording]:
    """The sessions of every animal as a recording of their own, by its name, in order of name."""
    names = sorted({session.subject for session in recording.sessions})
    return {
        name: Recording(
            tuple(session for session in recording.sessions if session.subject == name),
            source=f"{recording.source}, {name}",
        )
        for name in names
    }


def _check_there(given: Given) -> None:
    if not given.path.exists():
        raise DataError(
            "candidate",
            rule="be a network file, the folder of a run, or a recording",
            received=f"{given.path}, where nothing is",
            remedy="Check the path; a name before it is written NAME=PATH",
        )


def _networks(given: Given) -> list[Candidate]:
    """A candidate for every combination of settings among the networks at a path."""
    files = network_files(given.path)
    loaded = [(file, load_network(file)) for file in files]
    cells: dict[str, list[tuple[Path, TrainedNetwork]]] = {}
    for file, network in loaded:
        cells.setdefault(cell_of(network), []).append((file, network))
    candidates = []
    for cell, members in cells.items():
        kept, copies = _without_copies(members)
        learned = tuple(network for _, network in kept if network.learned)
        failed = {network.id: network.reason or network.status for _, network in kept if not network.learned}
        name = _called(given, cell, len(cells))
        files_by_id = {network.id: file for file, network in kept}
        candidates.append(
            Candidate(name, given.path, networks=learned, files=files_by_id, left_out=failed, copies=copies)
        )
    return candidates


def _without_copies(
    members: Sequence[tuple[Path, TrainedNetwork]],
) -> tuple[list[tuple[Path, TrainedNetwork]], dict[str, str]]:
    """Each network once, and the copies by the name of their file: a copy is no further observation."""
    kept: dict[str, tuple[Path, TrainedNetwork]] = {}
    copies = {}
    for file, network in members:
        if network.content in kept:
            copies[file.stem] = kept[network.content][0].stem
        else:
            kept[network.content] = file, network
    return list(kept.values()), copies


def copies_between(candidates: Sequence[Candidate]) -> list[str]:
    """A sentence on every network that is in two candidates, whatever it is called there."""
    places: dict[str, list[str]] = {}
    for candidate in candidates:
        for network in candidate.networks:
            places.setdefault(network.content, []).append(f"{candidate.name}/{network.id}")
    return [
        f"{' and '.join(names)} have the same weights: they are one network."
        for names in places.values()
        if len(names) > 1
    ]


def _called(given: Given, cell: str, n_cells: int) -> str:
    """The name that was given, else that of the file or folder; with the settings where there are several."""
    folder = given.path.resolve()
    base = folder.parent.name if folder.name == "networks" else folder.stem if folder.is_file() else folder.name
    name = given.name or base
    return name if n_cells == 1 else f"{name}: {cell}"


def cell_of(network: TrainedNetwork) -> str:
    """Where a network stands in the grid of its run, its seed aside."""
    parts = [
        f"{k} {v:g}" if isinstance(v, int | float) else str(v) for k, v in network.labels.items() if k != "seed"
    ]
    return ", ".join(parts) or network.network.activation_name
