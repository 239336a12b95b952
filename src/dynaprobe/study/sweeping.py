"""Lead a sweep: hand out what is missing, try again what was lost, say of every job how it ended."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dynaprobe.core.errors import DataError, DynaprobeError
from dynaprobe.study.engines import Engine
from dynaprobe.study.jobs import JobSettings
from dynaprobe.study.pieces import Outcome, Piece, pieces_of
from dynaprobe.study.progress import Board, Running, Silent, View
from dynaprobe.study.store_seal import NotJudgedError, read_facts
from dynaprobe.study.store_sweep import SweepStore
from dynaprobe.study.sweep import Job

# How long to wait before asking again for jobs that another sweep works at.
ASK_AGAIN_S = 2.0
# So many processes may end one after another while none gets further, before going on makes no sense.
MOST_DEATHS = 20
# After so many of them it is first seen whether other pieces fare better, before those are tried again.
FEW_DEATHS = 4


@dataclass(frozen=True)
class SweepReport:
    """How a sweep ended.

    Attributes:
        n_jobs: jobs of the sweep.
        already: jobs that had a result before.
        computed: jobs whose result this sweep stored.
        by_others: jobs whose result another sweep stored, or a process that ended before it could say so.
        failures: why the others have none, by job.
        untracked: what went wrong with trackers, by their names; results and their histories are whole.
    """

    n_jobs: int
    already: tuple[str, ...]
    computed: tuple[str, ...]
    by_others: tuple[str, ...]
    failures: Mapping[str, str]
    untracked: Mapping[str, str] = field(default_factory=dict)


class SweepStoppedError(DynaprobeError):
    """Going on makes no sense, as nothing can be stored or no process lives; the sentence says what it is."""

    def __init__(self, sentence: str) -> None:
        ValueError.__init__(self, sentence)


class _Lead:
    """A sweep while it runs: what is done, what was tried how often, and who is told."""

    def __init__(self, jobs: Sequence[str], store: SweepStore, board: Board, *, n_tries: int) -> None:
        self._store, self._board, self._most = store, board, n_tries
        self._all = frozenset(jobs)
        self.whole = {job for job in jobs if self._is_whole(job)}
        self.computed: list[str] = []
        self.failures: dict[str, str] = {}
        self.untracked: dict[str, str] = {}
        self.n_tries: Counter[str] = Counter()
        self._reached: dict[str, int] = {}
        # Furthest update that anybody was seen at, and processes that have ended since one got further.
        self._seen: dict[str, int] = {}
        self._n_deaths = 0

    def _is_whole(self, job: str) -> bool:
        try:
            return self._store.is_whole(f"networks/{job}")
        except NotJudgedError:  # the process that is given the job says why
            return False

    @property
    def n_done(self) -> int:
        """Jobs that have a result."""
        return len(self._all & (self.whole | self._store.finished()))

    def follow(self, todo: Sequence[Piece], engine: Engine, view: View) -> None:
        """Have every piece worked at, and what is lost of it tried again, until all jobs have ended.

        Raises:
            SweepStoppedError: when nothing can be stored any more, or every process ends.
        """
        waiting = deque(todo)
        # Pieces that are to be asked for again, and when.
        later: deque[tuple[float, Piece]] = deque()
        while waiting or later:
            for ended in engine.run(waiting):
                if ended is not None:
                    self._receive(*ended, waiting, later)
                while later and later[0][0] <= time.monotonic():
                    waiting.append(later.popleft()[1])
                self._show(view)
            if later:
                time.sleep(max(0.0, later[0][0] - time.monotonic()))
                waiting.append(later.popleft()[1])

    def _receive(
        self, piece: Piece, outcome: Outcome, waiting: deque[Piece], later: deque[tuple[float, Piece]]
    ) -> None:
        """Take note of how a piece ended, and see to what is left of it."""
        if outcome.kind == "stop":
            raise SweepStoppedError(outcome.reason)
        self._tell(outcome)
        self.computed += outcome.computed
        missing = self._missing(piece, outcome)
        if outcome.kind != "died" or len(missing) < len(piece.jobs):
            self._n_deaths = 0
        if outcome.kind in ("done", "busy"):
            # Done, and yet not seen here: over a network a file may come late.
            if missing:
                later.append((time.monotonic() + ASK_AGAIN_S, replace(piece, jobs=missing)))
            return
        again = self._again(replace(piece, jobs=missing), outcome) if missing else []
        if self._n_deaths <= FEW_DEATHS:
            waiting.extendleft(replace(one, first=True) for one in reversed(again))
        else:
            waiting.extend(replace(one, first=False) for one in again)

    def _missing(self, piece: Piece, outcome: Outcome) -> tuple[Job[JobSettings], ...]:
        """The jobs of a piece that have no result yet."""
        # Of a piece that is done the worker has read every file; else a damaged one may still have its name.
        there = self._store.finished() if outcome.kind == "done" else self.whole | set(outcome.computed)
        missing = tuple(job for job in piece.jobs if job.id not in there)
        if outcome.kind != "done":
            missing = tuple(job for job in missing if not self._is_whole(job.id))
        return missing

    def _again(self, piece: Piece, outcome: Outcome) -> list[Piece]:
        """How the jobs of a piece without a result are to be tried again, where they have tries left."""
        further = self._count(piece.jobs)
        if outcome.kind == "died":
            self._n_deaths = 0 if further else self._n_deaths + 1
            if self._n_deaths >= MOST_DEATHS:
                raise SweepStoppedError(
                    f"{MOST_DEATHS} processes in a row ended before any of them got further, the last at "
                    f"{piece.name}: {outcome.reason}. What is finished is kept. Mend this, or take out the "
                    "settings that cause it; the same command then goes on"
                )
        left = tuple(job for job in piece.jobs if self.n_tries[job.id] < self._most)
        for job in piece.jobs:
            if job not in left:
                self.failures[job.id] = f"{outcome.reason} (try {self.n_tries[job.id]} of {self._most})"
                self._board.say(f"{job.id}: no result, {self.failures[job.id]}")
        if not left:
            return []
        self._board.say(f"{piece.name}: {outcome.reason}; will be tried again")
        # A process may die of its machine: once more together. What fails by itself must not touch the others.
        if outcome.kind == "died" and all(self.n_tries[job.id] == 1 for job in left):
            return [replace(piece, jobs=left)]
        return [replace(piece, jobs=(job,)) for job in left]

    def _count(self, jobs: Sequence[Job[JobSettings]]) -> bool:
        """One more try of jobs; a try that has got further than any before it counts as the first.

        Returns whether one has.
        """
        reached: dict[str, int] = {}
        for facts in self._store.all_facts("checkpoints").values():
            for job in facts.get("members", ()):
                reached[job] = max(reached.get(job, 0), facts.get("done", 0))
        further = {job.id for job in jobs if reached.get(job.id, 0) > self._reached.get(job.id, 0)}
        for job in jobs:
            self.n_tries[job.id] = 1 if job.id in further else self.n_tries[job.id] + 1
            self._reached[job.id] = max(reached.get(job.id, 0), self._reached.get(job.id, 0))
        return bool(further)

    def _tell(self, outcome: Outcome) -> None:
        for job in outcome.computed:
            facts: dict[str, Any] = {}
            with contextlib.suppress(DataError):  # here it may be seen late, over a network
                facts = read_facts(self._store.path("networks", f"{job}.nc")) or {}
            self._board.say(f"{job}: {facts.get('status', 'stored')}, {facts.get('reason', 'not yet seen here')}")
        self._warn(outcome.untracked)

    def _warn(self, untracked: Mapping[str, str]) -> None:
        """Say once of a tracker that it has failed."""
        for name, reason in untracked.items():
            if name not in self.untracked:
                self.untracked[name] = reason
                self._board.say(f"--track {name} fails: {reason}. Training goes on, with gaps in these curves")

    def _show(self, view: View) -> None:
        running: dict[str, Running] = {}
        fraction = 0.0
        for job, facts in self._store.claims.at_work().items():
            if job not in self._all or not {"leader", "done", "total", "with"} <= facts.keys():
                continue
            self._warn(facts.get("untracked", {}))
            if facts["done"] > self._seen.get(job, 0):
                self._seen[job], self._n_deaths = facts["done"], 0
            fraction += facts["done"] / facts["total"]
            others = f" and {facts['with'] - 1} more" if facts["with"] > 1 else ""
            name = f"{facts['leader']}{others}"
            running[name] = Running(name, facts["done"], facts["total"], facts.get("note", "compiles"))
        view.show(self.n_done + fraction, list(running.values()))


def run_sweep(
    jobs: Sequence[Job[JobSettings]],
    store: SweepStore,
    engine: Engine,
    *,
    n_members: int = 4,
    n_tries: int = 3,
    tracking: Sequence[str] = (),
    board: Board | None = None,
) -> SweepReport:
    """Compute every job that has no whole result in the store.

    Args:
        jobs: the sweep; the same job twice is computed once.
        store: an open store; others may work at it at the same time.
        engine: where the work is done; whoever made it closes it.
        n_members: at most so many jobs train together in one process.
        n_tries: how often a job is tried whose process ends or that fails, without getting further than before.
            After two tries together with others, or one that failed, it is tried alone, so that what ails one job
            does not touch them.
        tracking: names of trackers.
        board: shows how far everything is.

    Raises:
        SweepStoppedError: when nothing can be stored any more, or `MOST_DEATHS` processes end one after another
            before any gets further; all results stored before are whole.
    """
    board = board or Silent()
    unique = {job.id: job for job in jobs}
    lead = _Lead(list(unique), store, board, n_tries=n_tries)
    pieces = pieces_of(list(unique.values()), store.folder, n_members=n_members, tracking=tracking)
    # A damaged file is part of what is missing; the process that claims its job sets it aside.
    todo = [piece for piece in pieces if not {job.id for job in piece.jobs} <= lead.whole]
    with board.board("Networks", len(unique), done=len(lead.whole)) as view:
        lead.follow(todo, engine, view)
    for job, reason in lead.failures.items():
        store.note_failure(job, reason, n_tries=lead.n_tries[job])
    others = set(unique) - lead.whole - set(lead.computed) - lead.failures.keys()
    return SweepReport(
        n_jobs=len(unique),
        already=tuple(sorted(lead.whole)),
        computed=tuple(lead.computed),
        by_others=tuple(sorted(others)),
        failures=lead.failures,
        untracked=lead.untracked,
    )
