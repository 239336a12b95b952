"""Where computations run: every choice about devices, threads and compiled programs is made in this file.

The networks of an ensemble are independent, so each core gets its own (host) device and runs whole networks, one
thread each: that is faster than sharing one network's small products among cores. JAX fixes the number of devices
when it first computes something, so `prepare_devices` must run before that; `Ensemble.make`, `fit` and the command
line call it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax
import numpy as np

from dynaprobe.core.errors import SettingsError

if sys.platform != "win32":
    import resource

CACHE_VARIABLE = "DYNAPROBE_CACHE"
ENGINE_VARIABLE = "DYNAPROBE_ENGINE"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# What XLA is asked for, unless the user has said otherwise, by the word that tells.
FLAGS = {
    # One network's small products are faster on one thread each.
    "multi_thread_eigen": "--xla_cpu_multi_thread_eigen=false",
    # On x86, AVX has no instruction that multiplies and adds in one rounding. With one, XLA rounds once or twice
    # depending on what else it compiles into the same loop, and so on the numbers of members and devices; the
    # networks themselves run in kernels that are compiled apart and always alike.
    "max_isa": "--xla_cpu_max_isa=AVX",
}


def prepare_devices(n_devices: int | None = None) -> None:
    """Ask JAX for one host device per core, and for the cache of compiled programs. Later calls change nothing.

    Results do not depend on the number of devices; bit for bit on x86 processors.

    Args:
        n_devices: number of devices; None takes the cores this process may use, but leaves alone a choice made by
            an earlier call or through JAX_NUM_CPU_DEVICES or XLA_FLAGS.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in flags
    if n_devices is None and not chosen and jax.config.values["jax_num_cpu_devices"] > 0:
        return
    if n_devices is not None or not chosen:
        try:
            jax.config.update("jax_num_cpu_devices", n_devices or n_cores())
        except RuntimeError:  # JAX has started: what it has is what there is
            return
    os.environ["XLA_FLAGS"] = _with_flags(flags)
    _use_compilation_cache()


def _with_flags(flags: str) -> str:
    missing = [flag for word, flag in FLAGS.items() if word not in flags]
    return " ".join([*flags.split(), *missing])


def device_mesh(n_members: int, n_shares: int = 1) -> jax.sharding.Mesh:
    """All devices in a table with axes member and share.

    Members are spread first; what devices are then left over take shares of each member's trials.

    Args:
        n_members: number of networks.
        n_shares: number of parts into which the trials of one network can be divided.
    """
    devices = np.asarray(jax.devices())
    fitting = [n for n in range(1, n_shares + 1) if n_shares % n == 0 and devices.size % n == 0]
    n_columns = max(n for n in fitting if n == 1 or n * n_members <= devices.size)
    return jax.sharding.Mesh(devices.reshape(-1, n_columns), ("member", "share"))


def runs_compiled_kernels() -> bool:
    """Whether compiled kernels for processors are wanted: on any machine whose JAX computes on the processor.

    DYNAPROBE_ENGINE set to ``plain`` keeps to JAX's own operations, which run on every device.

    Raises:
        SettingsError: DYNAPROBE_ENGINE says something else.
    """
    chosen = os.environ.get(ENGINE_VARIABLE, "auto").lower()
    if chosen not in ("auto", "plain"):
        raise SettingsError(
            ENGINE_VARIABLE, rule="be auto or plain", received=chosen, remedy="Unset it to let the device decide"
        )
    return chosen == "auto" and jax.default_backend() == "cpu"


def cache_folder() -> Path | None:
    """Where compiled programs are kept between runs; None when DYNAPROBE_CACHE is ``off``.

    DYNAPROBE_CACHE names another folder; otherwise it is the platform's place for what may be deleted at any time.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen is not None:
        return None if chosen.lower() in ("", "0", "off", "no") else Path(chosen)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "dynaprobe" / "compiled"


def one_core_environment() -> dict[str, str]:
    """Environment variables for a process that keeps to one device and one thread, beside others."""
    pinned = dict.fromkeys(_THREAD_VARIABLES, "1")
    return {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": _with_flags(os.environ.get("XLA_FLAGS", "")), **pinned}


def limit_memory(memory_gb: float | None) -> None:
    """Let this process have so many 10^9 bytes of memory and no more, so that it fails alone; None sets no limit.

    Raises:
        SettingsError: on a system without such limits.
    """
    if memory_gb is None:
        return
    if sys.platform == "win32":
        raise SettingsError(
            "--memory-gb",
            rule="be left out on Windows",
            received=memory_gb,
            remedy="Start fewer processes instead",
        )
    n_bytes = int(memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def _use_compilation_cache() -> None:
    folder = cache_folder()
    # A cache the user has set up for JAX itself wins.
    if folder is None or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The small programs of a start take longer together than the large one.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def n_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not offered outside Linux
        return os.cpu_count() or 1
