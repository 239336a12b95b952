"""Figures as they stand in a page: the same drawing in fewer bytes.

Letters and markers are defined once for the page, styles become classes, and what is drawn with very many points
becomes an image. The files beside the page stay as they were, vectors throughout.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from dynaprobe.report.export import svg_text

# Figures stand a little larger on the screen than in print, where one reads from nearer.
SCREEN_SCALE = 1.25
# In a figure of more characters than this, axes whose data take more than so many become images, where that is
# shorter.
MOST_CHARACTERS = 100_000
MOST_OF_AXES = 6_000
# Thin lines on nothing need no more colours than a palette holds.
N_COLOURS = 256
# What a point of a line and a marker take as text.
_POINT, _MARKER = 14, 110

_SHARED = re.compile(r'<path id="([^"]+)" ([^>]*)/>')
_NUMBERED = re.compile(r'(?<=\s)(x|y|width|height)="(-?\d+\.\d+)"')
_MOVED = re.compile(r"translate\(([^)]*)\)")
_PATH = re.compile(r'(?<=\sd=")[^"]*(?=")')
_BLANKS = re.compile(r"\s*([A-Za-z])\s*|\s+(-)|\s+")
_REFERENCE = re.compile(r'(?<=href=")#([^"]+)(?=")|(?<=url\()#([^)]+)(?=\))')
_IMAGE = re.compile(r'(?<=href="data:image/png;base64,)[^"]+(?=")')
_STYLE = re.compile(r'style="([^"]*)"')


@contextmanager
def _rasterised(figure: Figure) -> Iterator[None]:
    """Meanwhile the data of dense axes are drawn as images; axes, letters and what lies in other axes are not."""
    dense = [artist for axes in figure.axes if _characters(axes) > MOST_OF_AXES for artist in _data_of(axes)]
    before = [artist.get_rasterized() for artist in dense]
    for artist in dense:
        artist.set_rasterized(True)
    try:
        yield
    finally:
        for artist, was in zip(dense, before, strict=True):
            artist.set_rasterized(was)


def _data_of(axes: Axes) -> list[Artist]:
    """Lines, points, bands and arrows: all of them, as one that lies between others would cut an image in two."""
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return [*axes.lines, *axes.collections, *arrows]


def _characters(axes: Axes) -> int:
    """About how much text the data of some axes take."""
    return sum(map(_text_of, _data_of(axes)))


def _text_of(artist: Artist) -> int:
    if isinstance(artist, Line2D):
        is_line, is_marked = artist.get_linestyle() != "None", artist.get_marker() not in ("None", "", None)
        return int(np.size(artist.get_xdata())) * (_POINT * is_line + _MARKER * is_marked)
    if isinstance(artist, Collection):
        n_points = sum(int(np.size(path.vertices)) // 2 for path in artist.get_paths())
        n_marks = max(int(np.size(artist.get_offsets())) // 2, len(artist.get_paths()))
        return _POINT * n_points + _MARKER * n_marks
    return _MARKER


def _fewer_colours(match: re.Match[str]) -> str:
    """An image with a palette in place of four bytes a pixel."""
    image = Image.open(io.BytesIO(base64.b64decode(match.group())))
    buffer = io.BytesIO()
    plain = image.quantize(N_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    plain.save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


class Drawings:
    """Figures that go into one page, with what they share."""

    def __init__(self) -> None:
        self._shared: dict[str, str] = {}
        self._styles: dict[str, str] = {}
        self._n_ids = 0

    def add(self, figure: Figure, svg: str, label: str) -> Markup:
        """An ``<svg>`` for the page: named for screen readers, at most `SCREEN_SCALE` times its print size.

        Args:
            figure: what is drawn, already settled.
            svg: its text, vectors throughout.
            label: what is seen.
        """
        head = svg[: svg.index(">") + 1]
        before = dict(self._shared), dict(self._styles)
        drawn, length = self._measured(svg.removeprefix(head))
        if length > MOST_CHARACTERS:
            after, (self._shared, self._styles) = (self._shared, self._styles), before
            with _rasterised(figure):
                text = svg_text(figure, prefix="x").removeprefix(head)
            images, other_length = self._measured(_IMAGE.sub(_fewer_colours, text))
            if other_length < length:
                drawn = images
            else:
                self._shared, self._styles = after
        width_pt = float(re.search(r'\bwidth="([\d.]+)pt"', head).group(1))  # type: ignore[union-attr]
        head = re.sub(r'\s(?:width|height|xmlns(?::xlink)?|version)="[^"]*"', "", head)
        named = f'<svg role="img" aria-label="{escape(label)}" style="width: {width_pt * SCREEN_SCALE:.0f}pt"'
        return Markup(named + head.removeprefix("<svg") + drawn)

    @property
    def shared(self) -> Markup:
        """Letters and markers of all figures, to stand before the first of them; nothing of it is seen."""
        paths = "".join(f'<path id="{name}" {drawn}/>' for drawn, name in self._shared.items())
        head = '<svg class="shared" width="0" height="0" aria-hidden="true"><defs>'
        return Markup(f"{head}{paths}</defs></svg>") if paths else Markup("")

    @property
    def css(self) -> Markup:
        """The classes of all figures."""
        # What matplotlib writes into every figure, and a page would take for all of them.
        common = "svg *{stroke-linejoin:round;stroke-linecap:butt}"
        classes = (f"svg .{name}{{{style}}}" for style, name in self._styles.items())
        return Markup("\n".join([common, *classes])) if self._styles else Markup("")

    def _measured(self, text: str) -> tuple[str, int]:
        """A figure in fewer bytes, and how many it and what it brings to be shared take."""
        before = sum(map(len, self._shared))
        drawn = self._compact(text)
        return drawn, len(drawn) + sum(map(len, self._shared)) - before

    def _compact(self, text: str) -> str:
        text = re.sub(r"<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
        text = _PATH.sub(lambda match: _short_path(match.group()), text)
        text = _MOVED.sub(lambda match: f"translate({_short_numbers(match.group(1))})", text)
        text = _NUMBERED.sub(lambda match: f'{match.group(1)}="{_short_numbers(match.group(2))}"', text)
        names: dict[str, str] = {}
        text = _SHARED.sub(lambda match: self._share(match, names), text)
        text = _REFERENCE.sub(lambda match: f"#{self._name_of(match.group(1) or match.group(2), names)}", text)
        text = re.sub(r' id="([^"]+)"', lambda match: _id_of(names.get(match.group(1))), text)
        text = _STYLE.sub(lambda match: f'class="{self._class_of(match.group(1))}"', text)
        text = re.sub(r'(<use [^>]*?) transform="translate\(([-\d.]+) 0\)"', r'\1 x="\2"', text)
        text = text.replace('xlink:href="#', 'href="#')
        return re.sub(r">\s+<", "><", text).replace("<defs></defs>", "").replace("<defs/>", "")

    def _share(self, match: re.Match[str], names: dict[str, str]) -> str:
        """Take a definition out of a figure; one that another figure has brought already is not kept again."""
        own, drawn = match.groups()
        names[own] = self._shared.setdefault(drawn, f"d{len(self._shared)}")
        return ""

    def _name_of(self, own: str, names: dict[str, str]) -> str:
        """The name in the page of what a figure refers to."""
        if own not in names:
            self._n_ids += 1
            names[own] = f"c{self._n_ids}"
        return names[own]

    def _class_of(self, style: str) -> str:
        plain = re.sub(r"\s*([:;,])\s*", r"\1", style)
        return self._styles.setdefault(plain, f"s{len(self._styles)}")


def _id_of(name: str | None) -> str:
    """Ids that nothing refers to are left out."""
    return f' id="{name}"' if name else ""


def _short_numbers(text: str) -> str:
    """A hundredth of a point is finer than any screen."""
    return re.sub(r"-?\d+\.\d+", lambda match: f"{float(match.group()):.2f}".rstrip("0").rstrip("."), text)


def _short_path(path: str) -> str:
    """Without what separates nothing: ``M1 2L3-4``."""
    return _BLANKS.sub(lambda match: match.group(1) or match.group(2) or " ", path).strip()
