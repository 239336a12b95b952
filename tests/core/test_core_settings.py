from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, ValidationError, model_validator

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import Settings, load_toml, parse


class Fit(Settings):
    n_updates: Annotated[int, Field(gt=0)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3


class Run(Settings):
    fit: Fit = Fit()
    activation: Literal["tanh", "relu"] = "tanh"
    window_ms: tuple[float, float] = (0.0, 100.0)
    seed: int

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.window_ms[0] > self.window_ms[1]:
            raise ValueError("window_ms runs from low to high")
        return self


RUN = Run(seed=3)


def said(changes: dict[str, object], where: object = None) -> str:
    with pytest.raises(SettingsError) as caught:
        RUN.with_changes(changes, where=where)
    return str(caught.value)


def test_changes_reach_into_nested_records_and_leave_the_rest() -> None:
    changed = RUN.with_changes({"fit.n_updates": 7, "activation": "relu"})
    assert changed == Run(seed=3, activation="relu", fit=Fit(n_updates=7))
    assert RUN.seed == 3
    assert RUN.activation == "tanh"
    assert RUN.with_changes({}) == RUN


def test_records_are_frozen_and_hashable() -> None:
    assert hash(Run(seed=3)) == hash(RUN)
    with pytest.raises(ValidationError, match="frozen"):
        RUN.seed = 4  # type: ignore[misc]


def test_an_unknown_key_is_answered_with_the_nearest_one() -> None:
    assert (
        said({"activaton": "relu"})
        == "setting must have a known name, but got activaton. Did you mean activation."
    )


def test_an_unknown_nested_key_is_answered_with_its_full_name() -> None:
    assert (
        said({"fit.n_update": 3})
        == "setting must have a known name, but got fit.n_update. Did you mean fit.n_updates."
    )
    # Somebody who forgets the table finds it too.
    assert said({"n_update": 3}) == "setting must have a known name, but got n_update. Did you mean fit.n_updates."


def test_a_key_like_no_other_is_answered_with_all() -> None:
    assert said({"zzz": 3}) == (
        "setting must have a known name, but got zzz. "
        "Known names: activation, fit, fit.learning_rate, fit.n_updates, seed, window_ms."
    )


def test_a_dotted_name_into_something_that_is_no_record() -> None:
    assert said({"seed.low": 3}).startswith("setting must have a known name, but got seed.low.")


def test_a_bad_value_is_answered_with_name_rule_value_and_place() -> None:
    assert said({"fit.n_updates": 0}, where="run.toml") == (
        "run.toml: fit.n_updates must be greater than 0, but got 0. "
        "Correct the value; the defaults are in the documentation of the settings."
    )
    assert said({"activation": "gelu"}).startswith("activation must be 'tanh' or 'relu', but got gelu.")
    assert said({"fit.learning_rate": "fast"}).startswith("fit.learning_rate must be a number")
    assert said({"fit.learning_rate": float("nan")}).startswith("fit.learning_rate must be a finite number")


def test_a_rule_between_settings_shows_the_settings_it_names() -> None:
    assert said({"window_ms": (5.0, 1.0)}).startswith(
        "Run must satisfy: window_ms runs from low to high, but got {'window_ms': (5.0, 1.0)}."
    )


def test_a_rule_within_a_nested_record_shows_the_settings_it_names() -> None:
    class Outer(Settings):
        run: Run = RUN

    with pytest.raises(SettingsError, match=r"^run must satisfy: .*, but got \{'window_ms': \(5\.0, 1\.0\)\}\."):
        Outer().with_changes({"run.window_ms": (5.0, 1.0)})


def test_a_record_that_checks_another_passes_its_sentence_on() -> None:
    class Outer(Settings):
        fit: Fit = Fit()

        @model_validator(mode="before")
        @classmethod
        def _fit(cls, values: dict[str, object]) -> dict[str, object]:
            return {**values, "fit": parse(Fit, values.get("fit", {}), where="fit")}

    with pytest.raises(SettingsError) as caught:
        Outer().with_changes({"fit.n_updates": 0}, where="run.toml")
    assert str(caught.value) == (
        "run.toml: fit: n_updates must be greater than 0, but got 0. "
        "Correct the value; the defaults are in the documentation of the settings."
    )
    with pytest.raises(SettingsError, match=r"n_update\. Did you mean n_updates"):
        Outer().with_changes({"fit.n_update": 0})


def test_a_union_is_answered_by_the_branch_that_was_meant() -> None:
    class Noise(Settings):
        noise: (
            Annotated[float, Field(ge=0)]
            | Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
        ) = 0.0

    for value, sentence in (
        ([0.1, -1.0], "noise.1 must be greater than or equal to 0, but got -1.0."),
        (-1.0, "noise must be greater than or equal to 0, but got -1.0."),
    ):
        with pytest.raises(SettingsError) as caught:
            Noise().with_changes({"noise": value})
        assert str(caught.value).startswith(sentence)


def test_too_few_values_and_no_table_at_all() -> None:
    class Grid(Settings):
        radii: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)

    with pytest.raises(SettingsError, match=r"^radii must hold at least 1 value, but got \[\]\."):
        Grid().with_changes({"radii": []})
    with pytest.raises(SettingsError, match=r"^Grid must be a valid dictionary or instance of Grid, but got 3\."):
        parse(Grid, 3)


def test_a_missing_value_is_asked_for() -> None:
    with pytest.raises(SettingsError, match=r"^run\.toml: seed must be given, but got nothing\. Add it\.$"):
        parse(Run, {}, where="run.toml")


def test_toml_in(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'seed = 1\nactivation = "relu"\nwindow_ms = [1, 2.5]\n[fit]\nn_updates = 5\n', encoding="utf-8"
    )
    assert parse(Run, load_toml(path)) == Run(
        seed=1, activation="relu", window_ms=(1.0, 2.5), fit=Fit(n_updates=5)
    )


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_toml(tmp_path / "no.toml")
    assert str(caught.value) == (
        f"{tmp_path / 'no.toml'}: settings file must be a readable file, but got No such file or directory. "
        "Check the path."
    )


@pytest.mark.parametrize(
    "content", [b"seed = ", b"activation = relu", b"\xff\xfe"], ids=["cut", "no quotes", "binary"]
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(
        SettingsError, match=r"bad\.toml: settings file must be valid TOML, but got .*Mend the line named"
    ):
        load_toml(path)
