"""Annotated data: the common JSONL form of relation data sets, and sentences written for a task file."""

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError, SchemaError
from genre_x.schema import EntityType, RelationType, Schema
from genre_x.task import Task, ground_rows, load_task


@dataclass(frozen=True)
class AnnotatedSet:
    """Documents that share a schema.

    Attributes:
        documents: All with `triples` set; their relations and types are in `schema`.
        instruction: First sentence of the prompt.
        unanchored: For document ids, how many more gold triples there are whose strings do not stand in the text. An
            evaluation counts them as missed; training leaves such documents out.
    """

    name: str
    schema: Schema
    documents: tuple[Document, ...]
    instruction: str
    unanchored: Mapping[str, int] = field(default_factory=dict)


def natural_name(label: str) -> str:
    """A data set's label as words a language model knows.

    >>> [natural_name(label) for label in ("OrgBased_In", "USED-FOR", "/location/location/contains", "Adverse-Effect")]
    ['org based in', 'used for', 'contains', 'adverse effect']
    """
    words = label.rstrip("/").rpartition("/")[2] if label.startswith("/") else label
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return re.sub(r"[_\-\s]+", " ", words).strip().lower()


def split_file(folder: Path, split: str) -> Path:
    """The file of a split, compressed or not.

    Raises:
        DataError: There is none.
    """
    for suffix in (".jsonl", ".jsonl.gz"):
        if (path := folder / f"{split}{suffix}").is_file():
            return path
    there = sorted({path.name.partition(".jsonl")[0] for path in folder.glob("*.jsonl*")})
    raise DataError(f"{folder} has no split {split!r}. It has: {', '.join(there) or 'no .jsonl file'}.")


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and records of a JSONL file, compressed or not.

    Raises:
        DataError: A line is no JSON object.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not valid JSON: {error}") from error
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: expected a JSON object, found {type(record).__name__}.")
            yield number, record


def load_dataset(folder: str | Path, split: str, *, task: Task | None = None) -> list[AnnotatedSet]:
    """Read one split of a data set in the common form.

    Args:
        folder: With `schema.json` and `<split>.jsonl` or `<split>.jsonl.gz`; if there is an `ontologies.json`, each
            ontology becomes a set of its own, with its own schema.
        split: Name of the split.
        task: Its schema instead of the data set's; the data set's labels are found among its names and aliases.

    Raises:
        DataError: A file is missing, a record can't be read, or a label is neither a name nor an alias of the task.
    """
    folder = Path(folder)
    try:
        described = json.loads((folder / "schema.json").read_text(encoding="utf-8"))
        file = folder / "ontologies.json"
        ontologies = json.loads(file.read_text(encoding="utf-8")) if file.is_file() and task is None else None
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} is no data set in the common form: {error}") from error
    path = split_file(folder, split)
    if ontologies is None:
        schema = task.schema if task else _described_schema(folder.name, described)
        groups = {folder.name: (schema, list(read_records(path)))}
    else:
        by_ontology: dict[str, list[tuple[int, dict[str, Any]]]] = {name: [] for name in ontologies}
        for number, record in read_records(path):
            by_ontology[record["meta"]["ontology"]].append((number, record))
        groups = {
            f"{folder.name}/{name}": (_ontology_schema(name, ontologies[name], described, records), records)
            for name, records in by_ontology.items()
        }
    instruction = task.instruction if task else "Extract the relations that the text states."
    return [_annotated_set(name, schema, records, instruction, path) for name, (schema, records) in groups.items() if records]


def load_sentences(path: str | Path, task: str | Path) -> AnnotatedSet:
    """Read sentences written for a task: one `{"text": …, "triples": [[head, relation, tail], …]}` a line.

    Raises:
        DataError: A record can't be read; the message names the line.
    """
    path, loaded = Path(path), load_task(task)
    documents = []
    for number, record in read_records(path):
        place = f"{path}, line {number}"
        try:
            text, rows = record["text"], record["triples"]
        except KeyError as error:
            raise DataError(f"{place}: the key {error} is missing.") from error
        triples, faults = ground_rows(text, rows, loaded.schema)
        if faults:
            raise DataError(f"{place}: {'; '.join(faults)}")
        documents.append(Document(f"{path.stem}-{number}", text, triples=tuple(triples), language=loaded.language))
    return AnnotatedSet(path.stem, loaded.schema, tuple(documents), loaded.instruction)


