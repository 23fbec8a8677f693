"""Schemas of data sets: as their `schema.json` says, or as their documents show.

The names that the model reads are made from the data set's labels, which stay as aliases.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from genre_x.document import Document
from genre_x.errors import DataError
from genre_x.schema import LITERAL_TYPES, EntityType, RelationType, Schema, schema_faults


class LabelNote(NamedTuple):
    """What a source says about one of its labels, such as `("spouse", "the person they are married to")` for `P26`."""

    name: str
    description: str = ""


class About(BaseModel):
    """What a `schema.json` says about a relation label; there may be more.

    Attributes:
        name: Where the natural name of the label will not do.
        templated: The description was made from the label, and says nothing new.
    """

    name: str | None = None
    description: str | None = None
    templated: bool | None = None
    head_types: list[str] = []
    tail_types: list[str] = []
    symmetric: bool | None = None
    inverse: str | None = None


class Described(BaseModel):
    """The content of a `schema.json`; there may be more.

    Attributes:
        entity_labels: Labels and their descriptions.
        entity_names: Names of labels whose natural name will not do.
        relation_labels: Labels and what is known about them.
    """

    entity_labels: dict[str, str | None] = {}
    entity_names: dict[str, str] = {}
    relation_labels: dict[str, About]


def natural_name(label: str) -> str:
    """A data set's label as words a language model knows.

    >>> [natural_name(label) for label in ("OrgBased_In", "USED-FOR", "/location/location/contains", "Adverse-Effect")]
    ['org based in', 'used for', 'contains', 'adverse effect']
    """
    words = label.rstrip("/").rpartition("/")[2] if label.startswith("/") else label
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return re.sub(r"[_\-\s]+", " ", words).strip().lower() or label.strip()


def unique_names(words: Mapping[str, str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Natural names, but the label itself where two labels would get the same name, or one that is `taken`.

    Args:
        words: For each label what to make its name from: the label itself, or better words that the source has for it.
        taken: Names that stand for something else.
    """
    natural = {label: natural_name(text) for label, text in words.items()}
    counts = Counter(natural.values())
    return {label: name if counts[name] == 1 and name not in taken else label for label, name in natural.items()}


def described_schema(name: str, described: Described) -> Schema:
    """The schema that a `schema.json` describes.

    Args:
        name: Of the data set.
        described: Its content.

    Raises:
        DataError: It contradicts itself.
    """
    heads = {label for about in described.relation_labels.values() for label in about.head_types}
    entity_names = _type_names(described.entity_labels, heads) | described.entity_names

    def type_name(label: str) -> str:
        return entity_names.get(label, natural_name(label))

    entity_types = [
        EntityType(name=type_name(label), description=description or "", aliases=(label,))
        for label, description in described.entity_labels.items()
        if type_name(label) not in LITERAL_TYPES
    ]
    names = unique_names({label: label for label in described.relation_labels})
    relation_types = [
        RelationType(
            name=about.name or names[label].strip(),
            description="" if about.templated else about.description or "",
            head_types=tuple(dict.fromkeys(map(type_name, about.head_types))),
            tail_types=tuple(dict.fromkeys(map(type_name, about.tail_types))),
            symmetric=bool(about.symmetric),
            inverse=about.inverse,
            aliases=(label,),
        )
        for label, about in described.relation_labels.items()
    ]
    return _schema(name, entity_types, relation_types)


def describe(schema: Schema) -> dict[str, Any]:
    """What a `schema.json` says so that `described_schema` gives this schema again, apart from further aliases."""
    entity_labels = labels_of(schema.entity_types)
    relation_labels = labels_of(schema.relation_types)
    by_name = {**{literal: literal for literal in LITERAL_TYPES}, **entity_labels}
    described: dict[str, Any] = {
        "entity_labels": {entity_labels[entity.name]: entity.description for entity in schema.entity_types},
        "entity_names": {label: name for name, label in entity_labels.items() if natural_name(label) != name},
        "relation_labels": {
            relation_labels[relation.name]: {
                "name": relation.name,
                "description": relation.description,
                "head_types": [by_name[name] for name in relation.head_types],
                "tail_types": [by_name[name] for name in relation.tail_types],
                **({"symmetric": True} if relation.symmetric else {}),
                **({"inverse": relation.inverse} if relation.inverse else {}),
            }
            for relation in schema.relation_types
        },
    }
    if not described["entity_names"]:
        del described["entity_names"]
    return described


