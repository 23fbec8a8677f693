"""Task files: what to extract, said in YAML, with examples.

Everything wrong in a file is reported at once, with the line, before any model is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from genre_x.document import Document, Mention, Triple
from genre_x.errors import TaskError, UnknownNameError
from genre_x.formats import get_format
from genre_x.grounding import nearest_pair, occurrences
from genre_x.prompting import PromptTemplate
from genre_x.resources import shipped
from genre_x.schema import EntityType, Fault, LiteralType, RelationType, Schema, schema_faults
from genre_x.yaml_text import load_yaml

DEFAULT_TASK = "general"

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One extraction task: a schema, how to ask for it, and examples.

    Attributes:
        schema: Entity types, relation types and attributes.
        instruction: The first sentence of the prompt.
        examples: Annotated documents, shown to the model as earlier turns of the chat.
        template: Name of a file in `prompts/templates/`, without its suffix; None takes the one that the model learned.
        output_format: Name of an output format; None takes the one that the model learned.
        language: ISO 639-1 code of the documents.
    """

    schema: Schema
    instruction: str
    examples: tuple[Document, ...] = ()
    template: str | None = None
    output_format: str | None = None
    language: str = "en"


class _Attribute(BaseModel):
    """An attribute as it stands in a file."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: str = Field(min_length=1)
    description: str = ""
    head_types: tuple[str, ...] = ()
    value: LiteralType = "text"


class _Example(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1)
    triples: tuple[tuple[str, ...], ...]


class _Head(BaseModel):
    """The fields of a file that are no lists of their own."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    language: str = Field(default="en", min_length=2)
    template: str | None = None
    output_format: str | None = None
    entity_types: list[Any] = []
    relation_types: list[Any] = []
    attributes: list[Any] = []
    examples: list[Any] = []


