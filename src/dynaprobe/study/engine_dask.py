"""Any Dask cluster: workers on other machines, which may die, be preempted, or lose their scheduler.

What Dask is told is the text of a piece, what it gives back the text of an outcome; results go to the store, which
all machines see. So nothing is lost with a scheduler: pieces that are not done are handed to the next one.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dynaprobe.core.devices import one_core_environment, prepare_devices
from dynaprobe.core.errors import SettingsError
from dynaprobe.study.pieces import Outcome, Piece, work

TICK_S = 1.0
# So long a scheduler may be away before the sweep gives up; it can be started again at any time.
PATIENCE_S = 600.0
CONNECT_S = 30.0


def work_on_worker(text: str) -> str:
    """`dynaprobe.study.pieces.work` on a worker of Dask: with one device, for it is one of many on its machine."""
    prepare_devices(1)
    return work(text)


class DaskEngine:
    """Has pieces worked at by the workers of a scheduler."""

    def __init__(self, address: Callable[[], str], *, say: Callable[[str], object] = lambda _: None) -> None:
        """Connect to nothing yet.

        Args:
            address: gives the address of the scheduler; asked again whenever the connection is lost.
            say: told of lost connections.

        Raises:
            SettingsError: when Dask is not installed.
        """
        self._dask = import_dask()
        self._address, self._say = address, say
        self._client: Any = None
        self._said_alone = False

    def run(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Outcome] | None]:
        """See `dynaprobe.study.engines.Engine`.

        Raises:
            SettingsError: when there is no scheduler for `PATIENCE_S`.
        """
        waiting = list(pieces)
        futures: dict[Any, Piece] = {}
        while waiting or futures:
            client = self._connected()
            for piece in waiting:
                # A name of its own: Dask would otherwise remember what it thinks it has computed.
                name = f"{piece.jobs[0].id}-{uuid.uuid4().hex[:8]}"
                future = client.submit(work_on_worker, piece.to_text(), key=name, pure=False, retries=0)
                futures[future] = piece
            waiting = []
            self._wait(futures)
            ended = [future for future in futures if future.status != "pending"]
            for future in ended:
                piece = futures.pop(future)
                outcome = self._outcome(future)
                if outcome is None:
                    waiting.append(piece)
                else:
                    yield piece, outcome
            if waiting:
                # All that this client was told is gone with its scheduler.
                waiting += futures.values()
                futures = {}
                self._lost()
            elif not ended:
                self._tell_if_alone()
                yield None

    def close(self) -> None:
        """See `dynaprobe.study.engines.Engine`: the workers are not of this making, and go on to serve others."""
        if self._client is not None:
            self._client.close(timeout=2)
        self._client = None

    def _connected(self) -> Any:
        """The client; waits for a scheduler while there is none."""
        if self._client is not None:
            return self._client
        deadline = time.monotonic() + PATIENCE_S
        said = False
        while True:
            address = self._address()
            try:
                self._client = self._dask.Client(address, timeout=CONNECT_S, set_as_default=False)
            except (OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise SettingsError(
                        "--scheduler",
                        rule=f"be the address of a Dask scheduler that answers within {PATIENCE_S:g} s",
                        received=f"{address} ({type(error).__name__})",
                        remedy="Start it with: dask scheduler; then give the address it prints",
                    ) from None
                if not said:
                    self._say(f"No scheduler answers at {address} yet; waiting for it up to {PATIENCE_S:g} s")
                said = True
                time.sleep(TICK_S)
                continue
            return self._client

    def _tell_if_alone(self) -> None:
        """Say once that nobody is there to do the work, and again when the last worker has gone."""
        # Of a connection that has just ended the next round says more.
        with contextlib.suppress(OSError, TimeoutError, self._dask.TimeoutError):
            alone = not self._client.scheduler_info().get("workers")
            if alone and not self._said_alone:
                self._say("The scheduler has no workers; the sweep goes on as soon as one joins")
            self._said_alone = alone

    def _wait(self, futures: Mapping[Any, Piece]) -> None:
        try:
            self._dask.wait(list(futures), timeout=TICK_S, return_when="FIRST_COMPLETED")
        except (TimeoutError, self._dask.TimeoutError):
            return
        except Exception:  # of a connection that ends while one waits there are many; each future says how it is
            time.sleep(TICK_S)

    def _outcome(self, future: Any) -> Outcome | None:
        """What became of a piece; None when its scheduler is gone and nobody knows."""
        if future.status == "finished":
            try:
                return Outcome.from_text(future.result(timeout=CONNECT_S))
            except (OSError, TimeoutError, self._dask.TimeoutError, self._dask.client.FutureCancelledError):
                return None
        if future.status != "error":
            return None
        error = future.exception(timeout=CONNECT_S)
        if isinstance(error, self._dask.scheduler.KilledWorker):
            return Outcome("died", f"its worker ended, again and again: {error.last_worker.address}")
        return Outcome("failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")

    def _lost(self) -> None:
        self._say("The connection to the scheduler was lost; what is not done will be handed out again")
        client, self._client = self._client, None
        try:
            client.close(timeout=2)
        except (OSError, TimeoutError, self._dask.TimeoutError):
            return


def import_dask() -> Any:
    """The package `distributed`.

    Raises:
        SettingsError: with what to install, when it is absent.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise SettingsError(
            "--scheduler",
            rule="have dask.distributed installed",
            received="a Python without it",
            remedy="Run pip install 'dynaprobe[dask]'",
        ) from None


