"""What a reader is, and the way from the records of a format to annotated documents."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import StringConstraints

from genre_x.datasets import INSTRUCTION, AnnotatedSet, annotated_set, settled
from genre_x.described import LabelNote, observed_schema
from genre_x.errors import DataError
from genre_x.records import BadRecords, SourceRecord, read_json
from genre_x.task import Task

Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A label in a data file."""

PEEK_BYTES = 200_000
"""How much of a large JSON file is looked at to tell its format; the first records of all known data sets fit."""

T = TypeVar("T")


class Reader(Protocol):
    """Reads one format.

    Attributes:
        summary: What the format is, in a few words.
        suffixes: How its files end, in lower case; empty for a format that is a folder.
    """

    @property
    def summary(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    def recognises(self, path: Path) -> bool:
        """Whether the file or folder at `path` is surely of this format."""
        ...

    def read(self, path: Path, *, split: str | None, task: Task | None, skip_bad: bool) -> list[AnnotatedSet]:
        """Read a file or folder; see `read_annotated`."""
        ...


class Piece(NamedTuple, Generic[T]):
    """A record as it stands in a file.

    Attributes:
        place: File and line, or file and number of the record.
        content: What the format's `parse` takes.
    """

    place: str
    content: T


def no_notes(path: Path) -> Mapping[str, LabelNote]:
    """What a format without names for its labels says about them."""
    return {}


@dataclass(frozen=True, kw_only=True)
class SourceFormat(Generic[T]):
    """A reader made of what is special about a format.

    Attributes:
        summary: As of `Reader`.
        suffixes: As of `Reader`.
        pieces: The records of a file or folder. It raises only if the file as a whole can't be read.
        parse: The documents of one record; it raises a `DataError` for a bad one.
        recognises: As of `Reader`.
        notes: Names of relation labels that lie beside the file.
        names_file: Where they lie, so that it is not taken for data.
    """

    summary: str
    suffixes: tuple[str, ...]
    pieces: Callable[[Path], Iterable[Piece[T]]]
    parse: Callable[[Piece[T]], Sequence[SourceRecord]]
    recognises: Callable[[Path], bool]
    notes: Callable[[Path], Mapping[str, LabelNote]] = no_notes
    names_file: str = ""

    def read(self, path: Path, *, split: str | None, task: Task | None, skip_bad: bool) -> list[AnnotatedSet]:
        source = find_source(path, self.suffixes, split, apart_from=self.names_file)
        bad = BadRecords(str(source))
        records: list[SourceRecord] = []
        for piece in self.pieces(source):
            with bad.record(piece.place):
                records += self.parse(piece)
        notes = self.notes(source)
        name = source.name.partition(".")[0] or source.name
        schema = task.schema if task else observed_schema(name, (record.document for record in records), notes)
        if schema is None:
            bad.settle(len(records), skip_bad=skip_bad)
            raise DataError(
                f"{source}: there is no relation in its {len(records)} documents, so they have no schema. "
                "Give a task whose schema they are annotated with."
            )
        instruction = task.instruction if task else INSTRUCTION
        one = annotated_set(name, schema, records, bad, instruction=instruction, notes=notes)
        return settled([one], bad, skip_bad=skip_bad)


def find_source(path: Path, suffixes: Sequence[str], split: str | None, *, apart_from: str = "") -> Path:
    """The file or folder that a path and a split mean.

    A file is itself and has no splits. In a folder, a split is the file of its name, or else the one whose name has the
    split's name among its words (`train` in `conll04_train.json` and in `TRAIN_FILE.TXT`). A format without suffixes is a
    folder, and a split of it a folder inside.

    Raises:
        DataError: There is no such file, or there are several.
    """
    if path.is_file():
        if split is not None:
            raise DataError(f"{path} is a file, so it has no split {split!r}. Leave the split out, or give the folder.")
        return path
    if not path.is_dir():
        raise DataError(f"There is no file or folder {str(path)!r}.")
    if not suffixes:
        if split is not None and not (path / split).is_dir():
            folders = sorted(inner.name for inner in path.iterdir() if inner.is_dir())
            raise DataError(f"{path} has no folder {split!r}. It has: {', '.join(folders) or 'no folder'}.")
        return path if split is None else path / split
    files = sorted(
        file
        for file in path.iterdir()
        if file.is_file() and file.name.lower().endswith(tuple(suffixes)) and file.name != apart_from
    )
    named = [file for file in files if split is None or split.lower() in _words(file.name)]
    exact = [file for file in named if split is not None and file.name.lower().partition(".")[0] == split.lower()]
    named = exact or named
    if len(named) != 1:
        wanted = f"files of the split {split!r}" if split is not None else f"files that end in {' or '.join(suffixes)}"
        there = ", ".join(file.name for file in (named or files)) or "none"
        raise DataError(f"{path}: expected one of the {wanted}, found {len(named)}. There: {there}. Name one, or a split.")
    return named[0]


def _words(name: str) -> set[str]:
    """Words of a file name, and the part before its suffix.

    >>> sorted(_words("TRAIN_FILE.TXT"))
    ['file', 'train', 'train_file', 'txt']
    """
    lowered = name.lower()
    return {lowered.partition(".")[0], *re.split(r"[^a-z0-9]+", lowered)}


def json_list(path: Path) -> Iterator[Piece[Any]]:
    """The records of a file that is one JSON list.

    Raises:
        DataError: It is none.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a JSON list of records, found {type(content).__name__}.")
    for number, record in enumerate(content, start=1):
        yield Piece(f"{path}, record {number}", record)


def peek(path: Path) -> str:
    """The beginning of a text file, compressed or not; empty for what is none, so that no format recognises it."""
    if not path.is_file():
        return ""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return file.read(PEEK_BYTES).decode("utf-8", errors="ignore").removeprefix("\ufeff")
    except (OSError, EOFError, zlib.error):
        return ""


def first_record(path: Path) -> dict[str, Any]:
    """The first JSON object of a file that is a list of objects, or has one object per line; empty if it is neither."""
    text = peek(path)
    start = re.match(r"\s*(\[\s*)?", text)
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start.end() if start else 0)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def checked_indices(count: int, what: str, indices: Mapping[str, int]) -> None:
    """Check that indices name one of `count` things.

    Args:
        count: How many there are.
        what: Their name in the message.
        indices: The indices, by the name of the field that has them.

    Raises:
        DataError: One is outside of `[0, count)`; the error has all such.
    """
    faults = [
        f"{field}: there is no {what} {index}; there are {count}, counted from 0"
        for field, index in indices.items()
        if not 0 <= index < count
    ]
    if faults:
        raise DataError("; ".join(faults), faults=faults)
