"""What every test shares: checked shapes, strict dtypes, no window, no cache at home, data and browser."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# What is compiled is kept from one run to the next and shared by the processes of a run, also by those that a
# test starts, in a folder of this repository and not the user's own. Set before JAX starts.
os.environ["DYNAPROBE_CACHE"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "dynaprobe")
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"
# Tests run side by side, and small products are slower on several threads that wait for one another.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import jax
import matplotlib as mpl
import pytest
from jaxtyping import install_import_hook

mpl.use("Agg")
gc.disable()  # until all is imported, see `pytest_collection_finish`

ROOT = Path(__file__).resolve().parents[1]

# Annotated shapes are checked at every call in these rooms. The hook has to be there before the first import of
# any of them, so no test file and no plug-in may import dynaprobe earlier than this line.
CHECKED_ROOMS = tuple(f"dynaprobe.{room}" for room in ("core", "training", "tasks", "analysis"))
# Numba compiles functions as they are written, so the folder of the kernels is left out.
CHECKED_ROOMS += tuple(f"dynaprobe.model.{file.stem}" for file in (ROOT / "src/dynaprobe/model").glob("*.py"))
install_import_hook(list(CHECKED_ROOMS), "shape_checker.check")

from dynaprobe.core.devices import prepare_devices  # noqa: E402 - after the hook

# Devices and flags as in the program: a test that starts JAX by itself would otherwise run on others.
prepare_devices()

# Strict promotion everywhere but here: Optax's Adam raises a Python float to an integer count, and those who train
# inherit it.
PROMOTING_ROOMS = ("training", "study", "studies", "report", "viewer", "cli")


def pytest_collection_finish() -> None:
    """Half a million objects of the libraries live to the end: they are not looked through again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def strict_promotion(request: pytest.FixtureRequest) -> Iterator[None]:
    """Mixing dtypes silently is an error, in all rooms that do not train."""
    rule = "standard" if request.path.parent.name in PROMOTING_ROOMS else "strict"
    with jax.numpy_dtype_promotion(rule):
        yield


@pytest.fixture(scope="session")
def riehle_folder() -> Path:
    """The folder with the real recording: 66 NWB files in ``nwb/``."""
    folder = ROOT.parent / "shared" / "data" / "riehle"
    if not (folder / "nwb").is_dir():
        pytest.skip(f"the real recording is not there: no folder {os.path.relpath(folder / 'nwb', ROOT)}")
    return folder


def shared_file(name: str) -> Path:
    """A file of real data, or a reason to skip."""
    file = ROOT.parent / "shared" / "data" / name
    if not file.is_file():
        pytest.skip(f"the real data are not there: no file {os.path.relpath(file, ROOT)}")
    return file


@pytest.fixture(scope="session")
def churchland_file() -> Path:
    """Published condition averages, a tensor of time x unit x condition."""
    return shared_file("churchland2012_tme/exampleData.mat")


@pytest.fixture(scope="session")
def emg_file() -> Path:
    """Mean EMG, a tensor of muscle x time x direction."""
    return shared_file("emg_reach/EMG.mat")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome to drive without a window."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no browser found: none of " + ", ".join(names) + " is on the PATH")
    return found
