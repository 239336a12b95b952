"""Pure functions on rates, or on a model: no plotting, no files, no printing."""
