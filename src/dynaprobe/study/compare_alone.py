"""Compare networks and recordings in any mix: every pair by every measure, and networks beside a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import xarray as xr

from dynaprobe.study.alone import describe_all, file_name
from dynaprobe.study.battery import compare
from dynaprobe.study.candidates import Candidate, Given, Part, fingerprint_of
from dynaprobe.study.lineup import CompareSettings, Lineup, read_lineup
from dynaprobe.study.nearness import nearness
from dynaprobe.study.networks import load_network
from dynaprobe.study.pair_tables import PAIRS_PREFIX, embed, pair_table, with_tests
from dynaprobe.study.pairwise import n_rows, score_measure
from dynaprobe.study.parting import part_pair
from dynaprobe.study.power import Rule
from dynaprobe.study.progress import Progress
from dynaprobe.study.sample import Plan
from dynaprobe.study.sampling import Sampled, check_units, count_samples, sample_all
from dynaprobe.study.sentences import Said, apart_sentences, nearness_sentences
from dynaprobe.study.store import RunStore, write_json
from dynaprobe.study.store_files import write_csv
from dynaprobe.study.study import Request, Run, network_counts

TITLE = "Networks and recordings compared"


METHODS = (
    "Tensor maximum entropy surrogates: Elsayed GF, Cunningham JP (2017) Nat Neurosci 20:1310-1318, "
    "doi:10.1038/nn.4617",
    "Classical scaling: Torgerson WS (1952) Psychometrika 17:401-419, doi:10.1007/BF02288916",
    "Intervals by leaving out many units at once: Shao J, Wu CFJ (1989) Ann Stat 17:1176-1197, "
    "doi:10.1214/aos/1176347263; what rests on several at once: Efron B, Stein C (1981) Ann Stat 9:586-596, "
    "doi:10.1214/aos/1176345462; crossed samples: Owen AB (2007) Ann Appl Stat 1:386-411, doi:10.1214/07-AOAS122",
    "Correction for several tests: Holm S (1979) Scand J Stat 6:65-70; by permutation: Westfall PH, "
    "Young SS (1993) Resampling-Based Multiple Testing, Wiley",
)
CHOICES = (
    "How populations are matched, how intervals are made of parts of units and halves of trials, and the "
    "tests are our choice.",
)


def run_comparison(
    words: Sequence[str], settings: CompareSettings, request: Request, *, by: Part = "whole", progress: Progress
) -> RunStore:
    """Compare candidates into a folder; everything but the report.

    Args:
        words: paths of the candidates, or ``name=path``.
        settings: preprocessing, analyses, and how pairs are scored.
        request: where to, with which reference, from which seed.
        by: whether recordings among the candidates stand as a whole or for each subject.
        progress: listens.

    Raises:
        DynaprobeError: bad input, before work starts; nothing is lost.
    """
    store = RunStore(request.out)
    given = None if request.recording is None else Given.parse(str(request.recording))
    named = list(words) + ([] if given is None else [str(request.recording)])
    identity = {
        "mapping": request.mapping.model_dump(mode="json"),
        "by": by,
        "reference": None if given is None else str(request.recording),
        "inputs": fingerprint_of(named, request.mapping),
    }
    values = settings.model_dump(mode="json")
    lineup = None
    if not store.exists():
        # Before the folder is taken: who has to name a column or a candidate tries again with the same --out.
        lineup = read_lineup(words, given, settings, request, by=by, progress=progress)
    store.start(values, study="compare", seed=request.seed, resume=request.resume, **identity)
    if store.is_complete():
        progress.say("This run is complete; nothing is computed again")
        return store
    about = {"methods": list(METHODS), "choices": list(CHOICES), "command": request.command}
    store.note(title=TITLE, citation="", state="running", **about)
    if lineup is None:
        lineup = read_lineup(words, given, settings, request, by=by, progress=progress)
    run = Run(store, settings, lineup.recording, request.seed, progress)  # type: ignore[arg-type]
    with run.timed("all"):
        facts = _compare(lineup, settings, run)
    timing_s = {name: round(seconds, 1) for name, seconds in run.timing_s.items()}
    store.finish(timing_s=timing_s, **facts)
    return store


def _compare(lineup: Lineup, settings: CompareSettings, run: Run) -> dict[str, Any]:
    """All the work; what is finished is read back."""
    usable = lineup.usable
    with (
        run.timed("averages and rendering"),
        run.progress.step("Average and render", count_samples(usable)) as step,
    ):
        sampled = sample_all(
            usable, lineup.ground, reference=lineup.reference, seed=run.seed, on_sample=step.update
        )
    for sentence in sampled.account:
        run.progress.say(sentence)
    plan = Plan(
        check_units(sampled.samples, settings.pairs, n_pcs=settings.comparison.n_pcs), settings.pairs, run.seed
    )
    for sentence in _how(lineup, plan):
        run.progress.say(sentence)
    scores = _scores(lineup, sampled, plan, run, level=settings.level)
    facts = _beside_reference(lineup, settings, run)
    with run.timed("each alone"):
        alone = describe_all(lineup.candidates, sampled, lineup.ground, run, beside=bool(facts))
    scores = _with_tests(lineup, sampled, scores, plan, run, level=settings.level)
    groups, sentences = _tests(lineup, scores, settings, run.seed)
    tables = {f"{PAIRS_PREFIX}{name}": data for name, data in scores.items()}
    run.store.save("results/comparison", {**groups, **tables, "alone": alone})
    write_csv(run.store.path("results", "pairs.csv"), pair_table(scores))
    account = [*lineup.ground.account, *sampled.account, *_how(lineup, plan)]
    return {
        **facts,
        "resolved_comparison": lineup.ground.settings.model_dump(mode="json"),
        "candidates": [_about(candidate, lineup.reference) for candidate in lineup.candidates],
        "measures": [measure.name for measure in lineup.measures],
        "account": account,
        "sentences": [asdict(one) for one in sentences],
        "reference_name": lineup.reference,
    }


def _scores(lineup: Lineup, sampled: Sampled, plan: Plan, run: Run, *, level: float) -> dict[str, xr.Dataset]:
    total = sum(n_rows(measure, len(sampled.samples)) for measure in lineup.measures)
    done = 0
    scores = {}
    with run.timed("scores of pairs"), run.progress.step("Score every pair", max(total, 1)) as step:
        for measure in lineup.measures:
            path = f"results/pairs/{measure.name}"
            word = measure.name.replace("_", " ")
            rows = n_rows(measure, len(sampled.samples))
            if run.store.has(path):
                step.update(done + rows, word)
            else:
                step.update(done, word)
                found = score_measure(
                    measure,
                    sampled.samples,
                    plan,
                    level=level,
                    on_pair=lambda k, done=done, word=word: step.update(done + k, word),  # type: ignore[misc]
                )
                run.store.save(path, {"pairs": found})
            # Read back, so that an interrupted run goes on from the very numbers that it left.
            scores[measure.name] = run.store.load(path)["pairs"]
            done += rows
    return scores


def _with_tests(
    lineup: Lineup,
    sampled: Sampled,
    scores: Mapping[str, xr.Dataset],
    plan: Plan,
    run: Run,
    *,
    level: float,
) -> dict[str, xr.Dataset]:
    """The scores with what parts every pair, each pair kept as it is done."""
    pairs = list(combinations(sorted(sampled.samples), 2))
    tests = {}
    with run.timed("tests that part pairs"), run.progress.step("Part every pair", max(len(pairs), 1)) as step:
        for done, (first, second) in enumerate(pairs):
            step.update(done, f"{first} and {second}")
            path = f"results/apart/{file_name(f'{first} and {second}')}"
            if not run.store.has(path):
                found = part_pair(
                    lineup.measures,
                    sampled.samples[first],
                    sampled.samples[second],
                    plan,
                    scores=scores,
                    alpha=round(1 - level, 12),
                )
                run.store.save(path, {"apart": found})
            tests[first, second] = run.store.load(path)["apart"]
        step.update(max(len(pairs), 1))
    return {name: with_tests(data, tests) for name, data in scores.items()}


def _tests(
    lineup: Lineup, scores: Mapping[str, xr.Dataset], settings: CompareSettings, seed: int
) -> tuple[dict[str, xr.Dataset], list[Said]]:
    """Nearness to the reference, what can be told apart, and the maps."""
    groups: dict[str, xr.Dataset] = {}
    sentences: list[Said] = []
    pairs = settings.pairs
    if lineup.reference is not None:
        rule = Rule(1 - settings.level, pairs.power, pairs.n_simulations, seed)
        near = nearness(scores, lineup.reference, level=settings.level, rule=rule)
        if near.sizes.get("row", 0):
            groups["nearness"] = near
            sentences += nearness_sentences(near)
    sentences += apart_sentences(scores, level=settings.level)
    for name, data in scores.items():
        found = embed(data)
        if found is not None:
            groups[f"map_{name}"] = found.to_dataset()
    return groups, sentences


def _beside_reference(lineup: Lineup, settings: CompareSettings, run: Run) -> dict[str, Any]:
    """The battery of networks beside the reference, where there are both."""
    reference = lineup.recording
    members = [candidate for candidate in lineup.candidates if candidate.files]
    if reference is None or not any(one.networks for one in members):
        return {}
    networks, cells = [], {}
    run.store.make_folder("networks")
    for candidate in members:
        for name, file in candidate.files.items():
            if name in cells:
                # A network that is a candidate twice stands beside the reference once.
                continue
            if not run.store.path("networks", f"{name}.nc").exists():
                run.store.adopt(file, f"networks/{name}")
            networks.append(load_network(file))
            cells[name] = candidate.name
    battery = settings.model_copy(update={"comparison": lineup.ground.settings})
    _, facts = compare(run, networks, battery, cells=cells)
    facts["counts"] = network_counts(run.store)
    facts["recording"] = {
        "kind": "given",
        "source": reference.source,
        "summary": reference.summary,
        "n_sessions": reference.n_sessions,
        "n_units": reference.n_units,
        "left_out": dict(reference.left_out),
        "mended": dict(reference.mended),
        "rules": list(reference.rules),
    }
    write_json(run.store.path("claims.json"), [])
    return facts


def _how(lineup: Lineup, plan: Plan) -> list[str]:
    """How networks became comparable, and with how many units."""
    n_splits = plan.settings.n_splits
    has_trials = any(candidate.averages is None for candidate in lineup.usable)
    sentences = [
        f"{plan.n_units} units of every population are compared, drawn anew "
        + (
            f"for each of {n_splits} halvings of the trials where there are more."
            if has_trials
            else f"{n_splits} times where there are more; without trials there are no halves to compare."
        )
    ]
    if any(candidate.networks for candidate in lineup.candidates):
        sentences.append(
            "Networks are rendered as spiking recordings with the rates, the number of trials and the "
            "preprocessing of the recordings."
            if lineup.ground.has_recording
            else "No recording was given: networks are compared on their own rates, without spikes and without "
            "smoothing, so that their noise is that of their states alone."
        )
    return sentences


def _about(candidate: Candidate, reference: str | None) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "about": candidate.about,
        "is_reference": candidate.name == reference,
        "n_networks": len(candidate.networks),
        "activation": candidate.networks[0].network.activation_name if candidate.networks else "",
        "left_out": dict(candidate.left_out),
    }
