"""Claims 2 to 4 in the report: which networks stand for a mechanism, what is drawn, said, and missing."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from synthetic_probes import INDEX, add_probes, mechanism_table, tables, with_verdict
from synthetic_runs import RunShape, made_up_points, make_run
from test_report_page import read

from dynaprobe.analysis.probes.input_noise import InputNoise
from dynaprobe.analysis.probes.target_switch import TargetSwitchProbe
from dynaprobe.report.captions_mechanism import confusion_words
from dynaprobe.report.cells import cell_label, cells_in_order
from dynaprobe.report.claim_sections import disagreements, said_parts, sections
from dynaprobe.report.figures.against_index import (
    GENERALISATION,
    ROBUSTNESS,
    against_index_figure,
    excess_noise_figure,
    p_text,
    rho_lines,
    there,
)
from dynaprobe.report.figures.mechanism import (
    mechanism_cells_figure,
    mechanism_map_figure,
    similarity_by_mechanism_figure,
)
from dynaprobe.report.figures.probes import switch_figure
from dynaprobe.report.gather import gather
from dynaprobe.report.gather_probes import (
    ProbeContents,
    gather_probes,
    settings_of,
    with_mechanisms,
    without_controls,
)
from dynaprobe.report.html import write_report
from dynaprobe.report.probe_figures import PROBE_TITLES, probe_figures
from dynaprobe.report.tables_probes import cell_rows
from dynaprobe.report.tables_probes import mechanism_table as means_table
from dynaprobe.study.store import RunStore

OF_ALL = ("account", "mechanism", "input_noise")  # netCDF takes half a second for all the others
MANY = ["initial_condition", "input_driven", "mixed", "unclear", "none"] * 12


def store_with(tmp_path, table: xr.Dataset, *, files: bool = True) -> RunStore:
    """A folder with nothing but what probes leave, and of these what is read of every network."""
    store = RunStore(tmp_path / "run")
    store.start({}, study="kao2019", seed=0, resume=False)
    store.save("results/mechanisms", {"networks": table, **tables()})
    for name, verdict in zip(table["id"].values, table["mechanism"].values, strict=True):
        if files and verdict != "none":
            found = with_verdict(str(verdict), INDEX[str(verdict)])
            store.save(f"probes/{name}", {group: found[group] for group in OF_ALL})
    return store


def gathered(tmp_path, table: xr.Dataset, **how) -> ProbeContents:
    probes = gather_probes(store_with(tmp_path, table, **how), None, [])
    assert probes is not None
    return probes


def test_the_typical_network_has_the_median_index_and_the_nearest_the_highest_lower_score(tmp_path):
    table = mechanism_table(["mixed"] * 5, per_cell=1)
    table["mechanism_index"] = "network", [0.5, 0.4, 0.6, 0.45, 0.55]
    table["single_unit"] = "network", [0.9, 0.5, 0.8, 0.7, 0.2]
    table["population"] = "network", [0.1, 0.4, 0.6, 0.5, 0.9]
    probes = gathered(tmp_path, table)
    assert [one.id for one in probes.typical] == ["n0"]
    assert [one.id for one in probes.nearest] == ["n2"]


def test_of_an_even_number_the_lower_is_typical_and_without_scores_it_is_the_nearest_too(tmp_path):
    table = mechanism_table(["mixed"] * 2, per_cell=1).assign(population=("network", [np.nan, np.nan]))
    table["mechanism_index"] = "network", [0.6, 0.4]
    probes = gathered(tmp_path, table)
    assert [one.id for one in (*probes.typical, *probes.nearest)] == ["n1", "n1"]


def test_controls_stand_for_a_mechanism_only_where_no_other_network_does(tmp_path):
    table = mechanism_table(["input_driven"] * 3 + ["mixed"], per_cell=1)
    table["visibility"] = "network", ["from_go", "from_go", "throughout", "from_go"]
    probes = gathered(tmp_path, table)
    assert [(one.mechanism, one.id) for one in probes.typical] == [("input_driven", "n2"), ("mixed", "n3")]


def test_a_network_without_its_probes_stands_for_nothing(tmp_path):
    table = mechanism_table(["mixed", "mixed"], per_cell=1)
    store = store_with(tmp_path, table)
    store.save("probes/n0", {"account": xr.Dataset(attrs={"reason": "states are not finite"})})
    missing: list[str] = []
    probes = gather_probes(store, None, missing)
    assert [one.id for one in probes.typical] == ["n1"]
    assert probes.n_unseen == 1
    assert missing == ["Network n0 could not be probed: states are not finite"]


def test_a_damaged_file_is_a_sentence_and_the_rest_is_drawn(tmp_path):
    store = store_with(tmp_path, mechanism_table(["mixed", "mixed"], per_cell=1))
    path = store.path("probes", "n0.nc")
    path.write_bytes(path.read_bytes()[:-200])
    missing: list[str] = []
    assert [one.id for one in gather_probes(store, None, missing).typical] == ["n1"]
    assert len(missing) == 1
    assert "n0.nc" in missing[0]


def test_tables_alone_give_the_figures_that_need_no_single_network(tmp_path):
    probes = gathered(tmp_path, mechanism_table(MANY[:10]), files=False)
    assert probes.typical == ()
    drawn = [parts[0] for _, parts in probe_figures(probes, 0.5)]
    assert drawn == [
        "mechanism_map", "mechanism_cells", "similarity_by_mechanism", "robustness", "generalisation"
    ]  # fmt: skip


def test_names_say_settings_and_task_on_lines_of_their_own():
    table = mechanism_table(["mixed"], per_cell=1)
    assert settings_of(table, 0) == "relu, penalty 0, seed 0\ntarget until go (delayed)"
    assert settings_of(table.drop_vars(["visibility", "delay_law", "penalty_rate", "seed"]), 0) == "relu"


def test_controls_join_the_table_of_networks_and_what_is_known_of_others_stays(tmp_path):
    table = mechanism_table(["mixed", "input_driven"], per_cell=1)
    probes = gathered(tmp_path, table)
    own = xr.Dataset(
        {"status": ("network", ["converged"]), "population": ("network", [0.3]), "score": ("network", [0.95])},
        coords={"id": ("network", ["n0"]), "seed": ("network", [7])},
    )
    joined = with_mechanisms(own, probes)
    assert joined["id"].values.tolist() == ["n0", "n1"]
    assert joined["mechanism"].values.tolist() == ["mixed", "input_driven"]
    assert joined["seed"].values.tolist() == [7, 0]
    assert joined["score"].values[0] == 0.95
    np.testing.assert_array_equal(joined["population"].values, [0.3, np.nan])
    assert with_mechanisms(own, None) is own


def test_the_map_holds_every_network_and_the_matrix_every_count():
    table = mechanism_table(MANY)
    figure = mechanism_map_figure(table, tables()["confusion"])
    left, right = figure.axes
    assert len(left.containers) == 48
    assert sorted(text.get_text() for text in right.texts) == sorted("30100500")
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "initial condition\n(n = 4 of 5)", "input driven\n(n = 5 of 5)"
    ]  # fmt: skip
    assert confusion_words(tables()["confusion"]).endswith(
        "3 of 4 forced to be initial condition and 5 of 5 forced to be input driven were found as such."
    )


@pytest.mark.parametrize("verdicts", [["none"] * 3, ["mixed"], [], MANY])
def test_maps_are_drawn_of_none_one_and_many(verdicts):
    table = mechanism_table(verdicts)
    for figure in (
        mechanism_map_figure(table, None),
        mechanism_cells_figure(table),
        similarity_by_mechanism_figure(table, {"n0": "the first"}, None),
    ):
        figure.draw_without_rendering()
        assert figure.get_size_inches()[1] < 12


def test_cells_of_one_task_stand_together_and_say_who_learned():
    table = mechanism_table(["mixed", "none"] * 4)
    assert cells_in_order(table) == ["cell 0", "cell 2", "cell 1", "cell 3"]
    labels = [label.get_text() for label in mechanism_cells_figure(table).axes[0].get_yticklabels()]
    assert labels[0] == "until go, delayed: relu, 0 (1/2)"
    # Cells that differ in something else keep their own name.
    alike = table.assign(penalty_rate=("network", np.zeros(8)), activation=("network", ["tanh"] * 8))
    assert cell_label(alike, "cell 0") == "cell 0"


def test_panels_against_the_index_run_upwards_to_what_is_better_and_carry_both_correlations():
    table, associations = mechanism_table(MANY), tables()["associations"]
    figure = against_index_figure(table, associations, ROBUSTNESS)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low > high
    title = figure.axes[0].get_title(loc="left")
    assert "within activation and penalty:\nρ +0.60 [+0.20, +0.80]\np < 0.001, n 12" in title
    assert "within cell:\nρ +0.58\np" in title
    assert p_text(0.0314) == "p 0.031"
    upright = against_index_figure(table, None, GENERALISATION).axes[0]
    assert upright.get_ylim() == (-4, 104)
    assert upright.get_title(loc="left") == ""
    points = [line for line in upright.lines if line.get_marker() not in ("", "None")]
    assert len(points) == 48


def test_a_correlation_that_is_not_known_is_not_a_number():
    associations = tables()["associations"].assign(rho=("row", np.full(12, np.nan)))
    assert rho_lines(associations, "clean_error") == []
    said = rho_lines(associations, "excess_error_movement")
    assert said == ["within activation and penalty: none", "within cell: none"]
    assert there(mechanism_table(["none"]), ROBUSTNESS) == []


def test_noise_curves_start_at_nothing_and_the_thick_line_is_their_mean(tmp_path):
    probes = gathered(tmp_path, mechanism_table(["mixed"] * 2, per_cell=1))
    results = {name: InputNoise.from_dataset(data) for name, data in probes.overlaid["input_noise"].items()}
    results["n1"].data["end_point_error"] = 3 * results["n1"].data["end_point_error"]
    axes = excess_noise_figure(results, probes.mechanisms).axes[0]
    one, other, mean = (line.get_ydata() for line in axes.lines[:3])
    assert one[0] == other[0] == 0
    np.testing.assert_allclose(mean, (one + other) / 2)
    assert axes.lines[2].get_linewidth() > axes.lines[0].get_linewidth()


def test_the_border_of_trained_delays_is_drawn_and_told(tmp_path):
    """Delays of 0 part nothing, those beyond the first switch cannot be seen; the caption says what it is."""
    probes = gathered(tmp_path, mechanism_table(["mixed"] * 4), files=False)
    switched = {f"n{k}": with_verdict("mixed", 0.5)["target_switch"] for k in range(4)}
    probes = replace(probes, overlaid={**probes.overlaid, "target_switch": switched})
    parts = {name: (caption, draw) for _, (name, _, caption, draw) in probe_figures(probes, 0.5)}
    caption, draw = parts["switch"]
    assert "Dotted: the shortest delay with which some were trained (100 ms)" in caption
    figure = draw()
    for axes in figure.axes:
        assert [list(line.get_xdata()) for line in axes.lines].count([-100, -100]) == 1
    assert "shortest trained delay left" in [text.get_text() for text in figure.legends[0].get_texts()]
    results = {
        name: TargetSwitchProbe.from_dataset(data) for name, data in probes.overlaid["target_switch"].items()
    }
    plain = switch_figure(results, probes.mechanisms, [0.0, 500.0])
    assert "shortest trained delay left" not in [text.get_text() for text in plain.legends[0].get_texts()]


def test_open_markers_are_controls():
    table = mechanism_table(["input_driven"] * 2, per_cell=1)
    table["visibility"] = "network", ["from_go", "throughout"]
    figure = against_index_figure(table, None, ROBUSTNESS[:1])
    faces = [mpl.colors.to_hex(line.get_markerfacecolor()) for line in figure.axes[0].lines]
    assert faces == ["#ffffff", "#d55e00"]
    assert "open: control" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_control_far_off_stands_at_the_edge_with_its_value():
    table = mechanism_table(["input_driven"] * 3, per_cell=1)
    table["visibility"] = "network", ["from_go", "throughout", "throughout"]
    table[ROBUSTNESS[0].measure] = "network", [7.0, 0.1, 0.2]
    axes = against_index_figure(table, None, ROBUSTNESS[:1]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["7"]
    assert max(axes.get_ylim()) < 0.3
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 1.15 * 0.2)


def test_curves_of_noise_leave_controls_out_where_there_are_others():
    table = mechanism_table(["input_driven"] * 2, per_cell=1)
    found = {str(name): xr.Dataset() for name in table["id"].values}
    first, second = found
    table["visibility"] = "network", ["from_go", "throughout"]
    assert list(without_controls(table, found)) == [second]
    table["visibility"] = "network", ["from_go", "from_go"]
    assert list(without_controls(table, found)) == [first, second]


def test_means_by_mechanism_stand_with_interval_and_number():
    table = means_table(tables()["by_mechanism"], "3")
    assert table.headings == ("initial condition", "input driven", "mixed")
    ((title, texts),) = table.rows
    assert title == "excess error, noise throughout (a.u.)"
    assert texts == ("0.500 [0.400, 0.600], n 4", "0.500 [0.400, 0.600], n 3", "0.500, n 1")
    assert means_table(tables()["by_mechanism"], "1") is None
    assert means_table(None, "3") is None


def test_cells_say_task_numbers_and_mechanisms():
    rows = cell_rows(mechanism_table(["mixed", "none", "input_driven", "input_driven", "none", "none"]))
    assert [value.text for value in rows[0]][:5] == ["cell 0", "until go", "delayed", "2", "1"]
    assert [row[-1].text for row in rows] == ["1 mixed", "–", "2 input driven"]
    assert cell_rows(xr.Dataset({"status": ("network", ["converged"])})) == []


def test_claims_follow_one_another_and_figures_are_numbered_as_they_stand(report):
    reader = read(report.page)
    headings = [text for text in reader.headings if text.startswith("Figure ")]
    assert [int(text.split(".")[0].split()[1]) for text in headings] == list(range(1, len(headings) + 1))
    ids = [one for one in reader.ids if one.startswith(("claim-", "figure-"))]
    assert (
        ids.index("claim-2") < ids.index("figure-mechanism_map") < ids.index("claim-3") < ids.index("figure-noise")
    )
    assert ids.index("figure-pulses_mixed") < ids.index("figure-psth")
    assert {f"figure-{name}" for name in PROBE_TITLES} <= set(reader.ids)


def test_what_does_not_agree_is_said_with_its_numbers(report):
    said = disagreements(report.run)
    confused = "Of 4 networks whose task forces them to be initial condition, the probes found 1 as mixed."
    assert confused in said
    reader = read(report.page)
    for sentence in said:
        assert sentence in reader.text
    probes = report.run.probes
    apart = probes.networks.assign(decides=0 * probes.networks["decides"])
    other = replace(report.run, probes=replace(probes, networks=apart))
    assert any("The two probes of mechanism differ by more than a third" in s for s in disagreements(other))


def test_correlations_that_differ_by_strata_are_said(report):
    assert not [s for s in disagreements(report.run) if "rank correlations" in s]
    associations = report.run.probes.associations.copy(deep=True)
    associations["rho"].values[1::2] = -0.3
    other = replace(report.run, probes=replace(report.run.probes, associations=associations))
    said = [s for s in disagreements(other) if "rank correlations differ in sign" in s]
    assert len(said) == 6
    assert "-0.30 within cell" in said[0]


def test_a_long_verdict_is_listed_and_a_short_one_is_not():
    assert said_parts("a; b; c; d.") == ("a", "b", "c", "d.")
    assert said_parts("a; b.") == ("a; b.",)


@pytest.mark.slow
def test_a_run_that_was_interrupted_before_its_tables(tmp_path):
    shape = RunShape(activations=("tanh",), penalties=(0.0,), n_seeds=2, n_failed=0, n_directions=6)
    store = make_run(tmp_path / "run", shape)
    add_probes(store, made_up_points(0).to_dataset(), with_tables=False, verdicts=("mixed",))
    run = gather(store)
    assert any("Tables over the probes of all networks are missing" in text for text in run.missing)
    assert run.probes.networks["mechanism_index"].values.tolist() == [0.5, 0.5]
    drawn = [parts[0] for _, parts in probe_figures(run.probes, None)]
    assert {"mechanism_map", "flow", "noise", "switch"} <= set(drawn)
    assert "robustness" not in drawn


@pytest.mark.slow
def test_a_run_without_probes_says_so_once_and_keeps_its_columns(tmp_path):
    shape = RunShape(activations=("tanh",), penalties=(0.0,), n_seeds=1, n_failed=0, n_directions=6)
    store = make_run(tmp_path / "run", shape)
    run = gather(store)
    assert run.probes is None
    assert sum("no results of probes" in text for text in run.missing) == 1
    assert [section.id for section in sections(run, [])] == ["claim-1", "claim-2"]
    page = write_report(store).read_text()
    assert "Mechanism</th>" not in page
    assert "figure-similarity" in page
