"""The report of a run: one page that needs nothing but itself, and its figures as files."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr
from markupsafe import Markup, escape

from dynaprobe.report.claim_sections import disagreements, in_page_order, sections
from dynaprobe.report.csv_tables import write_tables
from dynaprobe.report.export import save_figure
from dynaprobe.report.gather import RunContents, gather
from dynaprobe.report.gather_probes import is_control
from dynaprobe.report.page_drawings import Drawings
from dynaprobe.report.pair_page import pair_context
from dynaprobe.report.reading_order import DETAIL, missing_figures, report_figures
from dynaprobe.report.tables import (
    control_columns,
    failed_networks,
    flat_settings,
    network_columns,
    network_rows,
    recording_row,
)
from dynaprobe.report.tables_probes import CELL_COLUMNS, cell_rows
from dynaprobe.study.store import RunStore, write_atomically

# What a run worked out from the recording, beside the settings it was given.
RESOLVED = ("resolved_comparison", "timing_facts", "mapping")
MARKS = {"supported": "✓", "opposed": "✗", "undecided": "?", "not tested": "–"}
_DOI = re.compile(r"doi:\s?(10\.\d{4,}/[^\s,;)]*[^\s,;.)])")


@dataclass(frozen=True)
class _Drawn:
    name: str
    title: str
    caption: str
    svg: Markup
    section: str
    number: int


def write_report(store: RunStore) -> Path:
    """Write ``report/index.html`` of a run, ``report/figures/NAME.svg`` and ``.pdf``, ``report/tables/NAME.csv``.

    The page works offline: styles, script and figures are inside. The same run gives the same bytes. What the run
    does not hold is said in words.

    Args:
        store: a run, finished or not.

    Returns:
        Path of the page.

    Raises:
        DataError: when the folder holds no run or cannot be written to.
    """
    run = gather(store)
    folder = store.path("report")
    drawings, drawn = Drawings(), []
    for k, figure in enumerate(in_page_order(run, list(report_figures(run))), start=1):
        made = figure.draw()
        svg = save_figure(made, folder / "figures", figure.name)
        shown = drawings.add(made, svg, f"{figure.title}. {figure.caption}")
        place = DETAIL if run.pairs is not None else figure.section
        drawn.append(_Drawn(figure.name, figure.title, figure.caption, shown, place, k))
    tables = {path.stem: f"tables/{path.name}" for path in write_tables(store)}
    if run.pairs is not None and store.path("results", "pairs.csv").is_file():
        tables["pairs"] = "../results/pairs.csv"
    context = _context(run, drawn) | {"tables": tables, "shared": drawings.shared, "drawing_css": drawings.css}
    page = _environment().get_template("study.html.j2").render(**context)
    return write_atomically(folder / "index.html", lambda path: path.write_text(page, encoding="utf-8"))


def linked(text: str) -> Markup:
    """Text with every DOI as a link; all else is escaped."""
    parts, last = [], 0
    for match in _DOI.finditer(text):
        doi = escape(match.group(1))
        parts += [escape(text[last : match.start()]), Markup(f'<a href="https://doi.org/{doi}">doi:{doi}</a>')]
        last = match.end()
    return Markup("").join([*parts, escape(text[last:])])


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dynaprobe.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["linked"] = linked
    return environment


def _part(name: str) -> Markup:
    """A file of the package that goes into the page as it is."""
    return Markup(files("dynaprobe.report").joinpath("templates", name).read_text(encoding="utf-8"))


def _context(run: RunContents, drawn: list[_Drawn]) -> dict[str, Any]:
    manifest = run.manifest
    claims = sections(run, drawn) if run.pairs is None else []
    own, controls = _parted(run.networks)
    told = {figure.name for section in claims for figure in section.figures}
    return {
        "css": _part("study.css"),
        "script": _part("sort.js"),
        "study": manifest.get("study", "without a name"),
        "preset": manifest.get("preset"),
        "title": manifest.get("title") or f"Study {manifest.get('study', 'without a name')}",
        "citation": manifest.get("citation", ""),
        "lead": _lead(run),
        "pairs": pair_context(run.pairs) if run.pairs is not None else None,
        "verdicts": run.verdicts,
        "sections": claims,
        "disagreements": disagreements(run),
        "marks": MARKS,
        "compared": _compared(run),
        "steps": _steps(run),
        "left_out": _left_out(run),
        "missing": [*run.missing, *missing_figures(run)],
        "networks_lead": _networks_lead(run),
        "columns": network_columns(run.networks) if run.networks is not None else [],
        "rows": network_rows(own) if own is not None else [],
        "controls_lead": _controls_lead(controls),
        "control_columns": control_columns(controls) if controls is not None else [],
        "controls": network_rows(controls, control_columns(controls)) if controls is not None else [],
        "recording_row": recording_row(run.recording, run.networks)
        if run.recording is not None and run.networks is not None
        else [],
        "cell_columns": CELL_COLUMNS,
        "cells": cell_rows(run.networks) if run.networks is not None else [],
        "failed": failed_networks(own) if own is not None else [],
        "figures_lead": _figures_lead(run),
        "figures": [figure for figure in drawn if figure.name not in told],
        "settings": flat_settings(manifest.get("settings", {}))
        + flat_settings({name: manifest[name] for name in RESOLVED if name in manifest}),
        "command": repeat_command(manifest),
        "provenance": _provenance(manifest),
        "methods": manifest.get("methods", []),
        "choices": manifest.get("choices", []),
    }


def _lead(run: RunContents) -> str:
    if run.pairs is not None:
        return str(pair_context(run.pairs)["lead"]) + _unfinished(run)
    decisions = [verdict.decision for verdict in run.verdicts]
    if not decisions:
        return "No claim was judged."
    counts = [f"{decisions.count(word)} {word}" for word in MARKS if word in decisions]
    return f"Of {len(decisions)} claims: {', '.join(counts)}.{_unfinished(run)}"


def _unfinished(run: RunContents) -> str:
    complete = run.manifest.get("state") == "complete"
    return "" if complete else " The run is not complete; this is what it holds so far."


def _compared(run: RunContents) -> list[str]:
    recording = run.manifest.get("recording")
    if not recording:
        if run.pairs is None:
            return ["The run does not say which recording it was compared with."]
        windows = _windows(run.manifest.get("resolved_comparison", {}), _events(run))
        return [windows] if windows else []
    made = (
        "simulated from a teacher network of known mechanism" if recording.get("kind") == "simulated" else "given"
    )
    sentences = [
        f"The recording was {made}: {recording.get('source', 'source not noted')}; "
        f"{recording.get('n_sessions', '?')} session(s), {recording.get('n_units', '?')} units."
    ]
    if recording.get("summary"):
        sentences.append(str(recording["summary"]))
    if recording.get("rules"):
        sentences.append("Rules of reading: " + "; ".join(map(str, recording["rules"])) + ".")
    if windows := _windows(run.manifest.get("resolved_comparison", {})):
        sentences.append(windows)
    sentences.append(
        "Every network that learned the task was rendered as a spiking recording and went through the same "
        "preprocessing and the same analyses as the recorded units. It ran the directions of the recording at "
        "the recording's median delay, as often as the median session repeats a condition. Each unit's rates were "
        "mapped onto the range of a recorded PSTH and cut off at 0, spikes are Poisson, and no more units were "
        "taken than were recorded. Trials were aligned to the network's own movement onset, where its speed "
        "passes a fifth of its peak; its reaction time is not that of the recording, so a window around movement "
        "onset begins at another time after the go cue. How networks are rendered is our choice."
    )
    return sentences


_EVENTS = {"target_on": "target onset", "move_onset": "movement onset"}


def _events(run: RunContents) -> set[str]:
    """The events that windows lie around: where there are averages alone, those that the averages hold."""
    pairs = run.pairs
    if pairs is None or any(one["kind"] != "averages" for one in pairs.candidates.values()):
        return set(_EVENTS)
    held = [data for _, data in run.having("psth").values()]
    return {
        str(event)
        for data in held
        for event in (data["segment"].values if "segment" in data.coords else [data["time"].attrs.get("event")])
    }


def _windows(resolved: Mapping[str, Any], events: Container[str] = tuple(_EVENTS)) -> str:
    """The windows of the analyses around these events, as they were resolved for this recording."""
    kinds = {
        "target": ("PSTHs and similarity", "target_on"),
        "move": ("PSTHs and similarity", "move_onset"),
        "preparatory": ("preparatory", "target_on"),
        "peri_movement": ("peri-movement", "move_onset"),
        "jpca": ("jPCA", "move_onset"),
    }
    parts = [
        f"{title} {span[0]:g} to {span[1]:g} ms from {_EVENTS[event]}"
        for name, (title, event) in kinds.items()
        if event in events and (span := resolved.get(f"{name}_window_ms"))
    ]
    return f"Windows: {'; '.join(parts)}." if parts else ""


def _left_out(run: RunContents) -> list[tuple[str, int]]:
    """What was left out or mended, by reason: on reading the recording, and on averaging each side drawn."""
    recording = run.manifest.get("recording", {})
    rows = [*recording.get("left_out", {}).items()]
    rows += [(f"{what} (mended)", count) for what, count in recording.get("mended", {}).items()]
    for side in run.sides:
        noted = side.groups["psth"].attrs.get("left_out", "{}") if "psth" in side.groups else "{}"
        rows += [(f"{reason} ({side.name})", count) for reason, count in json.loads(noted).items() if count]
    return rows


def _steps(run: RunContents) -> list[str]:
    """What was done to the recording's rates, as its arrays say themselves."""
    for group in ("psth", "pca"):
        for side in run.sides:
            data = side.groups.get(group)
            if data is not None:
                attrs = data["mean"].attrs if group == "psth" and data["mean"].attrs else data.attrs
                return [step for step in str(attrs.get("preprocessing", "")).split("\n") if step]
    return []