def task_path(name: str | Path) -> Path:
    """The file that `name` means: a path, or the name of a shipped task.

    Raises:
        UnknownNameError: Neither a file nor a shipped task.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = shipped("prompts")
    names_shipped = path.parent in (Path(), Path("prompts")) and path.suffix in ("", ".yaml")
    if names_shipped and (folder / f"{path.stem}.yaml").is_file():
        return folder / f"{path.stem}.yaml"
    raise UnknownNameError("task or task file", str(name), (file.stem for file in folder.glob("*.yaml")))


def load_task(name: str | Path = DEFAULT_TASK) -> Task:
    """Read a task file.

    Args:
        name: Path of a YAML file, or the name of a shipped task such as `general`.

    Raises:
        UnknownNameError: There is no such file or task.
        TaskError: The file has faults; the error lists all of them.
    """
    return parse_task(task_text(name), source=str(name))


def task_text(name: str | Path) -> str:
    """The text of a task file.

    Raises:
        UnknownNameError: There is no such file or task.
        TaskError: It can't be read.
    """
    path = task_path(name)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskError(str(name), [f"can't be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise TaskError(str(name), [f"not UTF-8: {error.reason} at byte {error.start}"]) from error


def parse_task(text: str, *, source: str = "task") -> Task:
    """Read the text of a task file.

    Args:
        text: YAML.
        source: What error messages call it.

    Raises:
        TaskError: The text has faults; the error lists all of them.
    """
    try:
        content = load_yaml(text)
        lines = _Lines(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise TaskError(source, [f"{place}not valid YAML: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:
        raise TaskError(source, [f"not valid YAML: {error}"]) from error
    if not isinstance(content, dict):
        raise TaskError(source, [f"a task file is a mapping with the keys name, instruction, …; found {content!r:.60}"])
    return _Reader(content, lines, source).read()


class _Lines:
    """Line numbers of the parts of a YAML file."""

    def __init__(self, text: str) -> None:
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)

    def place(self, *path: str | int) -> str:
        """`line 12, relation_types[3].head_types: `, as exact as the file allows."""
        node, line = self._root, 1
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = [(key, value) for key, value in node.value if key.value == step]
                if not found:
                    break
                key, node = found[0]
                line = key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        return f"line {line}, {name}: " if name else ""


@dataclass
class _Reader:
    """Reads one file, keeping on after a fault so that all are found."""

    content: Mapping[str, Any]
    lines: _Lines
    source: str
    faults: list[str] = field(default_factory=list)

    def read(self) -> Task:
        head = self._valid(_Head, self.content)
        entity_types = self._list(EntityType, "entity_types")
        relation_types = self._list(RelationType, "relation_types")
        attributes = self._list(_Attribute, "attributes")
        broken = [item.name for items in (entity_types, relation_types, attributes) for item in items if item.value is None]
        relations = [
            *(item.value or RelationType.model_construct(name=item.name) for item in relation_types),
            *(_as_relation(item.value) if item.value else RelationType.model_construct(name=item.name) for item in attributes),
        ]
        entities = [item.value or EntityType.model_construct(name=item.name) for item in entity_types]
        if not relations:
            self.faults.append("relation_types: there is no relation type and no attribute; declare at least one")
        for fault in schema_faults(entities, relations):
            self.faults.append(self._place_of(fault, len(relation_types)) + fault.message)
        schema = Schema.model_construct(
            name=head.name if head else "?", relation_types=tuple(relations), entity_types=tuple(entities)
        )
        examples = self._examples(schema, check_types=not broken)
        self._names()
        if self.faults or head is None:
            raise TaskError(self.source, self.faults)
        return Task(
            schema=schema,
            instruction=head.instruction,
            examples=examples,
            template=head.template,
            output_format=head.output_format,
            language=head.language,
        )

    def _names(self) -> None:
        for key, check in (("template", PromptTemplate.load), ("output_format", get_format)):
            name = self.content.get(key)
            if isinstance(name, str):
                try:
                    check(name)
                except UnknownNameError as error:
                    self.faults.append(f"{self.lines.place(key)}{error}")

    def _place_of(self, fault: Fault, n_relation_types: int) -> str:
        if fault.kind == "relation_types" and fault.position >= n_relation_types:
            return self.lines.place("attributes", fault.position - n_relation_types)
        return self.lines.place(fault.kind, fault.position)

    def _valid(self, model: type[T], value: Any, *place: str | int) -> T | None:
        try:
            return TypeAdapter(model).validate_python(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if detail["type"] == "missing":
                    message = "required, but missing"
                elif detail["type"] == "extra_forbidden":
                    message = f"unknown key; known keys: {', '.join(model.model_fields)}"
                else:
                    message = f"{detail['msg']}; found {detail['input']!r:.60}"
                self.faults.append(f"{self.lines.place(*place, *detail['loc'])}{message}")
            return None

    def _list(self, model: type[T], key: str) -> "list[_Item[T]]":
        """The items of a list, in the order of the file; one that is broken keeps its name, so that it counts as declared."""
        items = self.content.get(key) or []
        if not isinstance(items, list):
            return []  # reported with the head
        read = []
        for index, item in enumerate(items):
            name = item.get("name") if isinstance(item, dict) else None
            value = self._valid(model, item, key, index)
            read.append(_Item(name if isinstance(name, str) else f"{key}[{index}]", value))
        return read

    def _examples(self, schema: Schema, *, check_types: bool) -> tuple[Document, ...]:
        items = self.content.get("examples") or []
        documents = []
        for index, item in enumerate(items if isinstance(items, list) else []):
            example = self._valid(_Example, item, "examples", index)
            if example is None:
                continue
            place = self.lines.place("examples", index)
            triples, faults = ground_rows(example.text, example.triples, schema, check_types=check_types)
            self.faults += [place + fault for fault in faults]
            documents.append(Document(f"example-{index}", example.text, triples=tuple(triples)))
        return tuple(documents)


@dataclass(frozen=True)
class _Item(Generic[T]):
    """An item of a list in the file; `value` is None if it is broken."""

    name: str
    value: T | None


def _as_relation(attribute: _Attribute) -> RelationType:
    return RelationType(
        name=attribute.name,
        description=attribute.description,
        head_types=attribute.head_types,
        tail_types=(attribute.value,),
    )


def ground_rows(
    text: str, rows: Sequence[Sequence[str]], schema: Schema, *, check_types: bool = True
) -> tuple[list[Triple], list[str]]:
    """Turn hand-written rows `[head, relation, tail]`, with types where the schema leaves a choice, into triples.

    Args:
        text: Where the heads and tails stand.
        rows: As the format `rows` writes them.
        schema: What the rows must conform to.
        check_types: False checks relations and mentions only, for a schema whose types are in doubt.

    Returns:
        The triples, and one line for each fault.
    """
    triples, faults = [], []
    for row in rows:
        if len(row) < 3:
            faults.append(f"a triple is [head, relation, tail], found {list(row)}")
            continue
        head, name, tail, *types = row
        missing = [fragment for fragment in (head, tail) if not occurrences(text, fragment)]
        faults += [f"{fragment!r} is not in the text of this example: {text!r:.80}" for fragment in missing]
        relation = schema.relation_type(name)
        if relation is None:
            known = ", ".join(sorted(other.name for other in schema.relation_types))
            faults.append(f"relation {name!r} is not declared. Declared: {known}")
            continue
        head_type, tail_type, fault = _types(schema, relation, types) if check_types else (None, None, "")
        if fault:
            faults.append(f"triple {list(row)}: {fault}")
        pair = nearest_pair(occurrences(text, head), occurrences(text, tail))
        if pair is None and not missing:
            faults.append(f"head and tail are the same span {head!r}")
        if pair is None or fault:
            continue
        (head_start, head_end), (tail_start, tail_end) = pair
        triples.append(
            Triple(
                Mention(head_start, head_end, text[head_start:head_end], head_type),
                name,
                Mention(tail_start, tail_end, text[tail_start:tail_end], tail_type),
            )
        )
    return triples, faults


def _types(schema: Schema, relation: RelationType, given: Sequence[str]) -> tuple[str | None, str | None, str]:
    """Types of head and tail, implied by the relation or taken in order from `given`, and what is wrong."""
    left, chosen = list(given), []
    for role, types in (("head", schema.head_types(relation)), ("tail", schema.tail_types(relation))):
        if len(types) < 2:
            chosen.append(types[0] if types else None)
        elif not left:
            return (
                None,
                None,
                f"the {role} of {relation.name!r} can be {' or '.join(types)}; add its type to the triple",
            )
        elif left[0] not in types:
            return None, None, f"the {role} of {relation.name!r} is {' or '.join(types)}, not {left[0]!r}"
        else:
            chosen.append(left.pop(0))
    fault = f"{len(left)} elements too many: the types follow from the relation" if left else ""
    return chosen[0], chosen[1], fault
