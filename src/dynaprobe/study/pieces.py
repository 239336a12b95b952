"""A piece of a sweep: jobs that train together in one process, as text that travels to any machine.

`work` is all that a process does with one, whether it was started here, by Dask or by a queue of a cluster.
"""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from dynaprobe.core.errors import DynaprobeError, SettingsError
from dynaprobe.core.settings import parse
from dynaprobe.study.jobs import MEMBER_FIELDS, JobSettings, standing, train_together
from dynaprobe.study.store_claims import Claim
from dynaprobe.study.store_files import WriteError
from dynaprobe.study.store_sweep import SweepStore
from dynaprobe.study.sweep import Job, group, shared
from dynaprobe.study.tracking import Tracking, tracked
from dynaprobe.training.fit import FitProgress

# done: every job has a result. busy: another process works at some. failed: an error. died: the process ended.
# stop: nothing can be stored, so that going on makes no sense.
Kind = Literal["done", "busy", "failed", "died", "stop"]


@dataclass(frozen=True)
class Piece:
    """Jobs of one group that a process takes on together.

    Attributes:
        folder: the store, as an absolute path that every machine sees.
        jobs: the jobs.
        tracking: names of trackers, see `dynaprobe.study.tracking`.
        first: whether it goes before all that waits, as what was lost does.
    """

    folder: str
    jobs: tuple[Job[JobSettings], ...]
    tracking: tuple[str, ...] = ()
    first: bool = False

    @cached_property
    def program(self) -> tuple[int, str]:
        """Pieces of which this is the same need the same compiled program."""
        return len(self.jobs), shared(self.jobs[0], member_fields=MEMBER_FIELDS)

    @property
    def name(self) -> str:
        """What the piece is called in messages."""
        return self.jobs[0].id + (f" and {len(self.jobs) - 1} more" if len(self.jobs) > 1 else "")

    def to_text(self) -> str:
        """The piece as JSON."""
        jobs = [
            {
                "id": job.id,
                "settings": job.settings.model_dump(mode="json"),
                "seed": job.seed,
                "labels": dict(job.labels),
                "run_seed": job.run_seed,
            }
            for job in self.jobs
        ]
        rest = {"folder": self.folder, "tracking": self.tracking}
        return json.dumps({"jobs": jobs, **rest})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The piece that `to_text` wrote.

        Raises:
            SettingsError: when this version of dynaprobe gives its jobs other names, and so perhaps other numbers.
        """
        values = json.loads(text)
        jobs = []
        for said in values["jobs"]:
            settings = parse(JobSettings, said["settings"])
            job = Job(settings, said["seed"], said["labels"], said["run_seed"])
            if job.id != said["id"]:
                raise SettingsError(
                    "version of dynaprobe",
                    rule="be the same on all machines of a sweep",
                    received=f"another one here: job {said['id']} is {job.id}",
                    remedy="Install the same version for the workers, and start them again",
                )
            jobs.append(job)
        return cls(values["folder"], tuple(jobs), tuple(values["tracking"]))


@dataclass(frozen=True)
class Outcome:
    """How it went with a piece.

    Attributes:
        kind: see `Kind`.
        reason: why, in words, where not all is done.
        computed: jobs whose result this process has stored.
        untracked: what went wrong with trackers, by their names; no result is the worse for it.
    """

    kind: Kind
    reason: str = ""
    computed: tuple[str, ...] = field(default=())
    untracked: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """The outcome as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The outcome that `to_text` wrote."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, "computed": tuple(values["computed"])})


def pieces_of(
    jobs: Sequence[Job[JobSettings]], folder: Path, *, n_members: int, tracking: Sequence[str] = ()
) -> list[Piece]:
    """Cut jobs into pieces of at most `n_members` that can train together.

    How jobs are cut depends on the jobs alone and not on what is finished or on who works, so that a sweep that is
    started again finds checkpoints that hold the jobs of each piece.
    """
    pieces = []
    for members in group(jobs, member_fields=MEMBER_FIELDS):
        for start in range(0, len(members), n_members):
            chosen = tuple(members[start : start + n_members])
            pieces.append(Piece(str(folder.resolve()), chosen, tuple(tracking)))
    return pieces


# Threads of one process would share its devices, and its memory, for nothing.
_ONE_AT_A_TIME = threading.Lock()


def work(text: str) -> str:
    """Train what is still missing of a piece and store it; what happens is said in the outcome, never raised.

    A job that another process works at is left to it. One with a result, whole by its checksum, is not touched.

    Args:
        text: a piece, from `Piece.to_text`.

    Returns:
        An outcome, from `Outcome.to_text`.
    """
    done = _Done([], {})
    kind: Kind = "failed"
    with _ONE_AT_A_TIME:
        try:
            left_to_others = _work(Piece.from_text(text), done)
            kind, reason = ("busy", "another process works at it") if left_to_others else ("done", "")
        except WriteError as error:
            kind, reason = "stop", str(error)
        except DynaprobeError as error:
            reason = str(error)
        except OSError as error:
            # A full disk meets a cache as well, and will not meet only that.
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                kind = "stop"
            reason = _said(error)
        except MemoryError:
            reason = "the process ran out of memory"
        except Exception as error:  # one job must not take the others with it
            reason = _said(error)
    return Outcome(kind, reason, tuple(done.computed), done.untracked).to_text()


class _Done(NamedTuple):
    """What is to be told of a piece, however it ends."""

    computed: list[str]
    untracked: dict[str, str]


def _work(piece: Piece, done: _Done) -> int:
    """Returns how many jobs were left to others."""
    store = SweepStore(piece.folder)
    store.check()
    with ExitStack() as stack:
        claims: dict[str, Claim] = {}
        for job in piece.jobs:
            claim = store.claim(job.id)
            if claim is not None:
                stack.callback(claim.release)
                claims[job.id] = claim
        # After the claim: whoever had it before may have finished the job since.
        mine = [job for job in piece.jobs if job.id in claims and not store.has(f"networks/{job.id}")]
        if mine:
            with tracked(piece.tracking, store.path("tracking"), mine) as tracking:
                stack.callback(lambda: done.untracked.update(tracking.troubles))
                _train(mine, store, claims=claims, tracking=tracking, computed=done.computed)
        return len(piece.jobs) - len(claims)


def _train(
    mine: Sequence[Job[JobSettings]],
    store: SweepStore,
    *,
    claims: dict[str, Claim],
    tracking: Tracking,
    computed: list[str],
) -> None:
    def tell(state: FitProgress) -> None:
        facts = {"done": state.update, "total": state.n_updates, "note": standing(state), "with": len(mine)}
        for job in mine:
            claims[job.id].tell({**facts, "leader": mine[0].id, "untracked": tracking.troubles})
        tracking.log(state)

    def saved(job: Job[JobSettings]) -> None:
        computed.append(job.id)
        store.forget_failure(job.id)
        claims[job.id].release()

    for job in mine:
        claims[job.id].tell(
            {"done": 0, "total": job.settings.fit.n_updates, "with": len(mine), "leader": mine[0].id}
        )
    train_together(mine, store, on_update=tell, on_saved=saved)


def _said(error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    if "RESOURCE_EXHAUSTED" in first or "out of memory" in first.lower():
        return f"the process ran out of memory ({first})"
    return f"{type(error).__name__}: {first}"
