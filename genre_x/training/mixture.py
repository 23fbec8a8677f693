"""A mixture of sources: which documents a run learns from, and how often."""

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from genre_x.datasets import AnnotatedSet, load_dataset, load_sentences
from genre_x.document import Document
from genre_x.errors import DataError
from genre_x.readers import read_annotated
from genre_x.task import load_task
from genre_x.training.augmentation import Augmenter
from genre_x.training.back_translation import back_translated
from genre_x.training.config import AugmentationConfig, Mixture, SourceConfig
from genre_x.training.episodes import Episode, EpisodeBuilder
from genre_x.training.tally import Tally

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedSource:
    """A source with its documents; a data set with several schemas gives several sets.

    Attributes:
        weight: Its part of the epoch's tokens; the weights of a mixture's sources sum to 1.
        augmentation: Its own, or the mixture's.
        is_replayed: It is old data, see `Replay`.
        n_untranslated: How many documents were left as they were because their back-translation lost a mention.
    """

    config: SourceConfig
    sets: tuple[AnnotatedSet, ...]
    weight: float
    augmentation: AugmentationConfig
    is_replayed: bool = False
    n_untranslated: int = 0


@dataclass(frozen=True)
class SetReport:
    """What an epoch takes from one set.

    Attributes:
        n_bad: Records that could not be read.
        tally: What became of the others.
    """

    name: str
    episodes: tuple[Episode, ...]
    tally: Tally
    n_bad: int
    n_untranslated: int
    is_replayed: bool

    @property
    def n_tokens(self) -> int:
        return sum(episode.n_tokens for episode in self.episodes)


def load_mixture(mixture: Mixture, seed: int) -> list[LoadedSource]:
    """Read the sources of a mixture, and those that it replays.

    Args:
        mixture: The sources.
        seed: Draws the documents under `max_documents`, and those that are back-translated.

    Raises:
        DataError: A source can't be read, or nothing is left of it.
    """
    old = mixture.replay
    loaded = _load_all(mixture, set(mixture.leave_out), 1 - (old.share if old else 0), seed)
    if old is not None:
        forbidden = {*mixture.leave_out, *old.mixture.leave_out}
        loaded += [replace(one, is_replayed=True) for one in _load_all(old.mixture, forbidden, old.share, seed)]
    return loaded


def load_sets(mixture: Mixture, seed: int) -> list[AnnotatedSet]:
    """All sets of a mixture, to be scored: for development, or for what an old model could do."""
    return [annotated for source in load_mixture(mixture, seed) for annotated in source.sets]


def build_episodes(
    sources: Sequence[LoadedSource], builder: EpisodeBuilder, rng: random.Random, *, tokens: int | None = None
) -> list[Episode]:
    """The training sequences of an epoch, in random order; see `build_reports`."""
    reports = build_reports(sources, builder, rng, tokens=tokens)
    episodes = [episode for report in reports for episode in report.episodes]
    rng.shuffle(episodes)
    return episodes


def build_reports(
    sources: Sequence[LoadedSource], builder: EpisodeBuilder, rng: random.Random, *, tokens: int | None = None
) -> list[SetReport]:
    """The training sequences of an epoch, set by set.

    Args:
        sources: From `load_mixture`.
        builder: Makes the episodes.
        rng: Decides everything that is left to chance.
        tokens: As of `Mixture`. Without them, old data get their share beside what the new data come to.

    Raises:
        DataError: No document of a source can be used.
    """
    reports: list[SetReport] = []
    for source in sorted(sources, key=lambda one: one.is_replayed):
        budget = None if tokens is None else tokens * source.weight
        if tokens is None and source.is_replayed:
            n_new = sum(report.n_tokens for report in reports if not report.is_replayed)
            budget = n_new * source.weight / sum(one.weight for one in sources if not one.is_replayed)
        found = _reports_of(source, builder, rng, budget)
        if not any(report.episodes for report in found):
            reasons = sum((Counter(report.tally.left_out) for report in found), Counter())
            left_out = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            raise DataError(
                f"No document of {source.config.place} fits into {builder.config.max_tokens} tokens. "
                f"Left out: {left_out or 'none'}. Raise episodes.max_tokens, or leave the source out."
            )
        reports += found
    for report in reports:
        if left_out := ", ".join(f"{count} {reason}" for reason, count in report.tally.left_out.items()):
            logger.info("%s: of %d documents left out: %s", report.name, report.tally.n_documents, left_out)
    return reports


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
    return _without_names(annotated, unknown) or annotated


def without(annotated: AnnotatedSet, forbidden: set[str]) -> AnnotatedSet | None:
    """The set without some relation types and without the documents that state one; None if nothing is left.

    Args:
        annotated: Any set.
        forbidden: Names or aliases of relation types.
    """
    gone = {r.name for r in annotated.schema.relation_types if forbidden & {r.name, *r.aliases}}
    return _without_names(annotated, gone)


def _without_names(annotated: AnnotatedSet, gone: set[str]) -> AnnotatedSet | None:
    if not gone:
        return annotated
    schema = annotated.schema
    kept = tuple(relation for relation in schema.relation_types if relation.name not in gone)
    documents = tuple(d for d in annotated.documents if not any(triple.relation in gone for triple in d.triples or ()))
    if not kept or not documents:
        return None
    kept = tuple(r.model_copy(update={"inverse": None}) if r.inverse in gone else r for r in kept)
    return replace(annotated, schema=schema.model_copy(update={"relation_types": kept}), documents=documents)


