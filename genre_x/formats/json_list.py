"""What the JSON formats have in common: a list of entries with the same fields in the same order.

The fields are head, relation, tail and, where the schema leaves a choice, the types of head and tail. They come last,
because the relation says which types there can be.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from itertools import product
from operator import or_
from typing import Any, Literal, get_args

from pydantic import RootModel

from genre_x.constraints import (
    NUMBER,
    SPAN,
    choice,
    has_number,
    has_span,
    json_content,
    literal,
    mention_rule,
    span_rules,
)
from genre_x.document import Mention, Triple
from genre_x.grounding import normalized
from genre_x.interfaces import Constraint, Parsed, Strength, SurfaceTriple
from genre_x.schema import LITERAL_TYPES, RelationType, Schema

Field = Literal["head", "relation", "tail", "head_type", "tail_type"]
FIELDS: tuple[Field, ...] = get_args(Field)

MAX_ENTRIES = 64
"""Most entries of one answer. A grammar can't forbid to repeat one, so an untrained model would write them for ever."""

_decoder = json.JSONDecoder(parse_int=float)  # no number is kept, and `int` refuses very long ones


def fields_of(relation: RelationType, schema: Schema) -> tuple[Field, ...]:
    """The fields of an entry with this relation: a type is written only where the schema leaves a choice."""
    fields: tuple[Field, ...] = ("head", "relation", "tail")
    if len(schema.head_types(relation)) > 1:
        fields += ("head_type",)
    if len(schema.tail_types(relation)) > 1:
        fields += ("tail_type",)
    return fields


