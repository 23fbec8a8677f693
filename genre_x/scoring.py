"""Micro precision, recall and F1 of triples.

Every predicted triple counts, whatever its relation is called; every gold triple that was not predicted is missed. Triples
are sets per document. *Strict* compares both spans, both types and the relation; *boundaries* leaves the types out (the
terms of Taillé et al. 2020, https://arxiv.org/abs/2009.10684).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from genre_x.document import Document, Triple
from genre_x.schema import Schema

Matching = Literal["strict", "boundaries"]


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


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well predictions match gold.

    Attributes:
        strict: Kept triples, with types.
        boundaries: Kept triples, without types.
        strict_with_rejections: As `strict`, with every rejected piece of output as one more false positive.
        per_relation: Strict counts by relation.
        n_documents: All documents.
        n_empty: Documents without gold triples.
        n_empty_with_predictions: Those of them for which something was predicted.
    """

    strict: Counts
    boundaries: Counts
    strict_with_rejections: Counts
    per_relation: Mapping[str, Counts] = field(default_factory=dict)
    n_documents: int = 0
    n_empty: int = 0
    n_empty_with_predictions: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "strict": self.strict.to_dict(),
            "boundaries": self.boundaries.to_dict(),
            "strict_with_rejections": self.strict_with_rejections.to_dict(),
            "per_relation": {name: counts.to_dict() for name, counts in sorted(self.per_relation.items())},
            "n_documents": self.n_documents,
            "n_empty": self.n_empty,
            "n_empty_with_predictions": self.n_empty_with_predictions,
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
    symmetric = {relation.name for relation in schema.relation_types if relation.symmetric} if schema else set()
    rejected = [0] * len(gold) if n_rejections is None else n_rejections
    totals: dict[Matching, Counts] = {"strict": Counts(), "boundaries": Counts()}
    per_relation: dict[str, Counts] = defaultdict(Counts)
    n_empty = n_empty_with_predictions = 0
    for document, triples, _ in zip(gold, pred, rejected, strict=True):
        if document.triples is None:
            raise ValueError(f"Document {document.id!r} is not annotated: its triples are None.")
        missing = (unanchored or {}).get(document.id, 0)
        for matching in totals:
            wanted = {_key(triple, matching, symmetric) for triple in document.triples}
            found = {_key(triple, matching, symmetric) for triple in triples}
            totals[matching] += Counts(len(wanted & found), len(found - wanted), len(wanted - found) + missing)
            if matching == "strict":
                for relation, *_rest in wanted & found:
                    per_relation[relation] += Counts(tp=1)
                for relation, *_rest in found - wanted:
                    per_relation[relation] += Counts(fp=1)
                for relation, *_rest in wanted - found:
                    per_relation[relation] += Counts(fn=1)
        if not document.triples and not missing:
            n_empty += 1
            n_empty_with_predictions += bool(triples)
    return Scores(
        strict=totals["strict"],
        boundaries=totals["boundaries"],
        strict_with_rejections=totals["strict"] + Counts(fp=sum(rejected)),
        per_relation=dict(per_relation),
        n_documents=len(gold),
        n_empty=n_empty,
        n_empty_with_predictions=n_empty_with_predictions,
    )


def total(scores: Sequence[Scores]) -> Scores:
    """The scores of several sets together: all counts added up."""
    per_relation: dict[str, Counts] = defaultdict(Counts)
    for one in scores:
        for relation, counts in one.per_relation.items():
            per_relation[relation] += counts
    return Scores(
        strict=sum((one.strict for one in scores), Counts()),
        boundaries=sum((one.boundaries for one in scores), Counts()),
        strict_with_rejections=sum((one.strict_with_rejections for one in scores), Counts()),
        per_relation=dict(per_relation),
        n_documents=sum(one.n_documents for one in scores),
        n_empty=sum(one.n_empty for one in scores),
        n_empty_with_predictions=sum(one.n_empty_with_predictions for one in scores),
    )


def _key(triple: Triple, matching: Matching, symmetric: set[str]) -> tuple[Any, ...]:
    arguments = [
        (*mention.span, (mention.type or "") if matching == "strict" else "") for mention in (triple.head, triple.tail)
    ]
    if triple.relation in symmetric:
        arguments.sort()
    return (triple.relation, *arguments)
