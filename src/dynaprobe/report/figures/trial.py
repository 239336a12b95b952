"""One trial of a task: what goes in, what should come out, where it counts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynaprobe.core.errors import DataError
from dynaprobe.core.trials import Trials
from dynaprobe.report.style import EPOCH_GREYS, PAGE_MM, event_word, new_figure, styled

# Lines in one panel are told apart by grey level and dashes; colour is kept for directions.
_LINES = (
    ("#000000", "-"),
    ("#B4531A", (0, (4, 1.2))),
    ("#1F77B4", (0, (1.2, 1))),
    ("#777777", "-"),
    ("#7A3E9D", "-."),
)


@styled
def trial_figure(trials: Trials, trial: int | None = None) -> Figure:
    """Inputs, targets and loss mask of one trial over its epochs, time in ms from the start of the trial.

    Args:
        trials: any batch, e.g. ``task.condition_trials()``.
        trial: which of them; None takes the one whose target channels differ most from one another, so that
            no line hides another.

    Raises:
        DataError: when there is no such trial.
    """
    if trial is None:
        trial = _clearest_trial(trials)
    if not 0 <= trial < trials.n_trials:
        raise DataError(
            "trial",
            rule=f"lie between 0 and {trials.n_trials - 1}",
            received=trial,
            remedy="Name a trial of the batch",
        )
    events_ms = {name: float(np.asarray(times)[trial]) for name, times in trials.events_ms.items()}
    time_ms = trials.timeline.time_ms
    end_ms = events_ms.get("trial_end", np.nan)
    # Shorter trials are padded; the padding is nothing the trial shows.
    time_ms = time_ms[time_ms < end_ms - trials.timeline.dt_ms / 2] if np.isfinite(end_ms) else time_ms
    figure = new_figure(PAGE_MM * 0.75, 88)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.2, 0.55))
    for axes, values, names, title in (
        (panels[0], trials.inputs, trials.input_names, "inputs (a.u.)"),
        (panels[1], trials.targets, trials.output_names, "targets (a.u.)"),
        (panels[2], trials.mask, trials.output_names, "mask\n(weight)"),
    ):
        _draw_channels(axes, time_ms, np.asarray(values)[trial, : time_ms.size], names, trials.timeline.dt_ms)
        axes.set_ylabel(title)
    panels[2].get_legend().remove()
    panels[2].set_ylim(-0.15, 1.25)
    panels[2].set_xlabel("time from trial start (ms)")
    panels[0].set_xlim(0, time_ms[-1] + trials.timeline.dt_ms)
    for axes in panels:
        _shade_epochs(axes, trials, events_ms)
    _name_epochs(panels[0], trials, events_ms)
    condition = int(np.asarray(trials.condition)[trial])
    label = trials.conditions.labels[condition] if condition >= 0 else "catch trial"
    figure.suptitle(f"One trial: {label.replace('_deg', ' (degrees)').replace('=', ' ')}")
    return figure


def _clearest_trial(trials: Trials) -> int:
    """The trial in which the two target channels that are most alike differ most."""
    targets = np.asarray(trials.targets, dtype=np.float64)
    apart = ((targets[..., :, None] - targets[..., None, :]) ** 2).sum(axis=1)
    apart[:, np.arange(targets.shape[2]), np.arange(targets.shape[2])] = np.inf
    return int(apart.min(axis=(1, 2)).argmax()) if targets.shape[2] > 1 else 0


def _draw_channels(
    axes: Axes, time_ms: np.ndarray, values: np.ndarray, names: tuple[str, ...], dt_ms: float
) -> None:
    """Channels as steps: each value holds for its whole bin."""
    edges = np.append(time_ms, time_ms[-1] + dt_ms)
    for k, name in enumerate(names):
        colour, dashes = _LINES[k % len(_LINES)]
        steps = np.append(values[:, k], values[-1, k])
        axes.step(edges, steps, where="post", color=colour, ls=dashes, label=name.replace("_", " "))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _epoch_spans(trials: Trials, events_ms: dict[str, float]) -> list[tuple[str, float, float, str]]:
    spans = []
    for k, epoch in enumerate(trials.timeline.epochs):
        start, stop = events_ms.get(epoch.start, np.nan), events_ms.get(epoch.stop, np.nan)
        if np.isfinite(start) and np.isfinite(stop) and stop > start:
            spans.append((epoch.name, start, stop, EPOCH_GREYS[k % len(EPOCH_GREYS)]))
    return spans


def _shade_epochs(axes: Axes, trials: Trials, events_ms: dict[str, float]) -> None:
    for _, start, stop, colour in _epoch_spans(trials, events_ms):
        axes.axvspan(start, stop, color=colour, lw=0, zorder=0)
    if np.isfinite(events_ms.get("move_onset", np.nan)):
        axes.axvline(events_ms["move_onset"], color="#777777", lw=0.6, ls=(0, (3, 2)), zorder=0.5)


def _name_epochs(axes: Axes, trials: Trials, events_ms: dict[str, float]) -> None:
    """Names of the epochs above the first panel, and of movement onset inside it."""
    for name, start, stop, _ in _epoch_spans(trials, events_ms):
        axes.text(
            (start + stop) / 2,
            1.02,
            name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=6.5,
        )
    onset = events_ms.get("move_onset", np.nan)
    if np.isfinite(onset):
        axes.text(
            onset,
            0.96,
            f" {event_word('move_onset')}",
            transform=axes.get_xaxis_transform(),
            va="top",
            fontsize=6.0,
        )
