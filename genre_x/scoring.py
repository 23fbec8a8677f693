"""Precision, recall and F1 of triples.

Every predicted triple counts, whatever its relation is called; every gold triple that was not predicted is missed. Triples
are sets per document. There are four ways to compare two triples (the first two in the terms of Taillé et al. 2020,
https://arxiv.org/abs/2009.10684):

- *strict*: relation, both spans and both types.
- *boundaries*: relation and both spans.
- *text*: relation and the texts of both arguments, without regard to where they stand, to case and to white space.
- *undirected*: as boundaries, without regard to which argument is the head.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from genre_x.document import Document, Mention, Triple
from genre_x.schema import Schema

Matching = Literal["strict", "boundaries", "text", "undirected"]
MATCHINGS: tuple[Matching, ...] = get_args(Matching)


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Self) -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """In [0, 1]; 0 if nothing was predicted."""
        return self.tp / (self.tp + self.fp) if self.tp else 0.0

    @property
    def recall(self) -> float:
        """In [0, 1]; 0 if there is no gold."""
        return self.tp / (self.tp + self.fn) if self.tp else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0

    def to_dict(self) -> dict[str, float]:
        return {
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "f1": round(self.f1, 4),
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
        }


@dataclass(frozen=True, slots=True)
class Macro:
    """Means over the relations that have gold triples; a relation that was only predicted is in no mean.

    Attributes:
        n_relations: How many relations that are.
    """

    precision: float = 0.0
    recall: float = 0.0
    f1: float = 0.0
    n_relations: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "f1": round(self.f1, 4),
            "n_relations": self.n_relations,
            "over": "relations with gold triples",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCounts:
    """What was right and wrong in one document.

    Attributes:
        per_relation: Strict counts by relation; gold triples that no span stands for are in none.
        n_rejections: Pieces of output that were rejected.
        is_empty: There are no gold triples.
        has_predictions: Something was predicted.
    """

    matchings: Mapping[Matching, Counts]
    per_relation: Mapping[str, Counts]
    n_rejections: int = 0
    is_empty: bool = False
    has_predictions: bool = False


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well predictions match gold: micro counts over all documents.

    Attributes:
        strict: Kept triples, with types.
        boundaries: Kept triples, without types.
        text: Kept triples by the texts of their arguments.
        undirected: Kept triples without types and direction.
        strict_with_rejections: As `strict`, with every rejected piece of output as one more false positive.
        per_relation: Strict counts by relation.
        n_documents: All documents.
        n_empty: Documents without gold triples.
        n_empty_with_predictions: Those of them for which something was predicted.
    """

    strict: Counts
    boundaries: Counts
    text: Counts
    undirected: Counts
    strict_with_rejections: Counts
    per_relation: Mapping[str, Counts] = field(default_factory=dict)
    n_documents: int = 0
    n_empty: int = 0
    n_empty_with_predictions: int = 0

    @property
    def macro(self) -> Macro:
        """Strict."""
        return macro(self.per_relation.values())

    @property
    def empty_false_positive_rate(self) -> float | None:
        """Share of the documents without gold triples for which something was predicted; None if there are none."""
        return self.n_empty_with_predictions / self.n_empty if self.n_empty else None

    def to_dict(self) -> dict[str, Any]:
        rate = self.empty_false_positive_rate
        return {
            "strict": self.strict.to_dict(),
            "boundaries": self.boundaries.to_dict(),
            "text": self.text.to_dict(),
            "undirected": self.undirected.to_dict(),
            "strict_with_rejections": self.strict_with_rejections.to_dict(),
            "macro": self.macro.to_dict(),
            "per_relation": {name: counts.to_dict() for name, counts in sorted(self.per_relation.items())},
            "n_documents": self.n_documents,
            "n_empty": self.n_empty,
            "n_empty_with_predictions": self.n_empty_with_predictions,
            "empty_false_positive_rate": None if rate is None else round(rate, 4),
        }


