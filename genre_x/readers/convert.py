"""Annotated data written in the common form, and counted."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genre_x.datasets import AnnotatedSet
from genre_x.described import Described, describe, described_schema, labels_of
from genre_x.document import Document, Mention
from genre_x.errors import DataError
from genre_x.records import read_json, to_json, validated


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        files: One for each set.
        n_documents: In all of them.
        n_triples: In all of them.
    """

    files: tuple[Path, ...]
    n_documents: int
    n_triples: int


@dataclass(frozen=True)
class RelationCount:
    """How often a relation stands in a set.

    Attributes:
        n_documents: With at least one such triple.
        n_mismatched: Triples whose head or tail has a type that the schema does not allow.
    """

    relation: str
    head_types: tuple[str, ...]
    tail_types: tuple[str, ...]
    n_triples: int
    n_documents: int
    n_mismatched: int


def relation_counts(one: AnnotatedSet) -> list[RelationCount]:
    """Counts of all relations of the schema, the most frequent first."""
    n_triples: Counter[str] = Counter()
    n_documents: Counter[str] = Counter()
    n_mismatched: Counter[str] = Counter()
    allowed = {
        relation.name: (one.schema.head_types(relation), one.schema.tail_types(relation))
        for relation in one.schema.relation_types
    }
    for document in one.documents:
        triples = document.triples or ()
        n_documents.update({triple.relation for triple in triples})
        for triple in triples:
            n_triples[triple.relation] += 1
            pairs = zip((triple.head, triple.tail), allowed[triple.relation], strict=True)
            n_mismatched[triple.relation] += any(types and mention.type not in types for mention, types in pairs)
    counts = [
        RelationCount(
            relation.name,
            relation.head_types,
            relation.tail_types,
            n_triples[relation.name],
            n_documents[relation.name],
            n_mismatched[relation.name],
        )
        for relation in one.schema.relation_types
    ]
    return sorted(counts, key=lambda count: -count.n_triples)


def convert(sets: Sequence[AnnotatedSet], folder: Path, *, split: str, overwrite: bool = False) -> Converted:
    """Write sets in the common form: a folder with `schema.json` and `<split>.jsonl`.

    One set is written into the folder itself, each of several into a folder of its name inside. If there is a `schema.json`
    already, as from another split, the labels are added to it. A document whose mentions are not annotated gets those of its
    triples.

    Args:
        sets: As `read_annotated` gives them.
        folder: Made if it is not there.
        split: Name of the file.
        overwrite: Replace a file of this split.

    Raises:
        DataError: The file is there already, or the schema there says something else about a label.
    """
    folders = [folder if len(sets) == 1 else folder / one.name.rpartition("/")[2] for one in sets]
    files = [write_annotated(one, target, split=split, overwrite=overwrite) for one, target in zip(sets, folders, strict=True)]
    documents = [document for one in sets for document in one.documents]
    return Converted(tuple(files), len(documents), sum(len(document.triples or ()) for document in documents))


def write_annotated(one: AnnotatedSet, folder: Path, *, split: str, overwrite: bool = False) -> Path:
    """Write a set as a folder in the common form; see `convert`."""
    path, schema_path = folder / f"{split}.jsonl", folder / "schema.json"
    if path.exists() and not overwrite:
        raise DataError(f"{path} is there already. Choose another folder or split, or overwrite it.")
    described = describe(one.schema)
    if schema_path.is_file():
        old = read_json(schema_path)
        validated(Described, old)
        described = _merged(old, described, schema_path)
        described_schema(folder.name, validated(Described, described))  # raises if the two contradict each other
    entity_labels, relation_labels = labels_of(one.schema.entity_types), labels_of(one.schema.relation_types)
    folder.mkdir(parents=True, exist_ok=True)
    schema_path.write_text(json.dumps(described, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for document in one.documents:
            record = _record(document, entity_labels, relation_labels, one.unanchored.get(document.id, 0))
            file.write(to_json(record) + "\n")
    return path


def _record(
    document: Document, entity_labels: Mapping[str, str], relation_labels: Mapping[str, str], n_unanchored: int
) -> dict[str, Any]:
    """The common form of a document; a literal is its own label."""
    triples = document.triples or ()
    mentions = list(document.mentions or ())
    index = {mention: position for position, mention in reversed(list(enumerate(mentions)))}
    for mention in (mention for triple in triples for mention in (triple.head, triple.tail)):
        untyped = replace(mention, type=None)  # the relation alone may have given it its type
        if mention not in index and untyped in index:
            index[mention] = index[untyped]
        elif mention not in index:
            index[mention] = len(mentions)
            mentions.append(mention)

    def entity(mention: Mention) -> dict[str, Any]:
        label = None if mention.type is None else entity_labels.get(mention.type, mention.type)
        return {"start": mention.start_char, "end": mention.end_char, "label": label}

    record: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "entities": [entity(mention) for mention in mentions],
        "relations": [
            {"label": relation_labels[one.relation], "head": index[one.head], "tail": index[one.tail]} for one in triples
        ],
    }
    if document.language is not None:
        record["lang"] = document.language
    if n_unanchored:
        record["n_unanchored"] = n_unanchored
    return record


def _merged(old: dict[str, Any], new: dict[str, Any], path: Path) -> dict[str, Any]:
    """Two schemas as one: all labels, and for each relation all types; no types means any, so it stays so."""
    merged = dict(old)
    for key in ("entity_labels", "entity_names"):
        if key in new:
            merged[key] = {**old.get(key, {}), **new[key]}
    relations: dict[str, Any] = dict(old["relation_labels"])
    for label, about in new["relation_labels"].items():
        known = relations.get(label)
        if known is None:
            relations[label] = about
            continue
        if (name := known.get("name") or about["name"]) != about["name"]:
            raise DataError(f"{path} calls the label {label!r} {name!r}; these data would call it {about['name']!r}.")
        types = {
            key: list(dict.fromkeys([*known[key], *about[key]])) if known.get(key) and about[key] else []
            for key in ("head_types", "tail_types")
        }
        relations[label] = {**about, **known, **types}
    return {**merged, "relation_labels": relations}
