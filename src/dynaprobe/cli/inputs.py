"""Settings from what a user typed: presets, files, --set and --map."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dynaprobe.core.errors import SettingsError
from dynaprobe.core.settings import Settings, load_toml, parse
from dynaprobe.recordings.columns import DEFAULT_MAPPING, EVENT_COLUMNS, ColumnMapping
from dynaprobe.study.study import Study

S = TypeVar("S", bound=Settings)

# Roles of --map that take one word; the others are events, lists, or fields of the nested tables.
SINGLE_ROLES = ("direction", "direction_unit", "n_directions")


def study_settings(study: Study, preset: str, settings_file: Path | None, changes: Sequence[str]) -> Settings:
    """Defaults, then the preset, then the file, then single changes; later ones win.

    Raises:
        SettingsError: unknown preset or name, bad value.
    """
    if preset not in study.presets:
        raise SettingsError(
            "--preset", rule=f"be one of {', '.join(study.presets)}", received=preset, remedy="Choose one of these"
        )
    settings = study.settings().with_changes(study.presets[preset], where=f"preset {preset}")
    return changed(settings, settings_file, changes)


def changed(settings: S, settings_file: Path | None, changes: Sequence[str]) -> S:
    """Settings with the values of a file, then single changes; later ones win.

    Raises:
        SettingsError: unknown name, bad value.
    """
    if settings_file is not None:
        values = load_toml(settings_file)
        values.pop("mapping", None)
        settings = settings.with_changes(dotted(values), where=settings_file)
    return settings.with_changes(parse_changes(changes), where="--set") if changes else settings


def parse_changes(changes: Sequence[str]) -> dict[str, Any]:
    """``["fit.n_updates=100"]`` becomes ``{"fit.n_updates": 100}``; values are read as TOML, else as text.

    Raises:
        SettingsError: a change without ``=``.
    """
    parsed: dict[str, Any] = {}
    for change in changes:
        name, separator, text = change.partition("=")
        if not separator or not name:
            raise SettingsError(
                "--set", rule="read NAME=VALUE", received=change, remedy="For example --set fit.n_updates=200"
            )
        try:
            parsed[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[name] = text
    return parsed


def column_mapping(settings_file: Path | None, columns: Sequence[str]) -> ColumnMapping:
    """Columns of a recording from the ``[mapping]`` table of a settings file and from ``--map``.

    Raises:
        SettingsError: an unknown key, or a mapping without ``=``.
    """
    declared = DEFAULT_MAPPING
    if settings_file is not None:
        declared = parse(ColumnMapping, load_toml(settings_file).get("mapping", {}), where=settings_file)
        for event, _ in declared.events:
            _check_role(event, EVENT_COLUMNS, "mapping.events", where=settings_file)
    values, events = declared.model_dump(), dict(declared.events)
    for entry in columns:
        role, separator, column = entry.partition("=")
        if not separator or not role or not column:
            raise SettingsError(
                "--map", rule="read ROLE=COLUMN", received=entry, remedy="For example --map go_cue=go_time"
            )
        group, dot, name = role.partition(".")
        if role in SINGLE_ROLES:
            values[role] = int(column) if role == "n_directions" and column.isdigit() else column
        elif role == "conditions":
            values[role] = tuple(column.split(","))
        elif role == "where":
            values[role] = (*values[role], column)
        elif dot and isinstance(values.get(group), dict):
            values[group] = {**values[group], name: column}
        else:
            groups = [
                f"{name}.{field}" for name in values if isinstance(values[name], dict) for field in values[name]
            ]
            _check_role(role, [*EVENT_COLUMNS, *SINGLE_ROLES, "conditions", "where", *groups], "--map")
            events[role] = column
    return parse(ColumnMapping, {**values, "events": events}, where="--map")


def _check_role(role: str, known: Iterable[str], name: str, *, where: Path | None = None) -> None:
    # A slip of the pen must not leave the role it was meant for to the table of usual names.
    if role not in known:
        raise SettingsError(
            name,
            rule=f"name one of {', '.join(known)}",
            received=role,
            remedy="Correct the role, which stands before the equals sign",
            where=where,
        )


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """An option that is one of a few words.

    Raises:
        SettingsError: another word.
    """
    if value not in choices:
        raise SettingsError(
            name, rule=f"be one of {', '.join(choices)}", received=value, remedy="Choose one of these"
        )
    return value


def as_toml(settings: Settings) -> str:
    """All settings with dotted names, one line each; those left open are comments, as TOML has no null."""
    flat = dotted(settings.model_dump(mode="json"))
    return "\n".join(
        f"# {name} is left open" if value is None else f"{name} = {_toml_value(value)}"
        for name, value in flat.items()
    )


def _toml_value(value: Any) -> str:
    """A value as TOML: JSON's numbers, texts and lists are TOML's as well, records are not."""
    if isinstance(value, Mapping):
        # What is left open keeps its default when it is not named.
        parts = (f"{name} = {_toml_value(one)}" for name, one in value.items() if one is not None)
        return f"{{ {', '.join(parts)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(one) for one in value)}]"
    return json.dumps(value)


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
