"""dynaprobe compare as a user types it: what it prints, what it leaves, what it says of mistakes."""

# ruff: noqa: F811 - a test names the fixture that the module imports
from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import dynaprobe  # noqa: F401 - the fixture

from dynaprobe.core.errors import SettingsError
from dynaprobe.study.store import RunStore, read_tree

QUICK = [
    word
    for change in (
        'pairs.measures=["procrustes_distance", "cka"]', "pairs.n_splits=1", "pairs.n_halvings=3",
        "pairs.n_floor=4", "pairs.n_regroupings=19", "comparison.n_splits=1", "comparison.n_floor=4",
        "comparison.n_chance=20", "comparison.n_surrogates=2", 'comparison.families=["T", "TNC"]',
        "comparison.units.n_permutations=19", "comparison.units.n_latency_null=19",
        "comparison.units.n_surrogates=2",
    )
    for word in ("--set", change)
]  # fmt: skip


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> dict[str, Path]:
    """Three small recordings, one of them of other directions."""
    from dynaprobe.recordings.export import write_nwb  # noqa: PLC0415
    from dynaprobe.study.teacher import teacher_recording  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("recordings")
    made = {}
    for name, seed, n_targets in (("one", 1, 4), ("two", 2, 4), ("three", 3, 3)):
        recording = teacher_recording(n_units=14, n_repeats=6, n_targets=n_targets, delay_ms=500.0, seed=seed)
        made[name] = write_nwb(recording.sessions[0], folder / f"{name}.nwb")
    return made


def run(
    recordings: dict[str, Path], out: Path, *, names: str = "ab", resume: bool = False, n_chance: int = 20
) -> Path:
    """The comparison itself, without the page."""
    from dynaprobe.cli.inputs import changed  # noqa: PLC0415
    from dynaprobe.study.compare_alone import run_comparison  # noqa: PLC0415
    from dynaprobe.study.lineup import CompareSettings  # noqa: PLC0415
    from dynaprobe.study.progress import Silent  # noqa: PLC0415
    from dynaprobe.study.study import Request  # noqa: PLC0415

    settings = changed(CompareSettings(), None, [*QUICK[1::2], f"comparison.n_chance={n_chance}"])
    places = {"a": recordings["one"], "b": recordings["two"]}
    request = Request(out, preset="default", resume=resume)
    run_comparison([f"{name}={places[name]}" for name in names], settings, request, progress=Silent())
    return out


@pytest.fixture(scope="module")
def compared(recordings, tmp_path_factory) -> Path:
    """A finished comparison."""
    return run(recordings, tmp_path_factory.mktemp("runs") / "plain")


def test_recordings_are_compared_and_every_line_fits_a_narrow_terminal(
    tmp_path, monkeypatch, recordings, dynaprobe
):  # fmt: skip
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "run"
    done = dynaprobe(
        "compare", f"a={recordings['one']}", f"b={recordings['two']}", "--recording", f"ref={recordings['two']}",
        "--out", out, *QUICK,
    )  # fmt: skip
    assert done.code == 0, done.err
    table = done.out[done.out.index("procrustes distance:") : done.out.index("All 2 rows")]
    assert max(map(len, table.splitlines())) <= 80
    assert "a | b" in table
    assert "Each alone" in done.out
    assert f"Everything is in {out}" in done.out
    # The reference was named already: it is no third candidate.
    manifest = RunStore(out).manifest()
    assert manifest["reference_name"] == "b"
    assert [one["name"] for one in manifest["candidates"]] == ["a", "b"]
    page = (out / "report" / "index.html").read_text()
    for words in ("What the tests say", "Every pair by every measure", "a and b", "Distances of all pairs"):
        assert words in page
    found = pd.read_csv(out / "results" / "pairs.csv")
    assert found["measure"].tolist() == ["procrustes_distance", "cka"]
    assert (found["low"] < found["score"]).all()
    assert (found["score"] < found["high"]).all()


def test_the_order_of_candidates_gives_the_same_table(tmp_path, recordings, compared):
    out = run(recordings, tmp_path / "turned", names="ba")
    assert (out / "results" / "pairs.csv").read_bytes() == (compared / "results" / "pairs.csv").read_bytes()


