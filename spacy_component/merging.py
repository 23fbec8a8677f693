"""`Doc.from_docs` with relations."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from spacy.tokens import Doc

from genre_x.document import Document, Extraction, Triple
from genre_x.errors import SchemaError
from spacy_component.annotations import get_extraction, has_extraction, set_extraction


def merge_docs(docs: Sequence[Doc], *, exclude: Iterable[str] = (), **options: Any) -> Doc:
    """Concatenate docs, as `Doc.from_docs` does, and keep their relations.

    `Doc.from_docs` keeps the spans of a group and drops its data. Here every triple is moved to where its text stands in
    the new doc; rejections and raw output are put together.

    Args:
        docs: At least one, all of the same vocabulary.
        exclude: As of `Doc.from_docs`; with `spans`, the relations are left out.
        options: `ensure_whitespace` and `attrs`, as of `Doc.from_docs`.

    Raises:
        SchemaError: There are no docs.
    """
    if not docs:
        raise SchemaError("merge_docs needs at least one Doc, found none.")
    excluded = list(exclude)
    merged: Doc = Doc.from_docs(list(docs), exclude=excluded, **options)
    if "spans" in excluded:
        return merged
    offsets, n_tokens = [], 0
    for doc in docs:
        offsets.append(merged[n_tokens].idx if len(doc) else 0)  # an empty doc has no relations to move
        n_tokens += len(doc)
    keys = dict.fromkeys(key for doc in docs for key in doc.spans if has_extraction(doc, key))
    for key in keys:
        parts = [
            (get_extraction(doc, spans_key=key), offset)
            for doc, offset in zip(docs, offsets, strict=True)
            if has_extraction(doc, key)
        ]
        set_extraction(merged, _joined(merged.text, [(part, n) for part, n in parts if part is not None]), spans_key=key)
    return merged


def _joined(text: str, parts: Sequence[tuple[Extraction, int]]) -> Extraction:
    extractions = [extraction for extraction, _ in parts]
    return Extraction(
        Document(_names(extraction.document.id for extraction in extractions), text),
        tuple(_shifted(triple, offset) for extraction, offset in parts for triple in extraction.triples),
        tuple(rejection for extraction in extractions for rejection in extraction.rejections),
        tuple(completion for extraction in extractions for completion in extraction.completions),
        _names(extraction.model for extraction in extractions),
        _names(extraction.template for extraction in extractions),
    )


def _shifted(triple: Triple, n_chars: int) -> Triple:
    return replace(
        triple,
        head=triple.head.shifted(n_chars),
        tail=triple.tail.shifted(n_chars),
        evidence=None if triple.evidence is None else triple.evidence.shifted(n_chars),
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))
