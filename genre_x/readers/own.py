"""The project's own forms: `common`, data sets with a schema, and `sentences`, written for a task."""

from dataclasses import dataclass
from pathlib import Path

from genre_x.datasets import AnnotatedSet, load_dataset, load_sentences
from genre_x.errors import DataError
from genre_x.readers.source import find_source, first_record
from genre_x.task import Task

SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class CommonReader:
    """Reads a folder with `schema.json` and a file for each split, or one of these files."""

    summary: str = "the common form of this project: a folder with schema.json and <split>.jsonl"
    suffixes: tuple[str, ...] = SUFFIXES

    def recognises(self, path: Path) -> bool:
        if path.is_dir():
            return (path / "schema.json").is_file()
        return {"text", "entities", "relations"} <= first_record(path).keys() and (path.parent / "schema.json").is_file()

    def read(self, path: Path, *, split: str | None, task: Task | None, skip_bad: bool) -> list[AnnotatedSet]:
        if not path.is_dir() or split is None:
            file = find_source(path, self.suffixes, split)
            path, split = file.parent, file.name.partition(".jsonl")[0]
        return load_dataset(path, split, task=task, skip_bad=skip_bad)


@dataclass(frozen=True)
class SentencesReader:
    """Reads a file of sentences; a task has to be given."""

    summary: str = 'JSON lines {"text": …, "triples": [[head, relation, tail], …]} written for a task'
    suffixes: tuple[str, ...] = SUFFIXES

    def recognises(self, path: Path) -> bool:
        return first_record(path).keys() == {"text", "triples"}

    def read(self, path: Path, *, split: str | None, task: Task | None, skip_bad: bool) -> list[AnnotatedSet]:
        source = find_source(path, self.suffixes, split)
        if task is None:
            raise DataError(f"{source}: sentences need the task that they were written for.")
        return [load_sentences(source, task, skip_bad=skip_bad)]


COMMON = CommonReader()
SENTENCES = SentencesReader()
