"""Motifs: the shapes that PSTHs of single units have, and how often two populations have each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from sklearn.cluster import KMeans

from dynaprobe.analysis.matrix import check_at_least, one_thread, psth_values, zscore_rows
from dynaprobe.analysis.result import Result
from dynaprobe.analysis.surrogates import p_value_above
from dynaprobe.analysis.unit_classes import direction_design, fractions, unit_coords
from dynaprobe.core.errors import RatesError
from dynaprobe.core.random import generator


@dataclass(frozen=True)
class LabelDistance(Result):
    """How differently two populations are spread over classes or motifs.

    Variables of `data`:
        distance: total variation distance of the two spreads, from 0 to 1.
        null (draw): the same after units were dealt anew to the two populations.
        p_value: of `distance` against `null`, ``(k + 1) / (n + 1)``.
        fraction_a, fraction_b (label): the spreads.
    """


@dataclass(frozen=True)
class MotifGallery(Result):
    """Clusters of PSTH shapes, largest first.

    Variables of `data`:
        prototype (motif, condition, time): centre of a cluster within the PCs used, of length 1.
        label (unit): cluster of each unit, -1 for units that never change.
        similarity (unit): correlation of a unit's shape with its prototype.
        medoid (motif): position of the member most like the prototype.
        preferred_condition (unit): condition that was turned to the front, where shapes were turned.
        n_members (motif); fraction, fraction_low, fraction_high (motif): of the units with a shape.
    """


@one_thread
def motif_gallery(
    rates: xr.DataArray,
    n_motifs: int,
    *,
    seed: int,
    n_pcs: int = 10,
    turn_to_preferred: bool = True,
    confidence: float = 0.95,
) -> MotifGallery:
    """Cluster the shapes of PSTHs.

    Every PSTH is centred and scaled to length 1 over condition x time, so that rate and range do not matter, and
    its conditions are turned until the one with the highest peak comes first, so that preferred direction does not
    either. K-means runs on the leading PCs of these shapes; its centres, scaled to length 1, are the prototypes,
    and each unit belongs to the one it correlates with best.

    Args:
        rates: dims ``(condition, time, unit)``; several segments count as one time axis.
        n_motifs: number of clusters.
        seed: names the stream of the starts of k-means.
        n_pcs: PCs of shapes that are clustered, at most.
        turn_to_preferred: whether to turn conditions, which must then be evenly spaced directions in order.
        confidence: of the intervals of fractions.

    Raises:
        RatesError: when fewer units than motifs have a shape, or directions are not evenly spaced.
    """
    check_at_least("n_motifs", n_motifs, 1)
    check_at_least("n_pcs", n_pcs, 1)
    shapes, preferred = _shapes(rates, turn_to_preferred)
    shaped = shapes.any(axis=1)
    if shaped.sum() < n_motifs:
        raise RatesError(
            "n_motifs",
            rule=f"be at most {int(shaped.sum())}, the number of units whose rates change",
            received=n_motifs,
            remedy="Ask for fewer motifs",
        )
    mean = shapes[shaped].mean(axis=0)
    _, _, axes = np.linalg.svd(shapes[shaped] - mean, full_matrices=False)
    axes = axes[:n_pcs]
    start = int(generator(seed, "motifs", "k-means").integers(2**31))
    fitted = KMeans(n_motifs, n_init=10, random_state=start).fit((shapes[shaped] - mean) @ axes.T)
    prototypes = mean + fitted.cluster_centers_ @ axes
    # A mixed cluster has a short centre; at length 1 it attracts no unit merely by lying near the origin.
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    sizes = np.bincount((shapes[shaped] @ prototypes.T).argmax(axis=1), minlength=n_motifs)
    prototypes = prototypes[np.argsort(-sizes, kind="stable")]
    settings = {
        "n_motifs": n_motifs,
        "seed": seed,
        "n_pcs": n_pcs,
        "turn_to_preferred": turn_to_preferred,
        "confidence": confidence,
    }
    return _gallery(rates, shapes, prototypes, preferred=preferred, settings=settings)


def assign_motifs(gallery: MotifGallery, rates: xr.DataArray) -> MotifGallery:
    """Sort the units of other rates into the clusters of a gallery, for a comparison side by side.

    Raises:
        RatesError: when conditions or bins are not as many as those of the gallery.
    """
    prototype = gallery.data["prototype"]
    shapes, preferred = _shapes(rates, gallery.settings["turn_to_preferred"])
    if rates.shape[:2] != prototype.shape[1:]:
        raise RatesError(
            "rates",
            rule=f"have the {prototype.shape[1:]} conditions and bins of the gallery",
            received=rates.shape[:2],
            remedy="Select the same conditions and cut the same windows with the same bins",
        )
    flat = prototype.values.reshape(prototype.shape[0], -1)
    return _gallery(rates, shapes, flat, preferred=preferred, settings=dict(gallery.settings))


def label_distance(labels_a: Any, labels_b: Any, *, seed: int, n_null: int = 1000) -> LabelDistance:
    """Total variation distance of two spreads over labels, ``1/2 sum |p_a - p_b|``, and what chance gives.

    Two small samples of one spread differ as well: the null deals the units of both anew to two populations of
    the same sizes.

    Args:
        labels_a, labels_b: the label of every unit of either side, e.g. ``unit_class`` or ``label`` of a result.
        seed: names the stream of the null.
        n_null: number of deals.
    """
    check_at_least("n_null", n_null, 1)
    a, b = np.asarray(labels_a).ravel(), np.asarray(labels_b).ravel()
    check_at_least("number of labels on the smaller side", min(a.size, b.size), 1)
    names, index = np.unique(np.concatenate([a, b]), return_inverse=True)

    def spreads(order: np.ndarray) -> np.ndarray:
        parts = index[order[: a.size]], index[order[a.size :]]
        return np.stack([np.bincount(part, minlength=names.size) / part.size for part in parts])

    def distance(order: np.ndarray) -> float:
        return 0.5 * float(np.abs(np.subtract(*spreads(order))).sum())

    source = generator(seed, "motifs", "label distance")
    null = np.array([distance(source.permutation(index.size)) for _ in range(n_null)])
    found = distance(np.arange(index.size))
    fraction_a, fraction_b = spreads(np.arange(index.size))
    data = xr.Dataset(
        {
            "distance": ((), found),
            "null": ("draw", null),
            # Deals that give the same spread differ in the last bit.
            "p_value": ((), p_value_above(found - 1e-12, null)),
            "fraction_a": ("label", fraction_a),
            "fraction_b": ("label", fraction_b),
        },
        coords={"label": names},
    )
    return LabelDistance(data, {"seed": seed, "n_null": n_null})


def _shapes(rates: xr.DataArray, turn: bool) -> tuple[np.ndarray, np.ndarray]:
    """One row per unit, centred and of length 1, and the condition that each was turned to."""
    values = psth_values(rates)
    preferred = np.zeros(values.shape[2], dtype=int)
    if turn:
        _check_circle(rates)
        preferred = values.max(axis=1).argmax(axis=0)
        order = (np.arange(values.shape[0])[:, None] + preferred) % values.shape[0]
        values = np.take_along_axis(values, order[:, None, :], axis=0)
    return zscore_rows(values).T, preferred


def _check_circle(rates: xr.DataArray) -> None:
    design = direction_design(rates, None, least=2)
    step = np.diff(np.unwrap(np.arctan2(design[:, 2], design[:, 1])))
    # Directions are stored in degrees, some as 33.3 and the like.
    if np.abs(step - 2 * np.pi / design.shape[0]).max() > np.deg2rad(1.0):
        raise RatesError(
            "direction_deg",
            rule="rise in even steps around the circle when shapes are turned",
            received=rates["direction_deg"].values.tolist(),
            remedy="Sort the conditions by direction, or pass turn_to_preferred=False",
        )


def _gallery(
    rates: xr.DataArray,
    shapes: Float[np.ndarray, "unit feature"],
    prototypes: Float[np.ndarray, "motif feature"],
    *,
    preferred: np.ndarray,
    settings: dict[str, Any],
) -> MotifGallery:
    """The prototype most like every unit, and what follows from it."""
    shaped, n_motifs = shapes.any(axis=1), prototypes.shape[0]
    alike = shapes @ prototypes.T
    label = np.where(shaped, alike.argmax(axis=1), -1)
    similarity = np.where(shaped, alike[np.arange(label.size), label], np.nan)
    # A cluster of the gallery may find no member among other units.
    medoid = [
        int(np.where(label == k, alike[:, k], -2.0).argmax()) if (label == k).any() else -1
        for k in range(n_motifs)
    ]
    counts = np.bincount(label[shaped], minlength=n_motifs)
    shape = (n_motifs, rates.sizes["condition"], rates.sizes["time"])
    data = xr.Dataset(
        {
            "prototype": (("motif", "condition", "time"), prototypes.reshape(shape)),
            "label": ("unit", label),
            "similarity": ("unit", similarity),
            "medoid": ("motif", np.array(medoid)),
            "preferred_condition": ("unit", preferred),
            "n_members": ("motif", counts),
            **fractions(counts.tolist(), int(shaped.sum()), settings["confidence"]),
        },
        coords={
            "motif": np.arange(1, n_motifs + 1),
            "time": rates["time"],
            **({"segment": rates["segment"]} if "segment" in rates.coords else {}),
            **unit_coords(rates),
        },
    )
    still = int((~shaped).sum())
    return MotifGallery(data, settings, {"unit that never changes, in no cluster": still} if still else {})
