"""Document → Extraction: the whole engine on one screen.

Document ──► windows ──► prompt and constraint ──► Backend ──► parse ──► ground ──► merge windows ──► Extraction
"""

import logging
import math
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

from genre_x.backends import get_backend
from genre_x.calibration import MISMATCH, Calibration, MinScore, check_min_score, select
from genre_x.document import Document, Extraction, Mention, Reason, Rejection, Span, Triple
from genre_x.errors import SchemaError, UnknownNameError
from genre_x.formats import DEFAULT_FORMAT, get_format
from genre_x.grounding import Finder, finder, nearest_pair, readable
from genre_x.interfaces import (
    Backend,
    Completion,
    GenerationConfig,
    OutputFormat,
    Prompt,
    Request,
    Strength,
    SurfaceTriple,
)
from genre_x.models import DEFAULT_MODEL, find_calibration
from genre_x.prompting import DEFAULT_TEMPLATE, PromptTemplate, marked
from genre_x.schema import LITERAL_TYPES
from genre_x.task import DEFAULT_TASK, Task, load_task
from genre_x.windows import SentenceSplitter, windows

logger = logging.getLogger(__name__)

WINDOW_TOKENS = 40
"""Length of a window: longer sentences stand alone, short ones go together. The shipped model learned from texts of mostly one
sentence; in windows of 64 tokens and more it finds fewer triples, and wrong ones."""
MAX_WINDOW_TOKENS = 256
"""Longest sentence that stays whole."""


