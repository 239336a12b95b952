"""The part of a report that a comparison adds: figures of pairs, matrices, maps, and what tables leave out."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from dynaprobe.cli.pair_tables import ALONE, alone_table
from dynaprobe.report.captions import psth
from dynaprobe.report.export import settle
from dynaprobe.report.figures.pairs import KINDS, LONGEST, kinds_of, short
from dynaprobe.report.gather_pairs import PairContents
from dynaprobe.report.pair_page import ALONE_COLUMNS, pair_context, pair_figures
from dynaprobe.study.pair_tables import embed


def scores(names: list[str], *, kind: str = "distance", shared: int = 0) -> xr.Dataset:
    pairs = list(combinations(names, 2))
    n = len(pairs)
    value = 0.4 + 0.1 * np.arange(n)
    columns = {
        "score": value, "low": value - 0.05, "high": value + 0.05, "error": np.full(n, 0.02),
        "dof": np.full(n, 9.0),
        "floor": np.full(n, 1.0), "ceiling": np.full(n, 0.2), "placed": (1 - value) / 0.8,
        "p_floor": np.full(n, 0.02), "apart_p": np.full(n, np.nan),
        "shared": np.where(np.arange(n) == 0, shared, 0),
        "is_rest": np.where(np.arange(n) == 0, shared > 0, False),
    }  # fmt: skip
    first, second = zip(*pairs, strict=True)
    words = {"first": first, "second": second, "over": ["units and trials"] * n, "reason": [""] * n}
    about = {"measure": "made_up", "title": "made up (0 to 1)", "kind": kind, "is_symmetric": 1}
    about |= {"n_units": 20, "level": 0.9}
    data = {name: ("row", np.asarray(values)) for name, values in {**columns, **words}.items()}
    return xr.Dataset(
        {**data, "draws": (("row", "draw"), np.zeros((n, 3))), "own": ("candidate", np.full(len(names), 0.2))},
        coords={"candidate": sorted(names)},
        attrs=about,
    )


def contents(
    names: list[str], *, reference: str | None = None, shared: int = 0, kind: str = "distance"
) -> PairContents:
    data = scores(names, shared=shared, kind=kind)
    found = embed(data)
    return PairContents(
        candidates={
            name: {
                "name": name,
                "kind": "networks",
                "is_reference": name == reference,
                "about": "",
                "left_out": {},
            }
            for name in names
        },
        reference=reference,
        scores={"made_up": data},
        maps={} if found is None else {"made_up": found},
        nearness=None,
        alone=None,
        sentences=(("a is near.", ("by 1",)),),
        account=(),
    )


NAMES = ["a", "b", "a name that is much longer than a figure has room for", "d"]


def test_every_pair_has_a_row_and_the_reference_stands_above():
    figures = {name: draw() for name, _, _, draw in pair_figures(contents(NAMES, reference="d"))}
    assert list(figures) == ["pairs", "distances", "map"]
    axes = figures["pairs"].axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 6
    assert all("d" in label.split(" | ") for label in labels[:3])
    assert axes.get_xlabel() == "distance (less is more alike)"
    assert figures["map"].axes[0].get_title(loc="left").startswith("made up\nstress ")


def test_names_are_cut_in_figures_alone():
    assert len(short(NAMES[2])) == LONGEST
    figures = {name: draw() for name, _, _, draw in pair_figures(contents(NAMES))}
    ticks = [label.get_text() for label in figures["distances"].axes[0].get_yticklabels()]
    assert short(NAMES[2]) in ticks


def test_long_names_leave_room_for_the_scores():
    """Three panels of long names side by side would leave their axes no width."""
    whole = contents([f"{letter} network of a long name" for letter in "abc"])
    scored, maps = whole.scores["made_up"], whole.maps["made_up"]
    many = replace(whole, scores={f"m{k}": scored for k in range(3)}, maps={f"m{k}": maps for k in range(3)})
    for _, _, _, draw in pair_figures(many):
        figure = draw()
        settle(figure)
        assert min(axes.get_position().width * figure.get_figwidth() for axes in figure.axes[:3]) > 0.6


def test_two_candidates_have_a_matrix_and_no_map():
    assert [name for name, *_ in pair_figures(contents(["a", "b"]))] == ["pairs", "distances"]


def test_captions_say_level_and_conversion():
    captions = {name: caption for name, _, caption, _ in pair_figures(contents(NAMES, kind="similarity"))}
    assert "90% intervals" in captions["pairs"]
    assert "1 - s" in captions["distances"]
    assert "stress" in captions["map"]


@pytest.mark.parametrize("shared", [0, 7])
def test_columns_that_say_nothing_are_left_out(shared):
    (table,) = pair_context(contents(NAMES, shared=shared))["tables"]
    names = [column.name for column in table["columns"]]
    assert ("shared" in names) == bool(shared)
    assert "reason" not in names
    assert all(len(row) == len(names) for row in table["rows"])
    assert "90% intervals" in table["lead"]


def test_a_candidate_that_holds_another_one_is_not_on_the_map():
    found = contents(["a", "whole", "z", "y"], shared=7).maps["made_up"]
    names = {str(name) for name in found.data["item"].values}
    assert len(names) == 3
    assert not {"a", "whole"} <= names
    assert "left out" in found.status


def test_every_kind_of_candidate_has_a_look():
    candidates = {
        name: {"kind": kind, "is_reference": name == "r"}
        for name, kind in (("r", "recording"), ("s", "recording"), ("t", "averages"), ("n", "networks"))
    }
    assert set(kinds_of(candidates).values()) == set(KINDS)
    looks = {(look.colour, look.marker) for look in KINDS.values()}
    assert len(looks) == len(KINDS)


def several(p_values: list[float], index: list[float]) -> xr.Dataset:
    """Two recordings of one sample each, and one candidate of several networks."""
    names = ["rec", *(f"nets/{k}" for k in range(len(p_values) - 1))]
    return xr.Dataset(
        {"alignment_p": ("sample", p_values), "alignment_index": ("sample", index)},
        coords={"sample": names, "candidate": ("sample", ["rec"] + ["nets"] * (len(p_values) - 1))},
    )


def test_p_values_of_several_networks_are_counted_and_not_averaged():
    alone = several([0.03, 0.01, 0.05, 0.9, float("nan")], [0.2, 0.1, 0.3, 0.2, float("nan")])
    rows = pair_context(replace(contents(["rec", "nets"]), alone=alone))["alone"]
    names = [column.name for column in ALONE_COLUMNS]
    of = {row[0].text: dict(zip(names, row[1:], strict=True)) for row in rows}
    assert of["rec"]["alignment_p"].text == "0.030"
    # Of four networks three were tested, of which p is small in two.
    assert of["nets (mean of 4)"]["alignment_p"].text == "2 of 3"
    assert of["nets (mean of 4)"]["alignment_index"].text == "0.20"


def test_the_terminal_counts_p_values_too():
    table = alone_table(several([0.03, 0.01, 0.05, 0.9, float("nan")], [0.2, 0.1, 0.3, 0.2, float("nan")]))
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["p"] == [".030", "2/3"]
    assert columns["align."] == ["0.20", "0.20"]
    assert "how many of those that were tested have p <= 0.05" in str(table.caption)


def test_what_each_is_alone_fits_into_eighty_characters():
    values = {name: ("sample", np.full(11, 0.012 if name.endswith("_p") else 12.34)) for name in ALONE}
    alone = xr.Dataset(values | {"candidate": ("sample", np.array(["a recording"] + ["networks"] * 10))})
    out = StringIO()
    Console(width=80, file=out).print(alone_table(alone))
    heading = out.getvalue().splitlines()[1]
    assert heading.split() == ["candidate", *" ".join(ALONE.values()).split()]
    assert "10/10" in out.getvalue()


def test_a_caption_of_averages_speaks_of_no_trials():
    values = xr.DataArray(np.zeros((3, 4, 2)), dims=("condition", "time", "unit"), attrs={"rate_unit": "a.u."})
    averages = xr.Dataset({"mean": values})
    found = psth({"first": averages, "second": averages})
    assert found.startswith("Rates of single units averaged over the trials of each condition, in a.u.: 2 units")
    assert not any(word in found for word in ("standard error", "two events", "rendered"))
    heard = psth({"first": averages.assign(sem=values, n_trials=("unit", [8.0, 9.0]))})
    assert "with the standard error as a band" in heard
    assert "2 units, 8 to 9 trials a condition (first)" in heard
