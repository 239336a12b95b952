"""How fast dynaprobe is, measured side by side with what else one could do. Run with ``python -m benchmarks.run``."""