@dataclass(frozen=True)
class _Window:
    """A part of a document, with the sentences that evidence points to.

    Attributes:
        span: Of the document; None for a document without text.
        text: What the prompt shows.
        mentions: Given mentions that lie in the window, with offsets into it; None if none were given.
    """

    document: Document
    span: Span | None
    text: str
    sentences: tuple[Span, ...]
    mentions: tuple[Mention, ...] | None
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Extracts the triples of a task from documents.

    Attributes:
        task: What to extract.
        backend: What runs the model.
        config: How to generate. With several answers and a temperature of 0, tokens are drawn at temperature 1.
        strength: How much the constraint says; `grounded` makes every head and tail a span of the text.
        n_answers: How many answers are drawn for each window. With more than one, a triple's score is the share of the answers
            that have it, so a limit of 0.5 keeps what most of them say (self-consistency, Wang et al. 2023,
            https://arxiv.org/abs/2203.11171); rejections are those of all answers, each once.
        min_score: Triples with a lower score are left out; `auto` takes the thresholds of the calibration.
        calibration: Turns the model's scores into shares of right triples; None leaves them raw.
        window_tokens: Documents are read in windows of whole sentences up to this length.
        max_window_tokens: A sentence that is longer than this is cut.
        overlap_sentences: How many sentences two neighbouring windows share.
        mark_mentions: The prompt shows the mentions that a document brings in brackets, for models that were trained with
            `mark_rate`.
    """

    task: Task
    backend: Backend
    config: GenerationConfig = field(default_factory=GenerationConfig)
    strength: Strength = "grounded"
    n_answers: int = 1
    min_score: MinScore = 0.0
    calibration: Calibration | None = None
    window_tokens: int = WINDOW_TOKENS
    max_window_tokens: int = MAX_WINDOW_TOKENS
    overlap_sentences: int = 1
    mark_mentions: bool = False

    def __post_init__(self) -> None:
        check_min_score(self.min_score, calibration=self.calibration, model=self.backend.model)
        if self.n_answers < 1:
            raise SchemaError(f"n_answers is 1 or more, found {self.n_answers}.")
        trained = self.backend.trained_template
        if trained is not None and trained != self.template.id:
            raise SchemaError(
                f"Model {self.backend.model!r} was fine-tuned with the template {trained!r}, but task "
                f"{self.task.schema.name!r} uses {self.template.id!r}. Name that template in the task file, or train anew."
            )
        self._compare_with_calibration()

    @classmethod
    def from_task(
        cls,
        task: str | Path | Task = DEFAULT_TASK,
        *,
        model: str = DEFAULT_MODEL,
        backend: str | Backend = "transformers",
        calibration: Calibration | Literal["stored"] | None = "stored",
        **options: Any,
    ) -> "Extractor":
        """Load a task and a model.

        Args:
            task: A task file, the name of a shipped task, or a task.
            model: For a backend given by name: `default`, `base`, a folder, or a Hugging Face id.
            backend: A name, or a backend that is already running.
            calibration: `stored` is the one beside the model, if it has one for this kind of answers and the backend is given
                by name; None leaves scores raw.
            options: The other attributes of the class.

        Raises:
            TaskError: The task file has faults. It is read before any model is loaded.
        """
        loaded = task if isinstance(task, Task) else load_task(task)
        if calibration == "stored":
            n_answers = options.get("n_answers", 1)
            calibration = find_calibration(model, n_answers=n_answers) if isinstance(backend, str) else None
        if isinstance(backend, str):  # before the seconds that loading takes
            check_min_score(options.get("min_score", 0.0), calibration=calibration, model=model)
        running = get_backend(backend, model=model) if isinstance(backend, str) else backend
        return cls(task=loaded, backend=running, calibration=calibration, **options)

    def _compare_with_calibration(self) -> None:
        """Say so if scores are calibrated by what was learnt from a model that was asked in another way."""
        if self.calibration is None:
            return
        different = self.calibration.mismatches(
            model=self.backend.model,
            template=self.template.id,
            output_format=self.output_format.name,
            strength=self.strength,
            n_examples=len(self.task.examples),
            n_answers=self.n_answers,
        )
        if different:
            logger.warning(MISMATCH, "; ".join(different))

    @cached_property
    def generation(self) -> GenerationConfig:
        """How answers are generated: `config`, with a temperature if there are several."""
        drawn = self.n_answers > 1 and self.config.temperature == 0
        return replace(self.config, temperature=1.0) if drawn else self.config

    @cached_property
    def template(self) -> PromptTemplate:
        trained = self.backend.trained_template
        if self.task.template is not None or trained is None:
            return PromptTemplate.load(self.task.template or DEFAULT_TEMPLATE)
        try:
            return PromptTemplate.load(trained.partition("@")[0])
        except UnknownNameError as error:
            raise SchemaError(f"Model {self.backend.model!r} was fine-tuned with the template {trained!r}. {error}") from error

    @cached_property
    def output_format(self) -> OutputFormat:
        return get_format(self.task.output_format or self.backend.trained_format or DEFAULT_FORMAT)

    @cached_property
    def _splitter(self) -> SentenceSplitter:
        return SentenceSplitter(self.task.language)

    @cached_property
    def _turns(self) -> tuple[tuple[str, str], ...]:
        write, schema = self.output_format.write, self.task.schema
        return tuple((example.text, write(example.triples or (), schema)) for example in self.task.examples)

    @cached_property
    def _longest_window(self) -> int:
        """Tokens of a document's text that fit beside the prompt and the answer, within the limit set."""
        fixed = self.backend.count_prompt_tokens(self.prompt(""))
        room = self.backend.max_context_tokens - fixed - self.config.max_new_tokens
        if room < 1:
            raise SchemaError(
                f"Task {self.task.schema.name!r} leaves no room for a text: its prompt has {fixed} tokens, an answer may have "
                f"{self.config.max_new_tokens}, and {self.backend.model} takes {self.backend.max_context_tokens}."
            )
        return min(room, self.max_window_tokens)

    def extract(self, document: str | Document) -> Extraction:
        """Extract from one text or document."""
        return next(self.pipe([document]))

    def pipe(
        self,
        documents: Iterable[str | Document],
        *,
        batch_size: int = 32,
        on_window: Callable[[int, int], None] | None = None,
    ) -> Iterator[Extraction]:
        """Extract from a stream of texts or documents.

        Args:
            documents: Read lazily. Mentions of a `Document` are the only spans that heads and tails are chosen from.
            batch_size: How many windows are decoded side by side.
            on_window: Called after each window with the number of windows read and of those known so far.

        Yields:
            One extraction per document, in the same order.
        """
        pending: deque[_Window] = deque()  # windows whose completions have not come yet: a few batches, or one document
        n_known = 0

        def requests() -> Iterator[Request]:
            nonlocal n_known
            for number, document in enumerate(documents):
                found = self._windows(_as_document(document, number))
                n_known += len(found)
                pending.extend(found)
                for window in found:
                    request = self._request(window)
                    yield from (replace(request, seed=_draw_seed(window, number)) for number in range(self.n_answers))

        completions = self.backend.generate(requests(), config=self.generation, batch_size=batch_size)
        read: list[tuple[_Window, tuple[Completion, ...]]] = []
        for n_read, answers in enumerate(zip(*repeat(completions, self.n_answers), strict=True), start=1):
            window = pending.popleft()
            read.append((window, answers))
            if on_window is not None:
                on_window(n_read, n_known)
            if window.is_last:
                yield self._merge(read)
                read = []

    def prompt(self, text: str) -> Prompt:
        """The prompt that asks for the triples of `text`."""
        return self.template.render(
            self.task.schema,
            text,
            instruction=self.task.instruction,
            hint=self.output_format.hint,
            turns=self._turns,
        )

    def _request(self, window: _Window) -> Request:
        constraint = self.output_format.constraint(
            self.task.schema, window.text, strength=self.strength, mentions=window.mentions
        )
        shown = marked(window.text, window.mentions or ()) if self.mark_mentions else window.text
        return Request(self.prompt(shown), constraint)

    def _windows(self, document: Document) -> list[_Window]:
        text = readable(document.text)
        sentences = self._splitter.split(text)
        spans = windows(
            text,
            sentences,
            self.backend.count_tokens,
            max_tokens=self._longest_window,
            aim_tokens=self.window_tokens,
            overlap=self.overlap_sentences,
        )
        if not spans:  # nothing to read: still one request, so that every document takes the same way
            spans = [(0, len(text))]
        return [
            _Window(
                document,
                Span(start, end) if start < end else None,
                text[start:end],
                tuple(Span(max(s, start), min(e, end)) for s, e in sentences if s < end and e > start),
                self._given_mentions(document, start, end),
                is_last=position == len(spans) - 1,
            )
            for position, (start, end) in enumerate(spans)
        ]

    def _given_mentions(self, document: Document, start: int, end: int) -> tuple[Mention, ...] | None:
        """The document's mentions inside a window, with the schema's names for their types; others are left out."""
        if document.mentions is None:
            return None
        schema = self.task.schema
        given = []
        for mention in document.mentions:
            if mention.start_char < start or mention.end_char > end:
                continue
            type_name = schema.resolve_type(mention.type) if mention.type is not None and schema.entity_types else None
            if mention.type is not None and schema.entity_types and type_name is None:
                continue
            given.append(replace(mention.shifted(-start), text=readable(mention.text), type=type_name))
        return tuple(given)

    def _merge(self, read: Sequence[tuple[_Window, Sequence[Completion]]]) -> Extraction:
        """One extraction from the windows of a document; of a triple found twice the higher score stays."""
        document = read[0][0].document
        triples: dict[tuple[Any, ...], Triple] = {}
        rejections: list[Rejection] = []
        for window, answers in read:
            kept, rejected = self._vote(window, answers) if self.n_answers > 1 else self._read(window, answers[0])
            rejections += rejected
            for triple in kept:
                key = self._key(triple)
                known = triples.get(key)
                if known is None or (triple.score or 0.0) > (known.score or 0.0):
                    triples[key] = triple
        # A calibration keeps the order of scores, so the best of equal triples is the best before and after it.
        return Extraction(
            document,
            select(triples.values(), calibration=self.calibration, min_score=self.min_score),
            tuple(rejections),
            tuple(answer.text for _, answers in read for answer in answers),
            self.backend.model,
            self.template.id,
        )

    def _vote(self, window: _Window, answers: Sequence[Completion]) -> tuple[list[Triple], list[Rejection]]:
        """As `_read`, with the share of the answers that have a triple as its score."""
        found: dict[tuple[Any, ...], Triple] = {}
        votes: Counter[tuple[Any, ...]] = Counter()
        rejections: dict[Rejection, None] = {}
        for answer in answers:
            kept, rejected = self._read(window, answer)
            votes.update({self._key(triple) for triple in kept})
            for triple in kept:
                found.setdefault(self._key(triple), triple)
            rejections |= dict.fromkeys(rejected)
        return [replace(triple, score=votes[key] / len(answers)) for key, triple in found.items()], list(rejections)

    def _key(self, triple: Triple) -> tuple[Any, ...]:
        relation = self.task.schema.relation_type(triple.relation)
        arguments: tuple[Mention, ...] = (triple.head, triple.tail)
        if relation is not None and relation.symmetric:
            arguments = tuple(sorted(arguments, key=lambda mention: mention.span))
        return (triple.relation, *arguments)

    def _read(self, window: _Window, completion: Completion) -> tuple[list[Triple], list[Rejection]]:
        """The triples of a window, with offsets into the document, and what was not kept."""
        parsed = self.output_format.parse(completion.text, self.task.schema)
        rejections = [Rejection(Reason.UNPARSABLE, fragment) for fragment in parsed.bad_fragments]
        if parsed.unfinished or completion.finish_reason == "length":
            reason = Reason.TRUNCATED if completion.finish_reason == "length" else Reason.UNPARSABLE
            rejections.append(Rejection(reason, parsed.unfinished))
        triples = []
        find = finder(window.text, window.mentions, [name for row in parsed.triples for name in (row.head, row.tail)])
        for surface in parsed.triples:
            outcome = self._ground(surface, window, find)
            if isinstance(outcome, Reason):
                rejections.append(Rejection(outcome, completion.text[surface.start : surface.end]))
            else:
                triples.append(replace(outcome, score=row_score(completion, surface.start, surface.end)))
        return triples, rejections

    def _ground(self, surface: SurfaceTriple, window: _Window, find: Finder) -> Triple | Reason:
        schema = self.task.schema
        relation = schema.relation_type(surface.relation)
        if relation is None:
            return Reason.UNKNOWN_RELATION
        types = []
        for allowed, written in (
            (schema.head_types(relation), surface.head_type),
            (schema.tail_types(relation), surface.tail_type),
        ):
            if len(allowed) > 1 and written not in allowed:
                return Reason.TYPE_MISMATCH
            types.append(written if len(allowed) > 1 else (allowed[0] if allowed else None))
        entity_types = [None if name in LITERAL_TYPES else name for name in types]
        if window.mentions is not None and not schema.entity_types:  # any given mention, whatever its type
            entity_types = [None if name in LITERAL_TYPES else "" for name in types]
        heads, tails = find(surface.head, entity_types[0]), find(surface.tail, entity_types[1])
        if not heads or not tails:
            return Reason.UNGROUNDED
        pair = nearest_pair(heads, tails)
        if pair is None:
            return Reason.SELF_RELATION
        text, offset = window.document.text, window.span.start_char if window.span else 0
        head, tail = (
            Mention(start + offset, end + offset, text[start + offset : end + offset], type_name)
            for (start, end), type_name in zip(pair, types, strict=True)
        )
        return Triple(head, relation.name, tail, evidence=_evidence(head, tail, window))


def row_score(completion: Completion, start: int, end: int) -> float | None:
    """Probability of a row given what stands before it, under the constraint.

    The product over the tokens that end inside the row; a token that also opens the next row belongs to that one, since
    it is the decision to go on. None if the backend gives no probabilities.
    """
    if not completion.token_ends:
        return None
    total = 0.0
    for token_end, logprob in zip(completion.token_ends, completion.token_logprobs, strict=True):
        if start < token_end <= end:
            total += logprob
    return min(1.0, math.exp(total))


def _evidence(head: Mention, tail: Mention, window: _Window) -> Span | None:
    """The sentences of the window from the first argument to the last; the window if they are in no sentence."""
    first, last = min(head.start_char, tail.start_char), max(head.end_char, tail.end_char)
    touched = [s for s in window.sentences if s.start_char < last and s.end_char > first]
    if not touched:
        return window.span
    return Span(touched[0].start_char, touched[-1].end_char)


def _draw_seed(window: _Window, number: int) -> int:
    """A seed that depends on what is asked alone, so that a stream that goes on later draws the same answers."""
    start = window.span.start_char if window.span else 0
    return zlib.crc32(f"{window.document.id}\n{start}\n{number}".encode(errors="surrogatepass"))


def _as_document(document: str | Document, number: int) -> Document:
    return document if isinstance(document, Document) else Document(f"doc-{number}", document)
