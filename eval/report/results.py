"""Result files: read, checked, and looked into by path, so that what is missing in an old one is missing and not an error."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from genre_x.errors import DataError

Step = str | int
QUALITY = ("quality.", "supervised.", "transfer.", "few-shot.", "zero-shot.")
"""How the names of results on annotated data start."""


class _Loose(BaseModel):
    """Every key may be missing, and others may be there; but what is there has its type."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Counts(_Loose):
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None


class _Scores(_Loose):
    strict: _Counts | None = None
    boundaries: _Counts | None = None
    text: _Counts | None = None
    undirected: _Counts | None = None
    strict_with_rejections: _Counts | None = None
    macro: _Counts | None = None
    per_relation: dict[str, _Counts] | None = None
    n_documents: int | None = None
    n_empty: int | None = None
    n_empty_with_predictions: int | None = None
    empty_false_positive_rate: float | None = None


class _Errors(_Loose):
    false_positives: dict[str, int] | None = None
    false_negatives: dict[str, int] | None = None


class _Calibration(_Loose):
    ece_raw: float | None = None
    ece_calibrated: float | None = None
    in_sample: bool | None = None
    bins: list[dict[str, float | None]] | None = None
    bins_calibrated: list[dict[str, float | None]] | None = None
    curve: list[dict[str, float]] | None = None


class _Result(_Loose):
    dataset: str | None = None
    split: str | None = None
    model: str | None = None
    template: str | None = None
    protocol: str | None = None
    entities: str | None = None
    seed: int | None = None
    scores: _Scores | None = None
    before: _Scores | None = None
    after: _Scores | None = None
    rejections: dict[str, int] | None = None
    errors: _Errors | None = None
    ci: dict[str, Any] | None = None
    calibration: _Calibration | None = None
    relations: list[str] | None = None
    sets: list[dict[str, Any]] | None = None
    log: list[dict[str, Any]] | None = None
    duration_s: float | None = None
    versions: dict[str, str] | None = None
    git_commit: str | None = None


@dataclass(frozen=True)
class ResultFile:
    """What one JSON file holds.

    Attributes:
        name: Of the file, without `.json`.
    """

    name: str
    content: Mapping[str, Any]

    @property
    def file(self) -> str:
        return f"{self.name}.json"

    def get(self, *path: Step) -> Any:
        """The value at a path of keys and positions; None if there is none."""
        found: Any = self.content
        for step in path:
            if isinstance(step, str) and isinstance(found, Mapping):
                found = found.get(step)
            elif isinstance(step, int) and isinstance(found, list) and step < len(found):
                found = found[step]
            else:
                return None
        return found

    def number(self, *path: Step) -> float | None:
        """The number at a path.

        Raises:
            DataError: There is something else.
        """
        value = self.get(*path)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
            return value
        raise DataError(f"{self.file}: expected a number at {'.'.join(map(str, path))!r}, found {value!r:.80}.")

    def text(self, *path: Step) -> str | None:
        """The string at a path, or what stands there written as JSON."""
        value = self.get(*path)
        return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


Results = Mapping[str, ResultFile]


def load_results(folder: Path) -> dict[str, ResultFile]:
    """All result files of a folder, by name without suffix, in order.

    Raises:
        DataError: Some can't be read; all of them are named.
    """
    found: dict[str, ResultFile] = {}
    faults: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found[path.stem] = load_result(path)
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError("\n".join(["Result files with faults:", *(f"  - {fault}" for fault in faults)]), faults=faults)
    return found


def load_result(path: Path, name: str | None = None) -> ResultFile:
    """Read one file.

    Args:
        path: Of the file.
        name: What it is called in the report; by default its own name.

    Raises:
        DataError: It is no JSON object, or known keys hold something else than a result has there.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _fault([f"{path.name}: not JSON: {error}"]) from error
    if not isinstance(content, dict):
        raise _fault([f"{path.name}: expected a JSON object, found {type(content).__name__}"])
    try:
        _Result.model_validate(content)
    except ValidationError as error:
        raise _fault(f"{path.name}: {fault}" for fault in describe(error)) from error
    return ResultFile(name or path.stem, content)


def describe(error: ValidationError) -> list[str]:
    """One line a fault: where, what is wrong, what was found."""
    return [
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}; found {detail['input']!r:.80}"
        for detail in error.errors(include_url=False)
    ]


def named(results: Results, *prefixes: str) -> list[ResultFile]:
    """The results whose names start so."""
    return [result for name, result in results.items() if name.startswith(prefixes)]


def scored(results: Results) -> list[ResultFile]:
    """The results of models on annotated data."""
    return [result for result in named(results, *QUALITY) if result.get("scores") is not None]


def _fault(faults: Iterable[str]) -> DataError:
    lines = list(faults)
    return DataError("\n".join(lines), faults=lines)
