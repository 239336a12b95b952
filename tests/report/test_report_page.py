"""The page: well-formed, self-contained, claims first, the numbers of the run, and words for what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from synthetic_runs import RunShape, make_run

from dynaprobe.core.errors import DataError
from dynaprobe.report.gather import chosen_networks, network_name
from dynaprobe.report.html import (
    _controls_lead,
    _networks_lead,
    _parted,
    _windows,
    linked,
    repeat_command,
    write_report,
)
from dynaprobe.report.tables import (
    NETWORK_COLUMNS,
    control_columns,
    flat_settings,
    network_columns,
    network_rows,
    number,
)
from dynaprobe.study.store import RunStore

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


class Reader(HTMLParser):
    """Collects what the tests ask about and checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.figures: list[dict[str, str | None]] = []
        self.cells: dict[str, list[dict[str, str | None]]] = {}
        self.text = ""

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            if named.get(name):
                self.links.append((tag, name, named[name]))
        if tag == "svg":
            self.figures.append(named)
        self.cells.setdefault(tag, []).append(named)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)
        if "script" not in self.open and "style" not in self.open:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def reader(report) -> Reader:
    return read(report.page)


@pytest.fixture
def without_pdf(monkeypatch):
    """The page and its SVGs as ever, the PDFs beside them empty: setting their type takes a third of the time."""
    save = Figure.savefig

    def savefig(figure, target, **options):
        if options["format"] == "pdf":
            Path(target).touch()
        else:
            save(figure, target, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)


def test_tags_nest_and_ids_are_unique(reader):
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert len(reader.ids) > 100