def labels_of(types: Sequence[EntityType] | Sequence[RelationType]) -> dict[str, str]:
    """For each name a label to write: the first alias, or the name where that is not there or stands for another type."""
    counts = Counter(label for one in types for label in {one.name, *one.aliases})
    return {one.name: next((alias for alias in one.aliases if counts[alias] == 1), one.name) for one in types}


def ontology_schema(name: str, ontology: Mapping[str, Any], described: Described, used_labels: Iterable[str]) -> Schema:
    """Schema of one ontology: concepts become entity types, a relation without range becomes an attribute.

    Relations that only the records use are added, with a head of any type.
    """
    used = {label.strip(): {"domain": None, "range": None} for label in used_labels}
    relations = used | {relation["label"].strip(): relation for relation in ontology["relations"]}
    concepts = {concept for relation in relations.values() for concept in (relation["domain"], relation["range"]) if concept}
    relation_types = []
    for label, relation in relations.items():
        about = described.relation_labels.get(label, About())
        is_date = re.search(r"date|time|inception|year", label, re.IGNORECASE)
        tail = relation["range"] or ("date" if is_date else "text")
        relation_types.append(
            RelationType(
                name=natural_name(label),
                description="" if about.templated else about.description or "",
                head_types=(relation["domain"],) if relation["domain"] else (),
                tail_types=("date" if tail in ("date", "time") else tail,),
                aliases=(label,),
            )
        )
    reserved = {"text", "number", "date", "time"}
    entity_types = tuple(EntityType(name=concept) for concept in sorted(concepts - reserved))
    return Schema(name=name, entity_types=entity_types, relation_types=tuple(relation_types))


def observed_schema(name: str, documents: Iterable[Document], notes: Mapping[str, LabelNote]) -> Schema | None:
    """The schema that documents with a source's own labels show: every label that occurs, with the types seen.

    A type that is named like a literal (`DATE`) is that literal where it is never a head, so its relations become attributes.

    Args:
        name: Of the data set.
        documents: Their relations and types are labels.
        notes: Names and descriptions of relation labels, if the source has them.

    Returns:
        None if there is no relation.
    """
    types: dict[str, None] = {}
    heads: dict[str, dict[str | None, None]] = {}
    tails: dict[str, dict[str | None, None]] = {}
    for document in documents:
        types |= {mention.type: None for mention in document.mentions or () if mention.type is not None}
        for triple in document.triples or ():
            heads.setdefault(triple.relation, {})[triple.head.type] = None
            tails.setdefault(triple.relation, {})[triple.tail.type] = None
            types |= {mention.type: None for mention in (triple.head, triple.tail) if mention.type is not None}
    if not heads:
        return None
    by_label = _type_names(types, {label for seen in heads.values() for label in seen})

    def seen_types(labels: Iterable[str | None]) -> tuple[str, ...]:
        found = [None if label is None else by_label[label] for label in labels]
        return () if None in found else tuple(dict.fromkeys(name for name in found if name is not None))

    relation_names = unique_names({label: notes[label].name if label in notes else label for label in heads})
    relation_types = [
        RelationType(
            name=relation_names[label],
            description=notes[label].description if label in notes else "",
            head_types=seen_types(heads[label]),
            tail_types=seen_types(tails[label]),
            aliases=(label,),
        )
        for label in heads
    ]
    entity_types = [EntityType(name=named, aliases=(label,)) for label, named in by_label.items() if named not in LITERAL_TYPES]
    return _schema(name, entity_types, relation_types)


def _type_names(labels: Iterable[str], heads: Collection[str | None]) -> dict[str, str]:
    """Names for type labels.

    A label that is named like a literal (`DATE`) is that literal, so that its relations become attributes, unless it is among
    the types of `heads`; then its name is the label itself, or the label and the word `entity`.
    """
    literals = {label: natural_name(label) for label in labels if natural_name(label) in LITERAL_TYPES and label not in heads}
    names = unique_names({label: label for label in labels if label not in literals}, taken=LITERAL_TYPES)
    return {label: f"{name} entity" if name in LITERAL_TYPES else name for label, name in names.items()} | literals


def _schema(name: str, entity_types: Sequence[EntityType], relation_types: Sequence[RelationType]) -> Schema:
    if faults := schema_faults(entity_types, relation_types):
        messages = [fault.message for fault in faults]
        raise DataError(f"{name}: the schema contradicts itself: {'; '.join(messages)}", faults=messages)
    if not relation_types:
        raise DataError(f"{name}: the schema has no relation type.")
    return Schema(name=name, entity_types=tuple(entity_types), relation_types=tuple(relation_types))
