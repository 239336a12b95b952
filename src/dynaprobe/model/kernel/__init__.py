"""Compiled simulation and gradient of the CTRNN for processors; `dynaprobe.model.response` says when they run."""
