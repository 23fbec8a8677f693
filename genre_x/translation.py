"""From the labels of a data source to the names of a schema."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from genre_x.described import LabelNote, natural_name
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.schema import LITERAL_TYPES, RelationType, Schema


@dataclass
class Translator:
    """Brings documents with a source's own labels under a schema.

    Attributes:
        schema: Labels are found among its names and aliases.
        notes: Names that the source has for its relation labels; they are looked up, too.
        left_out: What was left out of the documents so far, and how often.
    """

    schema: Schema
    notes: Mapping[str, LabelNote]
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._relations: dict[str, RelationType | None] = {}
        self._types: dict[str, str | None] = {}
        self._explained: set[str] = set()

    def translate(self, document: Document) -> tuple[Document, int]:
        """The document under the schema, and how many of its relations hold between a span and itself.

        Raises:
            DataError: A relation, or the type of its head or tail, is not in the schema.
        """
        triples: dict[tuple[Any, ...], Triple] = {}
        faults: list[str] = []
        n_self = 0
        for triple in document.triples or ():
            relation = self._relation(triple.relation)
            if relation is None:
                faults.append(self._unknown("relation", triple.relation))
                continue
            head = self._argument(triple.head, self.schema.head_types(relation), faults)
            tail = self._argument(triple.tail, self.schema.tail_types(relation), faults)
            if head.span == tail.span:
                n_self += 1
            elif (key := (head.span, relation.name, tail.span)) in triples:
                self.left_out["repeated triples"] += 1
            else:
                triples[key] = Triple(head, relation.name, tail)
        if faults:
            raise DataError("; ".join(faults), faults=dict.fromkeys(faults))
        mentions = None if document.mentions is None else tuple(self._mentions(document.mentions))
        return replace(document, mentions=mentions, triples=tuple(sorted(triples.values(), key=_text_order))), n_self

    def _mentions(self, mentions: Iterable[Mention]) -> Iterator[Mention]:
        seen = set()
        for mention in mentions:
            type_name = self._type(mention.type)
            if mention.type is not None and type_name is None and self.schema.entity_types:
                self.left_out[f"mentions with the label {mention.type!r}, which the schema does not know"] += 1
            elif (kept := replace(mention, type=type_name)) in seen:
                self.left_out["repeated mentions"] += 1
            else:
                seen.add(kept)
                yield kept

    def _argument(self, mention: Mention, allowed: tuple[str, ...], faults: list[str]) -> Mention:
        """A head or tail with its type: the one its label names, or the only one that the relation allows."""
        type_name = self._type(mention.type)
        only = allowed[0] if len(allowed) == 1 else None
        if type_name is None:
            if mention.type is not None and self.schema.entity_types and only not in LITERAL_TYPES:
                faults.append(self._unknown("type", mention.type))
            type_name = only
        return replace(mention, type=type_name)

    def _unknown(self, kind: Literal["relation", "type"], label: str) -> str:
        """What is wrong with a label; what there is instead is said once."""
        message = f"{kind} label {label!r} is neither a name nor an alias"
        if kind in self._explained:
            return message
        self._explained.add(kind)
        types = self.schema.relation_types if kind == "relation" else self.schema.entity_types
        return f"{message}. Known: {', '.join(one.name for one in types):.300}"

    def _relation(self, label: str) -> RelationType | None:
        if label not in self._relations:
            found = self.schema.resolve_relation(label)
            if found is None and label in self.notes:
                found = self.schema.resolve_relation(self.notes[label].name)
            self._relations[label] = found
        return self._relations[label]

    def _type(self, label: str | None) -> str | None:
        """The type that a label names; a label like `DATE` names the literal if no entity type has it."""
        if label is None:
            return None
        if label not in self._types:
            literal = natural_name(label)
            self._types[label] = self.schema.resolve_type(label) or (literal if literal in LITERAL_TYPES else None)
        return self._types[label]


def _text_order(triple: Triple) -> tuple[int, int, str]:
    return triple.head.start_char, triple.tail.start_char, triple.relation
