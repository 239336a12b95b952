"""A process that works at pieces of a sweep, one after another: ``python -m dynaprobe.study.worker``.

When it can take up work it writes ``ready``. A piece comes as one line on standard input, its outcome goes as one
line to standard output. When the input ends, and that is also when the process that started this one is killed, it
ends at once: its claims are then free.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import TextIO

from dynaprobe.core.devices import limit_memory, prepare_devices


def main() -> None:
    """Answer on the pipe; whatever a library prints goes to the log and not between the answers."""
    # Ctrl-C reaches all processes of a terminal; the one that leads decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(float(sys.argv[1]) if len(sys.argv) > 1 else None)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _serve(sys.stdin, answers)


def _serve(requests: TextIO, answers: TextIO) -> None:
    pieces: queue.Queue[str] = queue.Queue()
    # A thread notices the end of the input even while a piece is being worked at.
    threading.Thread(target=_listen, args=(requests, pieces), daemon=True).start()
    prepare_devices()
    import jax  # noqa: PLC0415 - listening comes first: this takes seconds

    from dynaprobe.study.pieces import work  # noqa: PLC0415 - as above

    jax.devices()  # what is wrong with them is wrong for every piece
    answers.write("ready\n")
    answers.flush()
    while True:
        answers.write(work(pieces.get()) + "\n")
        answers.flush()


def _listen(requests: TextIO, pieces: queue.Queue[str]) -> None:
    for line in requests:
        pieces.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
