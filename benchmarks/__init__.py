"""How fast dynaprobe is, side by side with what else one could do: ``python -m benchmarks.run``."""
