"""Settings: frozen pydantic records, read from TOML, with complaints a labmate would make."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dynaprobe.core.errors import SettingsError

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every settings record: frozen, hashable, and strict about names.

    Build one from user input with `parse` (or `load_toml`), which turns what is wrong into a `SettingsError`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def with_changes(self, changes: Mapping[str, Any], *, where: object = None) -> Self:
        """A copy with some fields changed; dotted names reach into nested records.

        Args:
            changes: new values by name, e.g. ``{"fit.n_updates": 100}``.
            where: file or option the changes come from, for messages.

        Raises:
            SettingsError: unknown name or bad value.
        """
        values = self.model_dump()
        for name, value in changes.items():
            *path, last = name.split(".")
            place = values
            for part in path:
                if not isinstance(place.get(part), dict):
                    raise _unknown_key(name, _all_names(type(self)), where)
                place = place[part]
            place[last] = value
        return parse(type(self), values, where=where)


def parse(kind: type[S], values: Any, *, where: object = None) -> S:
    """Make a settings record of class `kind` from plain values.

    Args:
        kind: the class.
        values: a mapping from names to values; anything else is refused like a bad value.
        where: file or option the values come from, for messages.

    Raises:
        SettingsError: the first thing that is wrong, as name, rule, value received and remedy.
    """
    try:
        return kind.model_validate(dict(values) if isinstance(values, Mapping) else values)
    except ValidationError as error:
        raise _explain(error, kind, where) from None


def load_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file into plain values.

    Raises:
        SettingsError: when the file is missing or is not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            "settings file",
            rule="be a readable file",
            received=error.strerror or str(error),
            remedy="Check the path",
            where=path,
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            "settings file",
            rule="be valid TOML",
            received=str(error),
            remedy="Mend the line named; strings need quotes, tables need [brackets]",
            where=path,
        ) from None


def _explain(error: ValidationError, kind: type[Settings], where: object) -> SettingsError:
    first = _most_telling(error)
    # What is no name of a field is the branch of a union that pydantic tried, which a user has never heard of.
    name = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part.isidentifier())
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SettingsError):
        # A table or a record inside this one has said it already; a sentence about its sentence would bury it.
        places = ": ".join(str(place) for place in (where, cause.where) if place is not None) or None
        said = name or cause.name
        return SettingsError(said, rule=cause.rule, received=cause.received, remedy=cause.remedy, where=places)
    if first["type"] == "extra_forbidden":
        return _unknown_key(name, _all_names(kind), where)
    if first["type"] == "missing":
        return SettingsError(name, rule="be given", received="nothing", remedy="Add it", where=where)
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input should ")
    for python, plain in _PLAIN_WORDS.items():
        rule = rule.replace(python, plain)
    rule = rule[0].lower() + rule[1:]
    if first["type"] == "too_short":
        rule = f"hold at least {first['ctx']['min_length']} value"
    return SettingsError(
        name or kind.__name__,
        rule=rule if rule.startswith(("be ", "hold ")) else f"satisfy: {rule}",
        received=_concerned(first["input"], rule) if first["type"] == "value_error" else first["input"],
        remedy="Correct the value; the defaults are in the documentation of the settings",
        where=where,
    )


# What pydantic calls a value, and what a user who writes TOML calls it.
_PLAIN_WORDS = {
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid string": "text in quotes",
    "a valid number": "a number",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
}


def _most_telling(error: ValidationError) -> Any:
    """The first error; of a value that fits no branch of a union, that of the branch which got furthest."""
    first, *others = error.errors()
    field = tuple(part for part in first["loc"] if isinstance(part, str) and part.isidentifier())
    same = [first, *(other for other in others if other["loc"][: len(field)] == field)]
    return max(same, key=lambda one: len(one["loc"])) if len(first["loc"]) > len(field) else first


def _concerned(values: Any, rule: str) -> object:
    """Of all values of a record, those that a rule between them names: the others would only hide them."""
    if not isinstance(values, Mapping):
        return values
    return {name: value for name, value in values.items() if name in rule} or "these values together"


def _unknown_key(name: str, known: Iterable[str], where: object) -> SettingsError:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if not close:
        last = name.rsplit(".", 1)[-1]
        close = difflib.get_close_matches(last, [k.rsplit(".", 1)[-1] for k in known], n=1)
    remedy = f"Did you mean {close[0]}" if close else f"Known names: {', '.join(known)}"
    return SettingsError("setting", rule="have a known name", received=name, remedy=remedy, where=where)


def _all_names(kind: type[BaseModel], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, field in kind.model_fields.items():
        names.add(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= _all_names(field.annotation, f"{prefix}{name}.")
    return names
