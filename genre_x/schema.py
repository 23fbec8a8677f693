"""What to extract: entity types, relation types and attributes."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

LiteralType = Literal["text", "number", "date"]
LITERAL_TYPES: tuple[str, ...] = get_args(LiteralType)
"""Tail types of attributes: the tail is a span of the text that is a value and no entity."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class EntityType(_Frozen):
    """A kind of thing that relations hold between.

    Attributes:
        name: As the model reads it in the prompt.
        description: A few words for the model; may be empty.
        aliases: Other labels for this type, such as those of a named entity recogniser (`PERSON`, `PER`).
    """

    name: str = Field(min_length=1)
    description: str = ""
    aliases: tuple[str, ...] = ()


class RelationType(_Frozen):
    """A directed relation `head -> tail`; an *attribute* when the tail is a literal.

    Attributes:
        name: As the model reads and writes it.
        description: One sentence that names the direction; may be empty.
        head_types: Names of the entity types a head may have; empty means any.
        tail_types: The same for the tail; `("date",)`, `("number",)` or `("text",)` make it an attribute.
        symmetric: The relation holds in both directions, and either one is right.
        inverse: Name of the relation that says the same from tail to head, if the schema has one.
        aliases: Other labels for this relation, such as those of a data set (`OrgBased_In`).
    """

    name: str = Field(min_length=1)
    description: str = ""
    head_types: tuple[str, ...] = ()
    tail_types: tuple[str, ...] = ()
    symmetric: bool = False
    inverse: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def is_attribute(self) -> bool:
        return bool(self.tail_types) and all(name in LITERAL_TYPES for name in self.tail_types)


class Schema(_Frozen):
    """The entity types and relation types of a task.

    Attributes:
        name: Of the task or data set.
        relation_types: At least one.
        entity_types: Empty for an untyped task: then mentions have no type.
    """

    name: str = Field(min_length=1)
    relation_types: tuple[RelationType, ...] = Field(min_length=1)
    entity_types: tuple[EntityType, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if faults := schema_faults(self.entity_types, self.relation_types):
            raise ValueError("; ".join(fault.message for fault in faults))
        return self

    def relation_type(self, name: str) -> RelationType | None:
        """The relation type of this name, or None."""
        return next((relation for relation in self.relation_types if relation.name == name), None)

    def resolve_relation(self, label: str) -> RelationType | None:
        """The relation type that `label` names, by its name or by one of its aliases, or None."""
        for relation in self.relation_types:
            if label == relation.name or label in relation.aliases:
                return relation
        return None

    def head_types(self, relation: RelationType) -> tuple[str, ...]:
        """Names of the types a head of `relation` may have; empty when the task is untyped."""
        return relation.head_types or tuple(entity.name for entity in self.entity_types)

    def tail_types(self, relation: RelationType) -> tuple[str, ...]:
        """Names of the types a tail of `relation` may have; empty when the task is untyped."""
        return relation.tail_types or tuple(entity.name for entity in self.entity_types)

    def resolve_type(self, label: str) -> str | None:
        """The entity type that `label` names, by its name or by one of its aliases, or None.

        >>> person = EntityType(name="person", aliases=("PER",))
        >>> Schema(name="s", relation_types=(RelationType(name="knows"),), entity_types=(person,)).resolve_type("PER")
        'person'
        """
        for entity in self.entity_types:
            if label == entity.name or label in entity.aliases:
                return entity.name
        return None


class Fault(NamedTuple):
    """Something wrong with one entity type or relation type of a schema."""

    kind: Literal["entity_types", "relation_types"]
    position: int
    message: str


def schema_faults(entity_types: Sequence[EntityType], relation_types: Sequence[RelationType]) -> list[Fault]:
    """Everything in these types that contradicts itself."""
    declared = [entity.name for entity in entity_types]
    relations = [relation.name for relation in relation_types]
    known = ", ".join(sorted(set(declared))) or "none"
    faults: list[Fault] = []
    for index, entity in enumerate(entity_types):
        if entity.name in declared[:index]:
            faults.append(Fault("entity_types", index, f"entity type {entity.name!r} is declared twice"))
        if entity.name in LITERAL_TYPES:
            message = f"entity type {entity.name!r} has the name of a literal; choose another name"
            faults.append(Fault("entity_types", index, message))
    for index, relation in enumerate(relation_types):
        messages = []
        if relation.name in relations[:index]:
            messages.append("is declared twice")
        messages += [
            f"uses the head type {name!r}, which is not declared. Declared: {known}"
            for name in relation.head_types
            if name not in declared
        ]
        messages += [
            f"uses the tail type {name!r}, which is not declared. Declared: {known}; literals: {', '.join(LITERAL_TYPES)}"
            for name in relation.tail_types
            if name not in declared and name not in LITERAL_TYPES
        ]
        if relation.inverse is not None and relation.inverse not in relations:
            messages.append(f"has the inverse {relation.inverse!r}, which is not declared. Declared: {', '.join(relations)}")
        if relation.symmetric and relation.inverse not in (None, relation.name):
            messages.append(f"is symmetric, so it can't have the inverse {relation.inverse!r}")
        faults += [Fault("relation_types", index, f"relation {relation.name!r} {message}") for message in messages]
    return faults
