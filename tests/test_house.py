"""What stands around the package: pins, versions, and nothing of one machine in any tracked file."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import dynaprobe

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CHANGES, CITATION, README, CONTRIBUTING = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("CHANGELOG.md", "CITATION.cff", "README.md", "CONTRIBUTING.md")
)

# Traces of the place where a line was written: absolute homes, private hosts, package mirrors.
TRACES = re.compile(
    r"/(?:home|root|Users|work|mnt|private)/\w|[A-Z]:\\Users|/tmp/\w|"
    r"index[-_]url|files\.pythonhosted\.org|registry\.|\b(?:10|192\.168|172\.16)\.\d+\.\d+(?:\.\d+)?:\d+|localhost:\d+"
)
TEXT = {".py", ".md", ".toml", ".txt", ".cff", ".cfg", ".yml", ".yaml", ".html", ".css", ".js", ".svg", ".sh", ""}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def unpinned(requirements: list[str], constraints: str) -> list[str]:
    """Names that are required and have no exact version."""
    pinned = {normal(m[1]) for m in re.finditer(r"^([\w.-]+)==\d\S*$", constraints, re.MULTILINE)}
    names = [re.match(r"[\w.-]+", requirement) for requirement in requirements]
    # The project itself stands in an extra that takes in other extras.
    return [name[0] for name in names if name and normal(name[0]) not in {*pinned, PROJECT["name"]}]


def traces(text: str) -> list[str]:
    return [line for line in text.splitlines() if TRACES.search(line)]


def test_every_dependency_is_pinned() -> None:
    wanted = [
        *PROJECT["dependencies"],
        *(name for extra in PROJECT["optional-dependencies"].values() for name in extra),
        *PYPROJECT["build-system"]["requires"],
    ]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert len(wanted) > 10
    assert unpinned(wanted, constraints) == []
    # Nothing else than exact versions: a range in the file would not be a pin.
    assert [x for x in constraints.split("\n") if x and not x.startswith("#") and "==" not in x] == []


def test_the_pins_reach_the_build_of_the_package_too() -> None:
    """The option -c does not reach the isolated build: up to pip 25.2 the first name does, then the second."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt" in makefile


def test_a_missing_pin_is_caught() -> None:
    assert unpinned(["numpy>=2", "scikit-learn>=1"], "numpy==2.0.0\nscikit_learn>=1") == ["scikit-learn"]


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["version"]
    assert re.search(r"^version: (\S+)$", CITATION, re.MULTILINE)[1] == version  # type: ignore[index]
    assert re.search(r"^## .*?(\d+\.\d+\.\d+)", CHANGES, re.MULTILINE)[1] == version  # type: ignore[index]
    assert getattr(dynaprobe, "__version__", version) == version


def test_every_release_says_whether_published_numbers_move() -> None:
    releases = re.split(r"^## ", CHANGES, flags=re.MULTILINE)[1:]
    assert releases
    assert all("ublished numbers" in release for release in releases)


def test_the_four_papers_are_cited() -> None:
    for said in ("10.1152/jn.00467.2018", "Rajakumar", "10.1007/s11571-022-09802-5", "10.1038/s41467-022-32646-w"):
        assert said in CITATION
    assert PROJECT["license"] == "MIT"
    assert "license: MIT" in CITATION


def test_the_readme_begins_with_two_commands() -> None:
    assert "make demo" in README
    assert "make test" in README


def test_contributing_fits_on_one_screen() -> None:
    assert len(CONTRIBUTING.splitlines()) <= 30


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git working copy: which files belong to the project is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_every_tracked_file_is_text() -> None:
    # What a compiler leaves behind is not.
    binary = [
        file.relative_to(ROOT).as_posix() for file in tracked() if file.is_file() and b"\0" in file.read_bytes()
    ]
    assert binary == []


def test_no_tracked_file_speaks_of_the_machine_it_was_written_on() -> None:
    files = [file for file in tracked() if file.suffix in TEXT]
    found = {
        file.relative_to(ROOT).as_posix(): lines
        for file in files
        if file.is_file() and file != Path(__file__).resolve()
        if (lines := traces(file.read_text(encoding="utf-8", errors="replace")))
    }
    assert len(files) > 20
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "cd /home/ada/dynaprobe",
        "pip --index" + "-url https://a.b",
        "at http://10.0.0.7:8080",
        "/tmp/run3",
        "C:\\Users\\ada",
    ],
)
def test_a_trace_is_caught(line: str) -> None:
    assert traces(line) == [line]


@pytest.mark.parametrize(
    "line", ["../shared/data/riehle", "runs/demo", "https://doi.org/10.1152/jn.00467", "a / b"]
)
def test_a_plain_line_is_none(line: str) -> None:
    assert traces(line) == []
