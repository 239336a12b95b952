"""One word, one meaning: the names that the glossary leaves out, with the word to use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from house_rules import SourceFile

# Words that must not be part of any name the package defines.
WORDS = {
    "neuron": "unit",
    "neurons": "unit",
    "node": "unit",
    "nodes": "unit",
    "cell": "unit",
    "cells": "unit",
    "num": "n_...",
    "nb": "n_...",
    "hidden": "unit or state",
    "nonlinearity": "activation",
    "regulariser": "penalty",
    "regularizer": "penalty",
    "regularisation": "penalty",
    "regularization": "penalty",
    "evals": "eigenvalues",
    "eigvals": "eigenvalues",
    "normalize": "normalise",
    "normalized": "normalised",
    "linearize": "linearise",
    "linearization": "linearisation",
    "generalization": "generalisation",
}

# In these rooms a cell is one combination of a sweep's axes, as in the protocols of the studies.
GRID_ROOMS = ("study", "studies", "report")

# Whole names, or parts of names, that say the wrong thing.
PATTERNS = {
    r"(^|_)n_(unit|trial|condition|member|bin|seed|target|update|repeat|event|spike|mode|point)$": "n_...s",
    r"(unit|trial|condition|member|bin|seed|spike)_count$": "n_...s",
    r"(^|_)(n|max|min|total|current|per)_epochs?$": "n_updates: an epoch is an interval of a trial",
    r"^epochs?_(loss|losses|size|done|trained|number)$": "update: an epoch is an interval of a trial",
    r"^(firing_rate|firing_rates|fr)$": "rate",
    r"^(neural_data|spike_rates)$": "rates",
    r"^cca_distance": "cca_similarity",
    r"^procrustes_similarity": "procrustes_distance",
    r"^(reach_angle|angle)_degrees$": "_deg",
    r"^activation_(fn|func|function)$": "activation",
    r"^w_(hh|ih|ho|recurrent|input|output|ei)$": "w_in, w_rec, w_out",
    r"^(cond|conds)_": "condition",
}

# Quantities with a unit: as an argument or a field they carry its suffix. Inside a function a formula may stand.
UNITS = re.compile(
    r"(^|_)(dt|tau|timestep|time_step|time_constant|duration|latency|reaction_time|bin_width|bin_size|rt|sd_time)$"
)


# Units written out, where a suffix is meant. A function may speak of seconds, a value carries the suffix.
SUFFIXES = {"msec": "_ms", "millis": "_ms", "sec": "_s", "secs": "_s", "seconds": "_s", "hertz": "_hz"}


def _words(name: str) -> list[str]:
    """``NumUnits`` and ``num_units`` both hold num and units."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_").split("_")


def _defined(file: SourceFile) -> Iterator[tuple[str, int, bool]]:
    """Every name the file gives to something, its line, and whether others see it (argument or field)."""
    fields = {
        id(line.target)
        for node in file.nodes
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
    }
    for node in file.nodes:
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno, True
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno, False
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno, id(node) in fields
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno, True


def naming(file: SourceFile) -> list[str]:
    """Names follow the glossary."""
    bad = []
    for name, line, seen in _defined(file):
        words = [w for w in _words(name) if not (file.room in GRID_ROOMS and w in ("cell", "cells"))]
        say = next((WORDS[word] for word in words if word in WORDS), None)
        say = say or next((word for form, word in PATTERNS.items() if re.search(form, name.lower())), None)
        if say is None and seen and words and words[-1] in SUFFIXES:
            say = SUFFIXES[words[-1]]
        if say is None and seen and UNITS.search(name.lower()):
            say = f"{name}_ms (or _s, _bins)"
        if say is not None:
            bad.append(f"{file.path}:{line} {name}: say {say}")
    return bad
