"""Documents that wait to be used, and several of them behind one another as one text."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from genre_x.document import Document

_MOST_JOINED = 3


class Candidate(NamedTuple):
    """A document that waits to be used.

    Attributes:
        parts: The documents of the source that it consists of.
        relations: Names of the relations that it states.
    """

    document: Document
    parts: tuple[Document, ...]
    relations: frozenset[str]

    @classmethod
    def of(cls, parts: Sequence[Document]) -> "Candidate":
        document = join(parts)
        return cls(document, tuple(parts), frozenset(triple.relation for triple in document.triples or ()))

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(part.id for part in self.parts)


def joined(documents: Sequence[Document], rate: float, rng: random.Random) -> Iterator[Candidate]:
    """The documents, some of them joined with those after them, as far as these are in the same language.

    Args:
        documents: In random order.
        rate: Probability that a document is joined with one or two others.
        rng: Decides.
    """
    place = 0
    while place < len(documents):
        n_parts = 1
        if rate and rng.random() < rate:
            wanted = rng.randint(2, _MOST_JOINED)
            following = documents[place : place + wanted]
            while n_parts < len(following) and following[n_parts].language == following[0].language:
                n_parts += 1
        yield Candidate.of(documents[place : place + n_parts])
        place += n_parts


def join(documents: Sequence[Document]) -> Document:
    """Several documents as one text, with a space between them.

    >>> join([Document("a", "Ada.", triples=()), Document("b", "Bob.", triples=())]).text
    'Ada. Bob.'
    """
    if len(documents) == 1:
        return documents[0]
    text = ""
    triples, mentions = [], []
    for document in documents:
        offset = len(text) + 1 if text else 0
        text = f"{text} {document.text}" if text else document.text
        mentions += [mention.shifted(offset) for mention in document.mentions or ()]
        triples += [
            replace(
                triple,
                head=triple.head.shifted(offset),
                tail=triple.tail.shifted(offset),
                evidence=None if triple.evidence is None else triple.evidence.shifted(offset),
            )
            for triple in document.triples or ()
        ]
    return Document(
        "+".join(document.id for document in documents),
        text,
        tuple(mentions) if all(document.mentions is not None for document in documents) else None,
        tuple(triples),
        documents[0].language,
    )
