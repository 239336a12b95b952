"""Everything on the page "Bring your own recording" is run, and says what the page says it says."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from page_samples import make_page_files

from dynaprobe.cli import app
from dynaprobe.cli.inputs import column_mapping
from dynaprobe.recordings.columns import ColumnMapping

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
CONSOLE = [text for kind, text in FENCES if kind == "console"]
SCRIPTS = [text for kind, text in FENCES if kind == "python"]
# Every command with what the page shows of its answer.
SESSIONS = [
    (line.strip(), shown)
    for text in CONSOLE
    for line, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, flags=re.MULTILINE)
]


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    make_page_files(folder)
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """What a command prints on both streams, as its entry point would, without starting Python anew."""

    def call(line: str) -> str:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            app.main()
        shown = capsys.readouterr()
        assert ended.value.code == (2 if shown.err else 0)
        return shown.out + shown.err

    return call


def folded(text: str) -> str:
    """Without line breaks, which the page sets by its width, and without the sizes of damaged files."""
    return re.sub(r"eof = \d+", "eof = N", " ".join(text.split()))


@pytest.mark.parametrize(("line", "shown"), SESSIONS, ids=[line for line, _ in SESSIONS])
def test_a_command_says_what_the_page_says(
    line: str, shown: str, page_folder: Path, typed: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(page_folder)
    assert line.startswith("dynaprobe ")
    assert folded(typed(line)) == folded(shown)


def test_the_scripts_run_one_after_another(page_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page_folder)
    names: dict[str, object] = {}
    for number, script in enumerate(SCRIPTS, start=1):
        if "pynapple" in script and importlib.util.find_spec("pynapple") is None:
            continue
        exec(compile(script, f"recordings.md, script {number}", "exec"), names)
    assert {"mine.nc", "mine.nwb", "psth.nc"} <= {path.name for path in page_folder.iterdir()}


def test_the_settings_are_those_of_the_command_line(tmp_path: Path) -> None:
    (text,) = [text for kind, text in FENCES if kind == "toml"]
    (tmp_path / "my.toml").write_text(text)
    typed = ["go_cue=go_signal", "direction=target_angle", "where=outcome==hit", "behaviour.onset_fraction=0.1"]
    assert column_mapping(tmp_path / "my.toml", []) == column_mapping(None, typed)


def test_every_role_of_the_table_exists_and_every_field_is_in_the_table() -> None:
    cells = re.findall(r"^\| (`.*?`) \| ", PAGE, flags=re.MULTILINE)
    entries = [entry for cell in cells for entry in re.findall(r"`([\w.]+=[^`]+)`", cell)]
    assert len(entries) > 12
    for entry in entries:
        column_mapping(None, [entry.replace("\\|", "|")])
    said = {entry.partition("=")[0] for entry in entries}
    fields = set()
    for name, field in ColumnMapping.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        fields |= {f"{name}.{part}" for part in inner} if inner else {name}
    # Events are named by what they are; the fraction is shown in the settings file.
    assert fields - {"events", "behaviour.onset_fraction"} <= said


def test_the_page_shows_all_the_usual_mistakes_and_is_linked() -> None:
    shown = folded("".join(text for text in CONSOLE))
    for said in (
        "must be in the trial table", "looks like milliseconds", "go_cue in 59 of 64 trials", "without rows",
        "cut short", "must end in .nwb, .mat, .nc, .npz", "pickled Python objects", "with rates read as 30 times",
    ):  # fmt: skip
        assert said in shown
    assert "docs/recordings.md" in (ROOT / "README.md").read_text(encoding="utf-8")
