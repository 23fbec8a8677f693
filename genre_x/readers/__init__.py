"""Readers for the formats that annotated data come in: a path and the name of a format name any source.

A format is a module with a `READER` and a line in `READERS`. What holds for all of them:

- Texts that a source gives as tokens are joined by one space; all offsets are exact characters of the text.
- The schema is the task's, if there is one: labels are found among its names and aliases. Else it is made of the labels and
  types that the data show.
- A record that can't be read, or has a label that the task does not know, is bad. All bad records are raised as one error, or
  left out and counted.
- The same triple twice in a document is one; a relation between a span and itself counts as unanchored, since no model can
  write it; an id that was there before gets a number.
"""

from collections.abc import Mapping
from pathlib import Path

from genre_x.datasets import AnnotatedSet
from genre_x.errors import DataError, UnknownNameError
from genre_x.readers import brat, csv_rows, docbin, docred, fewrel, own, scierc, semeval2010, spert, webnlg
from genre_x.readers.convert import Converted, convert, relation_counts, write_annotated
from genre_x.readers.source import Reader, find_source
from genre_x.task import Task

READERS: Mapping[str, Reader] = {
    "common": own.COMMON,
    "sentences": own.SENTENCES,
    "spert": spert.READER,
    "scierc": scierc.READER,
    "scierc_documents": scierc.WHOLE_READER,
    "docred": docred.READER,
    "semeval2010": semeval2010.READER,
    "fewrel": fewrel.READER,
    "webnlg": webnlg.READER,
    "brat": brat.READER,
    "docbin": docbin.READER,
    "csv": csv_rows.READER,
}

__all__ = ["READERS", "Converted", "Reader", "convert", "guess_format", "read_annotated", "relation_counts", "write_annotated"]


def read_annotated(
    path: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    task: Task | None = None,
    skip_bad: bool = False,
) -> list[AnnotatedSet]:
    """Read annotated data.

    Args:
        path: A file, or a folder. In a folder of files the split decides which file is read, see `source.find_source`.
        format: A name in `READERS`; None looks into the data, see `guess_format`.
        split: Name of the split, for a folder.
        task: Its schema instead of the data's own.
        skip_bad: Leave bad records out, count them and log the count, instead of raising.

    Returns:
        At least one set, each with at least one document; several only if the data have several schemas.

    Raises:
        UnknownNameError: There is no such format.
        DataError: The format can't be guessed, the source can't be found or read, or there are bad records. The error lists
            the faults of all records.
    """
    path = Path(path)
    name = guess_format(path, split=split) if format is None else format
    if name not in READERS:
        raise UnknownNameError("data format", name, READERS)
    return READERS[name].read(path, split=split, task=task, skip_bad=skip_bad)


def guess_format(path: Path, *, split: str | None = None) -> str:
    """The one format that the data at `path` are surely in.

    Raises:
        DataError: There is nothing there, or none or several formats fit; the message lists the names.
    """
    if not path.exists():
        raise DataError(f"There is no file or folder {str(path)!r}.")
    fitting = [name for name, reader in READERS.items() if reader.recognises(path)]
    if not fitting and path.is_dir():
        suffixes = sorted({suffix for reader in READERS.values() for suffix in reader.suffixes})
        file = find_source(path, suffixes, split)
        fitting = [name for name, reader in READERS.items() if reader.recognises(file)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"{path} could be {' or '.join(fitting)}" if fitting else f"The format of {path} can't be told from its content"
    raise DataError(f"{found}. Name the format, one of: {', '.join(READERS)}.")
