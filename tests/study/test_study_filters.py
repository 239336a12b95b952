"""Expressions on tables: what they mean, and that they can do nothing else."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynaprobe.core.errors import SettingsError
from dynaprobe.study.filters import column_named, matching, sorted_by

TABLE = pd.DataFrame(
    {
        "id": list("abcde"),
        "score": [0.1, 0.9, np.nan, 0.5, 0.7],
        "network.activation": ["tanh", "relu", "tanh", "relu", "tanh"],
        "network.n_units": [10, 20, 30, 40, 50],
        "network.dt_ms": [1.0] * 5,
        "task.dt_ms": [1.0] * 5,
        "fit.penalty_rate": [0.0, 0.1, 0.1, 1.0, 0.0],
        "fit.patience": pd.Series([None, 3, None, 4, 5], dtype=object),
        "task.target_visible": [True, False, True, False, True],
    }
)


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("activation == 'tanh' and penalty_rate > 0", "c"),
        ("activation == 'tanh' or penalty_rate > 0", "abcde"),
        ("not activation == 'tanh'", "bd"),
        ("activation in ['relu', 'tanh'] and n_units not in (10, 50)", "bcd"),
        ("0.4 < score <= 0.7", "de"),
        ("network.n_units * 2 - 20 >= 60 / 1", "de"),
        ("score > 0", "abde"),  # a missing score is no score above 0 ...
        ("score != 0.1", "bde"),  # ... nor one that differs from 0.1
        ("score == None", "c"),
        ("score is not None", "abde"),
        ("patience >= 4", "de"),
        ("patience == None", "ac"),
        ("target_visible", "ace"),
        ("not target_visible and score < 0.9", "d"),
        ("task.dt_ms == network.dt_ms and -penalty_rate < 0", "bcd"),
        ("True", "abcde"),
        ("False", ""),
    ],
)
def test_an_expression_means_what_it_says(expression, ids):
    assert "".join(matching(TABLE, expression)["id"]) == ids


@given(low=st.floats(-1, 2), high=st.floats(-1, 2), kind=st.sampled_from(["tanh", "relu"]))
@settings(max_examples=50, deadline=None)
def test_rows_are_those_that_a_loop_over_rows_finds(low, high, kind):
    found = matching(TABLE, f"score > {low} and score <= {high} or activation == '{kind}' and n_units >= 30")
    rows = [
        row["id"]
        for row in TABLE.to_dict("records")
        if low < row["score"] <= high or (row["network.activation"] == kind and row["network.n_units"] >= 30)
    ]
    assert list(found["id"]) == rows


ATTACKS = (
    "__import__('os').system('touch broken')", "open('broken', 'w')", "@pd.read_csv('x')", "id.__class__ == 1",
    "().__class__.__bases__", "[x for x in (1, 2)]", "(lambda: 1)()", "id[0] == 'a'", "f'{id}' == 'a'",
    "9 ** 9 ** 9 > score", "'a' * 10 ** 10 == id", "score if True else id", "(y := 3) > 2", "{1: 2}", "id @ id",
    "exec('x')", "score > `id`", "1 << 40 > score", "b'x' == id", "score > 1j", "*id",
)  # fmt: skip


@pytest.mark.parametrize("expression", [*ATTACKS, "", "   ", "score >", "a b", "\x00", "((" * 200, "score; id"])
def test_nothing_else_has_a_meaning(tmp_path, monkeypatch, expression):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"^--where must"):
        matching(TABLE, expression)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "expression", ["(" * 90 + "score" + ")" * 90, "not " * 400 + "score > 0", "-" * 900 + "score > 0"]
)
def test_deep_nesting_is_answered_or_refused(expression):
    """By the parser, by the walk, or not at all: never by a traceback."""
    with contextlib.suppress(SettingsError):
        assert len(matching(TABLE, expression)) <= len(TABLE)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("penalty_rat > 0", "name columns of the table, but got penalty_rat. Did you mean penalty_rate"),
        ("dt_ms > 0", "name one column, but got dt_ms. Say which: network.dt_ms or task.dt_ms"),
        ("activation > 3", "compare numbers with numbers and text with text, but got activation"),
        ("score + 'a' > 1", "calculate with numbers, but got 'a'"),
        ("1 / 0 > score", "calculate with numbers, but got 1 / 0"),
        ("activation", "be a condition, true or false for every row, but got activation"),
        ("score > None", "ask for missing values by == None or != None"),
        ("score in penalty_rate", "have a list after in"),
        ("score == 1 " * 300, "be shorter than 2000 characters, but got 3300 characters"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(expression, sentence):
    with pytest.raises(SettingsError) as refused:
        matching(TABLE, expression)
    assert sentence in str(refused.value)


def test_an_empty_table_has_no_matching_rows():
    assert matching(TABLE.head(0), "score > 0 and activation == 'tanh' or target_visible").empty


def test_sorting_puts_missing_values_last():
    assert "".join(sorted_by(TABLE, "score")["id"]) == "adebc"
    assert "".join(sorted_by(TABLE, "-score")["id"]) == "bedac"
    with pytest.raises(SettingsError, match="Did you mean score"):
        sorted_by(TABLE, "scor")


def test_a_short_name_means_the_only_column_it_ends():
    assert column_named(["a.b.c", "b"], "b.c") == "a.b.c"
    assert column_named(["a.b", "b"], "b") == "b"
