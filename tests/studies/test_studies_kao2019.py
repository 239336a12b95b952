"""The rule of claim 1, on tables whose answer is known, and the presets."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

from dynaprobe.cli.inputs import as_toml, study_settings
from dynaprobe.core.errors import SettingsError
from dynaprobe.studies.kao2019.run import STUDY
from dynaprobe.studies.kao2019.settings import PRESETS, Kao2019Settings
from dynaprobe.studies.kao2019.similarity import claim_1
from dynaprobe.studies.kao2019.texts import CLAIMS
from dynaprobe.studies.table import STUDIES, study_named
from dynaprobe.study.statistics import mean_interval


def cells(*rows: tuple[float, float], half_width: float = 0.1, n: int = 5) -> xr.Dataset:
    """Cells with the given means of single units and population, and symmetric intervals."""
    single, population = np.array(rows).T
    data: dict = {name: ("cell", np.full(len(rows), n)) for name in ("n_networks", "n_learned", "n_compared")}
    for name, mean in (("single_unit", single), ("population", population), ("gap", single - population)):
        for part, shift in (("mean", 0.0), ("low", -half_width), ("high", half_width)):
            data[f"{name}_{part}"] = ("cell", mean + shift)
    return xr.Dataset(data, coords={"cell": [f"cell {k}" for k in range(len(rows))]})


@pytest.mark.parametrize(
    ("rows", "decision"),
    [
        ([(0.8, 0.2), (0.2, 0.1)], "supported"),
        ([(0.8, 0.9), (0.2, 0.1)], "opposed"),
        ([(0.8, 0.9), (0.9, 0.55)], "undecided"),  # one that does both, one that may
        ([(0.3, 0.2), (0.2, 0.9)], "undecided"),  # none reproduces single units
        ([(0.55, 0.1)], "undecided"),  # its interval reaches below the bar
        ([(0.8, 0.9), (0.8, 0.2)], "supported"),
    ],
)
def test_the_rule_of_claim_1(rows, decision):
    verdict = claim_1(cells(*rows), bar=0.5)
    assert verdict.decision == decision


def test_the_sentence_holds_the_numbers():
    verdict = claim_1(cells((0.8, 0.2), (0.3, 0.1)), bar=0.5)
    assert "1 of 2 cells reproduce single units" in verdict.sentence
    assert "cell 0: single units 0.80 [0.70, 0.90], population 0.20 [0.10, 0.30]" in verdict.sentence
    assert "mean gap between the two levels +0.40" in verdict.sentence
    assert verdict.numbers["n_apart"] == 1


def test_cells_without_a_network_decide_nothing():
    empty = cells((np.nan, np.nan), n=0)
    verdict = claim_1(empty, bar=0.5)
    assert verdict.decision == "undecided"
    assert "no network learned the task" in verdict.sentence


def test_a_cell_without_a_network_is_said_and_spoils_no_mean():
    """Networks that learned but could not be compared have no score either."""
    for n in (0, 5):
        table = xr.concat([cells((0.8, 0.2)), cells((np.nan, np.nan), n=n)], dim="cell")
        verdict = claim_1(table.assign_coords(cell=["full", "empty"]), bar=0.5)
        assert "empty: no network" in verdict.sentence
        assert "mean gap between the two levels +0.60" in verdict.sentence
        assert "1 of 2 cells" in verdict.sentence


def test_what_is_our_choice_is_said():
    """Settings without a source in the paper are never passed off as the paper's."""
    said = " ".join(text for text in STUDY.choices if text.startswith("Our choice"))
    for what in (
        "learning rate",
        "batch size",
        "grid of rate penalties",
        "fit.threshold",
        "bar of claims 1 and 2",
        "rules of claims 2 to 4",
    ):
        assert what in said
    assert "bar are our choice" in CLAIMS[0].rule


