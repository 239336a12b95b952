"""Figures as files: SVG for the page, SVG and PDF for print, the same bytes for the same figure."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from dynaprobe.report.style import STYLE
from dynaprobe.study.store import write_atomically

# A hundredth of a point is a three-hundredth of a millimetre: finer than any printer.
_PATH = re.compile(r'(?<=\sd=")[^"]*(?=")')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def svg_text(figure: Figure, *, prefix: str) -> str:
    """The figure as one ``<svg>`` element that can stand in a page beside others.

    Args:
        figure: what is drawn.
        prefix: put before every id, so that no two figures of a page share one.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        # No date and no version: the same results give the same file.
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=200)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    return _PATH.sub(lambda match: _LONG_NUMBER.sub(_shorter, match.group()), text)


def _shorter(match: re.Match[str]) -> str:
    return f"{float(match.group()):.2f}"


def settle(figure: Figure) -> None:
    """Let the figure lay itself out once; every file then shows the same places, and none costs a layout again."""
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save_figure(figure: Figure, folder: Path, name: str) -> str:
    """Write ``NAME.svg`` and ``NAME.pdf`` and hand back the SVG text for the page.

    Raises:
        DataError: when the folder cannot be written to.
    """
    settle(figure)
    svg = svg_text(figure, prefix=name)
    header = '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'
    write_atomically(folder / f"{name}.svg", lambda path: path.write_text(header + svg, encoding="utf-8"))

    def write_pdf(path: Path) -> None:
        with mpl.rc_context(STYLE):
            figure.savefig(
                path, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None}, dpi=300
            )

    write_atomically(folder / f"{name}.pdf", write_pdf)
    return svg
