"""`[["Marie Curie","born in","Warsaw"]]`: the compact format, and the default."""

from typing import Any, Literal

from genre_x.formats.json_list import Field, JsonListFormat, fields_of
from genre_x.schema import RelationType, Schema


class RowsFormat(JsonListFormat):
    """A JSON list of `[head, relation, tail]` rows; types follow where the schema leaves a choice."""

    name = "rows"
    hint = (
        'Answer with a JSON list of rows ["head","relation","tail"], with the types of head and tail at the end of the '
        "row where the relation allows several. Copy heads and tails from the text. Answer [] if there are none."
    )
    closing = '"]'

    def _opening(self, field: Field) -> str:
        return '["' if field == "head" else '","'

    def _entry_model(self, relation: RelationType, schema: Schema) -> Any:
        parts: list[Any] = [str, Literal[relation.name], str]
        for field in fields_of(relation, schema)[3:]:
            types = schema.head_types(relation) if field == "head_type" else schema.tail_types(relation)
            parts.append(Literal[types])
        return tuple[tuple(parts)]  # type: ignore[misc]

    def _fields(self, entry: object, schema: Schema) -> dict[Field, str] | None:
        if not isinstance(entry, list) or len(entry) < 3 or not all(isinstance(value, str) for value in entry):
            return None
        relation = schema.relation_type(entry[1]) or RelationType(name="?")
        fields = fields_of(relation, schema)
        if relation.name == entry[1] and len(entry) != len(fields):
            return None
        return dict(zip(fields, entry, strict=False))