def test_networks_that_cannot_be_compared_are_not_called_unlearned():
    table = cells((np.nan, np.nan)).assign(n_compared=("cell", [0]))
    assert "none of the 5 networks that learned could be compared" in claim_1(table, bar=0.5).sentence
    assert "no network learned the task" in claim_1(table.assign(n_learned=("cell", [0])), bar=0.5).sentence


def test_noise_rarely_decides():
    """Cells at the bar on both levels, five seeds, Bonferroni intervals: a wrong word in at most 5 % of runs."""
    rng = np.random.default_rng(0)
    n_runs, n_cells, wrong = 1000, 4, 0
    for _ in range(n_runs):
        data: dict = {name: ("cell", np.full(n_cells, 5)) for name in ("n_learned", "n_compared")}
        for name in ("single_unit", "population"):
            found = [
                mean_interval(0.5 + 0.2 * rng.normal(size=5), n_comparisons=2 * n_cells) for _ in range(n_cells)
            ]
            for part in ("mean", "low", "high"):
                data[f"{name}_{part}"] = ("cell", [getattr(i, part) for i in found])
        table = xr.Dataset(data, coords={"cell": [str(k) for k in range(n_cells)]})
        wrong += claim_1(table, bar=0.5).decision != "undecided"
    assert wrong / n_runs <= 0.05


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_that_survive_a_file(name, tmp_path):
    """What `dynaprobe settings` prints is what --settings takes, lists of records included."""
    settings = study_settings(STUDY, name, None, [])
    assert isinstance(settings, Kao2019Settings)
    file = tmp_path / "s.toml"
    file.write_text(as_toml(settings))
    assert study_settings(STUDY, "smoke", file, []) == settings


def test_later_settings_win(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("n_seeds = 7\n[fit]\nn_updates = 110\n[mapping]\ndirection = 'x'\n")
    settings = study_settings(STUDY, "smoke", file, ["fit.n_updates=120", "activations=['relu']"])
    assert (settings.n_seeds, settings.fit.n_updates, settings.activations) == (7, 120, ("relu",))


@pytest.mark.parametrize(
    ("preset", "text", "changes", "sentence"),
    [
        ("huge", "", [], "--preset must be one of smoke, demo, standard, full, but got huge"),
        (
            "smoke",
            "[fit]\nn_update = 3",
            [],
            "must have a known name, but got fit.n_update. Did you mean fit.n_updates",
        ),
        ("smoke", "", ["n_seeds=0"], "--set: n_seeds must be greater than or equal to 1, but got 0"),
        ("smoke", "", ["activations=['gelu']"], "--set: activations.0 must be one of tanh, relu"),
        (
            "smoke",
            "",
            ["rate_penalties=[-1]"],
            "--set: rate_penalties.0 must be greater than or equal to 0, but got",
        ),
        ("smoke", "", ["fit.threshold=2"], "--set: fit.threshold must be less than or equal to 1, but got 2"),
        ("smoke", "", ["n_seeds"], "--set must read NAME=VALUE, but got n_seeds"),
        ("smoke", "n_seeds =", [], "settings file must be valid TOML"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path, preset, text, changes, sentence):
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        study_settings(STUDY, preset, file, changes)


def test_the_table_of_studies():
    assert study_named("kao2019") is STUDY
    with pytest.raises(SettingsError, match="study must be one of kao2019, but got kao"):
        study_named("kao")
    for study in STUDIES.values():
        assert {"smoke", "demo", "standard", "full"} <= study.presets.keys()
        assert len({claim.id for claim in study.claims}) == len(study.claims)


@pytest.mark.parametrize("change", ["rate_penalties=[0.0, 0.0]", "activations=['tanh', 'tanh']"])
def test_a_cell_given_twice_is_refused(change):
    """Its networks would count twice, and the intervals over seeds would be too narrow."""
    name = change.split("=")[0]
    with pytest.raises(SettingsError, match=f"{name} are different from one another"):
        study_settings(STUDY, "smoke", None, [change])
