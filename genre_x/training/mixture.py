"""A mixture of sources: which documents a run learns from, and how often."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from genre_x.datasets import AnnotatedSet, load_dataset, load_sentences
from genre_x.errors import DataError
from genre_x.task import load_task
from genre_x.training.config import Mixture, SourceConfig
from genre_x.training.episodes import Episode, EpisodeBuilder


@dataclass(frozen=True)
class LoadedSource:
    """A source with its documents; a data set with several schemas gives several sets."""

    config: SourceConfig
    sets: tuple[AnnotatedSet, ...]


def load_mixture(mixture: Mixture, seed: int) -> list[LoadedSource]:
    """Read the sources of a mixture.

    Raises:
        DataError: A source can't be read, or nothing is left of it.
    """
    loaded = []
    for source in mixture.sources:
        forbidden = {*mixture.leave_out, *source.leave_out}
        read = (_in_languages(one, source.languages) for one in _read(source))
        sets = [kept for one in read if (kept := without(stated(one), forbidden)) is not None]
        if not sets:
            raise DataError(f"{source.dataset or source.sentences}: nothing is left without {', '.join(sorted(forbidden))}.")
        if source.max_documents is not None:
            sets = _at_most(sets, source.max_documents, random.Random(seed))
        loaded.append(LoadedSource(source, tuple(sets)))
    return loaded


def build_episodes(
    sources: Sequence[LoadedSource], builder: EpisodeBuilder, rng: random.Random, *, tokens: int | None = None
) -> list[Episode]:
    """The training sequences of an epoch, in random order.

    Args:
        sources: From `load_mixture`.
        builder: Makes the episodes.
        rng: Decides everything that is left to chance.
        tokens: As of `Mixture`.

    Raises:
        DataError: No document of a source fits into a sequence.
    """
    total = sum(source.config.share for source in sources)
    episodes = []
    for source in sources:
        budget = None if tokens is None else tokens * source.config.share / total
        found = list(_episodes_of(source, builder, rng, budget))
        if not found:
            name = source.config.dataset or source.config.sentences
            raise DataError(f"No document of {name} fits into {builder.config.max_tokens} tokens. Raise episodes.max_tokens.")
        episodes += found
    rng.shuffle(episodes)
    return episodes


def describe(episodes: Sequence[Episode]) -> list[dict[str, int | str]]:
    """For each set, how many sequences, documents, empty answers and tokens there are."""
    counts: dict[str, Counter[str]] = {}
    for episode in episodes:
        one = counts.setdefault(episode.source, Counter())
        one.update(sequences=1, documents=episode.n_documents, empty=episode.n_empty, tokens=episode.n_tokens)
    return [{"source": name, **counts[name]} for name in sorted(counts)]


def stated(annotated: AnnotatedSet) -> AnnotatedSet:
    """The set without the relation types that none of its documents states: shown, they would only teach to be ignored."""
    found = {triple.relation for document in annotated.documents for triple in document.triples or ()}
    unknown = {relation.name for relation in annotated.schema.relation_types} - found
    return without(annotated, unknown) or annotated


def without(annotated: AnnotatedSet, forbidden: set[str]) -> AnnotatedSet | None:
    """The set without some relation types and without the documents that state one; None if nothing is left.

    Args:
        annotated: Any set.
        forbidden: Names or aliases of relation types.
    """
    schema = annotated.schema
    gone = {relation.name for relation in schema.relation_types if forbidden & {relation.name, *relation.aliases}}
    if not gone:
        return annotated
    kept = tuple(relation for relation in schema.relation_types if relation.name not in gone)
    documents = tuple(d for d in annotated.documents if not any(triple.relation in gone for triple in d.triples or ()))
    if not kept or not documents:
        return None
    kept = tuple(r.model_copy(update={"inverse": None}) if r.inverse in gone else r for r in kept)
    return replace(annotated, schema=schema.model_copy(update={"relation_types": kept}), documents=documents)


def _read(source: SourceConfig) -> list[AnnotatedSet]:
    if source.sentences is not None:
        return [load_sentences(source.sentences, source.task or "")]
    task = load_task(source.task) if source.task else None
    return load_dataset(source.dataset or "", source.split or "", task=task)


def _episodes_of(source: LoadedSource, builder: EpisodeBuilder, rng: random.Random, budget: float | None) -> Iterator[Episode]:
    """One source's episodes: `repeat` passes, or as many as fill the budget of tokens."""
    n_tokens, n_passes = 0, 0
    while (n_passes < source.config.repeat) if budget is None else (n_tokens < budget):
        n_before = n_tokens
        for episode in _one_pass(source, builder, rng):
            n_tokens += episode.n_tokens
            yield episode
            if budget is not None and n_tokens >= budget:
                return
        if n_tokens == n_before:
            return
        n_passes += 1


def _one_pass(source: LoadedSource, builder: EpisodeBuilder, rng: random.Random) -> Iterator[Episode]:
    """Every document once, the sets of the source in turn by their size; built only as far as it is read."""
    passes = [builder.build(one, rng, max_relation_types=source.config.max_relation_types) for one in source.sets]
    weights = [len(one.documents) for one in source.sets]
    while passes:
        place = rng.choices(range(len(passes)), weights)[0]
        episode = next(passes[place], None)
        if episode is None:
            del passes[place], weights[place]
        else:
            yield episode


def _in_languages(annotated: AnnotatedSet, languages: Sequence[str]) -> AnnotatedSet:
    if not languages:
        return annotated
    return replace(annotated, documents=tuple(d for d in annotated.documents if d.language in languages))


def _at_most(sets: Sequence[AnnotatedSet], n_documents: int, rng: random.Random) -> list[AnnotatedSet]:
    every = [(index, document) for index, annotated in enumerate(sets) for document in annotated.documents]
    chosen = rng.sample(every, min(n_documents, len(every)))
    return [
        replace(annotated, documents=tuple(document for index, document in chosen if index == position))
        for position, annotated in enumerate(sets)
    ]
