"""Relations on a `Doc`: plain data in a span group, and a read-only view of it.

`doc._.` values are lost by a default `DocBin` and by `Doc.from_docs`, and objects among them can't be serialized at all. A
span group with `attrs` survives `to_bytes`, `DocBin`, `to_disk` and worker processes, so everything is stored there:

    doc.spans["relations"]         one span per mention: the tokens that it touches
    doc.spans["relations"].attrs   strings, integers and floats only: exact character offsets, triples, scores, evidence,
                                   rejections, raw output, model and template

`doc._.relations` is a getter that makes `Relation` objects from these data.
"""

import json
import warnings
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from spacy.tokens import Doc, SpanGroup
from spacy.tokens import Span as DocSpan

from genre_x.document import Extraction, Mention, Reason, Rejection, Span, Triple
from genre_x.errors import SchemaError
from genre_x.relation_attrs import FORMAT, from_attrs, to_attrs

SPANS_KEY = "relations"
EXTENSION = "relations"


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation between two spans of a `Doc`.

    Attributes:
        head: The tokens that the head touches; its label is the type. It may be wider than the mention, if that begins or
            ends inside a token.
        relation: Name of the relation.
        tail: As `head`.
        score: In [0, 1], or None when it was not generated.
        evidence: The sentences that state it, or None when not known.
        triple: The same with exact character offsets and texts.
    """

    head: DocSpan
    relation: str
    tail: DocSpan
    score: float | None
    evidence: DocSpan | None
    triple: Triple

    def __str__(self) -> str:
        return f"{self.triple.head.text} --[{self.relation}]--> {self.triple.tail.text}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the triple, as in the engine's output."""
        return self.triple.to_dict()


def set_extraction(doc: Doc, extraction: Extraction, *, spans_key: str = SPANS_KEY) -> None:
    """Store an extraction on `doc`, in place of the one that was there under this key.

    Args:
        doc: Of the same text.
        extraction: What was found; for gold annotation, `Extraction(document, document.triples)`.
        spans_key: Of the span group.

    Raises:
        SchemaError: The extraction is of another text.
    """
    if extraction.document.text != doc.text:
        raise SchemaError(
            f"An extraction from {extraction.document.text!r:.60} can't be stored on a Doc with the text {doc.text!r:.60}."
        )
    touched = {mention: _touched(doc, mention) for mention in extraction.mentions}
    kept = [triple for triple in extraction.triples if touched[triple.head] and touched[triple.tail]]
    lost = [triple for triple in extraction.triples if not (touched[triple.head] and touched[triple.tail])]
    rejections = (*extraction.rejections, *(Rejection(Reason.UNGROUNDED, row(triple)) for triple in lost))
    stored = replace(extraction, triples=tuple(kept), rejections=rejections)
    doc.spans[spans_key] = SpanGroup(
        doc, name=spans_key, spans=[touched[mention] for mention in stored.mentions], attrs=to_attrs(stored)
    )


def get_extraction(doc: Doc, *, spans_key: str = SPANS_KEY) -> Extraction | None:
    """The extraction that is stored on `doc`; its `to_dict` is the engine's JSON form.

    Returns:
        None if there is none: the component has not seen this `Doc`, or failed on it. That it found nothing is an
        extraction without triples.
    """
    attrs = _attrs(doc, spans_key)
    return None if attrs is None else from_attrs(attrs, doc.text)


def has_extraction(doc: Doc, spans_key: str) -> bool:
    """Whether the span group of this key holds relation data of ours."""
    return spans_key in doc.spans and doc.spans[spans_key].attrs.get("format") == FORMAT


@dataclass(frozen=True, slots=True)
class RelationsGetter:
    """Makes the objects of `doc._.relations`; two with the same key are equal, so one is registered only once."""

    spans_key: str

    def __call__(self, doc: Doc) -> list[Relation]:
        extraction = get_extraction(doc, spans_key=self.spans_key)
        relations = []
        for triple in extraction.triples if extraction else ():
            head, tail = _touched(doc, triple.head), _touched(doc, triple.tail)
            if head and tail:
                evidence = None if triple.evidence is None else _touched(doc, triple.evidence)
                relations.append(Relation(head, triple.relation, tail, triple.score, evidence, triple))
        return relations


def register_extension(name: str = EXTENSION, *, spans_key: str = SPANS_KEY) -> None:
    """Make `doc._.<name>` available, if it is not yet; the component does this itself.

    Not done on import: spaCy imports every installed component with each new pipeline, and the name may be taken by
    another library there.

    Raises:
        ValueError: The name is taken by another library, or shows another span group.
    """
    getter = RelationsGetter(spans_key)
    if not Doc.has_extension(name):
        Doc.set_extension(name, getter=getter, setter=_refuse)
    elif (taken := Doc.get_extension(name)[2]) != getter:
        owner = f"shows doc.spans[{taken.spans_key!r}]" if isinstance(taken, RelationsGetter) else "is of another library"
        raise ValueError(
            f"`doc._.{name}` is registered already and {owner}. "
            f"Choose another name: nlp.add_pipe('llm_relations', config={{'extension': 'llm_relations'}})."
        )


def row(triple: Triple) -> str:
    """A triple as a rejection shows it."""
    return json.dumps([triple.head.text, triple.relation, triple.tail.text], ensure_ascii=False)


def _refuse(doc: Doc, value: object) -> NoReturn:
    raise AttributeError("`doc._.` relations are read-only; store others with spacy_component.set_extraction(doc, …).")


def _touched(doc: Doc, part: Mention | Span) -> DocSpan | None:
    label = (part.type or "") if isinstance(part, Mention) else ""
    return doc.char_span(part.start_char, part.end_char, label=label, alignment_mode="expand")


def _attrs(doc: Doc, spans_key: str) -> dict[str, Any] | None:
    if has_extraction(doc, spans_key):
        attrs: dict[str, Any] = doc.spans[spans_key].attrs
        return attrs
    if spans_key in doc.spans and len(doc.spans[spans_key]):
        warnings.warn(
            f"doc.spans[{spans_key!r}] has spans but no relation data. `Doc.from_docs` drops these: "
            "use spacy_component.merge_docs. If the spans are of another component, choose another `spans_key`.",
            stacklevel=4,
        )
    return None
