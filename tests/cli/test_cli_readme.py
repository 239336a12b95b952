"""What the README shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from dynaprobe.cli.app import app
from dynaprobe.core.settings import load_toml
from dynaprobe.recordings.export import write_nwb
from dynaprobe.studies import kao2019
from dynaprobe.study.teacher import teacher_recording

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    # Fences go in pairs: what stands between the end of one block and the start of the next is prose.
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def test_every_command_is_in_the_table_and_the_other_way_round():
    shown = set(re.findall(r"^\| `dynaprobe ([a-z-]+)", README, flags=re.MULTILINE))
    assert shown == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_options_shown_exist():
    commands = get_command(app).commands  # type: ignore[attr-defined]
    words = r"dynaprobe ([a-z-]+)((?:[^\n`\\]|\\\n)*)"
    used = re.findall("`" + words, README) + [found for block in blocks("") for found in re.findall(words, block)]
    assert len(used) > 7
    for name, rest in used:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options


def test_the_settings_file_is_valid(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text(blocks("toml")[0])
    values = load_toml(file)
    values.pop("mapping")
    fit = values.pop("fit")
    settings = kao2019.Kao2019Settings().with_changes({**values, **{f"fit.{k}": v for k, v in fit.items()}})
    assert settings.activations == ("tanh", "softplus")


def test_the_presets_are_those_of_the_study():
    assert set(re.findall(r"^\| `([a-z]+)` \|", README, flags=re.MULTILINE)) == set(kao2019.PRESETS)


@pytest.mark.slow
def test_the_script_runs(tmp_path, monkeypatch, capsys):
    """As printed, but for sizes: a small recording, small networks, few surrogates."""
    monkeypatch.chdir(tmp_path)
    recording = teacher_recording(n_units=12, n_repeats=8, n_targets=6, delay_ms=500.0, seed=0)
    write_nwb(recording.sessions[0], "my_session.nwb")
    script = blocks("python")[0]
    quick = "n_seeds=2, network={'n_units': 30}, fit={'n_updates': 150, 'batch_size': 24, 'learning_rate': 8e-3}"
    assert "TrainSettings(n_seeds=2)" in script
    assert "ComparisonSettings()" in script
    script = script.replace("n_seeds=2", quick).replace(
        "ComparisonSettings()", "ComparisonSettings(n_splits=1, n_floor=3, n_surrogates=2)"
    )
    exec(compile(script, "README.md", "exec"), {})
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2
    found = eval(lines[0][lines[0].index("{") :], {"nan": float("nan")})
    assert np.isfinite(found["population_raw"])


def test_nothing_is_left_open():
    assert not re.findall(r"@[A-Z]+@", README)
    root = Path(__file__).parents[2]
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / link).is_file(), link
