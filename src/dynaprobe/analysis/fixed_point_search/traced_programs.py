"""Compiled functions of a tree that stays the same over thousands of calls, kept between searches."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import equinox as eqx
import jax


class Prepared:
    """A tree taken apart once: its arrays, and what of it is not an array.

    Attributes:
        tree: as given.
        arrays: its arrays, in order.
        programs: what has been compiled for it, by function.
    """

    def __init__(self, tree: Any) -> None:
        """Take `tree` apart."""
        leaves, self._structure = jax.tree.flatten(tree)
        self.tree = tree
        self.arrays = tuple(leaf for leaf in leaves if eqx.is_array(leaf))
        self._others = tuple(None if eqx.is_array(leaf) else leaf for leaf in leaves)
        self._is_array = tuple(map(eqx.is_array, leaves))
        self.programs: dict[Any, Callable[..., Any]] = {}

    def program(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of this tree and more, compiled; takes the arrays in place of the tree."""
        if function not in self.programs:
            parts = (function, self._structure, self._others, self._is_array)
            try:
                self.programs[function] = _kept(*parts)
            except TypeError:  # something in the tree cannot be looked up: a program for this tree alone
                self.programs[function] = _made(*parts)
        return self.programs[function]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function(tree, ...)`` by XLA, called with a `Prepared` tree and further arrays.

    The arrays of the tree are arguments of the program: a second network of the same structure compiles nothing.
    The tree is not looked at again at every call, which would take longer than most calls compute.
    """

    @wraps(function)
    def call(prepared: Prepared, *args: Any) -> Any:
        return prepared.program(function)(prepared.arrays, *args)

    return call


def _made(
    function: Callable[..., Any], structure: Any, others: tuple[Any, ...], is_array: tuple[bool, ...]
) -> Callable[..., Any]:
    def whole(arrays: tuple[Any, ...], *args: Any) -> Any:
        given = iter(arrays)
        leaves = [next(given) if array else other for array, other in zip(is_array, others, strict=True)]
        return function(jax.tree.unflatten(structure, leaves), *args)

    program: Callable[..., Any] = jax.jit(whole)
    return program


_kept = lru_cache(maxsize=512)(_made)
