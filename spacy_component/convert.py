"""Between spaCy's `Doc` and the engine's `Document`, and what entities have to do with relations."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from spacy.language import Language
from spacy.tokens import Doc
from spacy.tokens import Span as DocSpan
from spacy.util import filter_spans

from genre_x.document import Document, Extraction, Mention, Reason, Rejection, Span, Triple
from genre_x.schema import LITERAL_TYPES, Schema
from spacy_component.annotations import SPANS_KEY, row, set_extraction

logger = logging.getLogger(__name__)

EntitySource = Literal["generated", "doc.ents", "both"]
"""Where heads and tails come from."""

UNTYPED = "ENTITY"
"""Label in `doc.ents` for mentions of a task without entity types: spaCy shows no entity without a label."""


def to_document(doc: Doc, schema: Schema, entities: EntitySource) -> Document:
    """The engine's view of `doc`; with `doc.ents`, heads and tails will be chosen among its entities."""
    return Document("", doc.text, mentions=given_mentions(doc, schema) if entities == "doc.ents" else None)


def to_doc(document: Document, nlp: Language, *, spans_key: str = SPANS_KEY) -> Doc:
    """A `Doc` with the annotation of `document` as gold, for `Example(predicted, reference)` and `nlp.evaluate`.

    Args:
        document: Annotated, or not: then the relations of the `Doc` are not, either, and scores leave it out.
        nlp: Its tokenizer is used.
        spans_key: As of the component that is to be scored.
    """
    doc: Doc = nlp.make_doc(document.text)
    if document.triples is not None:
        set_extraction(doc, Extraction(document, document.triples), spans_key=spans_key)
    return doc


def given_mentions(doc: Doc, schema: Schema) -> tuple[Mention, ...]:
    """The entities of `doc` whose label names an entity type, by its name or an alias; all, if the task is untyped."""
    mentions = []
    for entity in doc.ents:
        type_name = schema.resolve_type(entity.label_) if schema.entity_types else None
        if type_name is None and schema.entity_types:
            logger.info("Task %r has no entity type for the label %r.", schema.name, entity.label_)
            continue
        start, end = entity.start_char, entity.end_char
        mentions.append(Mention(start, end, doc.text[start:end], type_name))
    return tuple(mentions)


def keep_entities(extraction: Extraction, doc: Doc, schema: Schema) -> Extraction:
    """Give heads and tails that overlap an entity of `doc` the entity's boundaries; they keep their own type.

    Values of attributes stay as they are, since a job title may contain the name of an organization. A triple whose head
    and tail are parts of one entity is rejected; of triples that have become equal the highest score stays.
    """
    limits = [(entity.start_char, entity.end_char) for entity in doc.ents]
    kept: dict[tuple[object, ...], Triple] = {}
    rejections = list(extraction.rejections)
    for triple in extraction.triples:
        head, tail = (_snapped(mention, limits, doc.text) for mention in (triple.head, triple.tail))
        if head.span == tail.span:
            rejections.append(Rejection(Reason.SELF_RELATION, row(triple)))
            continue
        relation = schema.relation_type(triple.relation)
        arguments = sorted((head, tail)) if relation is not None and relation.symmetric else [head, tail]
        known = kept.get(key := (triple.relation, *arguments))
        if known is None or (triple.score or 0.0) > (known.score or 0.0):
            kept[key] = replace(triple, head=head, tail=tail, evidence=_around(triple.evidence, head, tail))
    return replace(extraction, triples=tuple(kept.values()), rejections=tuple(rejections))


def write_entities(doc: Doc, mentions: Iterable[Mention]) -> None:
    """Add mentions to `doc.ents` where there is no entity yet; of two that overlap the longer one.

    The values of attributes are no entities. Labels are the names of the task's entity types.
    """
    taken = {token for entity in doc.ents for token in range(entity.start, entity.end)}
    spans = [
        doc.char_span(mention.start_char, mention.end_char, label=mention.type or UNTYPED, alignment_mode="expand")
        for mention in mentions
        if mention.type not in LITERAL_TYPES
    ]
    free: list[DocSpan] = [span for span in spans if span is not None and taken.isdisjoint(range(span.start, span.end))]
    doc.set_ents(filter_spans(free), default="unmodified" if doc.has_annotation("ENT_IOB") else "outside")


def _snapped(mention: Mention, limits: Iterable[tuple[int, int]], text: str) -> Mention:
    if mention.type in LITERAL_TYPES:
        return mention

    def overlap(span: tuple[int, int]) -> int:
        return min(span[1], mention.end_char) - max(span[0], mention.start_char)

    start, end = max(limits, key=overlap, default=mention.span)
    if overlap((start, end)) <= 0:
        return mention
    return Mention(start, end, text[start:end], mention.type)


def _around(evidence: Span | None, head: Mention, tail: Mention) -> Span | None:
    if evidence is None:
        return None
    return Span(
        min(evidence.start_char, head.start_char, tail.start_char), max(evidence.end_char, head.end_char, tail.end_char)
    )
