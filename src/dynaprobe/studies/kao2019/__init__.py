"""Kao (2019): networks that look right unit by unit can be wrong as a population, and right for another reason.

A grid of activation x rate penalty x task x seeds is trained on the delayed reach. Every network that learned it
is rendered as a spiking recording with the timing, the number of trials and the rates of the real one, and both go
through the same analyses; it is then probed for its mechanism, its robustness to noise, and what it does in tasks
it was not trained on. This folder holds what is particular to the paper: its claims, its grid, and the rule of
each verdict.
"""

from dynaprobe.studies.kao2019.run import STUDY
from dynaprobe.studies.kao2019.settings import PRESETS, Kao2019Settings

__all__ = ["PRESETS", "STUDY", "Kao2019Settings"]
