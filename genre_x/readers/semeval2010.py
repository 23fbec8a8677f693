"""SemEval-2010 task 8, as in `TRAIN_FILE.TXT`: blocks of a numbered sentence, its relation, and maybe a comment.

    1	"The <e1>fire</e1> was caused by a <e2>spark</e2>."
    Cause-Effect(e2,e1)
    Comment: ...

The first argument is the head. `Other` means that the two marked spans have none of the relations.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.readers.source import Piece, SourceFormat, peek
from genre_x.records import SourceRecord, read_lines

NO_RELATION = "Other"

_SENTENCE = re.compile(r'(\d+)\t\s*"?(.*?)"?\s*', re.DOTALL)
_RELATION = re.compile(r"(?P<label>[^()\s]+)\((?P<head>e[12]),(?P<tail>e[12])\)")
_MARK = re.compile(r"</?e[12]>")


def pieces(path: Path) -> Iterator[Piece[list[str]]]:
    """The blocks of the file: a line that begins with a number, and the lines up to the next such line."""
    block: list[str] = []
    first = ""
    for place, line in read_lines(path):
        if re.match(r"\d+\t", line) and block:
            yield Piece(first, block)
            block = []
        first = place if not block else first
        block.append(line.rstrip("\r\n"))
    if block:
        yield Piece(first, block)


def parse(piece: Piece[list[str]]) -> Sequence[SourceRecord]:
    """The document of one block, without the marks and without the quotes around it."""
    sentence, *others = piece.content
    numbered = _SENTENCE.fullmatch(sentence)
    if numbered is None:
        raise DataError(f'expected a number, a tab and "a sentence", found {sentence!r:.80}')
    others = [line.strip() for line in others if not line.startswith("Comment")]
    if len(others) != 1:
        raise DataError(f"expected one line with the relation after the sentence, found {len(others)}: {others!r:.80}")
    number, marked = numbered.groups()
    text, mentions = _unmarked(marked)
    triples: tuple[Triple, ...] = ()
    if others[0] != NO_RELATION:
        relation = _RELATION.fullmatch(others[0])
        if relation is None or relation["head"] == relation["tail"]:
            raise DataError(f"expected Relation(e1,e2), Relation(e2,e1) or {NO_RELATION}, found {others[0]!r:.80}")
        triples = (Triple(mentions[relation["head"]], relation["label"], mentions[relation["tail"]]),)
    return [SourceRecord(piece.place, Document(number, text, (mentions["e1"], mentions["e2"]), triples))]


def _unmarked(marked: str) -> tuple[str, dict[str, Mention]]:
    """The text without the four marks, and the mentions they enclose.

    Raises:
        DataError: Each mark does not stand there exactly once, in its order.
    """
    text, limits, end = "", {}, 0
    for mark in _MARK.finditer(marked):
        text += marked[end : mark.start()]
        limits[mark[0]] = len(text)
        end = mark.end()
    text += marked[end:]
    found = _MARK.findall(marked)
    mentions = {}
    for name in ("e1", "e2"):
        opening, closing = f"<{name}>", f"</{name}>"
        if found.count(opening) != 1 or found.count(closing) != 1 or limits[opening] >= limits[closing]:
            raise DataError(f"expected one {opening}…{closing} in the sentence, found {' '.join(found) or 'no marks'}")
        mentions[name] = Mention(limits[opening], limits[closing], text[limits[opening] : limits[closing]])
    return text, mentions


def recognises(path: Path) -> bool:
    """Whether the file begins with a numbered sentence that has marks."""
    return re.match(r"\s*\d+\t[^\n]*<e1>", peek(path)) is not None


READER = SourceFormat(
    summary="SemEval-2010 task 8 text: sentences with <e1> and <e2>, and a line with the relation",
    suffixes=(".txt",),
    pieces=pieces,
    parse=parse,
    recognises=recognises,
)