def test_every_reference_inside_has_its_target(reader, report):
    targets = {value[1:] for _, _, value in reader.links if value.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", report.page))
    assert targets <= set(reader.ids)


def test_nothing_is_fetched(reader, report):
    """Only links that a reader follows may lead out, and files lie beside the page."""
    for tag, _, value in reader.links:
        if value.startswith(("http:", "https:", "//")):
            assert tag == "a"
            assert value.startswith("https://doi.org/")
        elif not value.startswith(("#", "data:")):
            assert (report.path.parent / value).is_file(), value
    assert "@import" not in report.page
    assert not re.findall(r"url\((?!#)", report.page)
    assert "default-src 'none'" in report.page


def test_claims_come_first_then_what_was_compared_then_the_evidence(reader):
    wanted = [
        "Claims", "Claim 1: single units and population", "Claim 2: mechanisms", "Noise at the inputs",
        "Switched targets and new places", "Perturbation", "What does not agree", "What was compared", "Networks",
        "The evidence in detail",
    ]  # fmt: skip
    assert [text for text in reader.headings if text in wanted] == wanted


def test_every_claim_stands_with_rule_decision_and_numbers(reader, report):
    for verdict in report.run.verdicts:
        for text in (verdict.claim.statement, verdict.claim.rule, verdict.decision, verdict.sentence):
            assert text in reader.text
    assert "<over>" not in report.page  # what a run says is text, not markup


def test_numbers_in_the_table_are_those_of_the_run(reader, report):
    networks = report.run.networks
    shown = [cell["data-value"] for cell in reader.cells["td"] if "data-value" in cell]
    shown = shown[: networks.sizes["network"] * (len(NETWORK_COLUMNS) - 1)]  # the table of cells follows
    rows = np.array(shown).reshape(networks.sizes["network"], -1)
    names = [column.name for column in NETWORK_COLUMNS[1:]]
    assert network_columns(networks) == NETWORK_COLUMNS
    for name in ("score", "single_unit", "single_unit_raw", "population", "population_raw", "jpca_hz"):
        column = names.index(name)
        values = [float(text) if text else np.nan for text in rows[:, column]]
        np.testing.assert_array_equal(values, networks[name].values)
    known = networks["single_unit"].values[1]
    assert f"{known:.2f}" in reader.text


def test_networks_that_failed_are_listed_with_reasons(reader, report):
    networks = report.run.networks
    name, reason = str(networks["id"].values[0]), str(networks["reason"].values[0])
    assert f"{name}: {reason}" in reader.text
    assert "1 did not" in reader.text


def test_every_figure_has_words_and_files(reader, report):
    assert len(reader.figures) >= 15
    shared, *drawn = reader.figures
    assert shared["aria-hidden"] == "true"
    for svg in drawn:
        assert svg["role"] == "img"
        assert len(svg["aria-label"]) > 80
    made = {path.stem for path in (report.path.parent / "figures").glob("*.svg")}
    assert made == {path.stem for path in (report.path.parent / "figures").glob("*.pdf")}
    assert len(made) == len(drawn)
    assert report.page.count("<figcaption>") == len(made)


def test_captions_say_what_a_score_and_a_p_value_mean(reader):
    for text in (
        "p: chance of so high a score among the surrogates, at least 1 / ",
        "The ceiling is what the very same neurons reach in other trials",
        "The network is represented by one half of its trials",
        "Intervals hold for this recording",
        "cut off at 0, spikes are Poisson",
        "How networks are rendered is our choice",
        "ms around movement onset, dots at its first bin",
    ):
        assert text in reader.text
    assert "{" not in "".join(svg.get("aria-label", "") for svg in reader.figures)  # no field left unfilled


def test_every_window_is_stated():
    windows = _windows({"target_window_ms": [-50.0, 1000.0], "jpca_window_ms": [-50.0, 150.0], "n_pcs": 6})
    assert windows == (
        "Windows: PSTHs and similarity -50 to 1000 ms from target onset; jPCA -50 to 150 ms from movement onset."
    )


def test_the_page_is_light(report):
    assert report.path.stat().st_size < 3e6
    figures = report.path.parent / "figures"
    assert report.path.stat().st_size < 0.5 * sum(path.stat().st_size for path in figures.glob("*.svg"))


def test_every_section_leads_to_its_tables(reader, report):
    """Beside the page, so that a folder that is moved keeps its links."""
    tables = {value for tag, _, value in reader.links if tag == "a" and value.startswith("tables/")}
    assert tables == {f"tables/{path.name}" for path in (report.path.parent / "tables").glob("*.csv")}
    claim = report.page[report.page.index('<section id="claim-3"') :]
    assert "tables/associations.csv" in claim[: claim.index("</section>")]


def test_left_out_settings_versions_sources_and_command_are_there(reader):
    for text in (
        "3 × unit with fewer than 5 trials in a condition",
        "network.n_units",
        "Version of numpy",
        "dynaprobe study kao2019 --preset smoke --seed 0",
        "jPCA: Churchland et al. (2012)",
        "2 alignments joined along time",
        "Our choice: the bar of 0.5.",
    ):
        assert text in reader.text


def test_dois_become_links_and_all_else_is_escaped():
    assert str(linked("a <b> doi:10.1/x.y, c")) == "a &lt;b&gt; doi:10.1/x.y, c"
    link = '<a href="https://doi.org/10.1152/jn.00467.2018">doi:10.1152/jn.00467.2018</a>'
    assert str(linked("Kao, doi:10.1152/jn.00467.2018.")) == f"Kao, {link}."


def test_the_command_quotes_its_words():
    manifest = {"study": "kao2019", "preset": "demo", "seed": 2, "recording": {"kind": "given", "source": "a b"}}
    assert repeat_command(manifest) == "dynaprobe study kao2019 --preset demo --seed 2 --recording 'a b'"
    assert repeat_command({"command": "dynaprobe x"}) == "dynaprobe x"


def test_numbers_as_text():
    assert number(-0.001, ".2f").text == "0.00"
    assert number(-0.5, ".2f").text == "−0.50"
    assert number(np.nan, ".2f").text == "–"
    assert (number(4.0, "d").text, number(1e-4, "g").text) == ("4", "0.0001")
    assert number(1 / 3, ".2f").exact == repr(1 / 3)


def test_settings_become_dotted_names():
    rows = dict(flat_settings({"a": {"b": 1, "c": [1.0, 2.5]}, "d": None, "e": True, "f": []}))
    assert rows == {"a.b": "1", "a.c": "1, 2.5", "d": "not set", "e": "yes", "f": "none"}


def _networks(population: list[float], activation: list[str], status: list[str]) -> xr.Dataset:
    return xr.Dataset(
        {"population": ("network", population), "status": ("network", status)},
        coords={"activation": ("network", activation)},
    )


def test_the_network_drawn_is_the_median_of_those_that_learned():
    converged = ["converged"] * 4
    assert chosen_networks(_networks([0.1, 0.9, 0.5, 0.3], ["tanh"] * 4, converged)) == [3]
    assert chosen_networks(_networks([0.1, 0.9, 0.5, 0.3], ["b", "b", "b", "a"], converged)) == [3, 2]
    status = ["below_threshold", "converged", "converged", "diverged"]
    assert chosen_networks(_networks([0.1, np.nan, 0.5, 0.3], ["tanh"] * 4, status)) == [2]
    assert chosen_networks(_networks([0.1, np.nan, 0.5, 0.3], ["tanh"] * 4, ["diverged"] * 4)) == []


def _named(**columns: list) -> xr.Dataset:
    n = len(next(iter(columns.values())))
    whole = {"activation": ["tanh"] * n, "penalty_rate": [0.0] * n, "id": [f"id{k}" for k in range(n)], **columns}
    coords = {name: ("network", values) for name, values in whole.items() if name in ("id", "seed")}
    return xr.Dataset({name: ("network", values) for name, values in whole.items() if name not in coords}, coords)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"seed": [0, 1]}, ["tanh, penalty 0, seed 0", "tanh, penalty 0, seed 1"]),
        # One task for all needs no word.
        (
            {"seed": [0, 1], "visibility": ["until_go"] * 2, "delay_law": ["short"] * 2},
            ["tanh, penalty 0, seed 0", "tanh, penalty 0, seed 1"],
        ),
        (
            {"seed": [0, 0], "visibility": ["throughout", "until_go"], "delay_law": ["as set", "short"]},
            ["tanh, penalty 0, seed 0,\ntarget throughout", "tanh, penalty 0, seed 0,\ntarget until go (short)"],
        ),
        # Another axis, as the number of units, is in the name of the cell.
        (
            {"seed": [0, 0], "cell": ["tanh, n_units 50", "tanh, n_units 200"]},
            ["tanh, n_units 50, seed 0", "tanh, n_units 200, seed 0"],
        ),
        ({"seed": [0, 0], "cell": ["tanh", "tanh"]}, ["id0", "id1"]),
        ({"activation": ["tanh", "tanh"]}, ["id0", "id1"]),
    ],
)
def test_no_two_networks_share_a_name(columns, names):
    networks = _named(**columns)
    assert [network_name(networks, k) for k in range(2)] == names


