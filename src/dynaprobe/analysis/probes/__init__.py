"""Probes: what a network does when its inputs, its state or its units are interfered with."""
