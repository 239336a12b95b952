"""The network, which knows arrays and not tasks."""
