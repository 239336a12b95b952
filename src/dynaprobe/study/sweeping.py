"""Lead a sweep: hand out what is missing, try again what was lost, say of every job how it ended."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class SweepReport:
    """How a sweep ended.

    Attributes:
        n_jobs: jobs of the sweep.
        already: jobs that had a result before.
        computed: jobs whose result this sweep stored.
        by_others: jobs whose result another sweep stored, or a process that ended before it could say so.
        failures: why the others have none, by job.
    """

    n_jobs: int
    already: tuple[str, ...]
    computed: tuple[str, ...]
    by_others: tuple[str, ...]
    failures: Mapping[str, str]


class SweepStoppedError(DynaprobeError):
    """Nothing can be stored any more; the sentence is that of the process which noticed it."""

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
        self.n_tries: Counter[str] = Counter()
        self._reached: dict[str, int] = {}

    def _is_whole(self, job: str) -> bool:
        try:
            return self._store.is_whole(f"networks/{job}")
        except NotJudgedError:  # the process that is given the job says why
            return False

    @property
    def n_done(self) -> int:
        """Jobs that have a result."""
        return len(self._all & (self.whole | self._store.finished()))

    def round(self, todo: Sequence[Piece], engine: Engine, view: View) -> list[Piece]:
        """Have every piece worked at once; returns what is to be tried again.

        Raises:
            SweepStoppedError: when nothing can be stored any more.
        """
        again: list[Piece] = []
        all_busy = True
        for ended in engine.run(todo):
            if ended is not None:
                piece, outcome = ended
                if outcome.kind == "stop":
                    raise SweepStoppedError(outcome.reason)
                all_busy &= outcome.kind == "busy"
                self._tell(outcome)
                again += self._remains(piece, outcome)
            self._show(view)
        if again and all_busy:
            time.sleep(ASK_AGAIN_S)
        return again

    def _remains(self, piece: Piece, outcome: Outcome) -> list[Piece]:
        """What of a piece is to be tried again, and how."""
        self.computed += outcome.computed
        # Of a piece that is done the worker has read every file; else a damaged one may still have its name.
        there = self._store.finished() if outcome.kind == "done" else self.whole | set(outcome.computed)
        missing = tuple(job for job in piece.jobs if job.id not in there)
        if outcome.kind != "done":
            missing = tuple(job for job in missing if not self._is_whole(job.id))
        if not missing or outcome.kind in ("done", "busy"):
            return [replace(piece, jobs=missing)] if missing else []
        self._count(missing)
        left = tuple(job for job in missing if self.n_tries[job.id] < self._most)
        for job in missing:
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

    def _count(self, jobs: Sequence[Job[JobSettings]]) -> None:
        """One more try of jobs; a try that has got further than any before it counts as the first."""
        reached: dict[str, int] = {}
        for facts in self._store.all_facts("checkpoints").values():
            for job in facts.get("members", ()):
                reached[job] = max(reached.get(job, 0), facts.get("done", 0))
        for job in jobs:
            further = reached.get(job.id, 0) > self._reached.get(job.id, 0)
            self.n_tries[job.id] = 1 if further else self.n_tries[job.id] + 1
            self._reached[job.id] = max(reached.get(job.id, 0), self._reached.get(job.id, 0))

    def _tell(self, outcome: Outcome) -> None:
        for job in outcome.computed:
            facts: dict[str, Any] = {}
            with contextlib.suppress(DataError):  # here it may be seen late, over a network
                facts = read_facts(self._store.path("networks", f"{job}.nc")) or {}
            self._board.say(f"{job}: {facts.get('status', 'stored')}, {facts.get('reason', 'not yet seen here')}")

    def _show(self, view: View) -> None:
        running: dict[str, Running] = {}
        fraction = 0.0
        for job, facts in self._store.claims.at_work().items():
            if job not in self._all or not {"leader", "done", "total", "with"} <= facts.keys():
                continue
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
        SweepStoppedError: when nothing can be stored any more; all results stored before are whole.
    """
    board = board or Silent()
    unique = {job.id: job for job in jobs}
    lead = _Lead(list(unique), store, board, n_tries=n_tries)
    pieces = pieces_of(list(unique.values()), store.folder, n_members=n_members, tracking=tracking)
    # A damaged file is part of what is missing; the process that claims its job sets it aside.
    todo = [piece for piece in pieces if not {job.id for job in piece.jobs} <= lead.whole]
    with board.board("Networks", len(unique), done=len(lead.whole)) as view:
        while todo:
            todo = lead.round(todo, engine, view)
    for job, reason in lead.failures.items():
        store.note_failure(job, reason, n_tries=lead.n_tries[job])
    others = set(unique) - lead.whole - set(lead.computed) - lead.failures.keys()
    return SweepReport(
        n_jobs=len(unique),
        already=tuple(sorted(lead.whole)),
        computed=tuple(lead.computed),
        by_others=tuple(sorted(others)),
        failures=lead.failures,
    )
