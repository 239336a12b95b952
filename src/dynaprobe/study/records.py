"""Claims of a paper and what the data say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Decision = Literal["supported", "opposed", "undecided", "not tested"]


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, in our words, with the rule by which a run decides on it.

    Attributes:
        id: short name, unique within the study.
        statement: what is claimed.
        rule: how the run decides, fixed before it is looked at.
        source: where the claim stands.
    """

    id: str
    statement: str
    rule: str
    source: str


@dataclass(frozen=True)
class Verdict:
    """What one run says of one claim.

    Attributes:
        claim: the claim.
        decision: supported, opposed, undecided, or not tested (then `sentence` says why).
        sentence: the decision and the numbers behind it, in words.
        numbers: the same numbers for machines: effects, interval ends, counts.
    """

    claim: Claim
    decision: Decision
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verdict:
        """Undo `as_dict`."""
        return cls(Claim(**values["claim"]), values["decision"], values["sentence"], values["numbers"])
