"""What a model predicted for annotated documents: a JSONL file from which every number can be computed again.

The first line says what was run; each further line holds one document with its gold and its predicted triples, whose scores
are the raw ones. Lines are written as they come, so an interrupted run can go on.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from genre_x.calibration import Entities
from genre_x.document import Document, Mention, Rejection, Triple
from genre_x.errors import DataError
from genre_x.records import to_json

ProtocolName = Literal["supervised", "transfer", "zero-shot", "few-shot", "cross-lingual"]
"""What the model has seen: the training split; nothing of the data set; none of the relation types; examples in the prompt; the
training split in other languages only."""

_KIND = "genre_x predictions 1"
_FREE = {"batch_size", "limit", "versions", "git_commit"}
"""What may differ between the two parts of a run that was resumed: it says nothing about the single prediction."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SetInfo(_Frozen):
    """One annotated set of a run.

    Attributes:
        name: Of the set; the ontologies of a data set are sets of their own.
        dataset: Folder or file it was read from.
        sha256: Of the data file.
        relations: Those the model could choose from.
        symmetric: Those of them that hold in both directions.
        prompt_sha256: Of the prompt for an empty text: instruction, schema, descriptions and examples.
        n_documents: How many of it were read.
    """

    name: str
    dataset: str | None = None
    split: str | None = None
    sha256: str | None = None
    relations: tuple[str, ...]
    symmetric: tuple[str, ...] = ()
    prompt_sha256: str
    n_documents: int


class ShotsInfo(_Frozen):
    """Few-shot examples that were drawn from annotated data.

    Attributes:
        k: How many.
        per_relation: So many for each relation, instead of altogether.
        ids: Of the documents drawn, by the position of the set.
    """

    dataset: str
    split: str | None
    k: int
    per_relation: bool
    ids: tuple[tuple[str, ...], ...]


