"""spaCy's `DocBin`, with relations as the spaCy component of this project stores them in `doc.spans`.

They are found by their form (`relation_attrs`), whatever the key of the span group is. Scores, evidence and rejections are
what a model said, not annotation, and are not read. A `Doc` without such a group is not annotated and so is bad.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genre_x.document import Document
from genre_x.errors import DataError
from genre_x.readers.source import Piece, SourceFormat
from genre_x.records import SourceRecord
from genre_x.relation_attrs import FORMAT, from_attrs

if TYPE_CHECKING:
    from spacy.tokens import Doc


def pieces(path: Path) -> Iterator[Piece["Doc"]]:
    """The docs of the file.

    Raises:
        DataError: It is no `DocBin`.
    """
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    try:
        found = DocBin().from_disk(path)
    except (OSError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is no DocBin that spaCy can read: {type(error).__name__}: {error}") from error
    for number, doc in enumerate(found.get_docs(Vocab()), start=1):
        yield Piece(f"{path}, doc {number}", doc)


def parse(piece: Piece["Doc"]) -> Sequence[SourceRecord]:
    """The document of one `Doc`."""
    doc = piece.content
    groups = {key: group.attrs for key, group in doc.spans.items() if group.attrs.get("format") == FORMAT}
    if len(groups) != 1:
        there = ", ".join(map(repr, groups or doc.spans)) or "none"
        raise DataError(f"expected one span group with relations in doc.spans, found {len(groups)}; groups: {there}")
    (attrs,) = groups.values()
    try:
        extraction = from_attrs(attrs, doc.text)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"the relations are not in the form {FORMAT!r}: {type(error).__name__}: {error}") from error
    triples = tuple(replace(triple, score=None, evidence=None) for triple in extraction.triples)
    name = extraction.document.id or piece.place.rpartition(" ")[2]
    return [SourceRecord(piece.place, Document(name, doc.text, extraction.mentions, triples))]


def recognises(path: Path) -> bool:
    """Whether the file is named like one."""
    return path.is_file() and path.suffix == ".spacy"


READER = SourceFormat(
    summary="spaCy DocBin with relations of this project's component in doc.spans",
    suffixes=(".spacy",),
    pieces=pieces,
    parse=parse,
    recognises=recognises,
)
