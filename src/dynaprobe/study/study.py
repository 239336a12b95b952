"""A study: a paper's claims with everything needed to run them."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import xarray as xr
from pydantic import Field

from dynaprobe.core.errors import DataError
from dynaprobe.core.settings import Settings
from dynaprobe.recordings.columns import DEFAULT_MAPPING, ColumnMapping
from dynaprobe.recordings.export import write_nwb
from dynaprobe.recordings.load import load_recording, recording_files
from dynaprobe.recordings.session import Recording
from dynaprobe.study.progress import Progress
from dynaprobe.study.records import Claim, Verdict
from dynaprobe.study.store import RunStore, write_json
from dynaprobe.study.teacher import teacher_recording

RateRange = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class SimulatedRecording(Settings):
    """The recording a study makes where none is given; see `dynaprobe.study.teacher.teacher_recording`.

    Attributes:
        n_units, n_repeats, n_targets: neurons, trials per direction, directions.
        delay_ms: fixed delay.
        low_hz, high_hz: ranges from which each neuron's lowest and highest rate are drawn.
        refractory_ms: refractory time of every neuron.
    """

    n_units: Annotated[int, Field(ge=2)] = 80
    n_repeats: Annotated[int, Field(ge=2)] = 20
    n_targets: Annotated[int, Field(ge=3)] = 8
    delay_ms: Annotated[float, Field(ge=300)] = 1000.0
    low_hz: RateRange = (0.0, 10.0)
    high_hz: RateRange = (15.0, 60.0)
    refractory_ms: Annotated[float, Field(ge=0)] = 2.0


@dataclass
class Run:
    """One run of a study: where it writes, what it compares with, who listens.

    Attributes:
        store: the run's folder.
        settings: the study's settings.
        recording: what networks are compared with.
        seed: the run's seed.
        progress: listens.
        n_processes: how many processes analyse networks; None takes one per core, 0 none but this one.
        timing_s: seconds spent in every step so far.
    """

    store: RunStore
    settings: Any
    recording: Recording
    seed: int
    progress: Progress
    n_processes: int | None = None
    timing_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time a block takes to the account of the run."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timing_s[name] = self.timing_s.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Study:
    """A paper as a runnable study.

    Attributes:
        name: what the command line calls it.
        title: of the paper.
        citation: of the paper.
        methods: citations of the methods used.
        claims: its claims.
        settings: class of its settings.
        presets: named changes of the default settings, by dotted name.
        check: refuses, by a `DynaprobeError`, settings and a recording that do not go together; called before any
            work, with the settings and the recording.
        run: does the work and returns the verdicts and facts for the manifest.
        inputs: what a run depends on besides settings and recording, by name, e.g. the networks it was given; a
            run is resumed only with the same.
        choices: sentences on which settings are the paper's, and which are ours where the paper is silent.
    """

    name: str
    title: str
    citation: str
    methods: tuple[str, ...]
    claims: tuple[Claim, ...]
    settings: type[Settings]
    presets: Mapping[str, Mapping[str, Any]]
    check: Callable[[Any, Recording], None]
    run: Callable[[Run], tuple[list[Verdict], dict[str, Any]]]
    inputs: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()


def network_counts(store: RunStore) -> dict[str, Any]:
    """How many networks there are, by status, from the summary of a run; controls, where it has some, apart."""
    summary = store.load("results/summary")
    counts, controls = (_counts(summary[name]) if name in summary else {} for name in ("networks", "controls"))
    return {**counts, "controls": controls} if controls else counts


def _counts(networks: xr.Dataset) -> dict[str, int]:
    status = networks["status"].values.tolist()
    return {"networks": len(status), **Counter(status)}


def fingerprint(path: Path | None) -> str:
    """SHA-256 over the names and contents of the recording's files; ``simulated`` where there is none.

    Raises:
        DataError: when there is nothing at the path, or nothing readable.
    """
    if path is None:
        return "simulated"
    if not path.exists():
        raise DataError(
            "--recording",
            rule="be a file or a folder",
            received=f"{path}, where nothing is",
            remedy="Check the path, or leave the option out to simulate a recording",
        )
    digest = hashlib.sha256()
    for file in recording_files(path):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Request:
    """What a run was asked for, settings aside.

    Attributes:
        out: the run's folder.
        recording: file or folder; None simulates one.
        mapping: columns of the recording.
        seed: the run's seed.
        resume: whether to go on with a run that is there.
        preset: name of the preset the settings started from.
        command: how to ask for the same again.
        n_processes: how many processes analyse networks; numbers do not depend on it.
    """

    out: Path
    recording: Path | None = None
    mapping: ColumnMapping = DEFAULT_MAPPING
    seed: int = 0
    resume: bool = False
    preset: str = "demo"
    command: str = ""
    n_processes: int | None = None


def open_recording(
    request: Request, simulated: SimulatedRecording, store: RunStore, *, progress: Progress
) -> Recording:
    """The recording that was given, or a simulated one, which goes through a file and the same reader."""
    path = request.recording
    if path is None:
        path = store.path("recording", "simulated.nwb")
        if not path.exists():
            progress.say("No recording given: simulating one from a teacher network of known mechanism")
            recording = teacher_recording(**simulated.model_dump(), seed=request.seed)
            write_nwb(recording.sessions[0], store.make_folder("recording") / path.name)
    return _read(path, request.mapping, progress)


def _read(path: Path, mapping: ColumnMapping, progress: Progress) -> Recording:
    with progress.step("Read the recording", 1) as step:
        recording = load_recording(
            path, mapping, on_progress=lambda done, total, name: step.update(done / total, name)
        )
    progress.say(recording.summary)
    return recording


def run_study(study: Study, settings: Settings, request: Request, *, progress: Progress) -> RunStore:
    """Run a study into a folder; everything but the report.

    Args:
        study: the study.
        settings: its settings, presets and changes applied.
        request: where to, compared with what, from which seed.
        progress: listens.

    Raises:
        DynaprobeError: bad input, before work starts; nothing is lost.
    """
    store = RunStore(request.out)
    identity = {
        "preset": request.preset,
        "mapping": request.mapping.model_dump(mode="json"),
        "recording_sha256": fingerprint(request.recording),
        "inputs": dict(study.inputs),
    }
    values = settings.model_dump(mode="json")
    source = None
    if request.recording is not None and not store.exists():
        # Before the folder is taken: who has to name a column or a window tries again with the same --out.
        source = _read(request.recording, request.mapping, progress)
        study.check(settings, source)
    store.start(values, study=study.name, seed=request.seed, resume=request.resume, **identity)
    if store.is_complete():
        progress.say("This run is complete; nothing is computed again")
        return store
    about = {"methods": list(study.methods), "choices": list(study.choices), "command": request.command}
    store.note(title=study.title, citation=study.citation, state="running", **about)
    simulated = getattr(settings, "simulated", SimulatedRecording())
    if source is None:
        source = open_recording(request, simulated, store, progress=progress)
        study.check(settings, source)
    run = Run(store, settings, source, request.seed, progress, request.n_processes)
    with run.timed("all"):
        verdicts, facts = study.run(run)
    write_json(store.path("claims.json"), [verdict.as_dict() for verdict in verdicts])
    described = {
        "kind": "simulated" if request.recording is None else "given",
        "source": source.source,
        "summary": source.summary,
        "n_sessions": source.n_sessions,
        "n_units": source.n_units,
        "left_out": dict(source.left_out),
        "mended": dict(source.mended),
        "rules": list(source.rules),
    }
    facts["counts"] = network_counts(store)
    timing_s = {name: round(seconds, 1) for name, seconds in run.timing_s.items()}
    store.finish(recording=described, timing_s=timing_s, **facts)
    return store