class Run(_Frozen):
    """All that predictions depend on.

    Attributes:
        protocol: What the model has seen of these data, as the user states it; None if not stated.
        relations: All relations that the model could choose from; in `zero-shot` the unseen ones.
        n_examples: Most few-shot examples in a prompt.
        n_answers: How many were drawn for each window.
        generation: As in `GenerationConfig`.
        limit: Only the first so many documents were read.
        sample: So many documents of each set were drawn.
        seed: For generation, for drawing documents, relations and examples, and for resampling.
    """

    task: str | None = None
    protocol: ProtocolName | None = None
    entities: Entities = "generated"
    sets: tuple[SetInfo, ...]
    relations: tuple[str, ...]
    shots: ShotsInfo | None = None
    model: str
    template: str
    output_format: str
    n_examples: int = 0
    n_answers: int = 1
    strength: str
    generation: dict[str, Any]
    batch_size: int
    window_tokens: int
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    versions: dict[str, str]
    git_commit: str | None = None

    @property
    def n_documents(self) -> int:
        return sum(one.n_documents for one in self.sets)

    def differences(self, other: Self) -> list[str]:
        """What would make predictions of the other run differ, as one phrase a field."""
        mine, theirs = (_fingerprint(run) for run in (self, other))
        return [f"{name}: {mine[name]!r:.80} and {theirs[name]!r:.80}" for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was predicted for one document.

    Attributes:
        set_index: Position of its set in `Run.sets`.
        document: With its gold triples.
        triples: Predicted, with raw scores.
        n_unanchored: How many more gold triples there are that no span stands for.
        seconds: How long it took.
    """

    set_index: int
    document: Document
    triples: tuple[Triple, ...]
    rejections: tuple[Rejection, ...] = ()
    n_unanchored: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        document = self.document
        return {
            "set": self.set_index,
            "id": document.id,
            "text": document.text,
            "language": document.language,
            "mentions": None if document.mentions is None else [mention.to_dict() for mention in document.mentions],
            "gold": [_triple(triple) for triple in document.triples or ()],
            "n_unanchored": self.n_unanchored,
            "triples": [_triple(triple) for triple in self.triples],
            "rejections": [rejection.to_dict() for rejection in self.rejections],
            "seconds": round(self.seconds, 4),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        mentions = record["mentions"]
        document = Document(
            record["id"],
            record["text"],
            None if mentions is None else tuple(map(Mention.from_dict, mentions)),
            tuple(map(Triple.from_dict, record["gold"])),
            record["language"],
        )
        return cls(
            record["set"],
            document,
            tuple(map(Triple.from_dict, record["triples"])),
            tuple(map(Rejection.from_dict, record["rejections"])),
            record["n_unanchored"],
            record["seconds"],
        )


class Writer(Protocol):
    """Writes one prediction; it is on the disk when the call returns."""

    def __call__(self, prediction: Prediction) -> None: ...


def read_predictions(path: str | Path) -> tuple[Run, list[Prediction]]:
    """Read a file of predictions; a last line that was cut off while it was written is left out.

    Raises:
        DataError: The file can't be read, or is something else.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].decode("utf-8").split("\n")[:-1]  # every whole line ends with a line break
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Can't read the predictions {str(path)!r}: {error}") from error
    if not lines:
        raise DataError(f"{path} holds no predictions: it has no complete line.")
    try:
        header = json.loads(lines[0])
        if not isinstance(header, dict) or header.get("kind") != _KIND:
            raise DataError(f"{path}, line 1: not a file of predictions; expected the kind {_KIND!r}.")
        run = Run.model_validate(header["run"])
    except (json.JSONDecodeError, KeyError, ValidationError) as error:
        raise DataError(f"{path}, line 1: {error}") from error
    predictions = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            predictions.append(Prediction.from_dict(json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:  # ValueError covers broken JSON and our SchemaError
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    return run, predictions


def finished(path: Path, run: Run, documents: Iterable[Document]) -> list[Prediction]:
    """The predictions that an interrupted run left behind, if this run can go on from them.

    Args:
        path: The file; there need not be one.
        run: What is to be run.
        documents: All that it reads, in order.

    Raises:
        DataError: The file was written by another run.
    """
    if not path.is_file():
        return []
    earlier, predictions = read_predictions(path)
    if different := run.differences(earlier):
        raise DataError(f"{path} can't be resumed, it was written by another run. " + "; ".join(different))
    if len(predictions) > run.n_documents:
        raise DataError(f"{path} already has {len(predictions)} documents, but only {run.n_documents} are asked for.")
    for document, prediction in zip(documents, predictions, strict=False):  # the rest is what is still to be done
        if document.id != prediction.document.id or document.text != prediction.document.text:
            raise DataError(f"{path} can't be resumed: it has {prediction.document.id!r} where {document.id!r} is due.")
    return predictions


@contextmanager
def writer(path: Path, run: Run, done: Iterable[Prediction] = ()) -> Iterator[Writer]:
    """Open a file for predictions: the run and what is done already are written first, in one step.

    Args:
        path: Is replaced if it is there.
        run: What is run.
        done: From `finished`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    with scratch.open("w", encoding="utf-8") as file:
        _write(file, {"kind": _KIND, "run": run.model_dump(mode="json")})
        for prediction in done:
            _write(file, prediction.to_dict())
    scratch.replace(path)  # atomic: nothing that was there is lost if this is interrupted
    with path.open("a", encoding="utf-8") as file:

        def write(prediction: Prediction) -> None:
            _write(file, prediction.to_dict())
            file.flush()

        yield write


def _write(file: TextIO, record: dict[str, Any]) -> None:
    file.write(to_json(record) + "\n")


def _triple(triple: Triple) -> dict[str, Any]:
    """As `Triple.to_dict`, with the exact score: a small one must not become 0."""
    return triple.to_dict() | {"score": triple.score}


def _fingerprint(run: Run) -> dict[str, Any]:
    content = run.model_dump(exclude=_FREE)
    content["sets"] = [{key: value for key, value in one.items() if key != "n_documents"} for one in content["sets"]]
    return content