# What dask-jobqueue calls each queue. To add one: its row here.
QUEUES = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
}
_OURS = ("n_jobs", "cores")


class QueueEngine(DaskEngine):
    """Workers that a queue starts, through dask-jobqueue; each of their processes keeps to one core."""

    def __init__(
        self, kind: str, options: Mapping[str, Any], *, say: Callable[[str], object] = lambda _: None
    ) -> None:
        """Start a scheduler here and submit the jobs.

        Args:
            kind: a row of `QUEUES`.
            options: the table ``[cluster]``, see `make_cluster`.
            say: told of what happens.

        Raises:
            SettingsError: an unknown queue or option, or nothing to submit with.
        """
        self._cluster = make_cluster(kind, options)
        n_jobs = options.get("n_jobs", 1)
        submit = str(self._cluster.job_cls.submit_command).split()[0]
        if shutil.which(submit) is None:
            # Without it Dask would wait for workers for ever.
            self._cluster.close(timeout=10)
            raise SettingsError(
                "--cluster",
                rule=f"be started where {submit} can be run",
                received=f"{kind} on a machine without it",
                remedy="Start the sweep on a login node of the cluster, or choose another queue",
            )
        # Adapting, not scaling: a job that the queue has ended, at its limit or for someone else, is replaced.
        self._cluster.adapt(minimum_jobs=n_jobs, maximum_jobs=n_jobs, interval="10s")
        super().__init__(lambda: str(self._cluster.scheduler_address), say=say)

    def close(self) -> None:
        """See `dynaprobe.study.engines.Engine`: the jobs are taken back from the queue."""
        super().close()
        self._cluster.close(timeout=10)


def make_cluster(kind: str, options: Mapping[str, Any]) -> Any:
    """The cluster of dask-jobqueue, of which nothing is submitted yet.

    Args:
        kind: a row of `QUEUES`.
        options: ``n_jobs`` (jobs to submit), ``cores`` (of each job, one process per core), ``memory`` (of each
            job, e.g. ``"32GB"``), and what else the class of dask-jobqueue takes, e.g. ``queue``, ``account``,
            ``walltime``, ``interface``, ``job_extra_directives``, ``job_script_prologue``.

    Raises:
        SettingsError: an unknown queue or option.
    """
    if kind not in QUEUES:
        raise SettingsError(
            "--cluster", rule=f"be one of {', '.join(QUEUES)}", received=kind, remedy="Choose one of these"
        )
    import_dask()
    try:
        made = getattr(importlib.import_module("dask_jobqueue"), QUEUES[kind])
    except ImportError:
        raise SettingsError(
            "--cluster",
            rule="have dask-jobqueue installed",
            received="a Python without it",
            remedy="Run pip install 'dynaprobe[cluster]'",
        ) from None
    _check_table(options)
    cores = options["cores"]
    rest = {name: value for name, value in options.items() if name not in _OURS}
    exports = [f"export {name}='{value}'" for name, value in one_core_environment().items()]
    prologue = [*rest.pop("job_script_prologue", []), *exports]
    try:
        return made(cores=cores, processes=cores, job_script_prologue=prologue, **rest)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            "cluster",
            rule=f"hold options of {QUEUES[kind]}",
            received=str(error).splitlines()[0],
            remedy="They are in the documentation of dask-jobqueue",
        ) from None


def _check_table(options: Mapping[str, Any]) -> None:
    """What dask-jobqueue would take without a word, or misread."""
    rules = {
        "n_jobs": ("a whole number from 1", _is_count),
        "cores": ("a whole number from 1", _is_count),
        "memory": ('a text such as "32GB"', lambda value: isinstance(value, str)),
        "job_script_prologue": ("a list of lines", _is_lines),
        "job_extra_directives": ("a list of lines", _is_lines),
    }
    for name, (rule, holds) in rules.items():
        needed = name in ("cores", "memory") and name not in options
        if needed or (name in options and not holds(options[name])):
            raise SettingsError(
                f"cluster.{name}",
                rule=f"be given as {rule}",
                received="nothing" if needed else options[name],
                remedy='For example [cluster] with cores = 16, memory = "32GB", walltime = "24:00:00"',
            )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_lines(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(line, str) for line in value)


def job_script(kind: str, options: Mapping[str, Any]) -> str:
    """What would be submitted for every job.

    Raises:
        SettingsError: as `make_cluster`.
    """
    cluster = make_cluster(kind, options)
    try:
        return str(cluster.job_script())
    finally:
        cluster.close(timeout=10)