def _parted(networks: xr.Dataset | None) -> tuple[xr.Dataset | None, xr.Dataset | None]:
    """Networks that take part in the claims, and controls; None where there are none."""
    if networks is None:
        return None, None
    controls = is_control(networks)
    return networks.isel(network=~controls), networks.isel(network=controls) if controls.any() else None


def _networks_lead(run: RunContents) -> str:
    own, controls = _parted(run.networks)
    if own is None:
        return "The run holds no table of networks."
    n, n_failed = own.sizes["network"], len(failed_networks(own))
    aside = " Controls are counted and listed apart, below." if controls is not None else ""
    if n_failed == n:
        return f"{n} networks were trained; none learned the task, so nothing was compared.{aside}"
    return (
        f"{n} networks were trained; {n - n_failed} learned the task and were compared, {n_failed} did not."
        f"{aside} Pressing a heading sorts the table. A dash stands where there is no number."
    )


def _controls_lead(controls: xr.Dataset | None) -> str:
    if controls is None:
        return ""
    n, n_failed = controls.sizes["network"], len(failed_networks(controls))
    return (
        f"{n} controls were trained; {n - n_failed} learned the task, {n_failed} did not. They see their target "
        "only from the go cue on and can prepare nothing: they check the probes, were not compared with the "
        "recording and take part in no claim."
    )


