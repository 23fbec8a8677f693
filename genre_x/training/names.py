"""Names that can stand for each other: of the same entity type, or, without types, in the same places of the same relations."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from genre_x.document import Document, Mention
from genre_x.grounding import normalized, occurrences
from genre_x.schema import LITERAL_TYPES

Kind = tuple[object, ...]
"""What two names have in common that can be swapped."""

_N_TRIES = 5
_MOST_CHARACTERS = 60

# Some data sets annotate these as mentions; they mean what stands before them, so they can't be swapped.
_PRONOUNS = frozenset(
    re.findall(
        r"\w+",
        "i me my you your he him his she her it its we us our they them their this that these those which who whom whose "
        "one ones other others both former latter",
    )
)


@dataclass(frozen=True)
class NamePool:
    """The names of a set of documents, by kind, without repeats."""

    names: Mapping[Kind, Sequence[str]]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "NamePool":
        pool: dict[Kind, dict[str, None]] = {}
        for document in documents:
            for name, kind in kinds_of(document).items():
                if name.casefold() not in _PRONOUNS and len(name) <= _MOST_CHARACTERS and name == normalized(name):
                    pool.setdefault(kind, {})[name] = None
        return cls({kind: tuple(names) for kind, names in pool.items()})

    def swaps(
        self, document: Document, mentions: Sequence[Mention], rate: float, rng: random.Random
    ) -> dict[tuple[int, int], str]:
        """Spans of the text and the names that are to stand there; all places of a name change together.

        Args:
            document: Annotated.
            mentions: All of them.
            rate: Probability that a name is swapped.
            rng: Decides.
        """
        found: dict[tuple[int, int], str] = {}
        taken = _words(document.text)
        for name, kind in kinds_of(document).items():
            if rng.random() >= rate:
                continue
            places = _places(document.text, name, mentions)
            pool = self.names.get(kind, ())
            for _ in range(_N_TRIES if places and pool else 0):
                other = rng.choice(pool)
                words = _words(other)
                if words and not words & taken and other.casefold() not in document.text.casefold():
                    found |= dict.fromkeys(places, other)
                    taken |= words
                    break
        return found


def kinds_of(document: Document) -> dict[str, Kind]:
    """The names in a document that have a kind, and their kinds.

    An entity's kind is its type. A literal, and a mention without type, is known by its places in relations: as the tail of
    `date of birth`. Kinds differ by spelling, too: a capital at the start, a number inside.
    """
    types: dict[str, set[str | None]] = {}
    for mention in document.mentions or ():
        types.setdefault(mention.text, set()).add(mention.type)
    slots: dict[str, set[tuple[str, str]]] = {}
    for triple in document.triples or ():
        for role, mention in (("head", triple.head), ("tail", triple.tail)):
            types.setdefault(mention.text, set()).add(mention.type)
            slots.setdefault(mention.text, set()).add((triple.relation, role))
    kinds: dict[str, Kind] = {}
    for name, named in types.items():
        if len(named) > 1:
            continue
        (type_name,) = named
        spelling = (name[:1].isupper(), any(character.isnumeric() for character in name))
        if type_name is not None and type_name not in LITERAL_TYPES:
            kinds[name] = ("type", type_name, *spelling)
        elif name in slots:
            kinds[name] = ("slots", type_name, frozenset(slots[name]), *spelling)
    return kinds


def _places(text: str, name: str, mentions: Sequence[Mention]) -> list[tuple[int, int]]:
    """All places of a name, if it can be swapped without touching what else the text says; else none.

    It can't if it is a pronoun, overlaps another mention, or a part of it stands elsewhere: then two names mean the same thing
    (`Ingrid Solberg` and `Solberg`, `World Health Organization` and `WHO`), and a gold triple may rest on that.
    """
    places = occurrences(text, name)
    own = {mention.span for mention in mentions if mention.text == name}
    if name.casefold() in _PRONOUNS or not own or not own <= set(places):
        return []
    others = [mention for mention in mentions if mention.text != name]
    if any(start < other.end_char and other.start_char < end for other in others for start, end in places):
        return []
    if any(one[1] > other[0] for one, other in pairwise(places)):
        return []
    if name == name.casefold() and set(places) != own:
        return []  # a common word, such as `station`: elsewhere in the text it may mean another thing
    rest, last = "", 0
    for start, end in places:
        rest += text[last:start] + " "
        last = end
    rest += text[last:]
    words = _words(name)
    spelled = {word.casefold() for word in re.findall(r"\w+", rest)}
    is_short_for = {_initials(other.text) for other in others}
    if not words or words & spelled or name.casefold() in is_short_for or _initials(name) in spelled:
        return []
    return places


def _words(name: str) -> set[str]:
    """The words of a name that can stand for it, in lower case: all but short ones without a capital."""
    return {word.casefold() for word in re.findall(r"\w+", name) if len(word) > 3 or word != word.casefold()}


def _initials(name: str) -> str | None:
    """`who` for `World Health Organization`; None for fewer than two words with a capital."""
    capitals = [word[0] for word in re.findall(r"\w+", name) if word[0].isupper()]
    return "".join(capitals).casefold() if len(capitals) > 1 else None
