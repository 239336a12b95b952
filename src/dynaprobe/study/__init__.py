"""The machinery of a paper: claims, sweeps, store."""
