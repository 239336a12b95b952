"""Any Dask cluster: workers on other machines, which may die, be preempted, or lose their scheduler.

What Dask is told is the text of a piece, what it gives back the text of an outcome; results go to the store, which
all machines see. So nothing is lost with a scheduler: pieces that are not done are handed to the next one.
"""

from __future__ import annotations

import contextlib
import importlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dynaprobe.core.devices import prepare_devices
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

    def __init__(
        self, address: Callable[[], str], *, security: Any = None, say: Callable[[str], object] = lambda _: None
    ) -> None:
        """Connect to nothing yet.

        Args:
            address: gives the address of the scheduler; asked again whenever the connection is lost.
            security: of Dask, for an address with TLS; None takes what the user's settings of Dask say.
            say: told of lost connections.

        Raises:
            SettingsError: when Dask is not installed.
        """
        self._dask = import_dask()
        self._address, self._say = address, say
        self._secured = {} if security is None else {"security": security}
        self._client: Any = None
        self._said_alone = False

    def run(self, waiting: deque[Piece]) -> Iterator[tuple[Piece, Outcome] | None]:
        """See `dynaprobe.study.engines.Engine`.

        Raises:
            SettingsError: when there is no scheduler for `PATIENCE_S`.
        """
        futures: dict[Any, Piece] = {}
        while waiting or futures:
            client = self._connected()
            while waiting:
                piece = waiting.popleft()
                # A name of its own: Dask would otherwise remember what it thinks it has computed.
                name = f"{piece.jobs[0].id}-{uuid.uuid4().hex[:8]}"
                future = client.submit(work_on_worker, piece.to_text(), key=name, pure=False, priority=piece.first)
                futures[future] = piece
            self._wait(futures)
            ended = [future for future in futures if future.status != "pending"]
            gone: list[Piece] = []
            for future in ended:
                piece = futures.pop(future)
                outcome = self._outcome(future)
                if outcome is None:
                    gone.append(piece)
                else:
                    yield piece, outcome
            if gone:
                # All that this client was told is gone with its scheduler.
                waiting.extend([*gone, *futures.values()])
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
                self._client = self._dask.Client(address, timeout=CONNECT_S, set_as_default=False, **self._secured)
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
