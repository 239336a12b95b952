"""Figures in a page: the same drawing in fewer bytes, dense axes as images, the figure itself left as it was."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from dynaprobe.report.export import settle, svg_text
from dynaprobe.report.page_drawings import (
    MOST_CHARACTERS,
    Drawings,
    _fewer_colours,
    _rasterised,
    _short_numbers,
    _short_path,
)
from dynaprobe.report.style import new_figure, styled


@styled
def figure_of(n_points: int, *, n_axes: int = 1, marker: str = "") -> Figure:
    """Random walks, `n_points` each, in the first panel; a short line in the others."""
    figure = new_figure(90, 60)
    panels = np.atleast_1d(figure.subplots(1, n_axes))
    panels[0].plot(np.random.default_rng(0).normal(size=n_points).cumsum(), lw=0.5, marker=marker)
    for axes in panels[1:]:
        axes.plot([0, 1], [1, 0])
    for axes in panels:
        axes.set_xlabel("time (ms)")
    settle(figure)
    return figure


def added(drawings: Drawings, figure: Figure, prefix: str = "a") -> str:
    return str(drawings.add(figure, svg_text(figure, prefix=prefix), "A walk."))


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def test_two_figures_share_their_letters_and_no_id_twice():
    drawings, figure = Drawings(), figure_of(20)
    first, second = added(drawings, figure), added(drawings, figure, "b")
    shared = str(drawings.shared)
    assert "<path id=" not in first + second
    ids = re.findall(r' id="([^"]+)"', first + second + shared)
    assert len(set(ids)) == len(ids)
    wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', first + second))
    assert {one or other for one, other in wanted} <= set(ids)
    assert len(first) < 0.4 * len(svg_text(figure, prefix="a"))
    again = Drawings()
    added(again, figure)
    assert str(again.shared) == shared


def test_every_style_has_a_class_and_every_class_its_style():
    drawings, figure = Drawings(), figure_of(20)
    page = added(drawings, figure).partition(">")[2]
    assert "style=" not in page
    classes = set(re.findall(r'class="(s\d+)"', page))
    assert classes == set(re.findall(r"svg \.(s\d+){", str(drawings.css)))
    assert "stroke-width:0.5" in str(drawings.css)


def test_the_curve_is_the_same_to_a_hundredth_of_a_point():
    figure = figure_of(300)
    text = svg_text(figure, prefix="a")
    longest = max(re.findall(r'\sd="([^"]*)"', text), key=len)
    short = max(re.findall(r'\sd="([^"]*)"', added(Drawings(), figure)), key=len)
    np.testing.assert_allclose(numbers(short.replace("-", " -")), numbers(longest), atol=0.006)
    assert [letter for letter in short if letter.isalpha()] == [letter for letter in longest if letter.isalpha()]


@pytest.mark.parametrize(
    ("path", "short"),
    [("M 0 260.79 \nL 373.46 -3 \nz\n", "M0 260.79L373.46-3z"), ("M -1 -2 Q 3 4 5 6", "M-1-2Q3 4 5 6"), ("", "")],
)
def test_paths_lose_what_separates_nothing(path, short):
    assert _short_path(path) == short


def test_numbers_are_rounded_and_not_cut():
    assert _short_numbers("67.036 -0.001 12 3.50") == "67.04 -0 12 3.5"


def test_a_dense_panel_becomes_an_image_and_the_others_do_not():
    figure = figure_of(3000, n_axes=2, marker="o")
    before = svg_text(figure, prefix="a")
    assert len(before) > MOST_CHARACTERS
    page = added(Drawings(), figure)
    assert page.count("<image") == 1
    assert len(page) < len(before) / 4
    # What was drawn for the page leaves the figure, and so the files beside it, as they were.
    assert svg_text(figure, prefix="a") == before
    sparse = added(Drawings(), figure_of(20, n_axes=2))
    assert "<image" not in sparse


def test_a_figure_whose_image_is_longer_stays_a_drawing(monkeypatch):
    monkeypatch.setattr("dynaprobe.report.page_drawings.MOST_CHARACTERS", 0)
    monkeypatch.setattr("dynaprobe.report.page_drawings.MOST_OF_AXES", 0)
    drawings = Drawings()
    page = added(drawings, figure_of(3))
    assert "<image" not in page
    plain = Drawings()
    monkeypatch.undo()
    assert added(plain, figure_of(3)) == page
    assert (str(plain.shared), str(plain.css)) == (str(drawings.shared), str(drawings.css))


def test_a_palette_changes_colours_at_the_edges_of_lines_alone():
    figure = figure_of(2000)
    with _rasterised(figure):
        text = svg_text(figure, prefix="a")
    found = re.search(r'(?<=base64,)[^"]+(?=")', text)
    assert found is not None
    first, second = (
        imread(io.BytesIO(base64.b64decode(one)), format="png") for one in (found.group(), _fewer_colours(found))
    )
    assert first.shape == second.shape
    on_white = [image[..., :3] * image[..., 3:] + 1 - image[..., 3:] for image in (first, second)]
    apart = np.abs(on_white[0] - on_white[1])
    assert apart.max() < 0.11
    assert apart.mean() < 0.001
    assert len(_fewer_colours(found)) < len(found.group())
