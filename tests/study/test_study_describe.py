"""Every row of the tables of analyses is run, kept, drawn and heard of, and its numbers are really there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynaprobe.report.catalogue import CATALOGUE
from dynaprobe.study.comparison import ComparisonSettings, population, resolve, timing
from dynaprobe.study.describe import ANALYSES, SCORE_NUMBERS, describe, headline
from dynaprobe.study.teacher import teacher_recording


class Heard:
    """A step that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []

    def update(self, done: float, note: str = "") -> None:
        self.told.append((done, note))


@pytest.fixture(scope="module")
def side():
    recording = teacher_recording(n_units=24, n_repeats=12, n_targets=6, delay_ms=1000.0, seed=1)
    settings = resolve(ComparisonSettings(n_splits=1, n_floor=3, n_chance=20, n_surrogates=2), timing(recording))
    return population(recording, settings, seed=0), settings


@pytest.fixture(scope="module")
def described(side):
    heard = Heard()
    results, reasons = describe(*side, seed=0, step=heard)
    return results, reasons, heard


def test_every_analysis_runs_and_is_heard_of(described):
    results, reasons, heard = described
    assert reasons == {}
    assert list(results) == [analysis.name for analysis in ANALYSES]
    assert [done for done, _ in heard.told] == list(range(len(ANALYSES) + 1))
    assert heard.told[0][1] == ANALYSES[0].name.replace("_", " ")


def test_names_are_distinct_and_every_analysis_has_a_figure(described):
    results, _, _ = described
    names = [analysis.name for analysis in ANALYSES]
    numbers = [name for analysis in ANALYSES for name in analysis.numbers]
    assert len(set(names)) == len(names)
    assert len({*numbers, *SCORE_NUMBERS}) == len(numbers) + len(SCORE_NUMBERS)
    drawn = {(entry.group, entry.kind) for entry in CATALOGUE}
    assert {(name, type(result)) for name, result in results.items()} <= drawn


def test_every_number_is_found_in_its_result(described):
    results, _, _ = described
    numbers = headline(results)
    for analysis in ANALYSES:
        for name, number in analysis.numbers.items():
            assert number.variable in results[analysis.name].data, name
            assert np.isfinite(numbers[name]), name
    assert all(np.isnan(numbers[name]) for name in SCORE_NUMBERS)


def test_what_the_data_do_not_allow_is_a_reason_and_a_number_that_is_missing(side):
    whole, settings = side
    alone = replace(
        whole, rates=whole.rates.isel(unit=[0, 1]), standard_error=whole.standard_error.isel(unit=[0, 1])
    )
    results, reasons = describe(alone, settings, seed=0)
    assert "n_pcs must be at most" in reasons["jpca"]
    assert "pca" in results
    assert np.isnan(headline(results)["jpca_r2_skew"])
