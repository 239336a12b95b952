"""Captions of the population analyses that come with a null distribution or intervals."""

from __future__ import annotations

from typing import Any

from dynaprobe.report.captions import Results, listed
from dynaprobe.report.captions import what_failed as failures


def first(results: Results) -> Any:
    """The result of the first side, whose settings are those of all."""
    return next(iter(results.values()))


def _p(n: int, what: str) -> str:
    return (
        f"p: chance of {what} among {n} surrogates, at least 1 / {n + 1}; not corrected for the number of tests. "
    )


def _kept(family: str) -> str:
    names = {"T": "times", "N": "units", "C": "conditions"}
    letters = [names[letter] for letter in family if letter in names]
    return f"that keep means and covariances over {listed(letters)}" if letters else f"of the family {family}"


def dimensionality(results: Results) -> str:
    """Of the participation ratio."""
    s = first(results).settings
    return (
        "Participation ratio of the soft-normalised rates over conditions and times: 1 when one direction holds "
        f"all variance. Thick: {s.get('level', 0):.0%} percentile interval over {s.get('n_bootstrap')} bootstraps "
        "of the units (pairs of one unit drawn twice are not counted as pairs)."
        f"{_trials_of_dimensionality(results)} Gao et al. (2017); intervals and noise correction are our choice."
        f"{failures(results)}"
    )


def _trials_of_dimensionality(results: Results) -> str:
    """What halvings of the trials add, where there are any."""
    n_halvings = max(int(result.settings.get("n_halvings", 0)) for result in results.values())
    if not n_halvings:
        return ""
    return (
        f" Thin: interval over trials, from {n_halvings} random halvings. Open: without the estimation noise, "
        "from cross-covariances of the halves."
    )


def condition_curve(results: Results) -> str:
    """Of dimensionality against the number of conditions."""
    s = first(results).settings
    return (
        "Participation ratio of subsets of the conditions, the mean over the conditions of a subset removed (at "
        f"most {s.get('n_subsets')} subsets of each size; line: mean; band: {s.get('level', 0):.0%} bootstrap "
        "interval over units). Dashed: what random trajectories would reach that are as smooth in time and as "
        "alike between conditions (participation ratio of the separable covariance). Open symbols and dotted: "
        "both without the estimation noise. A curve near its dashed line cannot tell a confined population from a "
        f"small task; two conditions are always at it. After Gao et al. (2017).{failures(results)}"
    )


def jpca_surrogates(results: Results) -> str:
    """Of rotations against surrogates."""
    s = first(results).settings
    families = "; ".join(f"{name}: {kept}" for name, kept in s.get("families", {}).items())
    n = int(s.get("n_surrogates", 0))
    return (
        f"jPCA of {n} surrogates per family (grey; bar: mean) beside the rates (diamond), in the same window with "
        "the same number of PCs: R² of the skew-symmetric fit, of the free fit, and their ratio. Surrogates keep "
        f"({families}). {_p(n, 'at least as high a value')}T, TN, TNC: Elsayed & Cunningham (2017); permutations "
        f"that keep covariances after Michaels et al. (2016), by a search of our own.{failures(results)}"
    )


def tangling(results: Results) -> str:
    """Of tangling."""
    s = first(results).settings
    n = int(s.get("n_surrogates", 0))
    return (
        f"Tangling Q of {s.get('n_pcs')} principal components of the soft-normalised rates around movement onset, "
        "every condition in its colour: largest ratio of squared difference of velocity to squared difference of "
        f"state plus {s.get('eps_fraction'):g} of the variance, over all other moments. Right: its mean (diamond) "
        f"and that of {n} surrogates {_kept(str(s.get('family')))} (grey; bar: mean). {_p(n, 'so low a mean')}The "
        "mean over conditions stays in, and surrogates do not keep its course: low tangling may come from it. "
        f"Noise raises Q. Russo et al. (2018).{failures(results)}"
    )


def divergence(results: Results) -> str:
    """Of trajectory divergence."""
    s = first(results).settings
    n = int(s.get("n_surrogates", 0))
    horizons = listed([f"{h:g}" for h in s.get("horizons_ms", [])])
    return (
        f"Divergence D at horizons of {horizons} ms in {s.get('n_pcs')} principal components around movement "
        "onset, the largest over horizons, every condition in its colour: largest ratio of the squared distance "
        f"after the horizon to the present one plus {s.get('alpha_fraction'):g} of the variance. Right: mean of D "
        f"at each horizon (diamond) and that of {n} surrogates {_kept(str(s.get('family')))} (grey; bar: mean). "
        f"{_p(n, 'so low a mean')}Russo et al. (2020); horizons and constant are our choice.{failures(results)}"
    )


def epoch_subspaces(results: Results) -> str:
    """Of subspaces of two epochs found together."""
    s = first(results).settings
    n = int(s.get("n_surrogates", 0))
    dims = [
        f"{'+'.join(str(int(d)) for d in r.data['n_dims'].values[:2])} for {name}" for name, r in results.items()
    ]
    return (
        "Share of each epoch's variance over conditions in subspaces optimised together. Left: the orthogonal "
        f"pair; middle: exclusive subspaces, each with at most {s.get('leak', 0):.0%} of the other epoch's "
        f"variance, and a shared one orthogonal to both. Dimensions, preparatory and movement: {listed(dims)}. "
        "Ticks: held-out shares, found on one half of the trials and judged on what both halves have in common, "
        "mean over halvings; they are shares of the signal alone. Right: own variance in the orthogonal pair over "
        f"the most that so many axes could hold, mean of both epochs (diamond), and the same of {n} surrogates of "
        "both epochs joined, which keep means and covariances over times, units and conditions (grey; bar: "
        f"mean). {_p(n, 'so high a value')}Elsayed et al. (2016); exclusive and shared subspaces after Jiang et "
        f"al. (2020).{failures(results)}"
    )


def null_potent(results: Results) -> str:
    """Of output-null and output-potent tuning."""
    s = first(results).settings
    n = int(s.get("n_null", 0))
    source = (
        "the network's own readout, noise-free rates of its units in the same windows"
        if s.get("given_readout")
        else f"a regression of the output on {s.get('n_pcs')} principal components during movement"
    )
    return (
        "Tuning (variance over conditions) in the dimensions that drive the output and in the others, by "
        f"{source}. Left: share of each epoch's tuning in the output-potent dimensions. Right: (null / potent in "
        "preparation) / (null / potent in movement), for the readout (diamond; an arrow where it is infinite) "
        f"and for {n} random readouts drawn from the movement's own covariance (grey; bar: mean of the "
        f"logarithms). p: chance of so high a ratio among these, at least 1 / {n + 1}. Kaufman et al. (2014); the "
        f"null is our choice.{failures(results)}"
    )
