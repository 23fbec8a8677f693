"""Episodes: one sampled schema, then several documents with their answers, as one chat.

The schema's tokens are paid once for all documents of a sequence, and the model learns to take earlier turns as examples,
which is what a few-shot prompt shows it at inference.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document
from genre_x.interfaces import Message, OutputFormat
from genre_x.prompting import PromptTemplate
from genre_x.schema import Schema
from genre_x.training.augmentation import Augmenter
from genre_x.training.config import EpisodesConfig
from genre_x.training.joining import Candidate, joined
from genre_x.training.schemas import SchemaSampler, express, express_mentions, is_grounded, load_paraphrases
from genre_x.training.tally import LeftOut, Tally

_LOOK_AHEAD = 400
"""How many waiting documents that have, or have not, an answer under the sampled schema are tried."""


@dataclass(frozen=True)
class Episode:
    """One training sequence.

    Attributes:
        messages: Ends with an answer.
        schema: What the system message shows.
        n_documents: How many answers there are.
        n_empty: How many of them say that there are no triples.
        n_tokens: Length of the chat.
    """

    source: str
    messages: tuple[Message, ...]
    schema: Schema
    n_documents: int
    n_empty: int
    n_tokens: int


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

    def build(
        self,
        source: AnnotatedSet,
        rng: random.Random,
        *,
        max_relation_types: int | None = None,
        augmenter: Augmenter | None = None,
        tally: Tally | None = None,
    ) -> Iterator[Episode]:
        """One pass over the documents of `source`; each is in one episode at most.

        Args:
            source: Documents and their schema.
            rng: Decides everything that is left to chance.
            max_relation_types: Instead of the general setting.
            augmenter: Changes the documents that are used.
            tally: Gets what becomes of each document.
        """
        tally = Tally(len(source.documents)) if tally is None else tally
        documents = [document for document in source.documents if document.id not in source.unanchored]
        tally.leave((d.id for d in source.documents if d.id in source.unanchored), LeftOut.UNGROUNDED)
        rng.shuffle(documents)
        waiting = list(joined(documents, self.config.join_rate, rng))
        one = _Pass(self, source, rng, max_relation_types, augmenter, tally, waiting)
        return one.episodes()

    @cached_property
    def sampler(self) -> SchemaSampler:
        return SchemaSampler(config=self.config, paraphrases=load_paraphrases(self.config.paraphrases))


@dataclass(frozen=True)
class _Turn:
    text: str
    answer: str
    is_empty: bool


@dataclass
class _Pass:
    """One reading of a source.

    Attributes:
        waiting: What is not yet used, in random order.
    """

    builder: EpisodeBuilder
    source: AnnotatedSet
    rng: random.Random
    limit: int | None
    augmenter: Augmenter | None
    tally: Tally
    waiting: list[Candidate]

    def episodes(self) -> Iterator[Episode]:
        while self.waiting:
            want_empty = self._wants_empty()
            place = self._first(want_empty=want_empty)
            if place is None:
                for candidate in self.waiting:
                    self.tally.leave(candidate.ids, LeftOut.EMPTY)
                return
            candidate = self.waiting.pop(place)
            schema = self.source.schema
            if self.builder.config.sample_schema:
                schema = self.builder.sampler.sample(
                    schema, candidate.document, self.rng, max_relation_types=self.limit, want_empty=want_empty
                )
            episode = self._episode(candidate, schema)
            if episode is not None:
                yield episode

    def _wants_empty(self) -> bool:
        return self.rng.random() < self.builder.config.empty_rate

    def _first(self, *, want_empty: bool) -> int | None:
        """The place of the document that an episode is made for; None if only documents beyond the empty rate are left."""
        answered = next((place for place, candidate in enumerate(self.waiting) if candidate.relations), None)
        if answered is None:
            return None if self.builder.config.sample_schema else 0
        if not want_empty:
            return answered
        return next((place for place, candidate in enumerate(self.waiting) if not candidate.relations), answered)

    def _episode(self, first: Candidate, schema: Schema) -> Episode | None:
        """An episode that starts with `first`; what else it uses is taken out of `waiting`."""
        config = self.builder.config
        turn = self._turn(first, schema)
        if isinstance(turn, LeftOut):
            self._leave(first, turn)
            return None
        messages = self._exchange(schema, turn)
        n_tokens = self.builder.count_tokens(messages)
        if n_tokens > config.max_tokens:
            self._leave(first, LeftOut.TOO_LONG)
            return None
        turns = [turn]
        self.tally.use(first.ids)
        shown = {r.name for r in self.source.schema.relation_types if schema.resolve_relation(r.name) is not None}
        while len(turns) < config.max_documents:
            found = self._next(schema, shown, want_empty=self._wants_empty())
            if found is None:
                break
            place, turn = found
            alone = self._exchange(schema, turn)
            longer = (*messages, *alone[-2:])
            n_longer = self.builder.count_tokens(longer)
            if n_longer > config.max_tokens:
                if self.builder.count_tokens(alone) <= config.max_tokens:
                    break
                self._leave(self.waiting.pop(place), LeftOut.TOO_LONG)  # else it would end every episode that tries it
                continue
            self.tally.use(self.waiting.pop(place).ids)
            messages, n_tokens = longer, n_longer
            turns.append(turn)
        n_empty = sum(turn.is_empty for turn in turns)
        return Episode(self.source.name, messages, schema, len(turns), n_empty, n_tokens)

    def _leave(self, candidate: Candidate, reason: LeftOut) -> None:
        """Leave a document out; of one that was joined, the parts get another chance."""
        if len(candidate.parts) > 1:
            self.waiting[:0] = [Candidate.of([part]) for part in candidate.parts]
        else:
            self.tally.leave(candidate.ids, reason)

    def _next(self, schema: Schema, shown: set[str], *, want_empty: bool) -> tuple[int, _Turn] | None:
        """The place and the turn of the next document that has, or has not, an answer under `schema`.

        Where there is none without an answer, one with an answer is taken; the other way round only for whole schemas.
        """
        wishes = (want_empty, False) if self.builder.config.sample_schema else (want_empty, not want_empty)
        for wish in dict.fromkeys(wishes):
            fitting = ((place, one) for place, one in enumerate(self.waiting) if one.relations.isdisjoint(shown) == wish)
            for place, candidate in islice(fitting, _LOOK_AHEAD):
                turn = self._turn(candidate, schema)
                if isinstance(turn, _Turn):
                    return place, turn
        return None

    def _turn(self, candidate: Candidate, schema: Schema) -> _Turn | LeftOut:
        """A document with its answer, or why there is none."""
        document: Document = candidate.document
        if self.augmenter is not None:
            document = self.augmenter(document, self.rng)
        triples = express(document, schema)
        if triples is None:
            return LeftOut.UNKNOWN_TYPES
        if not is_grounded(document, triples):
            return LeftOut.UNGROUNDED
        answer = self.builder.output_format.write(triples, schema, express_mentions(document, schema))
        shown = document.text if self.augmenter is None else self.augmenter.shown(document, self.rng)
        return _Turn(shown, answer, is_empty=not triples)

    def _exchange(self, schema: Schema, turn: _Turn) -> tuple[Message, ...]:
        """The chat with this document alone; its last two messages are what it adds to a longer one."""
        prompt = self.builder.template.render(
            schema, turn.text, instruction=self.source.instruction, hint=self.builder.output_format.hint
        )
        return (*prompt.messages, Message("assistant", turn.answer))
