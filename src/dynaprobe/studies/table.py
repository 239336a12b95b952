"""The table of studies. A new study is one file and one row here."""

from __future__ import annotations

from dynaprobe.core.errors import SettingsError
from dynaprobe.studies import kao2019
from dynaprobe.study.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (kao2019.STUDY,)}


def study_named(name: str) -> Study:
    """The study called `name`.

    Raises:
        SettingsError: when there is none.
    """
    if name not in STUDIES:
        raise SettingsError(
            "study", rule=f"be one of {', '.join(STUDIES)}", received=name, remedy="See `dynaprobe study --help`"
        )
    return STUDIES[name]
