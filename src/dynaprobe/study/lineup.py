"""What is compared in one run: candidates and reference, read together and checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dynaprobe.analysis.measures import MEASURES, Measure, measure_named
from dynaprobe.core.errors import DataError
from dynaprobe.recordings.session import Recording
from dynaprobe.study.battery import BatterySettings, check_recording
from dynaprobe.study.candidates import (
    Candidate,
    Given,
    Part,
    check_names,
    copies_between,
    read_candidates,
    read_recordings,
)
from dynaprobe.study.common_ground import CommonGround, common_ground
from dynaprobe.study.networks import load_network
from dynaprobe.study.progress import Progress
from dynaprobe.study.sample import PairSettings
from dynaprobe.study.study import Request


class CompareSettings(BatterySettings):
    """How candidates are compared.

    Attributes:
        pairs: how every pair is scored and tested.
    """

    pairs: PairSettings = PairSettings()


@dataclass(frozen=True)
class Lineup:
    """What is compared, read and checked.

    Attributes:
        candidates: all of them, the reference included.
        reference: name of the candidate that the others are compared with; None where there is none.
        ground: what all share.
        measures: the measures asked for.
    """

    candidates: tuple[Candidate, ...]
    reference: str | None
    ground: CommonGround
    measures: tuple[Measure, ...]

    @property
    def reference_candidate(self) -> Candidate | None:
        """The reference itself."""
        return next((one for one in self.candidates if one.name == self.reference), None)

    @property
    def recording(self) -> Recording | None:
        """The reference where it is a recording with trials."""
        candidate = self.reference_candidate
        return None if candidate is None else candidate.recording

    @property
    def usable(self) -> list[Candidate]:
        """The candidates that hold something to compare."""
        return [candidate for candidate in self.candidates if candidate.is_usable]


def read_lineup(
    words: Sequence[str],
    given: Given | None,
    settings: CompareSettings,
    request: Request,
    *,
    by: Part,
    progress: Progress,
) -> Lineup:
    """Read and check everything that can be wrong before work starts.

    Args:
        words: paths of the candidates, or ``name=path``.
        given: the reference; None for none.
        settings: of the comparison.
        request: columns of recordings, and where results go.
        by: whether recordings among the candidates stand as a whole or for each subject.
        progress: listens.

    Raises:
        DynaprobeError: the first thing that is wrong.
    """
    chosen = tuple(measure_named(name) for name in settings.pairs.measures) or default_measures()
    with progress.step("Read candidates", len(words) + (given is not None)) as step:
        candidates: list[Candidate] = []
        known: dict[Path, Recording] = {}
        for done, word in enumerate(words):
            candidates += read_candidates(
                [word],
                mapping=request.mapping,
                by=by,
                known=known,
                on_progress=lambda k, n, name, done=done: step.update(done + k / n, name),  # type: ignore[misc]
            )
            step.update(done + 1, candidates[-1].name)
        check_names([candidate.name for candidate in candidates])
        reference = None
        if given is not None:
            candidates, reference = _with_reference(candidates, given, request, by, known)
            step.update(len(words) + 1, reference)
    for candidate in candidates:
        named = candidate.about.startswith(f"{candidate.name}:")
        progress.say(candidate.about if named else f"{candidate.name} is {candidate.about}")
    usable = [candidate for candidate in candidates if candidate.is_usable]
    if len(usable) < 2:
        raise DataError(
            "candidates",
            rule="be at least two, networks that learned their task or recordings",
            received=", ".join(f"{one.name} ({one.about})" for one in candidates),
            remedy="Name another, add --recording, or part a recording with --by subject",
        )
    ground = common_ground(usable, reference, settings.comparison)
    ground = replace(ground, account=(*ground.account, *copies_between(usable)))
    for sentence in ground.account:
        progress.say(sentence)
    lineup = Lineup(tuple(candidates), reference, ground, chosen)
    if lineup.recording is not None and any(one.networks for one in usable):
        check_recording(settings.model_copy(update={"comparison": ground.settings}), lineup.recording)
        check_ids(candidates)
    return lineup


def default_measures() -> tuple[Measure, ...]:
    """All measures but those that read another one backwards: every pair is scored in both directions anyway."""
    forth = {measure.name.removesuffix("_forth") for measure in MEASURES if measure.name.endswith("_forth")}
    return tuple(m for m in MEASURES if not (m.name.endswith("_back") and m.name.removesuffix("_back") in forth))


def _with_reference(
    candidates: list[Candidate], given: Given, request: Request, by: Part, known: dict[Path, Recording]
) -> tuple[list[Candidate], str]:
    """The candidates with the reference among them, which may be one that was named already."""
    for candidate in candidates:
        # A part of a recording is another candidate than the whole.
        whole = candidate.averages is not None or (candidate.recording is not None and by == "whole")
        if whole and candidate.path.resolve() == given.path.resolve():
            return candidates, candidate.name
    (reference,) = read_recordings(given, mapping=request.mapping, known=known)
    check_names([*(candidate.name for candidate in candidates), reference.name])
    return [*candidates, reference], reference.name


def check_ids(candidates: Sequence[Candidate]) -> None:
    """Refuse different networks of one name: results beside the reference are kept by name.

    Raises:
        DataError: names the network and the two folders.
    """
    known: dict[str, Path] = {}
    for candidate in candidates:
        for name, file in candidate.files.items():
            first = known.setdefault(name, file)
            if first != file and load_network(first).content != load_network(file).content:
                raise DataError(
                    "network",
                    rule="have a name of its own",
                    received=f"{name}, which is another network in {first.parent}",
                    remedy="Compare the two runs one at a time, each into its own --out",
                    where=file.parent,
                )
