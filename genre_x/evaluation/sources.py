"""The data of an evaluation: annotated sets, each with the file it comes from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genre_x.datasets import AnnotatedSet
from genre_x.readers import READERS, guess_format, read_annotated
from genre_x.readers.source import find_source
from genre_x.task import Task

DEFAULT_SPLIT = "test"


@dataclass(frozen=True)
class Source:
    """Where an annotated set was read from.

    Attributes:
        dataset: Name of the folder or file.
        split: None for a single file.
        sha256: Of the file, or of the names and contents of all files in a folder that is read as a whole.
    """

    dataset: str
    split: str | None
    sha256: str | None


def load_sources(
    paths: Sequence[Path], splits: Sequence[str] | None, *, format: str | None = None, task: Task | None = None
) -> tuple[list[AnnotatedSet], list[Source]]:
    """Read every split of every folder, and every file.

    Args:
        paths: Files and folders; a file has no splits.
        splits: Of the folders; None is `test`, or the whole folder if it is of a format without splits and has no such folder.
        format: A name in `readers.READERS`; None looks into the data.
        task: Its schema instead of the data's own.

    Returns:
        The sets, and where each comes from.

    Raises:
        DataError: Something can't be found or read.
    """
    sets: list[AnnotatedSet] = []
    sources: list[Source] = []
    for path in paths:
        for split in _splits(path, splits, format):
            name = guess_format(path, split=split) if format is None else format
            found = read_annotated(path, format=name, split=split, task=task)
            file = path if path.is_file() else find_source(path, READERS[name].suffixes, split)
            sets += found
            sources += [Source(path.resolve().name, split, data_sha256(file))] * len(found)
    return sets, sources


def _splits(path: Path, splits: Sequence[str] | None, format: str | None) -> Sequence[str | None]:
    if path.is_file():
        return [None]
    if splits:
        return splits
    possible = [name for name, reader in READERS.items() if (name == format if format else reader.recognises(path))]
    is_whole = bool(possible) and not any(READERS[name].suffixes for name in possible) and not (path / DEFAULT_SPLIT).is_dir()
    return [None] if is_whole else [DEFAULT_SPLIT]


def data_sha256(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        return _sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = "\n".join(f"{file.relative_to(path).as_posix()} {_sha256(file)}" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
