"""SpERT's JSON, the form in which CoNLL04 and ADE are passed around: a list of sentences, each with its tokens.

    [{"tokens": ["Ada", "lives", "in", "Rome"], "orig_id": 7,
      "entities": [{"type": "Peop", "start": 0, "end": 1}, {"type": "Loc", "start": 3, "end": 4}],
      "relations": [{"type": "Live_In", "head": 0, "tail": 1}]}]

Entities have token offsets, end exclusive; relations name entities by their index.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, StrictInt

from genre_x.document import Document, Triple
from genre_x.readers.source import Label, Piece, SourceFormat, checked_indices, first_record, json_list
from genre_x.readers.tokens import TokenRange, TokenText
from genre_x.records import SourceRecord, validated


class _Entity(BaseModel):
    type: Label
    start: StrictInt
    end: StrictInt


class _Relation(BaseModel):
    type: Label
    head: StrictInt
    tail: StrictInt


class _Sentence(BaseModel):
    tokens: list[str]
    entities: list[_Entity]
    relations: list[_Relation]
    orig_id: str | int | None = None


def parse(piece: Piece[Any]) -> Sequence[SourceRecord]:
    """The document of one sentence."""
    sentence = validated(_Sentence, piece.content)
    text = TokenText(sentence.tokens)
    mentions = text.mentions(
        TokenRange(f"entities[{number}]", one.start, one.end, one.type) for number, one in enumerate(sentence.entities)
    )
    indices = {
        f"relations[{number}].{role}": index
        for number, relation in enumerate(sentence.relations)
        for role, index in (("head", relation.head), ("tail", relation.tail))
    }
    checked_indices(len(mentions), "entity", indices)
    triples = tuple(Triple(mentions[one.head], one.type, mentions[one.tail]) for one in sentence.relations)
    name = piece.place.rpartition(" ")[2] if sentence.orig_id is None else str(sentence.orig_id)
    return [SourceRecord(piece.place, Document(name, text.text, tuple(mentions), triples))]


def recognises(path: Path) -> bool:
    """Whether the first record is a sentence with tokens, entities and relations."""
    return {"tokens", "entities", "relations"} <= first_record(path).keys()


READER = SourceFormat(
    summary="SpERT JSON (CoNLL04, ADE): tokens, entities by token offsets, relations by entity index",
    suffixes=(".json", ".json.gz"),
    pieces=json_list,
    parse=parse,
    recognises=recognises,
)
