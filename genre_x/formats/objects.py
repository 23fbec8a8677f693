"""`[{"head":"Marie Curie","relation":"born in","tail":"Warsaw"}]`: the same with keys, for models that were taught them."""

from typing import Any, Literal

from pydantic import ConfigDict, create_model

from genre_x.formats.json_list import FIELDS, Field, JsonListFormat, fields_of
from genre_x.schema import RelationType, Schema


class ObjectsFormat(JsonListFormat):
    """A JSON list of objects with the keys `head`, `relation`, `tail` and, where there is a choice, the types."""

    name = "objects"
    hint = (
        'Answer with a JSON list of objects with the keys "head", "relation" and "tail", and "head_type" or "tail_type" '
        "where the relation allows several. Copy heads and tails from the text. Answer [] if there are none."
    )
    closing = '"}'

    def _opening(self, field: Field) -> str:
        return ("{" if field == "head" else '",') + f'"{field}":"'

    def _entry_model(self, relation: RelationType, schema: Schema) -> Any:
        types: dict[Field, Any] = {
            "relation": Literal[relation.name],
            "head_type": Literal[schema.head_types(relation) or ("",)],
            "tail_type": Literal[schema.tail_types(relation) or ("",)],
        }
        fields: dict[str, Any] = {field: (types.get(field, str), ...) for field in fields_of(relation, schema)}
        return create_model("Entry", __config__=ConfigDict(extra="forbid"), **fields)

    def _fields(self, entry: object, schema: Schema) -> dict[Field, str] | None:
        if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
            return None
        values: dict[Field, str] = {field: entry[field] for field in FIELDS if field in entry}
        if not {"head", "relation", "tail"} <= values.keys() or len(values) != len(entry):
            return None
        relation = schema.relation_type(values["relation"])
        if relation is not None and set(fields_of(relation, schema)) - values.keys():
            return None
        return values
