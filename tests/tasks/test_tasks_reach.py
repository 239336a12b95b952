"""Known answers of the delayed reach: the numbers of its docstring and of Kao (2019)."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.random import key
from dynaprobe.core.settings import parse
from dynaprobe.core.trials import Trials
from dynaprobe.tasks.reach import ONSET_FRACTION, DelayedReach
from dynaprobe.tasks.reach_axes import DELAY_LAWS, VISIBILITY, new_places, reach_variant

TASK = DelayedReach()
N_TRIALS = 4000

# Round-off: single precision with values of order one.
ROUND_OFF = 2e-6
# Sampling: bounds that a right program breaks once in a million runs; the seed is fixed, so it is once for all.
SAMPLING = 1e-6


# Compiled: run line by line, JAX would compile every operation for every size.
make_trials = eqx.filter_jit(lambda task, key, n_trials: task.trials(key, n_trials))
make_condition_trials = eqx.filter_jit(lambda task: task.condition_trials())


@pytest.fixture(scope="module")
def trials() -> Trials:
    return make_trials(TASK, key(0, "reach"), N_TRIALS)


def within_chance(n_hits: int, n_draws: int, probability: float) -> bool:
    low, high = binom.interval(1 - SAMPLING, n_draws, probability)
    return bool(low <= n_hits <= high)


def event(batch: Trials, name: str) -> np.ndarray:
    return np.asarray(batch.events_ms[name], dtype=np.float64)


def simple(**changes: Any) -> Trials:
    return make_condition_trials(TASK.with_changes(changes))


class TestTiming:
    def test_baselines_are_a_clipped_normal(self, trials: Trials) -> None:
        shown = ~np.isnan(event(trials, "target_on"))
        baseline_ms = event(trials, "target_on")[shown]
        assert (baseline_ms.min(), baseline_ms.max()) == (100.0, 300.0)
        for edge_ms, tail in ((100.0, norm.cdf(-2)), (300.0, norm.sf(2))):
            assert within_chance((baseline_ms == edge_ms).sum(), baseline_ms.size, tail)
        inner = baseline_ms[(baseline_ms > 100) & (baseline_ms < 300)]
        law = lambda x: (norm.cdf(x, 200, 50) - norm.cdf(-2)) / (1 - 2 * norm.cdf(-2))  # noqa: E731
        assert kstest(inner, law).pvalue > SAMPLING

    def test_a_fifth_has_no_delay_and_the_others_are_uniform(self, trials: Trials) -> None:
        delay_ms = event(trials, "go_cue") - event(trials, "target_on")
        delay_ms = delay_ms[~np.isnan(delay_ms)]
        delayed = delay_ms[delay_ms > 0]
        assert within_chance((delay_ms == 0).sum(), delay_ms.size, 0.2)
        assert delayed.min() >= 150 - 1e-3
        assert delayed.max() <= 1000 + 1e-3
        assert kstest(delayed, "uniform", args=(150, 850)).pvalue > SAMPLING

    def test_conditions_are_equally_likely_and_independent_of_the_delay(self, trials: Trials) -> None:
        condition = np.asarray(trials.condition)
        reaches = condition >= 0
        for k in range(8):
            assert within_chance((condition == k).sum(), reaches.sum(), 1 / 8)
        delay_ms = (event(trials, "go_cue") - event(trials, "target_on"))[reaches]
        far = np.isin(condition[reaches], [0, 1, 2, 3])
        assert abs(np.corrcoef(far, delay_ms)[0, 1]) < 5 / np.sqrt(reaches.sum())

    def test_the_intervals_after_the_go_cue_are_fixed(self, trials: Trials) -> None:
        go = event(trials, "go_cue")
        reaches = ~np.isnan(go)
        np.testing.assert_allclose((event(trials, "movement_end") - go)[reaches], 1000, atol=1e-3)
        np.testing.assert_allclose((event(trials, "trial_end") - go)[reaches], 1300, atol=1e-3)

    def test_the_analysis_delay_and_the_mean_baseline(self) -> None:
        for task, delay_ms in ((TASK, 500.0), (TASK.with_changes({"analysis_delay_ms": 1200.0}), 1200.0)):
            once = make_condition_trials(task)
            assert np.unique(event(once, "target_on")).tolist() == [200.0]
            assert np.unique(event(once, "go_cue")).tolist() == [200.0 + delay_ms]
            assert float(once.events_ms["trial_end"][0]) <= task.timeline.n_bins * task.dt_ms

    def test_equal_ends_give_a_fixed_delay(self) -> None:
        task = TASK.with_changes(
            {"delay_range_ms": (300.0, 300.0), "no_delay_fraction": 0.0, "catch_fraction": 0.0}
        )
        batch = make_trials(task, key(0, "fixed"), 64)
        np.testing.assert_allclose(event(batch, "go_cue") - event(batch, "target_on"), 300.0, atol=1e-3)


class TestCatchTrials:
    def test_a_tenth_and_half_of_them_with_a_target(self, trials: Trials) -> None:
        catch = np.asarray(trials.condition) == -1
        assert within_chance(catch.sum(), N_TRIALS, 0.1)
        shown = np.abs(np.asarray(trials.inputs)[catch, :, :2]).max(axis=(1, 2)) > 0
        assert within_chance(shown.sum(), catch.sum(), 0.5)
        np.testing.assert_array_equal(shown, ~np.isnan(event(trials, "target_on"))[catch])

    def test_no_go_cue_two_seconds_of_holding_still(self, trials: Trials) -> None:
        catch = np.asarray(trials.condition) == -1
        for name in ("go_cue", "move_onset", "movement_end"):
            np.testing.assert_array_equal(np.isnan(event(trials, name)), catch)
        assert (event(trials, "trial_end")[catch] == 2000).all()
        inside = TASK.timeline.time_ms < 2000
        np.testing.assert_array_equal(np.asarray(trials.inputs)[catch][:, :, 2], np.tile(inside, (catch.sum(), 1)))
        np.testing.assert_array_equal(np.asarray(trials.mask)[catch][:, :, 0], np.tile(inside, (catch.sum(), 1)))
        assert not np.asarray(trials.targets)[catch].any()

    def test_none_when_none_are_wanted(self) -> None:
        batch = make_trials(TASK.with_changes({"catch_fraction": 0.0}), key(0, "none"), 256)
        assert int(batch.condition.min()) == 0


class TestReach:
    def test_stillness_until_go_plus_reaction_time(self, trials: Trials) -> None:
        start_ms = event(trials, "go_cue") + 150
        late = np.asarray(trials.targets).any(-1) & (TASK.timeline.time_ms < start_ms[:, None] - 1e-3)
        assert not late.any()

    def test_speed_is_a_bell_with_peak_one_at_250_ms_and_sd_71_ms(self) -> None:
        # Bin by bin; one of them starts 250 ms into the reach, at 200 + 500 + 150 + 250 = 1100 ms.
        once = simple(n_targets=1)
        since_ms = TASK.timeline.time_ms - 850.0
        moving = (since_ms >= 0) & (since_ms < 500)
        expected = np.where(moving, np.exp(-0.5 * ((since_ms - 250) / 71) ** 2), 0)
        np.testing.assert_allclose(once.targets[0, :, 0], expected, atol=ROUND_OFF)
        np.testing.assert_allclose(once.targets[0, :, 1], 0, atol=ROUND_OFF)
        assert float(once.targets[0, 110, 0]) == 1.0

    def test_position_is_the_integral_of_velocity_scaled_to_end_at_the_target(self) -> None:
        fine = simple(dt_ms=1.0)
        velocity, position = np.asarray(fine.targets, dtype=np.float64)[..., :2], np.asarray(fine.targets)[..., 2:]
        # Midpoint of neighbouring bins: the trapezoidal rule, exact to 1e-5 for this bell at 1 ms.
        travelled = np.concatenate(
            [np.zeros((8, 1, 2)), np.cumsum((velocity[:, 1:] + velocity[:, :-1]) / 2, axis=1)], axis=1
        )
        area_ms = travelled[0, 1400, 0]
        inside = fine.timeline.time_ms < 2000
        np.testing.assert_allclose(travelled[:, inside] / area_ms, position[:, inside], atol=2e-3)
        np.testing.assert_allclose(area_ms, 71 * np.sqrt(2 * np.pi), rtol=2e-3)

    def test_the_end_is_radius_times_direction_and_is_held_when_the_target_is_gone(self) -> None:
        once = simple(radii=(0.5, 1.5))
        theta = np.deg2rad(np.arange(8) * 45)
        corner = np.stack([np.cos(theta), np.sin(theta)], -1)
        expected = np.concatenate([0.5 * corner, 1.5 * corner])
        position = np.asarray(once.targets)[..., 2:]
        for time_ms in (1350, 1690, 1990):  # end of the reach, last bin of movement, last bin of post
            np.testing.assert_allclose(position[:, time_ms // 10], expected, atol=ROUND_OFF)
        assert not np.asarray(once.inputs)[:, 170:200, :2].any()
        assert not position[:, 200:].any()  # padding

    def test_half_way_at_the_peak_of_speed(self) -> None:
        np.testing.assert_allclose(simple(n_targets=1).targets[0, 110, 2], 0.5, atol=ROUND_OFF)

    def test_movement_onset_is_where_speed_crosses_its_fraction(self) -> None:
        fine = simple(dt_ms=0.5, n_targets=1)
        speed = np.asarray(fine.targets)[0, :, 0]
        crossing_ms = fine.timeline.time_ms[np.flatnonzero(speed > ONSET_FRACTION)[0]]
        assert 0 <= crossing_ms - event(fine, "move_onset")[0] <= 0.5

    def test_a_bell_too_wide_for_the_reach_still_ends_at_the_target(self) -> None:
        once = simple(speed_sd_ms=400.0, n_targets=1)
        np.testing.assert_allclose(once.targets[0, 135, 2], 1.0, atol=ROUND_OFF)
        assert event(once, "move_onset")[0] == event(once, "go_cue")[0] + 150.0


class TestInputs:
    HOLD = slice(0, 70)  # trial start to go cue: 200 + 500 ms
    SHOWN = (
        ("throughout", slice(20, 170)),
        ("until_go", slice(20, 70)),
        ("flash", slice(20, 35)),
        ("off_around_go", slice(20, 80)),  # in the middle of -200 to 400 ms about the go cue
        ("from_go", slice(70, 170)),
    )

    @pytest.mark.parametrize(("visible", "bins"), SHOWN)
    def test_the_target_is_seen_when_and_only_when_it_should(self, visible: str, bins: slice) -> None:
        once = simple(target_visible=visible, no_delay_fraction=0.0)
        assert event(once, "target_off")[0] == 10 * bins.stop
        theta = np.deg2rad(np.arange(8) * 45)
        expected = np.zeros((8, TASK.timeline.n_bins, 2))
        expected[:, bins] = np.stack([np.cos(theta), np.sin(theta)], -1)[:, None]
        np.testing.assert_allclose(once.inputs[..., :2], expected, atol=ROUND_OFF)

    def test_hold_ends_at_the_go_cue(self, trials: Trials) -> None:
        expected = np.zeros(TASK.timeline.n_bins)
        expected[self.HOLD] = 1
        np.testing.assert_array_equal(simple().inputs[..., 2], np.tile(expected, (8, 1)))
        go_ms = event(trials, "go_cue")
        reaches = ~np.isnan(go_ms)
        n_held = np.asarray(trials.inputs)[reaches, :, 2].sum(1)
        # The bins whose start lies before the go cue; round-off of an edge is a ten-thousandth of a bin.
        np.testing.assert_array_equal(n_held, np.ceil(go_ms[reaches] / 10 - 1e-4))

    def test_what_is_seen_does_not_change_what_is_asked(self) -> None:
        targets = [simple(target_visible=visible, no_delay_fraction=0.0).targets for visible, _ in self.SHOWN]
        for others in targets[1:]:
            np.testing.assert_array_equal(targets[0], others)

    def test_a_target_from_the_go_cue_is_never_seen_in_a_catch_trial(self) -> None:
        batch = make_trials(TASK.with_changes({"target_visible": "from_go"}), key(0, "from"), 512)
        catch = np.asarray(batch.condition) == -1
        assert catch.any()
        assert not np.asarray(batch.inputs)[catch, :, :2].any()

    def test_without_delay_the_target_comes_with_the_go_cue(self, trials: Trials) -> None:
        together = event(trials, "go_cue") == event(trials, "target_on")
        inputs = np.asarray(trials.inputs)[together]
        seen = np.abs(inputs[..., :2]).max(-1) > 0
        assert not (seen & (inputs[..., 2] == 1)).any()

    def test_a_target_that_goes_off_at_random_is_uniform_about_the_go_cue(self) -> None:
        changes = {"target_visible": "off_around_go", "target_off_range_ms": (-100, 300), "no_delay_fraction": 0}
        batch = make_trials(TASK.with_changes({**changes, "delay_range_ms": (600, 900)}), key(0, "off"), N_TRIALS)
        off_ms = (event(batch, "target_off") - event(batch, "go_cue"))[np.asarray(batch.condition) >= 0]
        # Single precision at a second is a ten-thousandth of a millisecond.
        assert kstest(np.clip(off_ms, -100, 300), "uniform", args=(-100, 400)).pvalue > SAMPLING
        assert abs(off_ms - np.clip(off_ms, -100, 300)).max() < 1e-3
        assert abs(np.corrcoef(off_ms, event(batch, "target_on")[np.asarray(batch.condition) >= 0])[0, 1]) < 0.1

    def test_a_target_that_goes_off_at_random_is_seen_for_as_long_as_a_flash(self) -> None:
        changes = {"target_visible": "off_around_go", "target_off_range_ms": (-400, 0), "flash_ms": 170.0}
        batch = make_trials(TASK.with_changes(changes), key(0, "off"), 1024)
        reaches = np.asarray(batch.condition) >= 0
        seen_ms = (event(batch, "target_off") - event(batch, "target_on"))[reaches]
        assert seen_ms.min() >= 170 - 1e-3
        together = (event(batch, "target_on") == event(batch, "go_cue"))[reaches]
        assert together.any()
        np.testing.assert_allclose(seen_ms[together], 170, atol=1e-3)

    def test_a_flash_is_as_long_as_it_is_in_catch_trials_too(self) -> None:
        batch = make_trials(TASK.with_changes({"target_visible": "flash"}), key(0, "flash"), 512)
        shown = np.isfinite(event(batch, "target_on"))
        n_seen = (np.abs(np.asarray(batch.inputs)[..., :2]).max(-1) > 0).sum(1)
        # 150 ms cover 15 bin starts, or one more or less by round-off of where they begin.
        assert set(n_seen[shown].tolist()) <= {14, 15, 16}
        assert not n_seen[~shown].any()

    def test_when_the_target_goes_off_does_not_change_the_other_draws(self, trials: Trials) -> None:
        other = make_trials(TASK.with_changes({"target_visible": "off_around_go"}), key(0, "reach"), N_TRIALS)
        for name in ("target_on", "go_cue", "trial_end"):
            np.testing.assert_array_equal(event(other, name), event(trials, name))


class TestAxes:
    @pytest.mark.parametrize("visibility", VISIBILITY)
    @pytest.mark.parametrize("delay_law", DELAY_LAWS)
    def test_every_pair_is_a_task_or_is_refused_because_nothing_would_be_seen(
        self, visibility: str, delay_law: str
    ) -> None:
        if (visibility, delay_law) == ("until_go", "mixed"):
            with pytest.raises(SettingsError, match=r"no_delay_fraction is 0 with target_visible 'until_go'"):
                reach_variant(TASK, visibility=visibility, delay_law=delay_law)
            return
        task = reach_variant(TASK, visibility=visibility, delay_law=delay_law)
        # Line by line: all pairs of one length of trial share the operations, but none shares a compiled program.
        batch = task.trials(key(0, "axes"), 64)
        reaches = np.asarray(batch.condition) >= 0
        assert (np.abs(np.asarray(batch.inputs)[reaches, :, :2]).max((1, 2)) > 0).all()

    def test_an_unknown_row_is_answered_with_the_known_ones(self) -> None:
        with pytest.raises(SettingsError, match="delay_law must be one of mixed, delayed, short, long, but got x"):
            reach_variant(TASK, delay_law="x")

    def test_new_places_are_where_they_say(self) -> None:
        places = new_places(TASK)
        assert [row[0] for row in places["between"].conditions.rows] == [22.5 + 45 * k for k in range(8)]
        assert [row[0] for row in places["sweep"].conditions.rows] == [5.0 * k for k in range(72)]
        assert len(places["radii"].conditions) == 48

    def test_places_between_follow_the_directions_of_the_task(self) -> None:
        task = TASK.with_changes({"directions_deg": (350.0, 90.0, 20.0), "radii": (0.5, 2.0)})
        places = new_places(task)
        assert sorted({row[0] for row in places["between"].conditions.rows}) == [5.0, 55.0, 220.0]
        assert {row[1] for row in places["radii"].conditions.rows} == {0.5, 1.0, 1.5, 2.0, 2.5, 3.0}


class TestConditions:
    def test_six_targets_lie_sixty_degrees_apart(self) -> None:
        assert TASK.with_changes({"n_targets": 6}).conditions.rows == tuple((60.0 * k, 1.0) for k in range(6))

    def test_directions_may_be_named_one_by_one(self) -> None:
        task = TASK.with_changes({"directions_deg": (10.0, 100.0)})
        assert task.conditions.rows == ((10.0, 1.0), (100.0, 1.0))
        end = np.asarray(make_condition_trials(task).targets)[:, 190, 2:]
        np.testing.assert_allclose(
            end, np.exp(1j * np.deg2rad([10, 100])).view(float).reshape(2, 2), atol=ROUND_OFF
        )

    def test_radii_follow_one_another(self) -> None:
        table = TASK.with_changes({"n_targets": 2, "radii": (0.5, 1.0)}).conditions
        assert table.columns == ("direction_deg", "radius")
        assert table.rows == ((0.0, 0.5), (180.0, 0.5), (0.0, 1.0), (180.0, 1.0))
        assert table.labels[1] == "direction_deg=180, radius=0.5"


class TestPerformance:
    def test_the_formula(self, trials: Trials) -> None:
        # R2 by hand, over the bins that count, channel by channel.
        noise = 0.3 * np.sin(np.arange(trials.targets.size, dtype=np.float32)).reshape(trials.targets.shape)
        found = TASK.performance(trials.targets + noise, trials)
        inside = np.asarray(trials.mask)[..., 0] > 0
        wanted = np.asarray(trials.targets, dtype=np.float64)[inside]
        missed = noise[inside].astype(np.float64)
        for name, channels in (("r2_velocity", [0, 1]), ("r2_position", [2, 3])):
            total = ((wanted - wanted.mean(0)) ** 2)[:, channels].sum()
            expected = 1 - (missed**2)[:, channels].sum() / total
            np.testing.assert_allclose(float(found[name]), expected, rtol=1e-4)  # sums of 10^6 single numbers
        assert float(found["score"]) == min(float(found["r2_velocity"]), float(found["r2_position"]))

    def test_the_mean_explains_nothing(self) -> None:
        once = simple()
        mean = jnp.sum(once.mask * once.targets, (0, 1)) / jnp.sum(once.mask, (0, 1))
        assert abs(float(TASK.performance(jnp.broadcast_to(mean, once.targets.shape), once)["score"])) < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dt_ms": 0}, "dt_ms must be greater than 0, but got 0."),
        ({"n_targets": 0}, "n_targets must be greater than or equal to 1, but got 0."),
        ({"n_targets": 2.5}, "n_targets must be a whole number"),
        ({"radii": ()}, "radii must hold at least 1 value"),
        ({"radii": (1.0, -1.0)}, "radii.1 must be greater than 0, but got -1.0."),
        ({"catch_fraction": 1.5}, "catch_fraction must be less than or equal to 1, but got 1.5."),
        (
            {"target_visible": "always"},
            "target_visible must be 'throughout', 'until_go', 'flash', 'off_around_go' or 'from_go', "
            "but got always.",
        ),
        (
            {"target_visible": "until_go"},
            "DelayedReach must satisfy: no_delay_fraction is 0 with target_visible 'until_go', "
            "but got {'no_delay_fraction': 0.2, 'target_visible': 'until_go'}.",
        ),
        ({"flash_ms": 0}, "flash_ms must be greater than 0, but got 0."),
        ({"post_ms": -1}, "post_ms must be greater than or equal to 0, but got -1."),
        (
            {"delay_range_ms": (300, 100)},
            "DelayedReach must satisfy: delay_range_ms runs from low to high, "
            "but got {'delay_range_ms': (300, 100)}.",
        ),
        (
            {"baseline_range_ms": (300, 100)},
            "DelayedReach must satisfy: baseline_range_ms runs from low to high, "
            "but got {'baseline_range_ms': (300, 100)}.",
        ),
        (
            {"movement_ms": 600.0},
            "DelayedReach must satisfy: movement_ms holds reaction_time_ms and reach_ms, "
            "but got {'reaction_time_ms': 150.0, 'reach_ms': 500.0, 'movement_ms': 600.0}.",
        ),
        ({"delay_ms": 500}, "setting must have a known name, but got delay_ms. Did you mean"),
    ],
)
def test_a_bad_setting_is_answered_in_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        TASK.with_changes(changes, where="task.toml")
    assert str(caught.value).startswith(f"task.toml: {message}")


def test_settings_from_a_table_of_a_file() -> None:
    task = parse(DelayedReach, {"n_targets": 6, "radii": [0.5, 1], "delay_range_ms": [500, 500]})
    assert (task.n_targets, task.radii, task.delay_range_ms) == (6, (0.5, 1.0), (500.0, 500.0))