def test_controls_are_counted_and_listed_apart():
    networks = _named(
        visibility=["throughout", "throughout", "from_go", "from_go", "from_go"],
        status=["converged", "diverged", "converged", "below_threshold", "diverged"],
        seed=[0, 1, 0, 1, 2],
    )
    own, controls = _parted(networks)
    assert (own.sizes["network"], controls.sizes["network"]) == (2, 3)
    run = SimpleNamespace(networks=networks)
    assert _networks_lead(run).startswith(
        "2 networks were trained; 1 learned the task and were compared, 1 did not."
    )
    assert "listed apart" in _networks_lead(run)
    assert _controls_lead(controls).startswith("3 controls were trained; 1 learned the task, 2 did not.")
    assert [column.name for column in control_columns(controls)][:3] == ["id", "activation", "penalty_rate"]
    assert [row.values[0].text for row in network_rows(controls, control_columns(controls))] == [
        "id2",
        "id3",
        "id4",
    ]
    assert _parted(own)[1] is None
    assert _controls_lead(None) == ""


def test_a_run_in_which_nothing_learned(tmp_path, without_pdf):
    shape = RunShape(
        activations=("tanh",), penalties=(0.0,), n_seeds=1, n_failed=1, n_directions=6,
        left_out_groups=("gallery", "motifs", "condition_independent"),
    )  # fmt: skip
    page = write_report(make_run(tmp_path / "run", shape)).read_text()
    reader = read(page)
    assert "none learned the task" in reader.text
    assert "No network learned the task and was compared" in reader.text
    assert "“Single units against population” is not shown" in reader.text
    assert "figure-jpca" in reader.ids
    assert "figure-training" in reader.ids


def test_missing_results_are_said_in_words(tmp_path, without_pdf):
    shape = RunShape(
        activations=("relu",), penalties=(0.1,), n_seeds=1, n_failed=0, n_directions=6,
        left_out_groups=("jpca", "gallery", "psth", "pca", "motifs", "alignment", "fixed_points", "example"),
    )  # fmt: skip
    store = make_run(tmp_path / "run", shape)
    store.path("claims.json").unlink()
    reader = read(write_report(store).read_text())
    for text in ("No claims were judged", "“Rotations” is not shown", "“PSTHs side by side” is not shown"):
        assert text in reader.text
    assert "figure-cca" in reader.ids


def test_a_run_with_nothing_but_its_manifest(tmp_path):
    store = RunStore(tmp_path / "run")
    store.start({}, study="kao2019", seed=0, resume=False)
    reader = read(write_report(store).read_text())
    assert "The run is not complete" in reader.text or "No claim was judged" in reader.text
    assert "no file results/summary.nc" in reader.text


def test_a_folder_without_a_run_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"run must hold run\.json"):
        write_report(RunStore(tmp_path))


def test_templates_are_files_of_the_package():
    names = {path.name for path in files("dynaprobe.report").joinpath("templates").iterdir()}
    assert {"study.html.j2", "study.css", "sort.js"} <= names
