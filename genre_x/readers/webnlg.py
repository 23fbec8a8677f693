"""WebNLG's XML, version 2 and 3: entries with triples of strings, and texts that say them.

    <benchmark><entries><entry category="Airport" eid="Id1">
      <modifiedtripleset><mtriple>Ada_Field | cityServed | "Rome"</mtriple></modifiedtripleset>
      <lex comment="good" lid="Id1" lang="en">Ada Field serves Rome.</lex>
    </entry></entries></benchmark>

Every `lex` is a document. Underscores stand for spaces, and quotes around a value, with the language or data type after them,
are left away. A triple whose head or tail does not stand in the text is counted as unanchored. A folder is read with all
`.xml` files below it, a split of it is a folder inside. An entry without texts (a test set without references) is bad.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.grounding import nearest_pair, occurrences
from genre_x.readers.source import Piece, SourceFormat, peek
from genre_x.records import SourceRecord, read_text

_QUOTED = re.compile(r'"(.*)"(?:@[A-Za-z-]+|\^\^\S+)?', re.DOTALL)


class Entry(NamedTuple):
    """An entry as it stands in a file.

    Attributes:
        name: Made of the file and the entry's id, which starts again in every file.
    """

    name: str
    element: ET.Element


def pieces(path: Path) -> Iterator[Piece[Entry]]:
    """The entries of a file, or of all files below a folder.

    Raises:
        DataError: A file is no XML, or there is none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.xml"))
    if not files:
        raise DataError(f"{path}: there is no .xml file in this folder.")
    for file in files:
        try:
            # expat itself refuses entities that expand without end
            root = ET.fromstring(read_text(file).encode())  # noqa: S314
        except ET.ParseError as error:
            raise DataError(f"{file}: not valid XML: {error}") from error
        prefix = file.stem if file == path else file.relative_to(path).with_suffix("").as_posix()
        for number, element in enumerate(root.iter("entry"), start=1):
            eid = element.get("eid") or str(number)
            yield Piece(f"{file}, entry {eid!r}", Entry(f"{prefix}/{eid}", element))


def parse(piece: Piece[Entry]) -> Sequence[SourceRecord]:
    """The documents of an entry, one for each of its texts."""
    name, element = piece.content
    rows = [_row(triple.text or "") for triple in element.iterfind("modifiedtripleset/mtriple")]
    if not rows:
        raise DataError("there is no <mtriple> in a <modifiedtripleset>")
    records = []
    for number, lex in enumerate(element.iterfind("lex"), start=1):
        # the enriched edition has the text in an element of its own, beside others
        text = " ".join((lex.findtext("text") or lex.text or "").split())
        if not text:
            raise DataError(f"<lex> number {number} has no text")
        found = [triple for row in rows if (triple := _anchored(text, *row)) is not None]
        document = Document(f"{name}/{lex.get('lid') or number}", text, None, tuple(found), lex.get("lang"))
        records.append(SourceRecord(f"{piece.place}, lex {number}", document, len(rows) - len(found)))
    if not records:
        raise DataError("there is no <lex>: the entry has no text")
    return records


def _row(written: str) -> tuple[str, str, str]:
    parts = [part.strip() for part in written.split(" | ")]
    if len(parts) != 3 or not all(parts):
        raise DataError(f"expected 'head | relation | tail' in <mtriple>, found {written!r:.80}")
    return _surface(parts[0]), parts[1], _surface(parts[2])


def _surface(value: str) -> str:
    """A value as a text may have it.

    >>> [_surface(value) for value in ("Ada_Field", '"Rome, Italy"@en', '"4.0"^^xsd:double')]
    ['Ada Field', 'Rome, Italy', '4.0']
    """
    quoted = _QUOTED.fullmatch(value)
    return (quoted[1] if quoted else value).replace("_", " ")


def _anchored(text: str, head: str, relation: str, tail: str) -> Triple | None:
    pair = nearest_pair(occurrences(text, head), occurrences(text, tail))
    if pair is None:
        return None
    (head_start, head_end), (tail_start, tail_end) = pair
    return Triple(
        Mention(head_start, head_end, text[head_start:head_end]),
        relation,
        Mention(tail_start, tail_end, text[tail_start:tail_end]),
    )


def recognises(path: Path) -> bool:
    """Whether the file is a benchmark with entries, or the first file below the folder is."""
    first = path if path.is_file() else next(iter(sorted(path.rglob("*.xml"))), path)
    return first.suffix.lower() == ".xml" and "<entry" in (text := peek(first)) and "<benchmark" in text


READER = SourceFormat(
    summary="WebNLG XML, a file or a folder of files: triples of strings and texts that say them",
    suffixes=(),
    pieces=pieces,
    parse=parse,
    recognises=recognises,
)
