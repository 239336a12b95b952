"""Every result has a figure, every axis a label with its unit, and nothing is cut or lies on anything else."""

from __future__ import annotations

import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from synthetic_runs import made_up_points, made_up_rates

from dynaprobe.core.errors import DataError
from dynaprobe.report.catalogue import CATALOGUE
from dynaprobe.report.export import settle, svg_text
from dynaprobe.report.figures.dynamics import MOST_POINTS, most_visited, point_plane, spectra_figure
from dynaprobe.report.figures.psth import spread_units
from dynaprobe.report.figures.similarity import penalty_sizes
from dynaprobe.report.figures.training import curve
from dynaprobe.report.figures.trial import trial_figure
from dynaprobe.report.reading_order import report_figures, units_to_show
from dynaprobe.report.style import STYLE, condition_legend, directions_deg, new_figure
from dynaprobe.tasks.reach import DelayedReach

# Pure numbers, whose label says so.
WITHOUT_UNIT = re.compile(r"fraction|number of|setting \(")
# Anti-aliasing spreads a glyph over its neighbour pixels.
PIXELS = 2.0


@pytest.fixture(scope="module")
def figures(report) -> dict[str, Figure]:
    drawn = {figure.name: figure.draw() for figure in report_figures(report.run)}
    drawn["trial"] = trial_figure(DelayedReach().condition_trials())
    for figure in drawn.values():
        settle(figure)
    return drawn


def test_every_result_of_a_run_has_a_figure(report):
    network = next(side for side in report.run.sides if side.activation)
    results = {name: data.attrs["result"] for name, data in network.groups.items() if "result" in data.attrs}
    drawn = {(entry.group, entry.kind.__name__) for entry in CATALOGUE}
    assert set(results.items()) <= drawn
    assert len(results) >= 26


def test_names_of_figures_are_distinct(figures):
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)
    assert {"similarity", "settings", "psth", "behaviour", "training", *names} <= figures.keys()


def _label_above(place, figure, kind: str) -> str:
    """The common label of the part of the figure that holds an axes."""
    part = place.get_figure(root=False)
    text = part.get_supxlabel() if kind == "x" else part.get_supylabel()
    return text or (getattr(figure, f"get_sup{kind}label")() or "")


def _labelled(place, figure, kind: str) -> str:
    """The label an axis goes by: its own, that of an axis it shares numbers with, or the common one."""
    own = getattr(place, f"get_{kind}label")()
    shared = getattr(place, f"get_shared_{kind}_axes")().get_siblings(place)
    row = place.get_subplotspec().rowspan.start
    beside = [other for other in place.figure.axes if other.get_subplotspec().rowspan.start == row]
    others = [getattr(other, f"get_{kind}label")() for other in (*shared, *beside)]
    return own or _label_above(place, figure, kind) or next(filter(None, others), "")


def test_every_axis_says_what_it_shows_and_in_which_unit(figures):
    unlabelled = []
    for name, figure in figures.items():
        for place in figure.findobj(mpl.axes.Axes):
            if not place.get_visible() or not place.axison:
                continue
            for kind in "xy":
                ticks = getattr(place, f"get_{kind}ticklabels")()
                texts = [tick.get_text() for tick in ticks if tick.get_visible() and tick.get_text()]
                if not all(re.fullmatch(r"[\d.\u2212-]+", text) for text in texts) or not texts:
                    continue
                label = _labelled(place, figure, kind)
                if not re.search(r"\([^)]+\)", label) and not WITHOUT_UNIT.search(label):
                    unlabelled.append((name, kind, label, texts))
    assert unlabelled == []


