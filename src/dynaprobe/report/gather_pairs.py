"""What a comparison of many candidates left in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from dynaprobe.analysis.embedding import Embedding
from dynaprobe.core.errors import DataError
from dynaprobe.study.store import RunStore

MAP_PREFIX = "map_"


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
    groups = _load(store, "results/comparison", missing)
    scores = {}
    for name in manifest.get("measures", []):
        found = _load(store, f"results/pairs/{name}", missing)
        if "pairs" in found:
            scores[str(name)] = found["pairs"]
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


def _load(store: RunStore, name: str, missing: list[str]) -> dict[str, xr.Dataset]:
    if not store.path(f"{name}.nc").is_file():
        missing.append(f"Scores of pairs cannot be shown: no file {name}.nc.")
        return {}
    try:
        return store.load(name)
    except DataError as error:
        missing.append(str(error))
        return {}
