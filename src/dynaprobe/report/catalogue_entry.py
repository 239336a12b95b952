"""One row of the tables of figures: from a kind of result to its figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from dynaprobe.analysis.result import Result
from dynaprobe.report.colour import Look

Looks = Mapping[str, Look]


@dataclass(frozen=True)
class Entry:
    """One kind of result and the figure made of it.

    Attributes:
        group: name of the result in a run's files.
        kind: class of the result.
        name: file name of the figure.
        title: heading in the report.
        draw: from results by side, and how sides are drawn, to the figure.
        caption: from the same results to text.
    """

    group: str
    kind: type[Result]
    name: str
    title: str
    draw: Callable[[Mapping[str, Any], Looks], Figure]
    caption: Callable[[Mapping[str, Any]], str]


def alone(draw: Callable[[Mapping[str, Any]], Figure]) -> Callable[[Mapping[str, Any], Looks], Figure]:
    """A figure in which conditions or inputs carry the colours, not sides."""
    return lambda results, _looks: draw(results)
