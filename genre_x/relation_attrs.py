"""Relations as plain values: how a spaCy `Doc` carries them in the `attrs` of a span group.

The spaCy component writes and reads this form on a `Doc`; the data reader for `DocBin` files reads it, too.
"""

from collections.abc import Mapping
from typing import Any

from genre_x.document import Document, Extraction, Mention, Rejection, Span, Triple

FORMAT = "genre_x.relations.1"
"""Value of the key `format`; it tells our span groups from those of others."""


def to_attrs(extraction: Extraction) -> dict[str, Any]:
    """An extraction as strings, numbers, lists and dicts; its text is not among them."""
    index = {mention: position for position, mention in enumerate(extraction.mentions)}
    return {
        "format": FORMAT,
        "id": extraction.document.id,
        "mentions": [
            {"start_char": mention.start_char, "end_char": mention.end_char, "type": mention.type} for mention in index
        ],
        "triples": [
            {
                "head": index[triple.head],
                "relation": triple.relation,
                "tail": index[triple.tail],
                "score": triple.score,
                "evidence": None if triple.evidence is None else triple.evidence.to_dict(),
            }
            for triple in extraction.triples
        ],
        "rejections": [rejection.to_dict() for rejection in extraction.rejections],
        "completions": list(extraction.completions),
        "model": extraction.model,
        "template": extraction.template,
    }


def from_attrs(attrs: Mapping[str, Any], text: str) -> Extraction:
    """Read what `to_attrs` wrote.

    Args:
        attrs: Of the span group.
        text: Of the `Doc`; the offsets index it.
    """
    mentions = [
        Mention(record["start_char"], record["end_char"], text[record["start_char"] : record["end_char"]], record["type"])
        for record in attrs["mentions"]
    ]
    triples = tuple(
        Triple(
            mentions[record["head"]],
            record["relation"],
            mentions[record["tail"]],
            record["score"],
            None if record["evidence"] is None else Span(**record["evidence"]),
        )
        for record in attrs["triples"]
    )
    return Extraction(
        Document(attrs["id"], text),
        triples,
        tuple(Rejection.from_dict(record) for record in attrs["rejections"]),
        tuple(attrs["completions"]),
        attrs["model"],
        attrs["template"],
    )
