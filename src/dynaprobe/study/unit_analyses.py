"""The analyses of single units, one row each."""

from __future__ import annotations

from dynaprobe.analysis.motifs import MotifGallery, assign_motifs, motif_gallery
from dynaprobe.analysis.unit_classes import psth_classes
from dynaprobe.study.prepared import Analysis, Prepared


def _gallery(side: Prepared) -> MotifGallery:
    """The clusters of another population where there are such, so that fractions can be compared."""
    if side.gallery is None:
        return motif_gallery(side.normalised, side.settings.n_motifs, seed=side.seed)
    return assign_motifs(side.gallery, side.normalised)


UNIT_ANALYSES: tuple[Analysis, ...] = (
    Analysis("motifs", lambda side: psth_classes(side.prep, side.move)),
    Analysis("gallery", _gallery),
)
