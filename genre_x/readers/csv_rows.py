"""Tables with one relation per row.

    text,head,relation,tail
    Ada lives in Rome.,Ada,lives in,Rome
    It rained.,,,

Columns `id`, `head_type` and `tail_type` are optional; others are not read. All rows of one text are one document; with an
`id`, all rows of one id. A row without head, relation and tail says that its text has no relation. Heads and tails are
strings of the text; where one stands several times, those that are nearest are meant (`grounding.nearest_pair`). A text with
a bad row is bad as a whole.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.grounding import nearest_pair, occurrences
from genre_x.readers.source import Piece, SourceFormat, peek
from genre_x.records import SourceRecord, read_text

REQUIRED = ("text", "head", "relation", "tail")
OPTIONAL = ("id", "head_type", "tail_type")
DELIMITERS = ",;\t|"


class Row(NamedTuple):
    """A row of the table: the number of its first line, and its cells by column."""

    line: int
    cells: Mapping[str, str]


def pieces(path: Path) -> Iterator[Piece[list[Row]]]:
    """The rows of each text, or of each id, in the order in which they first appear.

    Raises:
        DataError: The file is no table with the columns that are needed.
    """
    groups: dict[str, list[Row]] = {}
    for row in _rows(path):
        groups.setdefault(row.cells.get("id") or row.cells["text"], []).append(row)
    for rows in groups.values():
        yield Piece(str(path), rows)


def parse(piece: Piece[list[Row]]) -> Sequence[SourceRecord]:
    """The document of the rows of one text."""
    rows = piece.content
    first, text = rows[0], rows[0].cells["text"]
    related = [row for row in rows if any(row.cells[name] for name in ("head", "relation", "tail"))]
    faults: list[str] = []
    triples = []
    for row in rows:
        if not text.strip():
            faults.append(f"line {row.line}: the text is empty")
        elif row.cells["text"] != text:
            faults.append(f"line {row.line}: the id {row.cells['id']!r} has another text at line {first.line}")
        elif row in related:
            triple = _triple(text, row.cells)
            if isinstance(triple, str):
                faults.append(f"line {row.line}: {triple}")
            else:
                triples.append(triple)
        elif related:
            faults.append(f"line {row.line}: no relation, but line {related[0].line} gives the same text one")
    if faults:
        raise DataError("; ".join(faults), faults=faults)
    document = Document(first.cells.get("id") or f"row-{first.line}", text, None, tuple(triples))
    return [SourceRecord(f"{piece.place}, line {first.line}", document)]


def _triple(text: str, cells: Mapping[str, str]) -> Triple | str:
    """The relation of a row, or what is wrong with it."""
    if missing := [name for name in ("head", "relation", "tail") if not cells[name]]:
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} empty, but the row has a relation"
    places = {name: occurrences(text, cells[name]) for name in ("head", "tail")}
    if lost := [f"the {name} {cells[name]!r}" for name, found in places.items() if not found]:
        return f"{' and '.join(lost)} {'is' if len(lost) == 1 else 'are'} not in the text {text!r:.80}"
    pair = nearest_pair(places["head"], places["tail"])
    if pair is None:
        return f"head and tail are the same span {cells['head']!r}"
    (head_start, head_end), (tail_start, tail_end) = pair
    return Triple(
        Mention(head_start, head_end, text[head_start:head_end], cells.get("head_type") or None),
        cells["relation"],
        Mention(tail_start, tail_end, text[tail_start:tail_end], cells.get("tail_type") or None),
    )


def _rows(path: Path) -> Iterator[Row]:
    content = read_text(path).removeprefix("\ufeff")  # what spreadsheets write first
    header = content.partition("\n")[0]
    reader = csv.reader(StringIO(content, newline=""), delimiter=_delimiter(path, header), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if lost := [name for name in REQUIRED if name not in names]:
            raise DataError(
                f"{path}: there is no column {', '.join(lost)}. Needed: {', '.join(REQUIRED)}; optional: "
                f"{', '.join(OPTIONAL)}. Found: {', '.join(map(repr, names)) or 'none'}."
            )
        if twice := sorted({name for name in names if name in REQUIRED + OPTIONAL and names.count(name) > 1}):
            raise DataError(f"{path}: there is more than one column {', '.join(twice)}.")
        line = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(names):
                raise DataError(f"{path}, line {line}: expected {len(names)} cells as in the header, found {len(cells)}.")
            if cells:
                by_name = dict(zip(names, cells, strict=True))
                yield Row(line, {name: cell if name == "text" else cell.strip() for name, cell in by_name.items()})
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a valid table: {error}") from error


def _delimiter(path: Path, header: str) -> str:
    """The character between columns: a tab in a .tsv file, else the one that cuts the header into the columns needed."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    names = {mark: {cell.strip().strip('"').lower() for cell in header.split(mark)} for mark in DELIMITERS}
    return next((mark for mark in DELIMITERS if set(REQUIRED) <= names[mark]), ",")


def recognises(path: Path) -> bool:
    """Whether the file is named like a table and its header has the columns needed."""
    if path.suffix.lower() not in READER.suffixes:
        return False
    header = peek(path).partition("\n")[0].strip()
    return set(REQUIRED) <= {cell.strip().strip('"').lower() for cell in header.split(_delimiter(path, header))}


READER = SourceFormat(
    summary="table with columns text, head, relation, tail and maybe id, head_type, tail_type",
    suffixes=(".csv", ".tsv"),
    pieces=pieces,
    parse=parse,
    recognises=recognises,
)