def score(
    gold: Sequence[Document],
    pred: Sequence[Sequence[Triple]],
    *,
    schema: Schema | None = None,
    n_rejections: Sequence[int] | None = None,
    unanchored: Mapping[str, int] | None = None,
) -> Scores:
    """Compare predictions with gold.

    Args:
        gold: Annotated documents.
        pred: The predicted triples of each, in the same order.
        schema: Says which relations are symmetric: their triples match in both directions.
        n_rejections: For each document, how many pieces of output were rejected.
        unanchored: For document ids, how many more gold triples there are that no span stands for; each is missed.

    Raises:
        ValueError: The sequences have different lengths, or a gold document is not annotated.
    """
    symmetric = symmetric_relations(schema) if schema else frozenset()
    rejected = [0] * len(gold) if n_rejections is None else n_rejections
    return add_up(
        count(document, triples, symmetric, n_rejections=n, n_unanchored=(unanchored or {}).get(document.id, 0))
        for document, triples, n in zip(gold, pred, rejected, strict=True)
    )


def count(
    document: Document,
    triples: Iterable[Triple],
    symmetric: AbstractSet[str] = frozenset(),
    *,
    n_rejections: int = 0,
    n_unanchored: int = 0,
) -> DocumentCounts:
    """Compare the triples predicted for one document with its gold.

    Args:
        document: With its gold triples.
        triples: What was predicted for it.
        symmetric: Relations whose triples match in both directions.
        n_rejections: How many pieces of output were rejected.
        n_unanchored: How many more gold triples there are that no span stands for; each is missed.

    Raises:
        ValueError: The document is not annotated.
    """
    if document.triples is None:
        raise ValueError(f"Document {document.id!r} is not annotated: its triples are None.")
    pred = tuple(triples)
    matchings: dict[Matching, Counts] = {}
    per_relation: dict[str, Counts] = defaultdict(Counts)
    for matching in MATCHINGS:
        wanted = {triple_key(triple, matching, symmetric) for triple in document.triples}
        found = {triple_key(triple, matching, symmetric) for triple in pred}
        hits, wrong, missed = wanted & found, found - wanted, wanted - found
        matchings[matching] = Counts(len(hits), len(wrong), len(missed) + n_unanchored)
        if matching == "strict":
            for keys, one in ((hits, Counts(tp=1)), (wrong, Counts(fp=1)), (missed, Counts(fn=1))):
                for relation, *_arguments in keys:
                    per_relation[relation] += one
    return DocumentCounts(
        matchings=matchings,
        per_relation=dict(per_relation),
        n_rejections=n_rejections,
        is_empty=not document.triples and not n_unanchored,
        has_predictions=bool(pred),
    )


def add_up(documents: Iterable[DocumentCounts]) -> Scores:
    """The scores of many documents together."""
    every = tuple(documents)
    micro = {matching: sum((one.matchings[matching] for one in every), Counts()) for matching in MATCHINGS}
    per_relation: dict[str, Counts] = defaultdict(Counts)
    for one in every:
        for relation, counts in one.per_relation.items():
            per_relation[relation] += counts
    return Scores(
        **micro,
        strict_with_rejections=micro["strict"] + Counts(fp=sum(one.n_rejections for one in every)),
        per_relation=dict(per_relation),
        n_documents=len(every),
        n_empty=sum(one.is_empty for one in every),
        n_empty_with_predictions=sum(one.is_empty and one.has_predictions for one in every),
    )


def macro(per_relation: Iterable[Counts]) -> Macro:
    """Means over the relations that have gold triples."""
    known = [counts for counts in per_relation if counts.tp + counts.fn]
    if not known:
        return Macro()
    n = len(known)
    return Macro(sum(c.precision for c in known) / n, sum(c.recall for c in known) / n, sum(c.f1 for c in known) / n, n)


def symmetric_relations(schema: Schema) -> frozenset[str]:
    """Names of the relations that hold in both directions."""
    return frozenset(relation.name for relation in schema.relation_types if relation.symmetric)


def triple_key(triple: Triple, matching: Matching, symmetric: AbstractSet[str] = frozenset()) -> tuple[Any, ...]:
    """What two triples must share to count as the same; the relation comes first."""
    arguments = [_argument_key(mention, matching) for mention in (triple.head, triple.tail)]
    if matching == "undirected" or triple.relation in symmetric:
        arguments.sort()
    return (triple.relation, *arguments)


def _argument_key(mention: Mention, matching: Matching) -> tuple[Any, ...]:
    if matching == "text":
        return (normal_text(mention.text),)
    return (*mention.span, mention.type or "") if matching == "strict" else mention.span


def normal_text(text: str) -> str:
    """Text in Unicode's form NFKC, without case, with single spaces.

    >>> normal_text("  The ﬁrst  STRASSE ")
    'the first strasse'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
