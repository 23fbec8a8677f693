"""Schema sampling: each training sequence shows another part of its source's schema, under other names.

A model that always sees the same relation types recites them; one whose prompt changes has to read it.
"""

import math
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import yaml

from genre_x.constraints import has_number
from genre_x.document import Document, Mention, Triple
from genre_x.errors import SchemaError
from genre_x.grounding import chunks, normalized
from genre_x.schema import LITERAL_TYPES, EntityType, RelationType, Schema
from genre_x.training.config import EpisodesConfig
from genre_x.yaml_text import load_yaml

Paraphrases = Mapping[str, Sequence[str]]

Named = TypeVar("Named", EntityType, RelationType)

_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name.replace(" ", "_"),
    lambda name: name.replace(" ", "_").upper(),
    lambda name: name.upper(),
    lambda name: name.capitalize(),
    lambda name: name.title(),
    lambda name: re.sub(r"\s+(\w)", lambda match: match[1].upper(), name),
    lambda name: name.replace(" ", "-"),
)

# Of the types that get another name: how many take a paraphrase where there is one, and how many of the others take their
# data set's own label. All that is left take another spelling.
_PARAPHRASED, _LABELLED = 0.7, 0.3


def load_paraphrases(path: Path | None) -> Paraphrases:
    """Read a file of paraphrases; none for None.

    Raises:
        SchemaError: It is not a mapping from names to lists of names.
    """
    if path is None:
        return {}
    try:
        loaded = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SchemaError(f"Can't read the paraphrases {str(path)!r}: {error}") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in loaded.values()
    ):
        raise SchemaError(f"{path}: expected a list of names for each name, such as `born in: [place of birth]`.")
    return {str(name): tuple(names) for name, names in loaded.items()}


@dataclass(frozen=True, kw_only=True)
class SchemaSampler:
    """Draws parts of a schema.

    A renamed type keeps its old names as aliases, so `express` finds what a document's annotations mean in it.
    """

    config: EpisodesConfig
    paraphrases: Paraphrases

    def sample(
        self,
        schema: Schema,
        document: Document,
        rng: random.Random,
        *,
        max_relation_types: int | None = None,
        want_empty: bool = False,
    ) -> Schema:
        """A part of `schema` with some of what `document` says, and other relation types as distractors.

        Args:
            schema: Of the source.
            document: Its relations are names in `schema`.
            rng: Decides.
            max_relation_types: Instead of the general setting.
            want_empty: Show nothing of what the document says, as far as the schema has other relation types.
        """
        config = self.config
        limit = max_relation_types or config.max_relation_types
        relations = self._relations(schema, document, rng, limit, want_empty=want_empty)
        entities = list(schema.entity_types)
        rng.shuffle(entities)
        if rng.random() >= config.description_rate:
            relations = [relation.model_copy(update={"description": ""}) for relation in relations]
            entities = [entity.model_copy(update={"description": ""}) for entity in entities]
        if rng.random() >= config.type_rate:
            entities, relations = [], [_untyped(relation) for relation in relations]
        else:
            used = {name for relation in relations for name in (*relation.head_types, *relation.tail_types)}
            takes_any = any(not relation.head_types or not relation.tail_types for relation in relations)
            entities = [entity for entity in entities if takes_any or entity.name in used]
        is_renamed = rng.random() < config.rename_rate
        types = self._names(entities, schema.entity_types, rng) if is_renamed else {}
        names = {relation.name: relation.name for relation in relations}
        if is_renamed:
            names = self._names(relations, schema.relation_types, rng)
        return Schema(
            name=schema.name,
            entity_types=tuple(_with_name(entity, types.get(entity.name, entity.name)) for entity in entities),
            relation_types=tuple(
                _with_name(relation, names[relation.name]).model_copy(
                    update={
                        "head_types": tuple(types.get(name, name) for name in relation.head_types),
                        "tail_types": tuple(types.get(name, name) for name in relation.tail_types),
                        "inverse": names.get(relation.inverse or ""),
                    }
                )
                for relation in relations
            ),
        )

    def _relations(
        self, schema: Schema, document: Document, rng: random.Random, limit: int, *, want_empty: bool
    ) -> list[RelationType]:
        names = {triple.relation for triple in document.triples or ()}
        stated = [relation for relation in schema.relation_types if relation.name in names]
        others = [relation for relation in schema.relation_types if relation.name not in names]
        kept = [relation for relation in stated if rng.random() >= self.config.drop_rate]
        if stated and not kept:
            kept = [rng.choice(stated)]
        if want_empty and others:
            kept = []
        n_types = max(len(kept), self._n_types(limit, rng))
        n_others = min(len(others), n_types - len(kept))
        n_hard = round(n_others * self.config.hard_negative_rate) if stated else 0
        if n_hard:
            others.sort(key=lambda relation: -max(confusable(relation, one) for one in stated))
        hard = rng.sample(others[: 2 * n_hard], n_hard)
        chosen = {relation.name for relation in hard}
        rest = [relation for relation in others if relation.name not in chosen]
        relations = kept + hard + rng.sample(rest, n_others - n_hard)
        rng.shuffle(relations)
        return relations[:limit]

    def _n_types(self, limit: int, rng: random.Random) -> int:
        if rng.random() < self.config.large_schema_rate:
            return rng.randint(1, limit)
        # Log-uniform: a schema of 2 is as likely as one of 8, so most prompts stay short.
        return max(1, round(math.exp(rng.uniform(0, math.log(limit)))))

    def _names(self, types: Sequence[Named], known: Sequence[Named], rng: random.Random) -> dict[str, str]:
        """Names for all of `types`, different from each other and from those of the other `known` types.

        A new name that another type of the whole schema has would make `express` take that one's triples for this one's.
        """
        spelling = rng.choice(_SPELLINGS)
        taken = {*LITERAL_TYPES, *(name for one in known for name in (one.name, *one.aliases))}
        names: dict[str, str] = {}
        for one in types:
            paraphrases = self.paraphrases.get(one.name, ())
            labels = [label for label in one.aliases if label.lower() != one.name]
            if paraphrases and rng.random() < _PARAPHRASED:
                name = rng.choice(paraphrases)
            elif labels and rng.random() < _LABELLED:
                name = rng.choice(labels)
            else:
                name = spelling(one.name)
            is_free = name not in taken or (name in one.aliases and not _is_shared(name, known))
            names[one.name] = name if is_free and name not in names.values() else one.name
            taken.add(name)
        return names


