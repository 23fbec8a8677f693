"""brat's standoff format: a folder with a text file and an annotation file of the same name for each document.

    T1	Person 0 3	Ada
    T2	Place 13 17;22 27	Rome Italy
    R1	Lives_in Arg1:T1 Arg2:T2

Offsets count the characters of the text file, end exclusive. A discontinuous mention becomes its outer span. Lines of events
(E), attributes (A, M), normalizations (N), notes (#) and equivalences (*) are known and not read.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.readers.source import Piece, SourceFormat
from genre_x.records import SourceRecord, read_text

NOT_READ = "EAMN#*"
"""First characters of the lines that are no mentions and no relations."""

_MENTION = re.compile(r"(?P<id>T\S*)\t(?P<label>\S+) (?P<ranges>\d+ \d+(?:;\d+ \d+)*)(?:\t(?P<text>.*))?")
_RELATION = re.compile(r"(?P<id>R\S*)\t(?P<label>\S+) (?P<role1>\S+?):(?P<head>\S+) (?P<role2>\S+?):(?P<tail>\S+)\s*")


class Pair(NamedTuple):
    """The two files of a document; one of them may be missing."""

    name: str
    text: Path
    annotation: Path


def pieces(path: Path) -> Iterator[Piece[Pair]]:
    """The pairs of files in a folder and the folders inside."""
    stems = sorted({file.with_suffix("") for suffix in (".txt", ".ann") for file in path.rglob(f"*{suffix}")})
    if not stems:
        raise DataError(f"{path}: expected a folder with .txt and .ann files, found none.")
    for stem in stems:
        text, annotation = (stem.parent / f"{stem.name}{suffix}" for suffix in (".txt", ".ann"))
        yield Piece(str(annotation), Pair(stem.relative_to(path).as_posix(), text, annotation))


def parse(piece: Piece[Pair]) -> Sequence[SourceRecord]:
    """The document of two files."""
    name, text_file, annotation = piece.content
    for file in (text_file, annotation):
        if not file.is_file():
            raise DataError(f"the file {file.name} is missing")
    text = read_text(text_file)
    lines = list(enumerate(read_text(annotation).split("\n"), start=1))
    faults: list[str] = []
    mentions: dict[str, Mention] = {}
    for number, line in lines:
        if line.startswith("T"):
            mention = _mention(text, line.rstrip("\r"))
            key = line.partition("\t")[0]
            if isinstance(mention, str):
                faults.append(f"line {number}: {mention}")
            elif key in mentions:
                faults.append(f"line {number}: the id {key} was there before")
            else:
                mentions[key] = mention
    triples = []
    for number, line in lines:
        if line.startswith("R"):
            triple = _triple(mentions, line.rstrip("\r"))
            if isinstance(triple, str):
                faults.append(f"line {number}: {triple}")
            else:
                triples.append(triple)
        elif line.strip() and line[0] not in f"T{NOT_READ}":
            faults.append(f"line {number}: expected a line that begins with T, R or one of {NOT_READ}, found {line!r:.60}")
    if faults:
        raise DataError("; ".join(faults), faults=faults)
    return [SourceRecord(piece.place, Document(name, text, tuple(mentions.values()), tuple(triples)))]


def _mention(text: str, line: str) -> Mention | str:
    """The mention that a line names, or what is wrong with it."""
    found = _MENTION.fullmatch(line)
    if found is None:
        return f"expected 'T1<tab>Label start end<tab>text', found {line!r:.60}"
    parts = [tuple(map(int, part.split())) for part in found["ranges"].split(";")]
    start, end = min(part[0] for part in parts), max(part[1] for part in parts)
    if not all(part[0] < part[1] for part in parts) or end > len(text):
        return f"the offsets {found['ranges']} are no range of the {len(text)} characters of the text"
    here = " ".join(text[part[0] : part[1]] for part in parts)
    if found["text"] is not None and here.split() != found["text"].split():
        return f"{found['id']} says {found['text']!r} at {found['ranges']}, but the text there is {here!r}"
    return Mention(start, end, text[start:end], found["label"])


def _triple(mentions: dict[str, Mention], line: str) -> Triple | str:
    """The relation that a line names, or what is wrong with it."""
    found = _RELATION.fullmatch(line)
    if found is None:
        return f"expected 'R1<tab>Label Arg1:T1 Arg2:T2', found {line!r:.60}"
    head, tail = found["head"], found["tail"]
    if (found["role1"], found["role2"]) == ("Arg2", "Arg1"):
        head, tail = tail, head
    if dangling := [key for key in (head, tail) if key not in mentions]:
        return f"{found['id']} names {' and '.join(dangling)}, which is the id of no mention that can be read"
    return Triple(mentions[head], found["label"], mentions[tail])


def recognises(path: Path) -> bool:
    """Whether there is an annotation file in the folder or below."""
    return path.is_dir() and next(path.rglob("*.ann"), None) is not None


READER = SourceFormat(
    summary="brat standoff: a folder of .txt and .ann files",
    suffixes=(),
    pieces=pieces,
    parse=parse,
    recognises=recognises,
)
