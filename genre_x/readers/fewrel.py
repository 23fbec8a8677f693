"""FewRel's JSON: for each relation its sentences, each with one head and one tail.

    {"P551": [{"tokens": ["Ada", "lives", "in", "Rome"], "h": ["ada", "Q1", [[0]]], "t": ["rome", "Q2", [[3]]]}]}

The third element of `h` and `t` has the token indices of every place where it stands; of several places those of head and
tail that are nearest are meant (`grounding.nearest_pair`). A file `pid2name.json` beside it, `{"P551": ["residence", "the
place where the person lives"]}`, gives the relations their names and descriptions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, StrictInt, TypeAdapter, ValidationError

from genre_x.described import LabelNote
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.grounding import nearest_pair
from genre_x.readers.source import Piece, SourceFormat, peek
from genre_x.readers.tokens import TokenRange, TokenText
from genre_x.records import SourceRecord, read_json, validated

NAMES_FILE = "pid2name.json"

_Places = Annotated[list[Annotated[list[StrictInt], Field(min_length=1)]], Field(min_length=1)]
_NAMES = TypeAdapter(dict[str, Annotated[list[str], Field(min_length=1, max_length=2)]])


class _Sentence(BaseModel):
    tokens: list[str]
    h: tuple[str, str, _Places]
    t: tuple[str, str, _Places]


class Labelled(NamedTuple):
    """A sentence as it stands in the file.

    Attributes:
        number: From 1, among the sentences of the relation.
    """

    relation: str
    number: int
    sentence: Any


def pieces(path: Path) -> Iterator[Piece[Labelled]]:
    """The sentences of all relations.

    Raises:
        DataError: The file is no JSON object of lists.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(sentences, list) for sentences in content.values()):
        raise DataError(f"{path}: expected a JSON object with a list of sentences for each relation.")
    for label, sentences in content.items():
        for number, sentence in enumerate(sentences, start=1):
            yield Piece(f"{path}, relation {label!r}, record {number}", Labelled(label.strip(), number, sentence))


def parse(piece: Piece[Labelled]) -> Sequence[SourceRecord]:
    """The document of one sentence."""
    relation, number, content = piece.content
    if not relation:
        raise DataError("the relation has no name")
    sentence = validated(_Sentence, content)
    text = TokenText(sentence.tokens)
    heads, tails = _mentions(text, "h", sentence.h[2]), _mentions(text, "t", sentence.t[2])
    pair = nearest_pair([one.span for one in heads], [one.span for one in tails])
    chosen = pair or (heads[0].span, tails[0].span)  # one span for both: it counts as a relation with itself
    head, tail = (Mention(start, end, text.text[start:end]) for start, end in chosen)
    document = Document(f"{relation}-{number}", text.text, (*heads, *tails), (Triple(head, relation, tail),))
    return [SourceRecord(piece.place, document)]


def _mentions(text: TokenText, field: str, places: Sequence[Sequence[int]]) -> list[Mention]:
    """The mentions at all places; each reaches from its first to its last token."""
    return text.mentions(
        TokenRange(f"{field}[2][{number}]", min(indices), max(indices) + 1) for number, indices in enumerate(places)
    )


def notes(path: Path) -> Mapping[str, LabelNote]:
    """The names in `pid2name.json`, if it lies beside the file."""
    file = path.parent / NAMES_FILE
    if not file.is_file():
        return {}
    try:
        names = _NAMES.validate_python(read_json(file))
    except ValidationError as error:
        raise DataError(f"{file}: expected a JSON object of [name, description] for each label.") from error
    return {label: LabelNote(*named) for label, named in names.items()}


def recognises(path: Path) -> bool:
    """Whether the file begins with a relation and the tokens of a sentence."""
    return re.match(r'\s*\{\s*"[^"]+"\s*:\s*\[\s*\{\s*"tokens"', peek(path)) is not None


READER = SourceFormat(
    summary="FewRel JSON: sentences by relation; names from pid2name.json beside it",
    suffixes=(".json", ".json.gz"),
    pieces=pieces,
    parse=parse,
    recognises=recognises,
    names_file=NAMES_FILE,
    notes=notes,
)
