"""`[["Marie Curie","person"],["Warsaw","location"],["Marie Curie","born in","Warsaw"]]`: the mentions first, then the triples.

A decoder reads the text once, from left to right; listing what it names is a second reading, before the model commits to a
triple, and trains it on every annotated mention. It pays where mentions are annotated completely, and costs the tokens of
the list.
"""

from collections.abc import Sequence
from typing import Any, Literal

from genre_x.constraints import SPAN, choice, json_content, literal, mention_rule
from genre_x.document import Mention, Triple
from genre_x.formats.json_list import MAX_ENTRIES, at_most
from genre_x.formats.rows import RowsFormat
from genre_x.grounding import normalized
from genre_x.schema import Schema


class MentionsFormat(RowsFormat):
    """A JSON list: rows `[mention, type]`, without the type in an untyped task, then rows as of `RowsFormat`."""

    name = "mentions"
    hint = (
        'Answer with a JSON list: first a row ["mention","type"] for each mention, without the type if there are no types, '
        'then a row ["head","relation","tail"] for each relation, with the types of head and tail at the end of the row '
        "where the relation allows several. Copy from the text. Answer [] if there is nothing."
    )
    max_items = 2 * MAX_ENTRIES

    def write(self, triples: Sequence[Triple], schema: Schema, mentions: Sequence[Mention] = ()) -> str:
        named = [*mentions, *(mention for triple in triples for mention in (triple.head, triple.tail))]
        types = {entity.name for entity in schema.entity_types}
        found = {
            (normalized(mention.text), mention.type if types else None): None
            for mention in sorted(named, key=lambda mention: mention.start_char)
            if not types or mention.type in types
        }
        rows = [_row([text] if type_name is None else [text, type_name]) for text, type_name in list(found)[:MAX_ENTRIES]]
        return "[" + ",".join([*rows, *(self._write_entry(triple, schema) for triple in triples)]) + "]"

    def _is_aside(self, entry: object) -> bool:
        return isinstance(entry, list) and 1 <= len(entry) <= 2 and all(isinstance(value, str) for value in entry)

    def _aside_models(self, schema: Schema) -> tuple[Any, ...]:
        types = tuple(entity.name for entity in schema.entity_types)
        return (tuple[str, Literal[types]] if types else tuple[str],)  # type: ignore[valid-type]

    def _list_rules(self, schema: Schema, text: str, mentions: Sequence[Mention] | None) -> list[str]:
        types = [entity.name for entity in schema.entity_types]
        parts = [literal('["'), SPAN if mentions is None else mention_rule(mentions)]
        if types:
            parts += [literal('","'), choice(json_content(name) for name in types)]
        return [
            f'start: "[" ({at_most("mention")} ("," {at_most("entry")})? | {at_most("entry")})? "]"',
            " ".join(["mention:", *parts, literal('"]')]),
        ]


def _row(values: Sequence[str]) -> str:
    """A row as the constraint spells it."""
    return '["' + '","'.join(map(json_content, values)) + '"]'
