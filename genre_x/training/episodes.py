"""Episodes: one sampled schema, then several documents with their answers, as one chat.

The schema's tokens are paid once for all documents of a sequence, and the model learns to take earlier turns as examples,
which is what a few-shot prompt shows it at inference.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document
from genre_x.interfaces import Message, OutputFormat
from genre_x.prompting import PromptTemplate
from genre_x.schema import Schema
from genre_x.training.config import EpisodesConfig
from genre_x.training.schemas import SchemaSampler, express, load_paraphrases

_LOOK_AHEAD = 400
"""How many waiting documents are searched for one that fits the sampled schema."""

_MOST_JOINED = 3


@dataclass(frozen=True)
class Episode:
    """One training sequence.

    Attributes:
        messages: Ends with an answer.
        n_documents: How many answers there are.
        n_empty: How many of them say that there are no triples.
        n_tokens: Length of the chat.
    """

    source: str
    messages: tuple[Message, ...]
    n_documents: int
    n_empty: int
    n_tokens: int


@dataclass(frozen=True)
class _Turn:
    text: str
    answer: str
    is_empty: bool


@dataclass(frozen=True, kw_only=True)
class EpisodeBuilder:
    """Turns annotated documents into episodes.

    Attributes:
        count_tokens: Length of a chat.
    """

    template: PromptTemplate
    output_format: OutputFormat
    config: EpisodesConfig
    count_tokens: Callable[[Sequence[Message]], int]

    def build(self, source: AnnotatedSet, rng: random.Random, *, max_relation_types: int | None = None) -> Iterator[Episode]:
        """One pass over the documents of `source`.

        Each document is in one episode at most. Left out are those that are too long, those with gold triples that do not
        stand in the text, and those without an answer beyond `empty_rate`.
        """
        waiting = [document for document in source.documents if document.id not in source.unanchored]
        rng.shuffle(waiting)
        if self.config.join_rate:
            waiting = list(_joined(waiting, self.config.join_rate, rng))
        while waiting:
            schema = source.schema
            if self.config.sample_schema:
                want_empty = rng.random() < self.config.empty_rate
                places = {bool(document.triples): place for place, document in reversed(list(enumerate(waiting)))}
                if True not in places:
                    return
                waiting.insert(0, waiting.pop(places.get(not want_empty, places[True])))
                schema = self._sampler.sample(schema, waiting[0], rng, max_relation_types=max_relation_types)
            episode = self._episode(source, schema, waiting, rng)
            if episode is not None:
                yield episode

    @cached_property
    def _sampler(self) -> SchemaSampler:
        return SchemaSampler(config=self.config, paraphrases=load_paraphrases(self.config.paraphrases))

    def _episode(self, source: AnnotatedSet, schema: Schema, waiting: list[Document], rng: random.Random) -> Episode | None:
        """An episode that starts with the first of `waiting`; the documents it used are taken out."""
        turns = [self._turn(waiting.pop(0), schema)]
        if turns[0] is None:
            return None
        messages = self._messages(source, schema, turns)
        n_tokens = self.count_tokens(messages)
        if n_tokens > self.config.max_tokens:
            return None
        while len(turns) < self.config.max_documents:
            found = self._next(schema, waiting, want_empty=rng.random() < self.config.empty_rate)
            if found is None:
                break
            place, turn = found
            n_tokens += self._n_turn_tokens(turn)
            if n_tokens > self.config.max_tokens:
                break
            del waiting[place]
            turns.append(turn)
        messages = self._messages(source, schema, turns)
        n_empty = sum(turn.is_empty for turn in turns)
        return Episode(source.name, messages, len(turns), n_empty, self.count_tokens(messages))

    def _next(self, schema: Schema, waiting: Sequence[Document], *, want_empty: bool) -> tuple[int, _Turn] | None:
        """The place and the turn of the next document that has, or has not, an answer under `schema`."""
        for place, document in enumerate(islice(waiting, _LOOK_AHEAD)):
            turn = self._turn(document, schema)
            if turn is not None and (not self.config.sample_schema or turn.is_empty == want_empty):
                return place, turn
        return None

    def _turn(self, document: Document, schema: Schema) -> _Turn | None:
        """A document with its answer; None if its types are not known."""
        triples = express(document, schema)
        if triples is None:
            return None
        return _Turn(document.text, self.output_format.write(triples, schema), is_empty=not triples)

    def _messages(self, source: AnnotatedSet, schema: Schema, turns: Sequence[_Turn]) -> tuple[Message, ...]:
        prompt = self.template.render(
            schema,
            turns[-1].text,
            instruction=source.instruction,
            hint=self.output_format.hint,
            turns=[(turn.text, turn.answer) for turn in turns[:-1]],
        )
        return (*prompt.messages, Message("assistant", turns[-1].answer))

    def _n_turn_tokens(self, turn: _Turn) -> int:
        """What one more turn adds to a chat: contents are encoded apart from what is around them."""
        frame = (Message("system", ""), Message("user", ""), Message("assistant", ""))
        contents = self.count_tokens((frame[0], Message("user", turn.text), Message("assistant", turn.answer)))
        return contents - self.count_tokens(frame) + self._n_frame_tokens

    @cached_property
    def _n_frame_tokens(self) -> int:
        turn = (Message("user", ""), Message("assistant", ""))
        return self.count_tokens((Message("system", ""), *turn, *turn)) - self.count_tokens((Message("system", ""), *turn))


def _joined(documents: Sequence[Document], rate: float, rng: random.Random) -> Iterator[Document]:
    """The documents, some of them behind one another as one text."""
    rest = iter(documents)
    for document in rest:
        parts = [document]
        if rng.random() < rate:
            parts += islice(rest, rng.randint(1, _MOST_JOINED - 1))
        yield join(parts)


def join(documents: Sequence[Document]) -> Document:
    """Several documents as one text, with a space between them.

    >>> join([Document("a", "Ada.", triples=()), Document("b", "Bob.", triples=())]).text
    'Ada. Bob.'
    """
    first, *others = documents
    text, triples = first.text, list(first.triples or ())
    for other in others:
        offset = len(text) + 1
        text = f"{text} {other.text}"
        triples += [
            replace(triple, head=triple.head.shifted(offset), tail=triple.tail.shifted(offset), evidence=None)
            for triple in other.triples or ()
        ]
    return Document("+".join(document.id for document in documents), text, None, tuple(triples), first.language)
