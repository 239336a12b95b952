"""The rules of claims 2 to 4, on tables whose answer is known, and under chance."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynaprobe.studies.kao2019 import STUDY
from dynaprobe.studies.kao2019.cells import jobs_of
from dynaprobe.studies.kao2019.generalisation import claim_4
from dynaprobe.studies.kao2019.mechanisms import by_mechanism, claim_2, confusion
from dynaprobe.studies.kao2019.robustness import claim_3
from dynaprobe.studies.kao2019.run import judge, mechanism_table
from dynaprobe.studies.kao2019.settings import Kao2019Settings, Variant
from dynaprobe.study.networks import TrainedNetwork
from dynaprobe.study.probe_numbers import probe_numbers
from dynaprobe.study.store import RunStore

STATE, INPUT = "initial_condition", "input_driven"
N = 30


def table(**columns: object) -> xr.Dataset:
    """Half of the networks of each stratum of one mechanism, half of the other, with an index to match."""
    rng = np.random.default_rng(0)
    mechanism = np.tile([STATE, INPUT], N // 2)
    filled = {
        "mechanism": mechanism,
        "mechanism_index": np.where(mechanism == STATE, 0.9, 0.1) + 0.01 * rng.normal(size=N),
        "cell": np.repeat(["a", "b", "c", "d", "e"], N // 5),
        "stratum": np.repeat(["tanh", "relu"], N // 2),
        "clean_error": rng.uniform(0.02, 0.05, size=N),
        "single_unit": np.full(N, 0.2),
        "population": np.full(N, 0.2),
        **{f"excess_error_{epoch}": rng.uniform(size=N) for epoch in ("preparatory", "movement", "throughout")},
        "switch_success_early": np.full(N, 0.5),
        "switch_success_late": np.full(N, 0.5),
        "switch_success_early_trained": np.full(N, 0.8),
        "switch_success_early_short": np.full(N, 0.2),
        "direction_error_between_fraction": rng.uniform(0.2, 0.8, size=N),
        "direction_error_between_deg": rng.uniform(5, 25, size=N),
        "n_too_short_between": np.zeros(N),
        "forced": np.full(N, ""),
        "status": np.full(N, "converged"),
        **columns,
    }
    ids = {"id": ("network", np.array([f"n{k}" for k in range(N)]))}
    return xr.Dataset({name: ("network", np.asarray(values)) for name, values in filled.items()}, coords=ids)


def of(mechanism: str, value: float, other: float) -> np.ndarray:
    """One value for the networks of a mechanism, another for the rest."""
    return np.where(np.tile([STATE, INPUT], N // 2) == mechanism, value, other)


class TestClaim2:
    @pytest.mark.parametrize(
        ("single", "population", "decision"),
        [
            (np.full(N, 0.7), np.full(N, 0.6), "supported"),
            (of(STATE, 0.7, 0.1), np.full(N, 0.6), "opposed"),  # those driven by input never do
            (of(INPUT, 0.7, 0.1), np.full(N, 0.6), "opposed"),
            (np.full(N, 0.7), np.full(N, 0.1), "undecided"),  # no network does both
            (np.where(np.arange(N) < 4, 0.7, 0.1), np.full(N, 0.6), "undecided"),  # two of each
            (np.full(N, np.nan), np.full(N, np.nan), "undecided"),
        ],
    )
    def test_the_rule(self, single, population, decision):
        assert claim_2(table(single_unit=single, population=population), 0.5).decision == decision

    def test_a_mechanism_with_few_networks_does_not_oppose(self):
        mechanism = np.array([STATE] * (N - 5) + [INPUT] * 5)
        few = table(
            mechanism=mechanism, single_unit=np.where(mechanism == STATE, 0.7, 0.1), population=np.full(N, 0.7)
        )
        assert claim_2(few, 0.5).decision == "undecided"

    def test_the_sentence_names_the_nearest_of_each_mechanism(self):
        single, population = np.full(N, 0.1), np.full(N, 0.3)
        single[4], population[4] = 0.9, 0.2
        single[7], population[7] = 0.25, 0.25
        verdict = claim_2(table(single_unit=single, population=population), 0.5)
        assert "0 of 30 networks reproduce both levels" in verdict.sentence
        assert "0 of 15 initial-condition, 0 of 15 input-driven" in verdict.sentence
        # The lower of both scores counts: 0.2 of the fifth network, 0.25 of the eighth.
        assert verdict.numbers["nearest"][STATE]["id"] == "n4"
        assert verdict.numbers["nearest"][INPUT]["id"] == "n7"
        assert "single units 0.90 and population 0.20" in verdict.sentence


class TestClaim3:
    @pytest.mark.parametrize(("sign", "decision"), [(1, "supported"), (-1, "opposed")])
    def test_the_rule(self, sign, decision):
        verdict, found = claim_3(table(excess_error_throughout=0.5 - 0.3 * sign * of(STATE, 1, -1)), seed=0)
        assert verdict.decision == decision
        assert np.sign(found["throughout", "activation and penalty"].rho) == sign
        assert "Rank correlation of mechanism index and robustness, noise throughout:" in verdict.sentence

    def test_noise_in_one_epoch_does_not_decide(self):
        assert claim_3(table(excess_error_movement=of(STATE, 0.1, 0.9)), seed=0)[0].decision == "undecided"

    def test_what_clean_performance_explains_is_no_robustness(self):
        """Errors that follow the error without noise, which differs between the mechanisms."""
        clean = of(STATE, 0.02, 0.05) + 0.01 * np.random.default_rng(3).normal(size=N)
        bare, given = (
            claim_3(table(clean_error=values, excess_error_throughout=10 * clean), seed=0)[1][
                "throughout", "activation and penalty"
            ].rho
            for values in (np.full(N, 0.1), clean)
        )
        assert bare > 0.7
        assert not np.isfinite(given) or abs(given) < 0.1

    def test_chance_rarely_decides(self):
        n_runs, decided = 100, 0
        for k in range(n_runs):
            errors = np.random.default_rng(k).uniform(size=N)
            decided += claim_3(table(excess_error_throughout=errors), seed=0)[0].decision != "undecided"
        # SAMPLING: three standard errors of a share of 0.05 in 100 runs are 0.065.
        assert decided / n_runs <= 0.05 + 0.065


class TestClaim4:
    @pytest.mark.parametrize(
        ("early", "error", "decision"),
        [
            (0.9, 0.2, "supported"),
            (0.1, 0.2, "opposed"),
            (0.9, 0.8, "opposed"),
            (0.52, 0.2, "undecided"),  # its interval reaches below the bar
        ],
    )
    def test_the_rule(self, early, error, decision):
        noise = np.random.default_rng(1).normal(size=N)
        networks = table(
            switch_success_early=np.clip(of(STATE, early, 0.5) + 0.05 * noise, 0, 1),
            direction_error_between_fraction=of(STATE, error, 0.5) + 0.03 * noise,
        )
        verdict, _ = claim_4(networks, follows=0.5, seed=0)
        assert verdict.decision == decision
        assert "of the angle to the nearest trained direction (bar 0.5)" in verdict.sentence

    def test_without_such_networks_nothing_is_decided(self):
        verdict, _ = claim_4(table(mechanism=np.full(N, INPUT)), follows=0.5, seed=0)
        assert verdict.decision == "undecided"
        assert verdict.sentence.startswith("No initial-condition network to ask. Input-driven (30 networks)")
        assert "would be" not in verdict.sentence

    def test_shares_stay_shares(self):
        early = np.ones(N)
        early[0] = 0.9
        verdict, _ = claim_4(table(switch_success_early=early), follows=0.5, seed=0)
        assert verdict.numbers["means"][f"{STATE}, switch_success_early"]["high"] == 1

    @pytest.mark.parametrize(
        ("trained", "alone"),
        [(0.8, "the verdict would be supported instead"), (0.1, "the verdict would be opposed as well")],
    )
    def test_early_switches_decide_together_and_are_told_apart(self, trained, alone):
        """The part that leaves a trained delay is said beside the verdict, and what it alone would decide."""
        networks = table(
            switch_success_early=np.full(N, 0.3),
            switch_success_early_trained=of(STATE, trained, 1.0),
            # With trials without delay no switch is closer to the go cue than a trained delay.
            switch_success_early_short=of(STATE, 0.02, np.nan),
            direction_error_between_fraction=np.full(N, 0.2),
        )
        verdict, _ = claim_4(networks, follows=0.5, seed=0)
        assert verdict.decision == "opposed"
        assert alone in verdict.sentence
        state, driven = verdict.sentence.split(". ")[:2]
        value = f"{trained:.2f} [{trained:.2f}, {trained:.2f}]"
        assert f"{value} of those with at least the shortest trained delay left" in state
        assert "0.02 [0.02, 0.02] of those closer to the go cue than any trained delay" in state
        assert "closer to the go cue" not in driven
        assert verdict.numbers["means"][f"{STATE}, switch_success_early_short"]["mean"] == pytest.approx(0.02)

    @pytest.mark.parametrize(
        ("short", "said"),
        [
            ([0.0, 0.0, 0.0], "no movements there too short for a direction"),
            ([0.0, 0.0, 1.0], "1 movement there too short for a direction and left out of the error"),
            ([2.0, 0.0, 1.0], "3 movements there too short for a direction and left out of the error"),
        ],
    )
    def test_movements_without_a_direction_are_counted(self, short, said):
        counts = np.zeros(N)
        counts[:6:2] = short
        counts[1] = np.nan
        verdict, _ = claim_4(table(n_too_short_between=counts), follows=0.5, seed=0)
        assert said in verdict.sentence.split(". ")[0]
        assert verdict.numbers["n_too_short_between"] == {STATE: sum(short), INPUT: 0}


def test_confusion_counts_those_that_learned():
    networks = table(
        forced=np.array([STATE] * 10 + [INPUT] * 10 + [""] * 10),
        mechanism=np.array([STATE] * 8 + ["mixed"] * 2 + [INPUT] * 10 + [STATE] * 10),
        status=np.array(["converged"] * 9 + ["diverged"] + ["converged"] * 20),
    )
    found = confusion(networks)
    assert found["count"].sel(forced=STATE).values.tolist() == [8, 0, 1, 0]
    assert found["count"].sel(forced=INPUT).values.tolist() == [0, 10, 0, 0]
    assert found["n_trained"].values.tolist() == [10, 10]


def test_means_by_mechanism():
    found = by_mechanism(table(population=of(STATE, 0.6, 0.2)), ["population"])
    assert found["mean"].sel(mechanism=STATE, measure="population") == pytest.approx(0.6)
    assert found["n"].sel(measure="population").values.tolist() == [15, 15, 0, 0]
    assert np.isnan(found["mean"].sel(mechanism="mixed")).all()


class TestCells:
    SETTINGS = Kao2019Settings(
        rate_penalties=(0.0, 0.1), variants=(Variant(visibility="until_go", activations=("tanh",)),), n_seeds=2
    )

    def test_every_cell_gets_the_same_training(self):
        jobs = jobs_of(self.SETTINGS, self.SETTINGS.task, seed=3)
        assert len(jobs) == 2 * 2 * 2 + 2
        assert len({job.id for job in jobs}) == len(jobs)
        assert {job.settings.fit.with_changes({"penalty_rate": 0.0}) for job in jobs} == {self.SETTINGS.fit}
        assert {job.seed for job in jobs} == {3, 4}
        assert jobs[-1].cell == "tanh, penalty_rate 0, until_go, delayed"
        assert jobs[-1].settings.task.target_visible == "until_go"

    def test_further_axes_on_request(self):
        settings = self.SETTINGS.with_changes({"sizes": (50, 200), "weight_penalties": (0.0, 1e-2)})
        jobs = jobs_of(settings, settings.task, seed=0)
        assert len(jobs) == 4 * 10
        assert {job.settings.network.n_units for job in jobs} == {50, 200}
        assert {job.settings.fit.penalty_weight_rec for job in jobs} == {0.0, 1e-2}
        assert len({job.cell for job in jobs}) == 4 * 5

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"variants": ({"visibility": "until_go"},) * 2}, "variants are different from one another"),
            (
                {"variants": ({"visibility": "throughout", "delay_law": "mixed"},)},
                "variants differ from the task itself, not throughout with mixed delays",
            ),
            (
                {"variants": ({"visibility": "until_go", "delay_law": "mixed"},)},
                "no_delay_fraction is 0 with target_visible 'until_go'",
            ),
        ],
    )
    def test_variants_that_make_no_sense_are_refused(self, changes, sentence):
        with pytest.raises(Exception, match=sentence):
            self.SETTINGS.with_changes(changes)

    def test_standard_has_five_seeds_and_both_forced_classes(self):
        settings = STUDY.settings().with_changes(STUDY.presets["standard"])
        jobs = jobs_of(settings, settings.task, seed=0)
        assert len(jobs) == 60
        for visibility in ("until_go", "from_go"):
            assert sum(job.labels["visibility"] == visibility for job in jobs) == 10


def test_the_table_joins_what_is_known_of_a_network():
    settings = TestCells.SETTINGS.with_changes({"activations": ("tanh",), "n_seeds": 1})
    jobs = jobs_of(settings, settings.task, seed=0)
    networks = [
        TrainedNetwork(job.id, None, "", job.settings.task, "converged", "", {}, {"score": 0.95}, xr.Dataset())
        for job in jobs
    ]
    ids = {"id": ("network", np.array([job.id for job in jobs]))}
    probed = xr.Dataset({"mechanism": ("network", np.array([INPUT, INPUT, STATE]))}, coords=ids)
    # The battery left the second out.
    summary = xr.Dataset(
        {"single_unit": ("network", [0.1, 0.3]), "population": ("network", [0.2, 0.4])},
        coords={"id": ("network", np.array([jobs[0].id, jobs[2].id]))},
    )
    found = mechanism_table(jobs, networks, probed, summary)
    assert found["forced"].values.tolist() == ["", "", STATE]
    assert found["visibility"].values.tolist() == ["throughout", "throughout", "until_go"]
    assert found["stratum"].values.tolist() == [
        "tanh, penalty_rate 0",
        "tanh, penalty_rate 0.1",
        "tanh, penalty_rate 0",
    ]
    np.testing.assert_array_equal(found["population"], [0.2, np.nan, 0.4])


def test_a_run_in_which_nothing_was_learned_ends_with_four_verdicts(tmp_path):
    settings = TestCells.SETTINGS.with_changes({"n_seeds": 1})
    jobs = jobs_of(settings, settings.task, seed=0)
    networks = [
        TrainedNetwork(
            job.id, None, "", job.settings.task, "below_threshold", "", {}, {"score": 0.1}, xr.Dataset()
        )
        for job in jobs
    ]
    nothing = ("network", np.full(len(jobs), np.nan))
    ids = {"id": ("network", np.array([job.id for job in jobs]))}
    summary = xr.Dataset({"single_unit": nothing, "population": nothing}, coords=ids)
    found = mechanism_table(jobs, networks, probe_numbers(networks, RunStore(tmp_path)), summary)
    cells = xr.Dataset(
        {
            f"{level}_{part}": ("cell", [np.nan])
            for level in ("single_unit", "population")
            for part in ("mean", "low", "high")
        }
        | {name: ("cell", [0]) for name in ("n_learned", "n_compared")},
        coords={"cell": ["a"]},
    )
    verdicts, groups = judge(found, cells, settings, seed=0)
    assert {verdict.decision for verdict in verdicts} == {"undecided"}
    said = " ".join(verdict.sentence for verdict in verdicts)
    assert "0 of 0 networks reproduce both levels" in said
    assert "noise in preparation nothing to correlate" in said
    assert "nan" not in said
    assert groups["networks"]["reason"].values.tolist() == ["did not learn the task"] * len(jobs)


def test_what_the_task_decides_is_said_in_the_rules():
    rules = {claim.id: claim.rule for claim in STUDY.claims}
    assert "because they must" in rules["2"]
    assert "compares tasks as well as mechanisms" in rules["3"]


def test_controls_take_no_part_in_the_claims():
    visibility = np.array(["throughout"] * 20 + ["from_go"] * 10)
    networks = table(visibility=visibility, single_unit=np.full(N, 0.9), population=np.full(N, 0.9))
    cells = xr.Dataset(
        {
            f"{level}_{part}": ("cell", [value])
            for level in ("single_unit", "population")
            for part, value in (("mean", 0.9), ("low", 0.8), ("high", 1.0))
        }
        | {name: ("cell", [5]) for name in ("n_learned", "n_compared")},
        coords={"cell": ["a"]},
    )
    verdicts, groups = judge(networks, cells, Kao2019Settings(), seed=0)
    assert [verdict.claim.id for verdict in verdicts] == ["1", "2", "3", "4"]
    assert "20 of 20 networks reproduce both levels" in verdicts[1].sentence
    assert groups["networks"].sizes["network"] == N
    rows = groups["associations"]
    assert rows.sizes["row"] == 12
    assert set(rows["name"].values) == {
        "noise throughout", "noise in preparation", "noise in movement",
        "early switches followed", "late switches followed", "direction at new places",
    }  # fmt: skip
    assert int(rows["n"].max()) <= 20
