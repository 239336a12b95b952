"""The search behind `dynaprobe.analysis.fixed_points`: steps of many states at once, and what draws them in."""
