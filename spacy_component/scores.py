"""How well the relations of docs match gold: what `nlp.evaluate` reports."""

from collections.abc import Iterable
from typing import Any

from spacy.training import Example

from genre_x.document import Document, Triple
from genre_x.schema import Schema
from genre_x.scoring import Counts, score
from spacy_component.annotations import SPANS_KEY, get_extraction

SCORE_WEIGHTS: dict[str, float | None] = {
    "rel_micro_p": 0.0,
    "rel_micro_r": 0.0,
    "rel_micro_f": 1.0,
    "rel_boundaries_p": None,
    "rel_boundaries_r": None,
    "rel_boundaries_f": None,
    "rel_micro_f_with_rejections": None,
    "rel_macro_f": None,
    "rel_per_type": None,
    "rel_docs_without_gold_fp": None,
}
"""Every key that `score_relations` gives; None keeps it out of spaCy's combined score."""


def score_relations(examples: Iterable[Example], *, schema: Schema | None = None, spans_key: str = SPANS_KEY) -> dict[str, Any]:
    """Compare the relations of predicted docs with those of reference docs.

    Args:
        examples: Those whose reference is not annotated under `spans_key` are left out; `to_doc` makes annotated ones.
        schema: Says which relations are symmetric.
        spans_key: Of both.

    Returns:
        - `rel_micro_p/r/f`: strict: both spans, both types and the relation; micro over all docs.
        - `rel_boundaries_p/r/f`: both spans and the relation.
        - `rel_micro_f_with_rejections`: strict, with every rejected piece of output as one more false positive.
        - `rel_macro_f`: the mean of the strict F1 of the relations that gold triples have.
        - `rel_per_type`: strict p, r and f of each relation.
        - `rel_docs_without_gold_fp`: for how many of the docs without relations something was predicted.

        All are None if no reference is annotated.
    """
    gold: list[Document] = []
    predicted: list[tuple[Triple, ...]] = []
    n_rejections: list[int] = []
    for example in examples:
        reference = get_extraction(example.reference, spans_key=spans_key)
        if reference is None:
            continue
        found = get_extraction(example.predicted, spans_key=spans_key)
        gold.append(Document(reference.document.id, reference.document.text, triples=reference.triples))
        predicted.append(found.triples if found else ())
        n_rejections.append(len(found.rejections) if found else 0)
    if not gold:
        return dict.fromkeys(SCORE_WEIGHTS)
    scores = score(gold, predicted, schema=schema, n_rejections=n_rejections)
    return {
        **_prf("rel_micro_", scores.strict),
        **_prf("rel_boundaries_", scores.boundaries),
        "rel_micro_f_with_rejections": scores.strict_with_rejections.f1,
        "rel_macro_f": scores.macro.f1,
        "rel_per_type": {name: _prf("", counts) for name, counts in sorted(scores.per_relation.items())},
        "rel_docs_without_gold_fp": scores.n_empty_with_predictions,
    }


def _prf(prefix: str, counts: Counts) -> dict[str, float]:
    return {f"{prefix}p": counts.precision, f"{prefix}r": counts.recall, f"{prefix}f": counts.f1}
