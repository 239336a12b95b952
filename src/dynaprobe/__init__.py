"""Train recurrent networks on the tasks animals do, compare them with recordings, find their mechanism."""

from importlib.metadata import version

__version__ = version("dynaprobe")
