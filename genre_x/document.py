"""Texts, what is annotated in them, and what was extracted from them.

These values are made by the million, so they are frozen dataclasses with slots, checked when they are made. All offsets
count Unicode code points of `Document.text`, start inclusive, end exclusive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from genre_x.errors import SchemaError


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of characters."""

    start_char: int
    end_char: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_char < self.end_char:
            raise SchemaError(f"A span needs 0 <= start < end, found [{self.start_char}, {self.end_char}).")

    def shifted(self, n_chars: int) -> Self:
        """The same range, `n_chars` further right."""
        return type(self)(self.start_char + n_chars, self.end_char + n_chars)

    def to_dict(self) -> dict[str, int]:
        return {"start_char": self.start_char, "end_char": self.end_char}


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """A span of a document that names something.

    Attributes:
        text: The document's text from `start_char` to `end_char`.
        type: Name of an entity type or of a literal; None when the task is untyped.
    """

    start_char: int
    end_char: int
    text: str
    type: str | None = None

    def __post_init__(self) -> None:
        if self.start_char < 0 or self.end_char - self.start_char != len(self.text) or not self.text:
            raise SchemaError(
                f"Mention {self.text!r} has {len(self.text)} characters, its offsets are [{self.start_char}, {self.end_char})."
            )

    @property
    def span(self) -> tuple[int, int]:
        return self.start_char, self.end_char

    def shifted(self, n_chars: int) -> Self:
        """The same mention, `n_chars` further right."""
        return type(self)(self.start_char + n_chars, self.end_char + n_chars, self.text, self.type)

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text, "start_char": self.start_char, "end_char": self.end_char, "type": self.type}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(record["start_char"], record["end_char"], record["text"], record.get("type"))


@dataclass(frozen=True, slots=True)
class Triple:
    """A relation between two mentions.

    Attributes:
        score: In [0, 1]: the model's probability of the row under the constraint; None when it was not generated.
        evidence: Where in the document it is stated; None when not known.
    """

    head: Mention
    relation: str
    tail: Mention
    score: float | None = None
    evidence: Span | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise SchemaError(f"A score lies in [0, 1], found {self.score}.")

    def to_dict(self) -> dict[str, Any]:
        return {
            "head": self.head.to_dict(),
            "relation": self.relation,
            "tail": self.tail.to_dict(),
            "score": None if self.score is None else round(self.score, 6),
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        evidence = record.get("evidence")
        return cls(
            Mention.from_dict(record["head"]),
            record["relation"],
            Mention.from_dict(record["tail"]),
            record.get("score"),
            None if evidence is None else Span(evidence["start_char"], evidence["end_char"]),
        )


@dataclass(frozen=True, slots=True)
class Document:
    """A text, with or without annotations.

    Attributes:
        mentions: None means not annotated, `()` means annotated: there are none.
        triples: Likewise.
        language: ISO 639-1 code, or None for the language of the task.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...] | None = None
    triples: tuple[Triple, ...] | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        for mention in (*(self.mentions or ()), *self._arguments):
            found = self.text[mention.start_char : mention.end_char]
            if found != mention.text:
                raise SchemaError(
                    f"Document {self.id!r}: mention says {mention.text!r} at [{mention.start_char}, {mention.end_char}), "
                    f"but the text there is {found!r}."
                )

    @property
    def annotated_mentions(self) -> tuple[Mention, ...]:
        """All annotated mentions, arguments of triples included, without repeats, in text order."""
        return tuple(sorted({*(self.mentions or ()), *self._arguments}, key=_order))

    @property
    def _arguments(self) -> list[Mention]:
        return [mention for triple in self.triples or () for mention in (triple.head, triple.tail)]


class Reason(StrEnum):
    """Why a piece of the model's output was not kept."""

    UNPARSABLE = "unparsable"
    """Not a row of the output format."""
    UNKNOWN_RELATION = "unknown_relation"
    """The relation is not in the schema."""
    TYPE_MISMATCH = "type_mismatch"
    """Head or tail type is not one that the relation allows."""
    UNGROUNDED = "ungrounded"
    """Head or tail is not in the text."""
    SELF_RELATION = "self_relation"
    """Head and tail are the same span."""
    TRUNCATED = "truncated"
    """The output reached the token limit; the fragment is the row that was cut."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A piece of the model's output that was not kept, as it was written."""

    reason: Reason
    fragment: str

    def to_dict(self) -> dict[str, str]:
        return {"reason": self.reason.value, "fragment": self.fragment}

    @classmethod
    def from_dict(cls, record: Mapping[str, str]) -> Self:
        return cls(Reason(record["reason"]), record["fragment"])


@dataclass(frozen=True, slots=True)
class Extraction:
    """What the model found in one document.

    Attributes:
        mentions: All heads and tails of `triples`, without repeats, in text order.
        triples: Without repeats, in the order in which they were written.
        rejections: Output that was not kept, with the reason.
        completions: The raw output, one string for each answer about each window.
        model: Name of the model that wrote it.
        template: Name and hash of the prompt template.
    """

    document: Document
    triples: tuple[Triple, ...]
    rejections: tuple[Rejection, ...] = ()
    completions: tuple[str, ...] = ()
    model: str = ""
    template: str = ""

    @property
    def mentions(self) -> tuple[Mention, ...]:
        return tuple(sorted({mention for triple in self.triples for mention in (triple.head, triple.tail)}, key=_order))

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON form."""
        return {
            "id": self.document.id,
            "text": self.document.text,
            "mentions": [mention.to_dict() for mention in self.mentions],
            "triples": [triple.to_dict() for triple in self.triples],
            "rejections": [rejection.to_dict() for rejection in self.rejections],
            "model": self.model,
            "template": self.template,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; the raw output is not part of that form."""
        return cls(
            Document(record["id"], record["text"]),
            tuple(Triple.from_dict(triple) for triple in record["triples"]),
            tuple(Rejection.from_dict(rejection) for rejection in record["rejections"]),
            model=record["model"],
            template=record["template"],
        )


def _order(mention: Mention) -> tuple[int, int, str]:
    return mention.start_char, mention.end_char, mention.type or ""
