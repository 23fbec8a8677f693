"""Augmentation: other texts with the same meaning.

Names are swapped for names of the same kind, and words outside of all mentions for synonyms. Offsets stay exact, gold triples
keep their places, and where a change might make a gold triple doubtful, nothing is changed. Joined documents and
back-translation are elsewhere: `joining` and `back_translation`.
"""

import random
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import yaml

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document, Mention, Span
from genre_x.errors import SchemaError
from genre_x.prompting import marked
from genre_x.training.config import AugmentationConfig
from genre_x.training.names import NamePool
from genre_x.training.schemas import is_grounded
from genre_x.yaml_text import load_yaml


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """A piece of a text and what stands there instead."""

    start_char: int
    end_char: int
    text: str


def edited(document: Document, edits: Iterable[Edit]) -> Document:
    """`document` with pieces of its text replaced; mentions move along, and one that is replaced as a whole is renamed.

    Args:
        document: Its mentions begin and end outside of the edits, or with them.
        edits: They don't overlap.

    Raises:
        SchemaError: An edit cuts through a mention, or through another edit.

    >>> ada = Mention(0, 3, "Ada")
    >>> edited(Document("d", "Ada sleeps.", (ada,)), [Edit(0, 3, "Grace")]).mentions
    (Mention(start_char=0, end_char=5, text='Grace', type=None),)
    """
    ordered = sorted(edits)
    ends = [edit.end_char for edit in ordered]
    shifts = [0, *accumulate(len(edit.text) - edit.end_char + edit.start_char for edit in ordered)]

    def moved(position: int) -> int:
        place = bisect_right(ends, position)
        if place < len(ordered) and ordered[place].start_char < position:
            raise SchemaError(f"Document {document.id!r}: {ordered[place]} cuts through what begins or ends at {position}.")
        return position + shifts[place]

    pieces, last = [], 0
    for edit in ordered:
        if edit.start_char < last:
            raise SchemaError(f"Document {document.id!r}: {edit} overlaps the one before it.")
        pieces += [document.text[last : edit.start_char], edit.text]
        last = edit.end_char
    text = "".join([*pieces, document.text[last:]])

    def mention(one: Mention) -> Mention:
        start, end = moved(one.start_char), moved(one.end_char)
        return Mention(start, end, text[start:end], one.type)

    triples = document.triples and tuple(
        replace(
            triple,
            head=mention(triple.head),
            tail=mention(triple.tail),
            evidence=triple.evidence and Span(moved(triple.evidence.start_char), moved(triple.evidence.end_char)),
        )
        for triple in document.triples
    )
    mentions = document.mentions and tuple(mention(one) for one in document.mentions)
    return Document(document.id, text, mentions, triples, document.language)


@dataclass(frozen=True)
class Synonyms:
    """Words that may stand for each other.

    Attributes:
        words: For a word or a phrase, as it is written in texts, what may stand instead.
    """

    words: Mapping[str, Sequence[str]]
    _pattern: re.Pattern[str]

    @classmethod
    def of(cls, words: Mapping[str, Sequence[str]]) -> "Synonyms":
        longest_first = sorted(words, key=lambda word: (-len(word), word))
        pattern = "|".join(map(re.escape, longest_first)) or r"(?!)"
        return cls(words, re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])"))

    def edits(self, document: Document, rate: float, rng: random.Random) -> list[Edit]:
        """Synonyms for words outside of all mentions, each with the probability `rate`."""
        mentions = document.annotated_mentions
        names = {mention.text.casefold() for mention in mentions}
        found = []
        for match in self._pattern.finditer(document.text):
            start, end = match.span()
            if any(start < mention.end_char and mention.start_char < end for mention in mentions):
                continue
            if rng.random() < rate:
                word = rng.choice(self.words[match[0]])
                if not any(name in word.casefold() for name in names):
                    found.append(Edit(start, end, word))
        return found


def load_synonyms(path: Path) -> Synonyms:
    """Read a file of synonyms: TSV if its name ends so, else YAML; see `AugmentationConfig.synonyms`.

    Raises:
        SchemaError: It can't be read, or is of another form.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".tsv":
            rows = [line.split("\t") for line in content.split("\n") if line.strip()]
            loaded: object = {word.strip(): [other.strip() for other in others if other.strip()] for word, *others in rows}
        else:
            loaded = load_yaml(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SchemaError(f"Can't read the synonyms {str(path)!r}: {error}") from error
    if not isinstance(loaded, dict):
        raise SchemaError(f"{path}: expected a list of words for each word, such as `founded: [established, set up]`.")
    faults = [
        f"  - {word!r}: {others!r:.80}"
        for word, others in loaded.items()
        if not isinstance(word, str)
        or not isinstance(others, list)
        or not others
        or not all(isinstance(other, str) and other for other in others)
    ]
    if faults:
        raise SchemaError("\n".join([f"{path}: expected a list of words for each word, found:", *faults]))
    return Synonyms.of({word: tuple(others) for word, others in loaded.items()})


@dataclass(frozen=True, kw_only=True)
class Augmenter:
    """Changes documents of one set as a config says.

    Attributes:
        names: None swaps no names.
        synonyms: None swaps no words.
    """

    config: AugmentationConfig
    names: NamePool | None
    synonyms: Synonyms | None

    @classmethod
    def of(cls, annotated: AnnotatedSet, config: AugmentationConfig) -> "Augmenter | None":
        """The augmenter of a set; None if the config changes nothing while episodes are made.

        Raises:
            SchemaError: The file of synonyms can't be read.
        """
        names = NamePool.of(annotated.documents) if config.entity_rate else None
        synonyms = load_synonyms(config.synonyms) if config.synonym_rate and config.synonyms else None
        return cls(config=config, names=names, synonyms=synonyms) if names or synonyms or config.mark_rate else None

    def __call__(self, document: Document, rng: random.Random) -> Document:
        """`document` in other words; itself where a change would blur where its mentions begin and end."""
        found = document
        if self.synonyms is not None:
            found = edited(found, self.synonyms.edits(found, self.config.synonym_rate, rng))
        if self.names is not None:
            swaps = self.names.swaps(found, found.annotated_mentions, self.config.entity_rate, rng)
            found = edited(found, [Edit(start, end, text) for (start, end), text in swaps.items()])
        if found is document or found.text == document.text:
            return document
        return found if is_grounded(found, found.triples or ()) else document

    def shown(self, document: Document, rng: random.Random) -> str:
        """What the prompt shows of `document`: its text, maybe with the mentions marked."""
        if self.config.mark_rate and rng.random() < self.config.mark_rate:
            return marked(document.text, document.annotated_mentions)
        return document.text