def _described_schema(name: str, described: Mapping[str, Any]) -> Schema:
    entity_types = [
        EntityType(name=natural_name(label), description=description or "", aliases=(label,))
        for label, description in described.get("entity_labels", {}).items()
    ]
    names = _natural_names(described["relation_labels"])
    relation_types = [
        RelationType(
            name=names[label],
            description="" if about.get("templated") else about.get("description") or "",
            head_types=tuple(map(natural_name, about.get("head_types", ()))),
            tail_types=tuple(map(natural_name, about.get("tail_types", ()))),
            symmetric=bool(about.get("symmetric")),
            aliases=(label,),
        )
        for label, about in described["relation_labels"].items()
    ]
    return Schema(name=name, entity_types=tuple(entity_types), relation_types=tuple(relation_types))


def _natural_names(labels: Sequence[str]) -> dict[str, str]:
    """Natural names, but the label itself where two labels would get the same name."""
    natural = {label: natural_name(label) for label in labels}
    taken = list(natural.values())
    return {label: name if taken.count(name) == 1 else label.strip() for label, name in natural.items()}


def _ontology_schema(
    name: str,
    ontology: Mapping[str, Any],
    described: Mapping[str, Any],
    records: Sequence[tuple[int, dict[str, Any]]],
) -> Schema:
    """Schema of one ontology: concepts become entity types, a relation without range becomes an attribute.

    Relations that only the records use are added, with a head of any type.
    """
    used = {item["label"].strip(): {"domain": None, "range": None} for _, record in records for item in record["relations"]}
    relations = used | {relation["label"].strip(): relation for relation in ontology["relations"]}
    concepts = {concept for relation in relations.values() for concept in (relation["domain"], relation["range"]) if concept}
    relation_types = []
    for label, relation in relations.items():
        about = described["relation_labels"].get(label, {})
        is_date = re.search(r"date|time|inception|year", label, re.IGNORECASE)
        tail = relation["range"] or ("date" if is_date else "text")
        relation_types.append(
            RelationType(
                name=natural_name(label),
                description="" if about.get("templated") else about.get("description") or "",
                head_types=(relation["domain"],) if relation["domain"] else (),
                tail_types=("date" if tail in ("date", "time") else tail,),
                aliases=(label,),
            )
        )
    reserved = {"text", "number", "date", "time"}
    entity_types = tuple(EntityType(name=concept) for concept in sorted(concepts - reserved))
    return Schema(name=name, entity_types=entity_types, relation_types=tuple(relation_types))


def _annotated_set(
    name: str, schema: Schema, records: Sequence[tuple[int, dict[str, Any]]], instruction: str, path: Path
) -> AnnotatedSet:
    documents: list[Document] = []
    unanchored: dict[str, int] = {}
    for number, record in records:
        try:
            document, missing = _document(record, schema)
        except (KeyError, IndexError, TypeError, SchemaError) as error:
            raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        documents.append(document)
        if missing:
            unanchored[document.id] = missing
    return AnnotatedSet(name, schema, tuple(documents), instruction, unanchored)


def _document(record: Mapping[str, Any], schema: Schema) -> tuple[Document, int]:
    """A record in the common form as a document, and how many of its gold triples do not stand in the text."""
    text = record["text"]
    mentions = []
    for entity in record["entities"]:
        start, end, label = entity["start"], entity["end"], entity["label"]
        type_name = schema.resolve_type(label) if label is not None else None
        mentions.append(Mention(start, end, text[start:end], type_name))
    triples: dict[tuple[Any, ...], Triple] = {}
    for item in record["relations"]:
        relation = schema.resolve_relation(item["label"].strip())
        if relation is None:
            known = ", ".join(relation.name for relation in schema.relation_types)
            raise SchemaError(f"relation label {item['label']!r} is neither a name nor an alias. Known: {known:.300}")
        head, tail = mentions[item["head"]], mentions[item["tail"]]
        head = _with_implied_type(head, schema.head_types(relation))
        tail = _with_implied_type(tail, schema.tail_types(relation))
        triples.setdefault((head.span, relation.name, tail.span), Triple(head, relation.name, tail))
    n_gold = len(record.get("triples", record["relations"]))
    document = Document(
        record["id"], text, tuple(mentions), tuple(sorted(triples.values(), key=_text_order)), record.get("lang")
    )
    return document, max(0, n_gold - len(record["relations"]))


def _with_implied_type(mention: Mention, types: tuple[str, ...]) -> Mention:
    if mention.type is None and len(types) == 1:
        return Mention(mention.start_char, mention.end_char, mention.text, types[0])
    return mention


def _text_order(triple: Triple) -> tuple[int, int, str]:
    return triple.head.start_char, triple.tail.start_char, triple.relation
