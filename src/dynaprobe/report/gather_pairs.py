"""What a comparison of many candidates left in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from dynaprobe.analysis.embedding import Embedding
from dynaprobe.core.errors import DataError
from dynaprobe.study.store import RunStore

MAP_PREFIX, PAIRS_PREFIX = "map_", "pairs_"


@dataclass(frozen=True)
class PairContents:
    """A comparison as the report needs it.

    Attributes:
        candidates: what is known of each, by name.
        reference: name of the one that the others are compared with; None where there is none.
        scores: of all pairs, by measure.
        maps: of all candidates, by measure.
        nearness: tests of nearness to the reference; None where there are none.
        alone: numbers of every candidate by itself; None where missing.
        sentences: what the tests say: a head and its details.
        account: how candidates were made comparable.
    """

    candidates: Mapping[str, Mapping[str, Any]]
    reference: str | None
    scores: Mapping[str, xr.Dataset]
    maps: Mapping[str, Embedding]
    nearness: xr.Dataset | None
    alone: xr.Dataset | None
    sentences: tuple[tuple[str, tuple[str, ...]], ...]
    account: tuple[str, ...]


def gather_pairs(store: RunStore, missing: list[str]) -> PairContents | None:
    """Read the comparison of many candidates; None for a run of another kind.

    Args:
        store: the run.
        missing: takes a sentence on each thing that cannot be read.
    """
    manifest = store.manifest()
    if manifest.get("study") != "compare":
        return None
    groups = load_shown(store, "results/comparison", missing, "Scores of pairs")
    scores = {
        str(name): groups[f"{PAIRS_PREFIX}{name}"]
        for name in manifest.get("measures", [])
        if f"{PAIRS_PREFIX}{name}" in groups
    }
    if groups:
        missing += [
            f"Scores by {name} cannot be shown: results/comparison.nc lacks them."
            for name in manifest.get("measures", [])
            if name not in scores
        ]
    return PairContents(
        candidates={one["name"]: one for one in manifest.get("candidates", [])},
        reference=manifest.get("reference_name"),
        scores=scores,
        maps={
            name.removeprefix(MAP_PREFIX): Embedding.from_dataset(data)
            for name, data in groups.items()
            if name.startswith(MAP_PREFIX)
        },
        nearness=groups.get("nearness"),
        alone=groups.get("alone"),
        sentences=tuple((one["text"], tuple(one["details"])) for one in manifest.get("sentences", [])),
        account=tuple(manifest.get("account", [])),
    )


def load_shown(store: RunStore, name: str, missing: list[str], what: str) -> dict[str, xr.Dataset]:
    """The groups of a file; none, and a sentence on what cannot be shown, where it is missing or damaged."""
    if not store.path(f"{name}.nc").is_file():
        missing.append(f"{what} cannot be shown: no file {name}.nc.")
        return {}
    try:
        return store.load(name)
    except DataError as error:
        missing.append(str(error))
        return {}
