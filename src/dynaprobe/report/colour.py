"""Colours that all readers can tell apart: directions on a circle, activations and the recording by name.

The way from CIELAB to the screen is that of CIE 15:2004 (white D65) and IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
XYZ_OF_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)

# Linear RGB as seen without one kind of cone (Machado, Oliveira & Fernandes 2009, IEEE TVCG 15:1291, severity 1).
COLOUR_BLINDNESS = {
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}

# Middle and reach of the direction colours in L*, a*, b*, found by a search for the largest smallest difference
# between any two of 6 or 8 directions under both kinds of colour-blindness, inside sRGB and readable on white.
LIGHTNESS = (52.0, 24.0)
RED_GREEN = (16.0, 32.0)
BLUE_YELLOW = (-2.0, 57.0)


def rgb_of_lab(lab: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """sRGB in [0, 1] of colours in CIELAB; what lies outside sRGB is clipped."""
    lab = np.asarray(lab, dtype=np.float64)
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = WHITE_D65 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return _encode(xyz @ np.linalg.inv(XYZ_OF_RGB).T)


def lab_of_rgb(rgb: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """CIELAB of sRGB colours in [0, 1]."""
    ratio = (_decode(np.asarray(rgb, dtype=np.float64)) @ XYZ_OF_RGB.T) / WHITE_D65
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def as_seen_with(kind: str, rgb: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """sRGB colours as a reader with one of `COLOUR_BLINDNESS` sees them."""
    return _encode(_decode(np.asarray(rgb, dtype=np.float64)) @ COLOUR_BLINDNESS[kind].T)


def _decode(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)


def _encode(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.clip(np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear), 0, 1)


def direction_colours(direction_deg: Float[np.ndarray, " condition"]) -> Float[np.ndarray, "condition 3"]:
    """One sRGB colour per movement direction theta, cyclic.

    ``L* = 52 + 24 sin theta``, ``b* = -2 + 57 cos theta``, ``a* = 16 - 32 sin theta``: up is light and down dark,
    right is amber and left is blue, which readers without red or green cones see; the red-green axis only adds
    to what they see.
    """
    theta = np.deg2rad(np.asarray(direction_deg, dtype=np.float64))
    lightness = LIGHTNESS[0] + LIGHTNESS[1] * np.sin(theta)
    red_green = RED_GREEN[0] - RED_GREEN[1] * np.sin(theta)
    blue_yellow = BLUE_YELLOW[0] + BLUE_YELLOW[1] * np.cos(theta)
    return rgb_of_lab(np.stack([lightness, red_green, blue_yellow], axis=-1))


@dataclass(frozen=True)
class Look:
    """How one side of a comparison is drawn: a colour, and for those who cannot tell it a marker and dashes."""

    colour: str
    marker: str
    dashes: str | tuple[int, tuple[float, ...]] = "-"


RECORDING = Look("#000000", "*")
# Colours of Okabe & Ito (2008), chosen to be told apart by colour-blind readers, each with its own marker.
_ACTIVATIONS = {
    "tanh": Look("#0072B2", "o", "-"),
    "relu": Look("#D55E00", "s", (0, (5.0, 1.5))),
    "softplus": Look("#009E73", "^", (0, (1.5, 1.0))),
    "rectified_tanh": Look("#CC79A7", "D", (0, (5.0, 1.5, 1.0, 1.5))),
    "sigmoid": Look("#8C6D00", "v", (0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0))),
}
_OTHERS = (Look("#56B4E9", "P"), Look("#666666", "X"), Look("#7A3E9D", "<"), Look("#B07C4F", ">"))


def activation_looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for every activation; those without a fixed one share the rest in order of name."""
    distinct = sorted(set(names))
    unknown = [name for name in distinct if name not in _ACTIVATIONS]
    spare = {name: _OTHERS[k % len(_OTHERS)] for k, name in enumerate(unknown)}
    return {name: _ACTIVATIONS.get(name) or spare[name] for name in distinct}
