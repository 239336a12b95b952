"""The benchmarks measure what they say: turns, arithmetic, equal equations, and a README touched in one place."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import engine, memory, plain_jax, products, run, scaling, training, worker
from benchmarks import measure as shared
from benchmarks.measure import Contender, Outcome, alternate

# Products of 100 numbers around 1 in float32, over 10 steps.
ROUND_OFF = 1e-5


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(shared, "SETTLE_S", 0.0)


def test_contenders_take_turns_after_one_untimed_call_each(no_pause, monkeypatch):
    calls, clock = [], [0.0]
    monkeypatch.setattr(shared.time, "perf_counter", lambda: clock[0])

    def contender(name, duration_s):
        def work():
            calls.append(name)
            clock[0] += duration_s + (len(calls) <= 2) * 100.0  # the first call compiles

        return Contender(name, work)

    times = alternate([contender("a", 1.0), contender("b", 2.0)], 3)
    assert calls == ["a", "b"] * 4
    assert times == {"a": [1.0] * 3, "b": [2.0] * 3}


def test_two_contenders_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"share a name: \['a', 'a'\]"):
        alternate([Contender("a", int), Contender("a", int)], 1)


def test_a_drift_of_the_machine_leaves_ratios_alone():
    slower = np.asarray([1.0, 3.0, 2.0, 10.0, 1.0])
    found = shared.ratio((6.0 * slower).tolist(), (2.0 * slower).tolist())
    assert (found.low, found.median, found.high) == pytest.approx((3.0, 3.0, 3.0), rel=1e-12)
    assert shared.spread([3.0, 1.0, 8.0], 10.0) == shared.Spread(30.0, 10.0, 80.0)


def test_numbers_have_three_digits_and_no_powers_of_ten():
    values = (0.000123456, 0.0996, 1.0, 12.3456, 99.96, 123456.7, 0.0, float("nan"), 7, "N 100")
    said = ["0.000123", "0.0996", "1.00", "12.3", "100.0", "123457", "0", "nan", "7", "N 100"]
    assert [shared.short(value) for value in values] == said


def test_tables_are_written_as_expected(tmp_path):
    rows = [{"work": "N 100", "ms": 1.23456, "n": 8}, {"work": "N 256", "ms": 140.4, "n": 8}]
    assert shared.markdown_table(rows) == (
        "| work | ms | n |\n| --- | ---: | ---: |\n| N 100 | 1.23 | 8 |\n| N 256 | 140 | 8 |"
    )
    shared.write_csv(tmp_path / "t.csv", rows)
    text = (tmp_path / "t.csv").read_text()
    assert text == "work,ms,n\nN 100,1.23,8\nN 256,140,8\n"


def test_the_facts_about_the_machine_name_neither_host_nor_folder():
    facts = shared.machine()
    assert {"processor", "cores", "system", "python", "jax", "numpy", "torch", "dynaprobe"} == set(facts)
    assert facts["jax"] == jax.__version__
    assert int(facts["cores"]) >= 1
    assert shared.platform.node() not in shared.machine_line().split()
    assert str(Path.home()) not in shared.machine_line()


def test_a_package_that_is_absent_is_said_to_be(monkeypatch):
    monkeypatch.setattr(shared, "PACKAGES", ("numpy", "no-such-package"))
    assert shared.machine()["no-such-package"] == "absent"


def test_the_flop_of_an_update_are_those_of_its_three_products():
    """Counted a second way: multiplications and additions of the loops themselves."""
    assert products.update_flop(n_units=100, batch_size=64, n_steps=150) == 576_000_000
    n, batch, steps = 3, 2, 5
    counted = 0
    for _ in range(steps):
        for rows, inner, columns in ((batch, n, n), (batch, n, n), (n, batch, n)):
            counted += 2 * rows * inner * columns
    assert products.update_flop(n_units=n, batch_size=batch, n_steps=steps) == counted


def test_the_limit_takes_the_faster_library_round_by_round():
    flop = products.large_product_flop()
    assert flop == 2 * 1024**3
    calls_s = {"numpy": [1.0, 1.2, 1.1], "jax": [1.6, 3.0, 2.0]}
    # Per product numpy needs 0.5, 0.6, 0.55 s and jax 0.4, 0.75, 0.5 s: by the median jax.
    found = products.limit_s(flop // 2, calls_s, {"numpy": 2, "jax": 4})
    assert found == pytest.approx([0.2, 0.375, 0.25], rel=1e-12)


@pytest.mark.parametrize("n_steps", [75, 150, 300, 600, 1000])
def test_the_task_has_the_steps_asked_for(n_steps):
    assert engine.reach_task(n_steps).timeline.n_bins == n_steps


def test_the_task_at_150_steps_is_in_plain_milliseconds():
    task = engine.reach_task(150)
    assert (task.movement_ms, task.post_ms, task.catch_ms) == pytest.approx((700.0, 300.0, 1500.0))
    assert task.delay_range_ms == pytest.approx((150.0, 200.0))


def test_the_engine_does_the_updates_asked_for(monkeypatch):
    seen = []
    true_advance = engine.advance

    def advance(members, start, stop, **rest):
        done = true_advance(members, start, stop, **rest)
        seen.append((int(start), int(stop), np.isfinite(np.asarray(done.history.loss)).sum(axis=1).tolist()))
        return done

    monkeypatch.setattr(engine, "advance", advance)
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam needs it
        engine.build(n_units=6, batch_size=3, n_steps=30, n_members=2)(2)
    assert seen == [(0, 2, [2, 2])]


def test_pytorch_and_plain_jax_compute_the_same(monkeypatch):
    pytorch_loop = pytest.importorskip("benchmarks.pytorch_loop", reason="PyTorch is an extra for benchmarks")
    for module in (plain_jax, pytorch_loop):
        monkeypatch.setattr(module, "NOISE_STATE", 0.0)
    generator = np.random.default_rng(0)
    network = pytorch_loop.LeakyNetwork(20)
    weights = {name: value.detach().numpy() for name, value in network.named_parameters()}
    renamed = {name.removeprefix("w_"): value for name, value in weights.items()}
    inputs = generator.normal(size=(10, 4, 3)).astype(np.float32)
    theirs = network(pytorch_loop.torch.asarray(inputs)).detach().numpy()
    ours = plain_jax.outputs_of(renamed, jax.numpy.asarray(inputs), jax.random.key(0))
    assert np.std(theirs) > 100 * ROUND_OFF
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=ROUND_OFF)


def test_a_worker_answers_and_tells_its_memory():
    with worker.Worker("benchmarks.products", call_s=0.0, library="numpy", size=16) as one:
        assert one.n_calls == 1
        times = alternate([one.contender("product")], 2)
        held = 30 * 2**20
        assert held < one.peak_bytes < 2**30
    assert len(times["product"]) == 2
    assert one._process.poll() is not None


def test_a_worker_that_fails_says_so():
    with pytest.raises(worker.WorkerError, match="no_such_module"):
        worker.Worker("benchmarks.no_such_module")


def test_a_worker_builds_once_calibrates_and_then_does_as_told(monkeypatch):
    done = []
    monkeypatch.setattr(products, "build", lambda *, library: done.append(library) or done.append)
    monkeypatch.setattr(worker, "calibrated", lambda work, call_s: work(1) or round(100 * call_s))
    requests = [{"module": "benchmarks.products", "arguments": {"library": "x"}, "call_s": 0.07}, {"n_calls": 3}]
    answers = io.StringIO()
    worker.answer(io.StringIO("\n".join(map(json.dumps, requests))), answers)
    assert done == ["x", 1, 3]
    assert [json.loads(line)["n_calls"] for line in answers.getvalue().splitlines()] == [7, 3]


def test_the_number_of_calls_fits_the_time_without_the_first(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock[0])
    asked = []

    def work(n_calls):
        # The first call compiles; every other costs 5 ms besides the work, of 1 ms each.
        clock[0] += 50.0 if not asked else 0.005 + 0.001 * n_calls
        asked.append(n_calls)

    assert worker.calibrated(work, 0.1) == 94  # 99 ms
    assert asked == [1, 1, 17, 77]
    asked.clear()
    assert worker.calibrated(work, 0.004) == 1  # what takes longer is done once
    assert asked == [1, 1]


def test_peak_memory_grows_with_what_is_held():
    before = worker.peak_bytes()
    held = np.ones(2 ** (25 - 3))  # 32 MiB
    assert worker.peak_bytes() >= max(before, held.nbytes)


def fake_times():
    return {
        training.TORCH: [0.3, 0.2],
        training.JAX: [0.1, 0.1],
        training.SHARE: [0.02, 0.02],
        training.ALONE: [0.04, 0.04],
        training.LIMIT: [0.01, 0.01],
    }


def test_ratios_say_what_their_names_say():
    found = training.quantities(fake_times())
    assert found["times faster than PyTorch"][1].median == pytest.approx(12.5)
    assert found["times faster than plain JAX"][1].median == pytest.approx(5.0)
    assert found["times the limit"][1].median == pytest.approx(2.0)
    assert found["speed of one network over its share of 8"][1].median == pytest.approx(0.5)
    assert found[training.TORCH] == ("ms", shared.spread([300.0, 200.0]))


def test_without_pytorch_its_columns_are_left_out_and_one_sentence_says_so(monkeypatch, capsys):
    def per_update(size, *, n_rounds, call_s, with_torch):
        assert not with_torch
        return {name: times for name, times in fake_times().items() if name != training.TORCH}

    monkeypatch.setattr(training, "per_update", per_update)
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    outcome = training.measure(quick=False)
    assert outcome.summary.count("PyTorch") == 1
    assert outcome.summary.endswith(training.WITHOUT_TORCH)
    assert training.WITHOUT_TORCH in capsys.readouterr().err
    assert "| N 256, batch 64 | 100 | 20.0 | 40.0 | 10.0 |" in outcome.summary
    assert len(outcome.rows) == 3 * (4 + 3)


def test_the_share_of_a_network_is_time_over_calls_and_networks(monkeypatch, no_pause):
    class FakeWorker(worker.Worker):
        def __init__(self, module, *, call_s, **arguments):
            self.n_calls = {"benchmarks.engine": 5}.get(module, 1)

        def run(self):
            pass

        def close(self):
            pass

    monkeypatch.setattr(training, "Worker", FakeWorker)
    monkeypatch.setattr(training, "alternate", lambda contenders, n: {c.name: [8.0] * n for c in contenders})
    size = training.Size(100, 64)
    times = training.per_update(size, n_rounds=2, call_s=0.0, with_torch=True)
    limit = 8.0 * 576e6 / 2**31
    expected = {
        training.TORCH: 8.0,
        training.JAX: 8.0,
        training.SHARE: 0.2,
        training.ALONE: 1.6,
        training.LIMIT: limit,
    }
    large = {f"1024 x 1024 product, {library}": 8.0 for library in ("numpy", "jax")}
    assert {name: values[1] for name, values in times.items()} == pytest.approx({**expected, **large})


def test_devices_go_up_by_two_and_end_at_the_cores():
    assert [scaling.device_counts(n) for n in (1, 2, 6, 8)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8)]


def test_every_axis_has_a_panel_with_its_unit():
    row = {**scaling.BASE, "n_devices": 2, "ms_per_network_update_median": 2.0, "ms_min": 1.0, "ms_max": 3.0}
    rows = [
        {**row, "axis": axis, axis: value, "ms_arithmetic_limit": 1.0}
        for axis, values in {**scaling.AXES, "n_devices": (1, 2)}.items()
        for value in values
    ]
    panels = scaling.figure_of(rows).axes
    assert [panel.get_xlabel() for panel in panels] == list(scaling.LABELS.values())
    assert "ms" in panels[0].get_ylabel()
    assert [text.get_text() for text in panels[2].get_xticklabels()] == ["75", "150", "300", "600"]


README = f"# Title\n\nbefore {{}}\n{run.START}\nold\n{run.END}\nafter\n"


def test_rewriting_the_readme_touches_only_what_is_between_the_markers():
    new = run.rewritten(README, "new\n\n| a |")
    assert new == README.replace("old", "new\n\n| a |")
    assert run.rewritten(new, "old") == README
    emptied = run.rewritten(README, "")
    assert run.rewritten(emptied, "old") == README


@pytest.mark.parametrize("text", ["", run.START, f"{run.END} {run.START}", README + run.END])
def test_a_readme_without_its_markers_is_refused(text):
    with pytest.raises(ValueError, match="each once"):
        run.rewritten(text, "new")


def test_the_readme_has_its_markers():
    run.rewritten(run.README.read_text(encoding="utf-8"), "")


def test_one_benchmark_alone_keeps_the_words_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "machine_line", lambda: "On machine A.")
    run.keep("memory", Outcome([{"x": 1}], "Memory 3."), tmp_path)
    run.keep("training", Outcome([{"x": 1.5}], "Table.\n\nWords."), tmp_path)
    assert run.section(tmp_path) == "Table.\n\nWords.\n\nMemory 3.\n\nOn machine A."
    monkeypatch.setattr(run, "machine_line", lambda: "On machine B.")
    run.keep("memory", Outcome([{"x": 2}], "Memory 4."), tmp_path)
    assert run.section(tmp_path) == "Table.\n\nWords.\n\nOn machine A.\n\nMemory 4.\n\nOn machine B."
    assert (tmp_path / "training.csv").read_text() == "x\n1.50\n"


def test_a_quick_run_leaves_readme_and_results_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "README", tmp_path / "README.md")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "QUICK_RESULTS", tmp_path / "quick")
    run.README.write_text(README)
    asked = []
    monkeypatch.setattr(memory, "measure", lambda *, quick: asked.append(quick) or Outcome([{"x": 1}], "Words."))
    run.main(["--quick", "--only", "memory"])
    assert run.README.read_text() == README
    assert not run.RESULTS.exists()
    assert (run.QUICK_RESULTS / "memory.csv").read_text() == "x\n1\n"
    run.main(["--only", "memory"])
    assert asked == [True, False]
    assert run.README.read_text() == README.replace("old", f"Words.\n\n{shared.machine_line()}")
    assert "Words." in capsys.readouterr().out


def test_a_benchmark_nobody_wrote_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["--only", "nothing"])
    assert "invalid choice" in capsys.readouterr().err


def test_the_parent_of_the_workers_does_not_start_jax():
    """Its memory and its threads would be measured along; the modules it imports are seen in a fresh process."""
    code = "import sys, benchmarks.run, benchmarks.training, benchmarks.scaling; print('jax' in sys.modules)"
    done = worker.subprocess.run(
        [sys.executable, "-c", code], cwd=run.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