def test_an_interrupted_comparison_goes_on_to_the_same_bytes(tmp_path, monkeypatch, recordings, compared):
    """Stopped in the second measure: the first is read back, the second computed."""
    from dynaprobe.study import compare_alone  # noqa: PLC0415

    out, score, scored = tmp_path / "run", compare_alone.score_measure, []

    def interrupted(measure, *args, **kwargs):
        scored.append(measure.name)
        if scored == ["procrustes_distance", "cka"]:
            raise KeyboardInterrupt
        return score(measure, *args, **kwargs)

    monkeypatch.setattr(compare_alone, "score_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(recordings, out)
    assert RunStore(out).manifest()["state"] == "running"
    with pytest.raises(SettingsError, match="--out must be a new folder unless --resume is given"):
        run(recordings, out)
    run(recordings, out, resume=True)
    assert scored == ["procrustes_distance", "cka", "cka"]
    assert (out / "results" / "pairs.csv").read_bytes() == (compared / "results" / "pairs.csv").read_bytes()
    for name in ("pairs/procrustes_distance", "pairs/cka", "comparison"):
        one, other = (read_tree(folder / "results" / f"{name}.nc") for folder in (out, compared))
        assert one.keys() == other.keys()
        assert all(one[group].identical(other[group]) for group in one)
    run(recordings, out, resume=True)
    assert len(scored) == 3, "a complete run computes nothing again"
    with pytest.raises(SettingsError, match="must be as in the run that is resumed, but got 21 now and 20 there"):
        run(recordings, out, resume=True, n_chance=21)


def test_directions_that_one_lacks_are_left_out_and_said(tmp_path, recordings, dynaprobe):
    """Four and three directions share one: too few, said before the folder is taken."""
    out = tmp_path / "run"
    done = dynaprobe("compare", recordings["one"], recordings["three"], "--out", out, *QUICK)
    assert done.code == 2
    assert "candidates must share at least 3 directions of the reach" in done.err
    assert "0, 120, 240" in done.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("ONE", "ONE"), "candidates must differ in their names, but got one.nwb 2 times"),
        (("ONE",), "candidates must be at least two"),
        (("ONE", "b=TWO", "--set", 'pairs.measures=["nope"]'), "measure must be one of cca, "),
        (("ONE", "TWO", "--set", "pairs.n_units=20"), "candidates must have at least 20 usable units each"),
        (("ONE", "TWO", "--set", "comparison.n_pcs=8"), "at least 16 usable units each, but got 14 of one.nwb"),
        (("ONE", "TWO", "--by", "animal"), "--by must be one of whole, subject, but got animal"),
        (("ONE", "x=nowhere"), "candidate must be a network file, the folder of a run, or a recording, but got"),
        (("ONE", "TWO", "--recording", "nowhere"), "recording, but got nowhere, where nothing is"),
        (("ONE", "=TWO"), "candidate must be a path, or read NAME=PATH"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, recordings, dynaprobe, more, sentence):
    words = [str(w).replace("ONE", str(recordings["one"])).replace("TWO", str(recordings["two"])) for w in more]
    done = dynaprobe("compare", *words, "--out", tmp_path / "run", *QUICK[2:])
    assert done.code == 2
    assert sentence in done.err.replace("\n", " ")
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_networks_without_a_recording_are_compared_on_their_own_rates(tmp_path, dynaprobe):
    options = [
        word
        for change in (
            "network.n_units=30",
            "fit.n_updates=300",
            "fit.batch_size=24",
            "fit.learning_rate=0.02",
            "fit.threshold=0.2",
            "n_seeds=2",
        )
        for word in ("--set", change)
    ]
    for name in ("tanh", "relu"):
        trained = dynaprobe("train", "--out", tmp_path / name, "--set", f"network.activation={name}", *options)
        assert trained.code == 0, trained.err
    done = dynaprobe("compare", tmp_path / "tanh", tmp_path / "relu", "--out", tmp_path / "run", *QUICK)
    assert done.code == 0, done.err
    assert "compared on their own rates" in done.out
    assert "own rates" in " ".join(RunStore(tmp_path / "run").manifest()["account"])
    found = pd.read_csv(tmp_path / "run" / "results" / "pairs.csv")
    assert (found["over"] == "networks").all()
    assert "cannot be told apart with so few networks" in done.out


@pytest.mark.slow
def test_averages_without_trials_go_through_to_the_page(tmp_path, dynaprobe):
    """Nothing is said of trials, directions or events that the averages do not have."""
    rng = np.random.default_rng(0)
    time_ms = np.arange(-50.0, 351.0, 10.0)
    courses = np.cumsum(rng.normal(size=(time_ms.size, 4, 6)), axis=0)
    for name in "ab":
        rates = np.einsum("tlc,lu->tuc", courses, rng.normal(size=(4, 14)))
        np.savez(tmp_path / f"{name}.npz", rates=rates, time=time_ms)
    places = [f"{name}={tmp_path / name}.npz" for name in "ab"]
    done = dynaprobe("compare", *places, "--map", "arrays.event=move_onset", "--out", tmp_path / "run", *QUICK)
    assert done.code == 0, done.err
    assert "cut to -50 to 350 ms" in done.out
    assert "a and b have no trials to halve" in " ".join(done.out.split())
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "alignment of a and b was left out: rates must be aligned to target_on" in page
    assert "peri-movement -50 to 250 ms from movement onset" in page
    assert not any(words in page for words in ("from target onset", "standard error as a band", "halvings."))
    rows = pd.read_csv(tmp_path / "run" / "results" / "pairs.csv")
    assert (rows["over"] == "units").all()
    assert rows[["low", "high"]].notna().all(axis=None)
