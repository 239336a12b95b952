"""The seal at the end of a result: a checksum over the whole file, and the facts a table of runs needs.

HDF5 ends where its own header says, so readers of netCDF do not see what follows:

    HDF5 content | facts, one line of JSON | newline, "dynaprobe-seal", version, length of facts, SHA-256, newline

The sum is over content and facts. A file that was cut has lost the seal, a file that was changed does not match
it, and the facts of thousands of files can be read without opening one of them as HDF5.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dynaprobe.core.errors import DataError

# Raised when a seal can no longer be read as it was meant.
SEAL_VERSION = 1
_MARK = "dynaprobe-seal"
_FOOTER = re.compile(rb"\ndynaprobe-seal (\d{4}) (\d{10}) ([0-9a-f]{64})\n\Z")
_FOOTER_LENGTH = len(f"\n{_MARK} 0000 0000000000 {'0' * 64}\n")
# One read fetches the seal of all but the longest facts.
_TAIL = 16_384


class NotJudgedError(DataError):
    """A file that cannot be read at present, or not by this version: nobody can say whether it is damaged."""


def seal(content: bytes, facts: Mapping[str, Any]) -> bytes:
    """The content followed by its seal.

    Args:
        content: a whole netCDF file.
        facts: plain values, which `read_facts` gives back; what is not finite must have become None before.
    """
    line = json.dumps(facts, ensure_ascii=False, allow_nan=False, default=str).encode()
    body = content + line
    footer = f"\n{_MARK} {SEAL_VERSION:04d} {len(line):010d} {hashlib.sha256(body).hexdigest()}\n"
    return body + footer.encode()


def unseal(data: bytes, where: Path) -> tuple[bytes, dict[str, Any] | None]:
    """Content and facts of a sealed file; a file without a seal is all content, its facts None.

    Raises:
        NotJudgedError: when the seal is of a later version.
        DataError: when the content is not what was sealed.
    """
    found = _footer(data[-_FOOTER_LENGTH:], where)
    if found is None:
        return data, None
    n_facts, expected = found
    end = len(data) - _FOOTER_LENGTH
    if n_facts > end or hashlib.sha256(memoryview(data)[:end]).hexdigest() != expected:
        raise DataError(
            where.name,
            rule="hold what was written to it",
            received="other bytes than its checksum was made of",
            remedy="Remove the file and run the same command again; with --resume, if it is a study's",
            where=where.parent,
        )
    return data[: end - n_facts], _facts(data[end - n_facts : end], where)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts of a sealed file, from its end alone and without checking the sum; None where there is no seal.

    Raises:
        DataError: when the file cannot be read, or the seal is of a later version.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
            found = _footer(tail[-_FOOTER_LENGTH:], path)
            if found is None or found[0] + _FOOTER_LENGTH > size:
                return None
            if found[0] + _FOOTER_LENGTH > len(tail):
                file.seek(size - found[0] - _FOOTER_LENGTH)
                tail = file.read()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    return _facts(tail[-found[0] - _FOOTER_LENGTH : -_FOOTER_LENGTH], path)


def _footer(footer: bytes, where: Path) -> tuple[int, str] | None:
    matched = _FOOTER.match(footer)
    if matched is None:
        return None
    if int(matched[1]) != SEAL_VERSION:
        raise NotJudgedError(
            "seal",
            rule=f"be of version {SEAL_VERSION}",
            received=f"version {int(matched[1])}",
            remedy="Read this file with the version of dynaprobe that wrote it, or a later one",
            where=where,
        )
    return int(matched[2]), matched[3].decode()


def _facts(line: bytes, where: Path) -> dict[str, Any]:
    try:
        facts = json.loads(line)
    except ValueError as error:
        raise _unreadable(where, str(error)) from None
    if not isinstance(facts, dict):
        raise _unreadable(where, f"{type(facts).__name__} where facts should be")
    return facts


def _unreadable(path: Path, received: str) -> DataError:
    return DataError(
        path.name,
        rule="be a readable result",
        received=received,
        remedy="Remove the file and run the same command again",
        where=path.parent,
    )
