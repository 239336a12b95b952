"""A queue such as SLURM, through dask-jobqueue: it starts workers of Dask for a scheduler that is started here."""

from __future__ import annotations

import importlib
import shutil
import socket
from collections.abc import Callable, Mapping
from typing import Any

from dynaprobe.core.devices import one_core_environment
from dynaprobe.core.errors import SettingsError
from dynaprobe.study.engine_dask import DaskEngine, import_dask

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
        super().__init__(lambda: str(self._cluster.scheduler_address), security=self._cluster.security, say=say)

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
            ``walltime``, ``job_extra_directives``, ``job_script_prologue``. ``interface`` is needed, unless
            ``scheduler_options`` has a ``host``: the one network that the scheduler listens on.

    Raises:
        SettingsError: an unknown queue or option, or no network.
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
    rest["scheduler_options"] = _listening(kind, options)
    exports = [f"export {name}='{value}'" for name, value in one_core_environment().items()]
    prologue = [*rest.pop("job_script_prologue", []), *exports]
    try:
        return made(cores=cores, processes=cores, job_script_prologue=prologue, **rest)
    except (TypeError, ValueError, RuntimeError, ImportError, OSError) as error:
        raise SettingsError(
            "cluster",
            rule=f"hold options of {QUEUES[kind]}",
            received=str(error).splitlines()[0],
            remedy="They are in the documentation of dask-jobqueue",
        ) from None


def _listening(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Where the scheduler is to listen: at the network that the table names, and not at all that there are.

    Who reaches a scheduler can have it run anything. Its page with graphs is off unless it is asked for.

    Raises:
        SettingsError: when no network is named.
    """
    config = importlib.import_module("dask").config
    # dask-jobqueue itself looks into the user's file of settings for it.
    common = f"jobqueue.{kind}"
    chosen = options.get("scheduler_options") or config.get(f"{common}.scheduler-options", None) or {}
    named = options.get("interface") or config.get(f"{common}.interface", None)
    if not named and not {"host", "interface"} & chosen.keys():
        networks = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        raise SettingsError(
            "cluster.interface",
            rule="name the network between the nodes",
            received="nothing, so that the scheduler would listen on all networks, without a password",
            remedy=f'For example interface = "ib0" (this machine has {networks}), or "lo" where the queue runs '
            "its jobs on this machine",
        )
    return {"dashboard_address": None, **chosen}


def _check_table(options: Mapping[str, Any]) -> None:
    """What dask-jobqueue would take without a word, or misread."""
    rules = {
        "n_jobs": ("a whole number from 1", _is_count),
        "cores": ("a whole number from 1", _is_count),
        "memory": ('a text such as "32GB"', lambda value: isinstance(value, str)),
        "interface": ('a name such as "ib0"', lambda value: isinstance(value, str) and value != ""),
        "scheduler_options": ("a table", lambda value: isinstance(value, Mapping)),
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