class JsonListFormat(ABC):
    """A JSON list with one entry per triple, without white space outside of strings."""

    @abstractmethod
    def _opening(self, field: Field) -> str:
        """What stands before the content of `field`'s string: brackets, commas, keys and the quote."""

    closing: str
    """What stands after the last field's content."""

    max_items = MAX_ENTRIES
    """Most entries of all kinds."""

    @abstractmethod
    def _entry_model(self, relation: RelationType, schema: Schema) -> Any:
        """The pydantic type of an entry with this relation."""

    def _aside_models(self, schema: Schema) -> tuple[Any, ...]:
        """The pydantic types of entries that are no triples."""
        return ()

    @abstractmethod
    def _fields(self, entry: object, schema: Schema) -> dict[Field, str] | None:
        """The fields of a decoded entry, or None if it isn't one."""

    def _is_aside(self, entry: object) -> bool:
        """Whether a decoded entry that is no triple belongs to the format all the same."""
        return False

    def write(self, triples: Sequence[Triple], schema: Schema, mentions: Sequence[Mention] = ()) -> str:
        return "[" + ",".join(self._write_entry(triple, schema) for triple in triples) + "]"

    def _write_entry(self, triple: Triple, schema: Schema) -> str:
        relation = schema.relation_type(triple.relation) or RelationType(name=triple.relation)
        values: dict[Field, str] = {
            "head": normalized(triple.head.text),
            "relation": triple.relation,
            "tail": normalized(triple.tail.text),
            "head_type": triple.head.type or "",
            "tail_type": triple.tail.type or "",
        }
        fields = fields_of(relation, schema)
        return "".join(self._opening(field) + json_content(values[field]) for field in fields) + self.closing

    def parse(self, text: str, schema: Schema) -> Parsed:
        triples: list[SurfaceTriple] = []
        bad: list[str] = []
        position = len(text) - len(text.lstrip())
        if not text.startswith("[", position):
            return Parsed((), (text,) if text.strip() else (), "")
        position += 1
        while True:
            while position < len(text) and text[position] in " \t\r\n,":
                position += 1
            if text.startswith("]", position):
                rest = text[position + 1 :].strip()
                return Parsed(tuple(triples), (*bad, rest) if rest else tuple(bad))
            try:
                entry, end = _decoder.raw_decode(text, position)
            except (json.JSONDecodeError, RecursionError):
                return Parsed(tuple(triples), tuple(bad), text[position:] or "[")
            values = self._fields(entry, schema)
            if values is None:
                if not self._is_aside(entry):
                    bad.append(text[position:end])
            else:
                triples.append(SurfaceTriple(**values, start=position, end=end))
            position = end

    def constraint(
        self, schema: Schema, text: str, *, strength: Strength, mentions: Sequence[Mention] | None = None
    ) -> Constraint | None:
        if strength == "none":
            return None
        if strength == "schema":
            return Constraint("json_schema", self._json_schema(schema))
        return Constraint("grammar", self._grammar(schema, text, mentions))

    def _json_schema(self, schema: Schema) -> str:
        entries = tuple(self._entry_model(relation, schema) for relation in schema.relation_types)
        entry: Any = reduce(or_, (*entries, *self._aside_models(schema)))
        model = RootModel[list[entry]]
        json_schema = model.model_json_schema()
        json_schema["maxItems"] = self.max_items
        # One spelling of white space: what `write` emits. Fewer choices, fewer tokens, no endless blanks.
        json_schema["x-guidance"] = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
        return json.dumps(json_schema, ensure_ascii=False)

    def _grammar(self, schema: Schema, text: str, mentions: Sequence[Mention] | None) -> str:
        entries = [
            rule
            for relation in schema.relation_types
            for rule in self._entry_rules(relation, schema, text, mentions)
            if has_span(text)
        ]
        if not entries:
            return 'start: "[]"'
        return "\n".join(
            [
                *self._list_rules(schema, text, mentions),
                "entry: " + " | ".join(f"entry_{index}" for index in range(len(entries))),
                *(f"entry_{index}: {rule}" for index, rule in enumerate(entries)),
                *span_rules(text),
            ]
        )

    def _list_rules(self, schema: Schema, text: str, mentions: Sequence[Mention] | None) -> list[str]:
        """The rules for the whole list, in terms of `entry`."""
        return [f'start: "[" ({at_most("entry")})? "]"']

    def _entry_rules(self, relation: RelationType, schema: Schema, text: str, mentions: Sequence[Mention] | None) -> list[str]:
        """Right-hand sides of the rules for entries with this relation; none if the text can't have one."""
        fields = fields_of(relation, schema)
        rules = []
        # Free spans have any type, so one rule serves all; given mentions have their own, so there is one for each pair.
        heads = _arguments(schema.head_types(relation), text, mentions)
        tails = _arguments(schema.tail_types(relation), text, mentions)
        for (head, head_types), (tail, tail_types) in product(heads, tails):
            content: dict[Field, str] = {
                "head": head,
                "relation": literal(json_content(relation.name)),
                "tail": tail,
                "head_type": choice(json_content(name) for name in head_types),
                "tail_type": choice(json_content(name) for name in tail_types),
            }
            parts = [part for field in fields for part in (literal(self._opening(field)), content[field])]
            rules.append(" ".join([*parts, literal(self.closing)]))
        return rules


def at_most(rule: str) -> str:
    """One or more of `rule` with commas between them, as many as an answer may have."""
    return f'{rule} ("," {rule}){{0,{MAX_ENTRIES - 1}}}'


def _arguments(types: tuple[str, ...], text: str, mentions: Sequence[Mention] | None) -> list[tuple[str, tuple[str, ...]]]:
    """The ways to fill an argument: pairs of a terminal for its span and the types that such a span can have."""
    numbers = [name for name in types if name == "number"]
    others = [name for name in types if name in LITERAL_TYPES and name != "number"]
    entities = [name for name in types if name not in LITERAL_TYPES]
    ways: list[tuple[str, tuple[str, ...]]] = []
    if numbers and has_number(text):
        ways.append((NUMBER, tuple(numbers)))
    if others:
        ways.append((SPAN, tuple(others)))
    if not types or entities:
        if mentions is None:
            ways.append((SPAN, tuple(entities)))
        else:
            if not entities and mentions:
                ways.append((mention_rule(mentions), ()))
            for name in entities:
                fitting = [mention for mention in mentions if mention.type in (None, name)]
                if fitting:
                    ways.append((mention_rule(fitting), (name,)))
    return ways
