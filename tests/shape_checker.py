"""The type checker that the import hook of conftest.py puts on every function with annotated array shapes.

Functions without such annotations are left alone: the static type checker sees their types, and what they say to
a wrong argument (see `dynaprobe.core.errors`) can then be tested, which a checker standing in front would hide.
"""

from __future__ import annotations

import re
import typing
from typing import Any

import beartype

# jaxtyping's array types, with and without a size (Float32), and its keys.
SHAPED = re.compile(r"\b(Float|Int|UInt|Bool|Complex|Num|Real|Inexact|Integer|Shaped|Key)\d*\[|PRNGKeyArray")

_beartyped = beartype.beartype(
    conf=beartype.BeartypeConf(
        is_pep484_tower=True,  # an int may stand where a float is annotated, as for every other type checker
        # Methods are decorated one by one, where Self has no class to stand for.
        hint_overrides=beartype.FrozenDict({typing.Self: typing.Any}),
    )
)


def check(function: Any) -> Any:
    """Wrap a function whose annotations name array shapes; hand any other back."""
    annotations = getattr(function, "__annotations__", {}).values()
    if any(SHAPED.search(note if isinstance(note, str) else repr(note)) for note in annotations):
        return _beartyped(function)
    return function
