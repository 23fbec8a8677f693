"""SciERC's JSON lines, also written by DyGIE++: one document per line, with its sentences.

    {"doc_key": "d1", "sentences": [["We", "train", "parsers", "."], ["They", "work", "."]],
     "ner": [[[2, 2, "Method"]], [[4, 4, "Generic"]]], "relations": [[], []], "clusters": []}

All offsets count the tokens of the document, end inclusive; a relation is `[start, end, start, end, label]`. The format
`scierc` makes every sentence a document, `scierc_documents` keeps documents whole. Clusters are not read. A line with a
fault is bad as a whole.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, chain
from pathlib import Path

from pydantic import BaseModel, StrictInt

from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.readers.source import Label, Piece, SourceFormat, first_record
from genre_x.readers.tokens import TokenRange, TokenText
from genre_x.records import SourceRecord, parse_object, read_lines, validated


class _Document(BaseModel):
    doc_key: str
    sentences: list[list[str]]
    ner: list[list[tuple[StrictInt, StrictInt, Label]]]
    relations: list[list[tuple[StrictInt, StrictInt, StrictInt, StrictInt, Label]]]


def pieces(path: Path) -> Iterator[Piece[str]]:
    """The lines of the file."""
    return (Piece(place, line) for place, line in read_lines(path))


def parse(piece: Piece[str], *, whole: bool) -> Sequence[SourceRecord]:
    """The documents of one line.

    Args:
        piece: The line.
        whole: Make one document of all sentences, instead of one of each.
    """
    found = validated(_Document, parse_object(piece.content))
    n_sentences = len(found.sentences)
    if not len(found.ner) == len(found.relations) == n_sentences:
        raise DataError(
            f"`ner` and `relations` have one list per sentence; found {len(found.ner)} and {len(found.relations)} lists "
            f"for {n_sentences} sentences"
        )
    if whole:
        tokens = list(chain.from_iterable(found.sentences))
        ner, relations = list(chain.from_iterable(found.ner)), list(chain.from_iterable(found.relations))
        return [SourceRecord(piece.place, _document(found.doc_key, tokens, 0, ner, relations))]
    starts = [0, *accumulate(len(sentence) for sentence in found.sentences)]
    documents, faults = [], []
    for index, sentence in enumerate(found.sentences):
        name = f"{found.doc_key}-{index + 1}"
        try:
            document = _document(name, sentence, starts[index], found.ner[index], found.relations[index])
        except DataError as error:
            faults.append(f"sentence {index + 1}: {error}")
        else:
            documents.append(SourceRecord(f"{piece.place}, sentence {index + 1}", document))
    if faults:
        raise DataError("; ".join(faults), faults=faults)
    return documents


def _document(
    name: str,
    tokens: Sequence[str],
    start: int,
    ner: Sequence[tuple[int, int, str]],
    relations: Sequence[tuple[int, int, int, int, str]],
) -> Document:
    """A document of tokens that begin at the token `start` of the source's document."""
    text = TokenText(tokens)
    # the first of two labels of one span is the one that relations mean: they name no label
    by_span: dict[tuple[int, int], Mention] = {}
    mentions = text.mentions(
        TokenRange(f"ner {[first, last, label]}", first - start, last + 1 - start, label) for first, last, label in ner
    )
    for (first, last, _), mention in zip(ner, mentions, strict=True):
        by_span.setdefault((first, last), mention)
    unknown = {(one[0], one[1]) for one in relations} | {(one[2], one[3]) for one in relations}
    if missing := sorted(unknown - by_span.keys()):
        raise DataError(f"relations name the tokens {', '.join(map(str, missing))}, which are no entity in `ner`")
    triples = tuple(Triple(by_span[a, b], label, by_span[c, d]) for a, b, c, d, label in relations)
    return Document(name, text.text, tuple(mentions), triples)


def recognises(path: Path) -> bool:
    """Whether the first record is a document with sentences, ner and relations."""
    return {"doc_key", "sentences", "ner", "relations"} <= first_record(path).keys()


def _never(path: Path) -> bool:
    """A file does not show whether whole documents are wanted."""
    return False


READER = SourceFormat(
    summary="SciERC or DyGIE++ JSON lines; every sentence is a document",
    suffixes=(".jsonl", ".json", ".jsonl.gz", ".json.gz"),
    pieces=pieces,
    parse=partial(parse, whole=False),
    recognises=recognises,
)
WHOLE_READER = SourceFormat(
    summary="the same with whole documents; has to be named",
    suffixes=READER.suffixes,
    pieces=pieces,
    parse=partial(parse, whole=True),
    recognises=_never,
)
