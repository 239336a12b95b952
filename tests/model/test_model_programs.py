"""Compiled kernels are kept between runs, and survive files that cannot be read."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError
from numpy.testing import assert_array_equal

from dynaprobe.model.kernel.programs import Program, with_cache


def double(x, out):
    out[:] = 2.0 * x


def fails(x, out):
    out[:] = x.nothing_like_it


def doubled():
    """By a program that has not been called before, as in a new process."""
    out = np.empty(3)
    Program(double)(np.arange(3.0), out)
    return out


def files(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def test_what_was_compiled_is_loaded_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAPROBE_CACHE", str(tmp_path))
    assert_array_equal(doubled(), [0, 2, 4])
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    assert len(before) == 2  # an index and the code
    assert_array_equal(doubled(), [0, 2, 4])
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path)} == before


def cut(path, left):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole)) if left < 1 else left])


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", [0, 20, 0.5])
def test_a_truncated_file_costs_one_compilation(tmp_path, monkeypatch, ending, left):
    monkeypatch.setenv("DYNAPROBE_CACHE", str(tmp_path))
    doubled()
    (broken,) = (path for path in files(tmp_path) if path.suffix == ending)
    cut(broken, left)
    assert_array_equal(doubled(), [0, 2, 4])
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    assert len(before) == 4
    assert_array_equal(doubled(), [0, 2, 4])
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path)} == before
    for path in files(tmp_path):
        cut(path, left)
    assert_array_equal(doubled(), [0, 2, 4])


def test_nothing_is_kept_where_no_cache_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAPROBE_CACHE", "off")
    assert not with_cache(lambda kept: kept)
    assert_array_equal(doubled(), [0, 2, 4])


def test_a_kernel_that_does_not_compile_says_why_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAPROBE_CACHE", str(tmp_path))
    with pytest.raises(NumbaError, match="nothing_like_it"):
        Program(fails)(np.arange(3.0), np.empty(3))
    assert not files(tmp_path)


def test_threads_compile_one_after_another_and_leave_the_setting_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAPROBE_CACHE", str(tmp_path))
    before, inside, seen = numba.config.CACHE_DIR, Barrier(2, timeout=0.2), []

    def slow(kept):
        try:  # nobody comes to meet us, for the other waits outside
            inside.wait()
        except BrokenBarrierError:
            seen.append(numba.config.CACHE_DIR)
        return kept

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: with_cache(slow), range(2))) == [True, True]
    assert len(seen) == 2
    assert all(folder.startswith(str(tmp_path)) for folder in seen)
    assert before == numba.config.CACHE_DIR
