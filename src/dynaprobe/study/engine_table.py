"""Which engine the options of a sweep mean. To add one, write its class and its row here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from dynaprobe.core.errors import SettingsError
from dynaprobe.study.engine_local import LocalEngine
from dynaprobe.study.engines import Engine


def engine_of(
    *,
    scheduler: str | None,
    cluster: str | None,
    options: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Engine:
    """The engine for a sweep: a scheduler of Dask, workers from a queue, or processes of this machine.

    Args:
        scheduler: address of a Dask scheduler.
        cluster: a row of `dynaprobe.study.engine_queue.QUEUES`.
        options: of the cluster.
        own: of `LocalEngine`, which it is where neither of the two is given.
        say: told of what happens.

    Raises:
        SettingsError: when options exclude each other, or what an engine needs is not installed.
    """
    if scheduler is not None and cluster is not None:
        raise SettingsError(
            "--scheduler",
            rule="be given without --cluster",
            received="both",
            remedy="Leave one out: --cluster starts a scheduler of its own",
        )
    if scheduler is not None:
        found: Engine = _late("engine_dask").DaskEngine(lambda: scheduler, say=say)
        return found
    if cluster is not None:
        submitted: Engine = _late("engine_queue").QueueEngine(cluster, options, say=say)
        return submitted
    return LocalEngine(**(own or {}), say=say)


def job_script(cluster: str | None, options: Mapping[str, Any]) -> str:
    """What a queue would be given for every job.

    Raises:
        SettingsError: without a queue, or as `dynaprobe.study.engine_queue.make_cluster`.
    """
    if cluster is None:
        raise SettingsError(
            "--show-script", rule="come with --cluster", received="no queue", remedy="Add --cluster slurm"
        )
    return str(_late("engine_queue").job_script(cluster, options))


def _late(name: str) -> Any:
    # Dask takes two seconds to load, which a sweep on one machine does not wait for.
    return importlib.import_module(f"dynaprobe.study.{name}")
