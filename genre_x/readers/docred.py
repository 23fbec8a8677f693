"""DocRED's JSON: a list of documents whose entities are clusters of mentions.

    [{"title": "Ada", "sents": [["Ada", "lives", "in", "Rome", "."]],
      "vertexSet": [[{"name": "Ada", "sent_id": 0, "pos": [0, 1], "type": "PER"}],
                    [{"name": "Rome", "sent_id": 0, "pos": [3, 4], "type": "LOC"}]],
      "labels": [{"h": 0, "t": 1, "r": "P551", "evidence": [0]}]}]

`pos` counts the tokens of the sentence, end exclusive; `h` and `t` are indices into `vertexSet`. A relation between two
clusters becomes one between two mentions: those that stand nearest to each other, as `grounding.nearest_pair` decides. A
file `rel_info.json` beside it, `{"P551": "residence"}`, gives the relations their names.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictInt

from genre_x.described import LabelNote
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.grounding import nearest_pair
from genre_x.readers.source import Label, Piece, SourceFormat, checked_indices, first_record, json_list
from genre_x.readers.tokens import TokenRange, TokenText
from genre_x.records import SourceRecord, read_json, validated

NAMES_FILE = "rel_info.json"


class _Mention(BaseModel):
    sent_id: StrictInt
    pos: tuple[StrictInt, StrictInt]
    type: Label


class _Relation(BaseModel):
    h: StrictInt
    t: StrictInt
    r: Label


class _Document(BaseModel):
    title: str
    sents: list[list[str]]
    vertexSet: list[Annotated[list[_Mention], Field(min_length=1)]]
    labels: list[_Relation]


def parse(piece: Piece[Any]) -> Sequence[SourceRecord]:
    """The document of one record; one without `labels`, as in a test set, is not annotated and so is bad."""
    found = validated(_Document, piece.content)
    text = TokenText(list(chain.from_iterable(found.sents)))
    starts = [0, *accumulate(len(sentence) for sentence in found.sents)]
    ranges: list[list[TokenRange]] = []
    faults = []
    for number, cluster in enumerate(found.vertexSet):
        ranges.append([])
        for index, one in enumerate(cluster):
            field = f"vertexSet[{number}][{index}]"
            if not 0 <= one.sent_id < len(found.sents):
                faults.append(f"{field}: there is no sentence {one.sent_id}; there are {len(found.sents)}, counted from 0")
            elif not 0 <= one.pos[0] < one.pos[1] <= (n_tokens := len(found.sents[one.sent_id])):
                faults.append(f"{field}: tokens [{one.pos[0]}, {one.pos[1]}) are no range of the {n_tokens} of its sentence")
            else:
                start = starts[one.sent_id]
                ranges[-1].append(TokenRange(field, start + one.pos[0], start + one.pos[1], one.type))
    if faults:
        raise DataError("; ".join(faults), faults=faults)
    clusters = [text.mentions(cluster) for cluster in ranges]
    fields = {f"labels[{number}].h": one.h for number, one in enumerate(found.labels)}
    fields |= {f"labels[{number}].t": one.t for number, one in enumerate(found.labels)}
    checked_indices(len(clusters), "entity", fields)
    triples = tuple(_triple(clusters[one.h], one.r, clusters[one.t]) for one in found.labels)
    document = Document(found.title, text.text, tuple(chain.from_iterable(clusters)), triples)
    return [SourceRecord(piece.place, document)]


def _triple(heads: Sequence[Mention], relation: str, tails: Sequence[Mention]) -> Triple:
    """The relation between the mentions of two clusters that are nearest; of a span with itself if they have only one."""
    pair = nearest_pair([mention.span for mention in heads], [mention.span for mention in tails])
    if pair is None:
        return Triple(heads[0], relation, tails[0])
    head_span, tail_span = pair
    head = next(mention for mention in heads if mention.span == head_span)
    tail = next(mention for mention in tails if mention.span == tail_span)
    return Triple(head, relation, tail)


def notes(path: Path) -> Mapping[str, LabelNote]:
    """The names in `rel_info.json`, if it lies beside the file."""
    file = path.parent / NAMES_FILE
    if not file.is_file():
        return {}
    names = read_json(file)
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f"{file}: expected a JSON object that maps labels to names.")
    return {label: LabelNote(name) for label, name in names.items()}


def recognises(path: Path) -> bool:
    """Whether the first record is a document with sentences and clusters."""
    return {"sents", "vertexSet"} <= first_record(path).keys()


READER = SourceFormat(
    summary="DocRED JSON: documents with clusters of mentions; names from rel_info.json beside it",
    suffixes=(".json", ".json.gz"),
    pieces=json_list,
    parse=parse,
    recognises=recognises,
    names_file=NAMES_FILE,
    notes=notes,
)