def _load_all(mixture: Mixture, forbidden: set[str], weight: float, seed: int) -> list[LoadedSource]:
    """The sources of a mixture, without what it replays; `weight` is what they get together."""
    total = sum(source.share for source in mixture.sources)
    return [
        _load(source, {*forbidden, *source.leave_out}, weight * source.share / total, mixture.augmentation, seed)
        for source in mixture.sources
    ]


def _load(source: SourceConfig, forbidden: set[str], weight: float, general: AugmentationConfig, seed: int) -> LoadedSource:
    sets = []
    for one in _read(source):
        documents = tuple(d for d in one.documents if _is_taken(d, source))
        kept = without(replace(one, documents=documents), forbidden) if documents else None
        if kept is not None:
            sets.append(stated(kept))
    if not sets:
        conditions = [f"without {', '.join(sorted(forbidden))}"] if forbidden else []
        conditions += [f"in {', '.join(source.languages)}"] if source.languages else []
        conditions += [f"in the part {list(source.part)}"] if source.part != (0, 1) else []
        raise DataError(f"{source.place}: no document is left {' and '.join(conditions)}.")
    rng = random.Random(seed)
    if source.max_documents is not None:
        sets = _at_most(sets, source.max_documents, rng)
    augmentation = source.augmentation or general
    n_untranslated = 0
    if augmentation.back_translation is not None and augmentation.back_translation_rate:
        for place, one in enumerate(sets):
            documents, n_left = back_translated(
                one.documents, augmentation.back_translation, augmentation.back_translation_rate, rng
            )
            sets[place] = replace(one, documents=documents)
            n_untranslated += n_left
    return LoadedSource(source, tuple(sets), weight, augmentation, n_untranslated=n_untranslated)


def _is_taken(document: Document, source: SourceConfig) -> bool:
    if source.languages and document.language not in source.languages:
        return False
    place = int.from_bytes(hashlib.sha256(document.text.encode()).digest()[:8]) / 2**64
    return source.part[0] <= place < source.part[1]


def _read(source: SourceConfig) -> list[AnnotatedSet]:
    if source.sentences is not None:
        return [load_sentences(source.sentences, source.task or "", skip_bad=source.skip_bad)]
    task = load_task(source.task) if source.task else None
    if source.dataset is not None:
        return load_dataset(source.dataset, source.split or "", task=task, skip_bad=source.skip_bad)
    return read_annotated(source.place, format=source.format, split=source.split, task=task, skip_bad=source.skip_bad)


def _reports_of(source: LoadedSource, builder: EpisodeBuilder, rng: random.Random, budget: float | None) -> list[SetReport]:
    """One source's episodes: `repeat` passes, or as many as fill the budget of tokens."""
    tallies = [Tally(len(one.documents)) for one in source.sets]
    found: list[list[Episode]] = [[] for _ in source.sets]
    augmenters = [Augmenter.of(one, source.augmentation) for one in source.sets]
    n_tokens, n_passes = 0, 0
    while (n_passes < source.config.repeat) if budget is None else (n_tokens < budget):
        n_before = n_tokens
        for place, episode in _one_pass(source, builder, rng, augmenters, tallies):
            n_tokens += episode.n_tokens
            found[place].append(episode)
            if budget is not None and n_tokens >= budget:
                break
        if n_tokens == n_before:
            break
        n_passes += 1
    # The bad records of a file with several sets, and what was not translated, are counted with the first set.
    return [
        SetReport(
            one.name,
            tuple(found[place]),
            tallies[place],
            one.n_bad,
            source.n_untranslated if place == 0 else 0,
            source.is_replayed,
        )
        for place, one in enumerate(source.sets)
    ]


def _one_pass(
    source: LoadedSource,
    builder: EpisodeBuilder,
    rng: random.Random,
    augmenters: Sequence[Augmenter | None],
    tallies: Sequence[Tally],
) -> Iterator[tuple[int, Episode]]:
    """Every document once, the sets of the source in turn by their size; built only as far as it is read."""
    limit = source.config.max_relation_types
    passes = {
        place: builder.build(one, rng, max_relation_types=limit, augmenter=augmenters[place], tally=tallies[place])
        for place, one in enumerate(source.sets)
    }
    while passes:
        place = rng.choices(list(passes), [len(source.sets[place].documents) for place in passes])[0]
        episode = next(passes[place], None)
        if episode is None:
            del passes[place]
        else:
            yield place, episode


def _at_most(sets: Sequence[AnnotatedSet], n_documents: int, rng: random.Random) -> list[AnnotatedSet]:
    """The sets with at most so many documents in all, drawn at random; without the sets that none is drawn of."""
    every = [(place, document) for place, annotated in enumerate(sets) for document in annotated.documents]
    drawn: list[list[Document]] = [[] for _ in sets]
    for place, document in rng.sample(every, min(n_documents, len(every))):
        drawn[place].append(document)
    return [replace(one, documents=tuple(documents)) for one, documents in zip(sets, drawn, strict=True) if documents]