def _figures_lead(run: RunContents) -> str:
    names = [side.name.replace("\n", " ") for side in run.sides if side.activation is not None]
    if run.pairs is not None and run.networks is None:
        drawn = "; ".join(side.name for side in run.sides)
        return (
            f"Drawn side by side: {drawn}. Of several networks of a candidate the first is drawn." if drawn else ""
        )
    if not names:
        return "No network is drawn beside the recording."
    return (
        f"Drawn beside the recording: {'; '.join(names)}. Of each activation this is the network whose population "
        "similarity is the median of those that learned (of an even number, the lower of the two in the middle). "
        "The colour of a direction is the same in every figure."
    )


def repeat_command(manifest: Mapping[str, Any]) -> str:
    """The command line that repeats a run."""
    if manifest.get("command"):
        command = manifest["command"]
        return command if isinstance(command, str) else shlex.join(map(str, command))
    words = ["dynaprobe", "study", str(manifest.get("study", "NAME"))]
    if manifest.get("preset"):
        words += ["--preset", str(manifest["preset"])]
    words += ["--seed", str(manifest.get("seed", 0))]
    recording = manifest.get("recording", {})
    if recording.get("kind") == "given":
        words += ["--recording", str(recording.get("source", "FILE_OR_FOLDER"))]
    return shlex.join(words)


def _provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (name.capitalize(), str(manifest[name]))
        for name in ("seed", "state", "started", "finished")
        if name in manifest
    ]
    timing = manifest.get("timing_s") or {}
    rows += [(f"Time: {name}", f"{float(value):.1f} s") for name, value in timing.items()]
    made = manifest.get("provenance", {})
    rows += [(f"Version of {name}", str(value)) for name, value in made.get("packages", {}).items()]
    rows += [
        (name.removeprefix("n_").replace("_", " ").capitalize(), str(value))
        for name, value in made.items()
        if name != "packages"
    ]
    if digest := manifest.get("recording_sha256"):
        rows.append(("SHA-256 of the recording", str(digest)))
    return rows