def _texts(figure):
    """Bounding boxes of all that is written, each with what it says."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for place in figure.findobj(mpl.axes.Axes):
        if not place.get_visible() or not place.axison:
            continue
        for axis in (place.xaxis, place.yaxis):
            box = axis.get_tightbbox(renderer)  # label and tick labels
            if box is not None:
                yield axis.get_label_text() or "tick labels", box
        for text in (*place.findobj(mpl.text.Annotation), *place.texts, *_titles(place)):
            yield text.get_text(), text.get_window_extent(renderer)
    for part in figure.findobj(mpl.figure.FigureBase):
        for text in (*part.texts, *(t for legend in part.legends for t in legend.get_texts())):
            yield text.get_text(), text.get_window_extent(renderer)


def _titles(place):
    return [t for t in place.get_children() if isinstance(t, mpl.text.Text) and t.get_text().strip()]


def test_no_text_is_cut_by_the_edge(figures):
    cut = [
        (name, words)
        for name, figure in figures.items()
        for words, box in _texts(figure)
        if min(box.x0, box.y0) < -PIXELS
        or box.x1 > figure.bbox.width + PIXELS
        or box.y1 > figure.bbox.height + PIXELS
    ]
    assert cut == []


def test_legends_lie_on_no_label(figures):
    overlaps = []
    for name, figure in figures.items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [legend.get_window_extent(renderer) for legend in figure.legends]
        for place in figure.findobj(mpl.axes.Axes):
            for label in (place.xaxis.label, place.title, place.yaxis.label):
                if (
                    place.get_visible()
                    and label.get_text()
                    and any(box.shrunk(0.95, 0.8).overlaps(label.get_window_extent(renderer)) for box in boxes)
                ):
                    overlaps.append((name, label.get_text()))
    assert overlaps == []


def test_type_is_large_enough_to_print(figures):
    for name, figure in figures.items():
        sizes = [t.get_fontsize() for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]
        assert min(sizes) >= 6.0, name
        assert figure.get_size_inches()[0] <= 7.1, name


def test_the_same_figure_is_the_same_file(report):
    jpca = [next(f for f in report_figures(report.run) if f.name == "jpca") for _ in range(2)]
    first, second = (svg_text(figure.draw(), prefix="x") for figure in jpca)
    assert first == second
    assert "<date>" not in first
    assert not re.search(r"20\d\d-\d\d-\d\dT", first)
    pdf = (report.path.parent / "figures" / "jpca.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    before = dict(mpl.rcParams)
    trial_figure(DelayedReach().condition_trials(), 1)
    assert dict(mpl.rcParams) == before
    assert STYLE["svg.fonttype"] == "path"


def test_other_rooms_do_not_load_matplotlib():
    code = (
        "import sys, dynaprobe.core.rates, dynaprobe.analysis.jpca, dynaprobe.study.store, dynaprobe.cli;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_trial_figure_shows_the_trial_without_its_padding():
    trials = DelayedReach().condition_trials()
    axes = trial_figure(trials, 2).axes[1]
    lines = {line.get_label(): line for line in axes.get_lines()}
    end = int(np.asarray(trials.events_ms["trial_end"])[2] / trials.timeline.dt_ms)
    np.testing.assert_array_equal(lines["py"].get_ydata()[:-1], np.asarray(trials.targets)[2, :end, 3])
    assert axes.get_xlim() == (0, end * trials.timeline.dt_ms)


def test_trial_that_is_not_there_is_a_sentence():
    with pytest.raises(DataError, match="trial must lie between 0 and 7, but got 8"):
        trial_figure(DelayedReach().condition_trials(), 8)


def test_units_shown_are_medoids_or_a_spread(report):
    groups = report.run.sides[0].groups
    chosen = units_to_show(groups["psth"], groups["gallery"])
    assert [k for k, _ in chosen] == groups["gallery"]["medoid"].values[:5].tolist()
    spread = spread_units(groups["psth"], 5)
    depth = (groups["psth"]["mean"].max("time") - groups["psth"]["mean"].min("time")).mean("condition").values
    assert spread[0] == depth.argmax()
    assert len(set(spread)) == 5
    assert (np.diff(depth[spread]) <= 0).all()


def test_points_drawn_are_the_most_visited():
    data = made_up_points(0).data
    rows = most_visited(data, 1)
    assert len(rows) == min(MOST_POINTS, 3)
    assert data["n_starts"].values[rows].tolist() == [20, 3, 1]


def test_spectra_are_in_per_second_and_hz():
    result = made_up_points(0)
    axes = spectra_figure({"a": result}).axes[0]
    line = next(line for line in axes.get_lines() if line.get_marker() == "o")
    np.testing.assert_allclose(line.get_xdata(), 1000 * result.data["eigenvalue_real"].values[0])
    np.testing.assert_allclose(line.get_ydata(), 1000 * result.data["eigenvalue_imag"].values[0] / (2 * np.pi))


def test_points_without_spread_have_a_plane():
    np.testing.assert_array_equal(point_plane(np.ones((1, 4))), [[0, 0]])
    assert point_plane(np.ones((0, 4))).shape == (0, 2)
    plane = point_plane(np.random.default_rng(0).normal(size=(5, 2)))
    assert plane[:, 0].var() >= plane[:, 1].var()


def test_directions_come_from_the_conditions():
    rates = made_up_rates(0, n_directions=6)
    np.testing.assert_allclose(directions_deg(rates), 60 * np.arange(6))
    np.testing.assert_allclose(directions_deg(rates.drop_vars("direction_deg")), 60 * np.arange(6))
    np.testing.assert_allclose(directions_deg(rates.drop_vars(["direction_deg", "condition"])), 60 * np.arange(6))


def test_penalties_are_drawn_by_rank():
    sizes = penalty_sizes(np.array([1.0, 0.0, 1e-4, 1.0]))
    assert list(sizes) == [0.0, 1e-4, 1.0]
    assert np.diff(list(sizes.values())) == pytest.approx(np.diff(list(sizes.values()))[0])


def test_curves_skip_what_was_not_measured(report):
    name = str(report.run.networks["id"].values[1])
    history = report.store.load(f"networks/{name}")["history"]
    at, values = curve(history, "validation_score")
    assert at.tolist() == [10, 20, 30, 40, 50, 60]
    assert np.isfinite(values).all()


def test_a_legend_gives_no_directions_to_conditions_that_have_none():
    rates = xr.DataArray(np.zeros((3, 2)), dims=("condition", "time"))
    numbered = rates.assign_coords(condition=[f"condition_number={k}" for k in (1, 2, 3)])
    turned = numbered.assign_coords(direction_deg=("condition", [0.0, 90.0, 180.0]))
    said = {}
    for name, one in (("numbered", numbered), ("turned", turned), ("bare", rates)):
        figure = new_figure(100, 50)
        condition_legend(figure, one)
        said[name] = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said["numbered"] == ["condition:", "1", "2", "3"]
    assert said["turned"] == ["direction:", "0°", "90°", "180°"]
    assert said["bare"][0] == "direction:"