def confusable(one: RelationType, other: RelationType) -> float:
    """How easily two relation types are taken for each other, in [0, 2]: shared words, and shared types of the arguments.

    >>> born, died = RelationType(name="place of birth"), RelationType(name="place of death")
    >>> confusable(born, died) > confusable(born, RelationType(name="spouse"))
    True
    """
    words, types = _features(one)
    others, other_types = _features(other)
    return _overlap(words, others) + _overlap(types, other_types)


@lru_cache(maxsize=4096)
def _features(relation: RelationType) -> tuple[frozenset[str], frozenset[str]]:
    """Words of the name and the description, and the types, those of heads apart from those of tails."""
    words = re.findall(r"\w+", f"{relation.name} {relation.description}".lower())
    types = [f"{name} ->" for name in relation.head_types] + [f"-> {name}" for name in relation.tail_types]
    return frozenset(words), frozenset(types)


def _overlap(some: frozenset[str], others: frozenset[str]) -> float:
    return len(some & others) / len(some | others) if some or others else 0.0


def express(document: Document, schema: Schema) -> list[Triple] | None:
    """The document's triples in the words of `schema`, in text order; those that it has no relation type for are left out.

    Triples that an answer would spell alike, because a name stands at several places, are given once.

    Returns:
        None if a type that the answer would have to name is not annotated.
    """
    found = []
    for triple in document.triples or ():
        relation = schema.resolve_relation(triple.relation)
        if relation is None:
            continue
        head = _with_type(triple.head, schema.head_types(relation), schema)
        tail = _with_type(triple.tail, schema.tail_types(relation), schema)
        if head is None or tail is None:
            return None
        found.append(replace(triple, head=head, relation=relation.name, tail=tail))
    found.sort(key=lambda t: (t.head.start_char, t.tail.start_char, t.relation))
    kept: dict[tuple[object, ...], Triple] = {}
    for triple in found:
        kept.setdefault(_spelled(triple), triple)
    return list(kept.values())


def express_mentions(document: Document, schema: Schema) -> list[Mention]:
    """The document's mentions of the types that `schema` shows, under its names; all of them, untyped, if it shows none.

    Left out are those that begin or end inside a word, since no constraint lets a model write them.
    """
    limits = {limit for span in chunks(document.text) for limit in span}
    found = []
    for mention in document.mentions or ():
        name = schema.resolve_type(mention.type or "")
        if limits.issuperset(mention.span) and normalized(mention.text) and (name or not schema.entity_types):
            found.append(replace(mention, type=name))
    return found


def is_grounded(document: Document, triples: Iterable[Triple]) -> bool:
    """Whether the constraint lets a model write these triples of the document: see `genre_x.constraints.span_rules`.

    Heads and tails must begin and end where words do, and a number must have a digit or other numeric character.
    """
    limits = {limit for span in chunks(document.text) for limit in span}
    return all(
        mention.start_char in limits
        and mention.end_char in limits
        and bool(normalized(mention.text))
        and (mention.type != "number" or has_number(mention.text))
        for triple in triples
        for mention in (triple.head, triple.tail)
    )


def _spelled(triple: Triple) -> tuple[str, str | None, str, str, str | None]:
    head, tail = triple.head, triple.tail
    return normalized(head.text), head.type, triple.relation, normalized(tail.text), tail.type


def _with_type(mention: Mention, allowed: Sequence[str], schema: Schema) -> Mention | None:
    if not allowed:
        return replace(mention, type=None)
    if len(allowed) == 1:
        return replace(mention, type=allowed[0])
    name = mention.type if mention.type in LITERAL_TYPES else schema.resolve_type(mention.type or "")
    return replace(mention, type=name) if name in allowed else None


def _is_shared(label: str, types: Sequence[Named]) -> bool:
    """Whether more than one type has this name or alias."""
    return sum(label == one.name or label in one.aliases for one in types) > 1


def _untyped(relation: RelationType) -> RelationType:
    return relation.model_copy(update={"head_types": (), "tail_types": ()})


def _with_name(one: Named, name: str) -> Named:
    """The type under `name`; its only alias is the old name, so nothing else is taken for it."""
    return one.model_copy(update={"name": name, "aliases": () if name == one.name else (one.name,)})
