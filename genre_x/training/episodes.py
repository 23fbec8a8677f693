"""Episodes: one sampled schema, then several documents with their answers, as one chat.

The schema's tokens are paid once for all documents of a sequence, and the model learns to take earlier turns as examples,
which is what a few-shot prompt shows it at inference. Each sequence draws its schema anew, so that the model learns to read
the prompt and not to recite one data set.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document, Triple
from genre_x.interfaces import Message, OutputFormat
from genre_x.prompting import PromptTemplate
from genre_x.schema import Schema
from genre_x.training.config import EpisodesConfig


@dataclass(frozen=True)
class Episode:
    """One training sequence.

    Attributes:
        messages: Ends with an answer.
        n_documents: How many answers there are.
    """

    source: str
    messages: tuple[Message, ...]
    n_documents: int


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

    def build(self, source: AnnotatedSet, rng: random.Random, *, repeat: int = 1) -> Iterator[Episode]:
        """All documents of `source`, `repeat` times, each in one episode; a document that is too long is left out."""
        for _ in range(repeat):
            documents = [document for document in source.documents if document.id not in source.unanchored]
            rng.shuffle(documents)
            while documents:
                episode, n_used = self._episode(source, documents, rng)
                if episode is not None:
                    yield episode
                del documents[:n_used]

    def _episode(self, source: AnnotatedSet, documents: Sequence[Document], rng: random.Random) -> tuple[Episode | None, int]:
        """An episode of the first of `documents`, and how many of them it used up."""
        candidates = documents[: self.config.max_documents]
        schema = self._sample(source.schema, candidates, rng) if self.config.sample_schema else source.schema
        messages: tuple[Message, ...] = ()
        for n_used in range(1, len(candidates) + 1):
            longer = self._messages(source, schema, candidates[:n_used])
            if self.count_tokens(longer) > self.config.max_tokens:
                if not messages:
                    return None, 1
                return Episode(source.name, messages, n_used - 1), n_used - 1
            messages = longer
        return Episode(source.name, messages, len(candidates)), len(candidates)

    def _messages(self, source: AnnotatedSet, schema: Schema, documents: Sequence[Document]) -> tuple[Message, ...]:
        turns = [(document.text, self.output_format.write(within(document, schema), schema)) for document in documents]
        prompt = self.template.render(
            schema,
            turns[-1][0],
            instruction=source.instruction,
            hint=self.output_format.hint,
            turns=turns[:-1],
        )
        return (*prompt.messages, Message("assistant", turns[-1][1]))

    def _sample(self, schema: Schema, documents: Sequence[Document], rng: random.Random) -> Schema:
        """A random part of `schema` that mostly covers what `documents` say, with other relation types as distractors."""
        config = self.config
        stated = {triple.relation for document in documents for triple in document.triples or ()}
        kept = [r for r in schema.relation_types if r.name in stated and rng.random() >= config.drop_rate]
        others = [r for r in schema.relation_types if r.name not in stated]
        n_others = rng.randint(0 if kept else 1, max(1, config.max_relation_types - len(kept)))
        relations = kept + rng.sample(others, min(len(others), n_others))
        relations = relations[: config.max_relation_types] or [rng.choice(schema.relation_types)]
        rng.shuffle(relations)
        entities = list(schema.entity_types)
        rng.shuffle(entities)
        if rng.random() >= config.description_rate:
            relations = [relation.model_copy(update={"description": ""}) for relation in relations]
            entities = [entity.model_copy(update={"description": ""}) for entity in entities]
        if rng.random() >= config.type_rate or not _types_known(schema, documents):
            entities = []
            relations = [relation.model_copy(update={"head_types": (), "tail_types": ()}) for relation in relations]
        else:
            used = {name for relation in relations for name in (*relation.head_types, *relation.tail_types)}
            entities = [entity for entity in entities if entity.name in used or not used]
        names = {relation.name for relation in relations}
        relations = [
            relation if relation.inverse in names else relation.model_copy(update={"inverse": None}) for relation in relations
        ]
        return Schema(name=schema.name, entity_types=tuple(entities), relation_types=tuple(relations))


def within(document: Document, schema: Schema) -> list[Triple]:
    """The document's triples whose relation is in `schema`, in text order."""
    triples = [triple for triple in document.triples or () if schema.relation_type(triple.relation) is not None]
    return sorted(triples, key=lambda t: (t.head.start_char, t.tail.start_char, t.relation))


def _types_known(schema: Schema, documents: Sequence[Document]) -> bool:
    """Whether every type that the format would write is annotated."""
    if not schema.entity_types:
        return True
    return all(
        mention.type is not None
        for document in documents
        for triple in document.triples or ()
        for mention in (triple.head, triple.tail)
    )
