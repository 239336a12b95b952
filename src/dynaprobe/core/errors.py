"""One shape for every complaint: what, which rule, what was received, what to do."""

from __future__ import annotations

from functools import partial
from typing import Any


class DynaprobeError(ValueError):
    """A problem the user can mend, said in one sentence.

    The message reads ``where: name must <rule>, but <received>. <remedy>.`` so that
    whoever meets it knows the thing's name, the rule it broke, the value that broke it and
    the way out, without reading a traceback.

    Args:
        name: the setting, field or argument at fault.
        rule: what it must do or be, continuing the word "must".
        received: the offending value; strings are shown as they are, everything else by ``repr``.
        remedy: an imperative sentence without a full stop.
        where: file, folder or table in which the name stands, if there is one.
    """

    def __init__(self, name: str, *, rule: str, received: object, remedy: str, where: object = None) -> None:
        self.name = name
        self.rule = rule
        self.received = received
        self.remedy = remedy
        self.where = where
        shown = received if isinstance(received, str) else repr(received)
        place = f"{where}: " if where is not None else ""
        super().__init__(f"{place}{name} must {rule}, but got {shown}. {remedy}.")

    def __reduce__(self) -> tuple[Any, ...]:
        """How another process hands it over: an exception is otherwise made anew from its message alone."""
        again = partial(type(self), rule=self.rule, received=self.received, remedy=self.remedy, where=self.where)
        return again, (self.name,)


class SettingsError(DynaprobeError):
    """A setting of the command line or of a settings file breaks its rule."""


class DataError(DynaprobeError):
    """A recording, or a file that holds results, breaks its rule."""


class RatesError(DynaprobeError):
    """An array handed to an analysis is not a rates array of the schema in `dynaprobe.core.rates`."""
