"""Independent pieces of analysis in several processes, one per core: each piece stores its own result."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from dynaprobe.core.devices import n_cores, one_core_environment, prepare_devices
from dynaprobe.core.errors import DataError

T = TypeVar("T")

_work: Callable[[Any], Any] | None = None


def work_apart(
    work: Callable[[T], Any],
    items: Sequence[T],
    *,
    n_processes: int | None = None,
    on_done: Callable[[int, T], None] = lambda _, __: None,
) -> None:
    """Call `work` with every item; results do not depend on the number of processes or on the order, bit for bit.

    Args:
        work: can be pickled, as an item can; it is sent to every process once. It stores what it finds and does
            nothing for an item whose result is there: a run that was interrupted then goes on where it was.
        items: one after another.
        n_processes: None takes one per core. With 0, or in a daemonic process, which may not start others,
            everything happens here: this process may have other devices and threads, and numbers that differ by
            round-off. A single process, and a single item, therefore get a process of their own as well.
        on_done: told the number of items done and the item just done.

    Raises:
        DataError: when a process is killed, as when memory runs out, or cannot start. What the others stored
            remains.
    """
    if n_processes == 0 or not items or multiprocessing.current_process().daemon:
        for done, item in enumerate(items, start=1):
            work(item)
            on_done(done, item)
        return
    pool = ProcessPoolExecutor(
        min(n_processes or n_cores(), len(items)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(work,),
    )
    before = {process.pid for process in multiprocessing.active_children()}
    try:
        with _without_main(work):
            running = {_submitted(pool, item): item for item in items}
        for done, future in enumerate(as_completed(running), start=1):
            future.result()
            on_done(done, running[future])
    except (BrokenProcessPool, _NotStartedError) as error:
        raise DataError(
            "analysis",
            rule="run to its end",
            received="a process that was ended from outside, as when memory runs out or someone kills it",
            remedy="Resume: what is done is kept. Close other programs, or let fewer processes work",
        ) from error
    except BaseException:
        # Whoever presses Ctrl-C does not want to wait for what is being worked at.
        for process in multiprocessing.active_children():
            if process.pid not in before:
                process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _NotStartedError(Exception):
    """A process ended while it was still being told what to do."""


def _submitted(pool: ProcessPoolExecutor, item: Any) -> Future[None]:
    try:
        return pool.submit(_run, item)
    except BrokenPipeError as error:
        raise _NotStartedError from error


@contextmanager
def _without_main(work: Callable[[Any], Any]) -> Iterator[None]:
    """Processes that start meanwhile do not run the user's script again.

    They would, to know what it defines: a script without ``if __name__ == "__main__"`` would then train its
    networks once more in each of them, and one that came through a pipe is no file to be found. `work` has its own
    module, unless the script defines it.
    """
    function: Any = work
    while isinstance(function, partial):
        function = function.func
    names = vars(sys.modules["__main__"])
    set_aside: dict[str, Any] = (
        {}
        if getattr(function, "__module__", "__main__") == "__main__"
        else {name: names[name] for name in ("__file__", "__spec__") if name in names}
    )
    names.update(dict.fromkeys(set_aside))
    try:
        yield
    finally:
        names.update(set_aside)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work  # noqa: PLW0603 - what this process is for
    # Ctrl-C reaches all processes of a terminal; a trace from each of them would tell nobody anything.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(one_core_environment())
    # NumPy is there by now and its BLAS has read the environment that this process was born with.
    threadpool_limits(1)
    prepare_devices()
    _work = work


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(item: Any) -> None:
    assert _work is not None
    _work(item)
