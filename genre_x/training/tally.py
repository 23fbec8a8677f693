"""What became of the documents of a source: used, left out and why, or not needed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class LeftOut(StrEnum):
    """Why a document is not used."""

    TOO_LONG = "too long"
    """It does not fit into `max_tokens` with the schema that was drawn for it."""
    UNKNOWN_TYPES = "types unknown"
    """The answer would have to name a type that is not annotated."""
    UNGROUNDED = "gold not in the text"
    """A head or tail is no span of whole words of the text, so no model can write it."""
    EMPTY = "empty beyond the rate"
    """It has no triples, and `empty_rate` is reached."""


@dataclass
class Tally:
    """Counts each document of a set once, however often it is read.

    Attributes:
        n_documents: Of the set.
    """

    n_documents: int
    _used: set[str] = field(default_factory=set)
    _reasons: dict[str, LeftOut] = field(default_factory=dict)

    def use(self, ids: Iterable[str]) -> None:
        """Note that these documents are in an episode."""
        self._used.update(ids)

    def leave(self, ids: Iterable[str], reason: LeftOut) -> None:
        """Note that these documents are left out of a pass; a document that another pass uses is not counted."""
        self._reasons.update(dict.fromkeys(ids, reason))

    @property
    def n_used(self) -> int:
        return len(self._used)

    @property
    def left_out(self) -> dict[LeftOut, int]:
        """For each reason that there is, how many documents were never used because of it."""
        counts = Counter(reason for name, reason in self._reasons.items() if name not in self._used)
        return {reason: counts[reason] for reason in LeftOut if counts[reason]}

    @property
    def n_unread(self) -> int:
        """How many documents the epoch did not get to."""
        return self.n_documents - self.n_used - sum(self.left_out.values())
