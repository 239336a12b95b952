"""Devices and the cache of compiled programs, each looked at in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynaprobe.core.devices import cache_folder


def run(program, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_", "DYNAPROBE_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_one_device_per_core_unless_asked_otherwise():
    program = (
        "from dynaprobe.core.devices import prepare_devices, device_mesh\n"
        "prepare_devices({})\n"
        "prepare_devices(5)\n"  # too late once JAX has started, but before that the later wish counts
        "prepare_devices()\n"  # no wish
        "import jax; n = len(jax.devices())\n"
        "prepare_devices(7)\n"
        "print(n, device_mesh(1).devices.size, jax.config.values['jax_compilation_cache_dir'])"
    )
    assert run(program.format(3), DYNAPROBE_CACHE="off") == "5 5 None"
    plain = program.replace("prepare_devices(5)\n", "")
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert run(plain.format(""), DYNAPROBE_CACHE="/somewhere") == f"{n_cores} {n_cores} /somewhere"
    assert run(plain.format(""), JAX_NUM_CPU_DEVICES="4", DYNAPROBE_CACHE="off") == "4 4 None"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "--xla_cpu_multi_thread_eigen=false --xla_cpu_max_isa=AVX"),
        ("--xla_cpu_max_isa=AVX2", "--xla_cpu_max_isa=AVX2 --xla_cpu_multi_thread_eigen=false"),
    ],
)
def test_flags_of_the_user_win(given, expected):
    program = (
        "import os\nfrom dynaprobe.core.devices import prepare_devices\n"
        "prepare_devices()\nprepare_devices()\nprint(os.environ['XLA_FLAGS'])"
    )
    environment = {"XLA_FLAGS": given} if given else {}
    assert run(program, DYNAPROBE_CACHE="off", **environment) == expected
    # Also where the number of devices has been chosen otherwise.
    assert run(program, DYNAPROBE_CACHE="off", JAX_NUM_CPU_DEVICES="1", **environment) == expected


def test_members_come_first_and_shares_take_what_is_left():
    program = (
        "from dynaprobe.core.devices import prepare_devices, device_mesh\n"
        "prepare_devices(4)\n"
        "print([tuple(device_mesh(m, s).shape.values()) for m, s in {}])"
    )
    asked = [(1, 1), (1, 2), (1, 4), (1, 3), (2, 4), (3, 4), (4, 4), (9, 4)]
    expected = [(4, 1), (2, 2), (1, 4), (4, 1), (2, 2), (4, 1), (4, 1), (4, 1)]
    assert run(program.format(asked)) == str(expected)


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no", ""])
def test_cache_can_be_switched_off(monkeypatch, word):
    monkeypatch.setenv("DYNAPROBE_CACHE", word)
    assert cache_folder() is None


def test_cache_lies_where_the_platform_wants_it(monkeypatch):
    monkeypatch.delenv("DYNAPROBE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == Path("/x/dynaprobe/compiled")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "dynaprobe" / "compiled"
