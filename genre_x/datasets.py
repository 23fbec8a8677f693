"""Annotated data: the common JSONL form of relation data sets, and sentences written for a task file.

Other formats are read by `genre_x.readers`, which ends in `annotated_set` here, too.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, StrictInt, StringConstraints

from genre_x.described import Described, LabelNote, described_schema, ontology_schema
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.records import BadRecords, SourceRecord, parse_object, read_json, read_lines, validated
from genre_x.schema import Schema
from genre_x.task import Task, ground_rows, load_task
from genre_x.translation import Translator

logger = logging.getLogger(__name__)

INSTRUCTION = "Extract the relations that the text states."
"""First sentence of the prompt, for data that come without a task."""


@dataclass(frozen=True)
class AnnotatedSet:
    """Documents that share a schema.

    Attributes:
        documents: All with `triples` set; their relations and types are in `schema`.
        instruction: First sentence of the prompt.
        unanchored: For document ids, how many more gold triples there are that no two spans of the text stand for: a string
            is not in the text, or head and tail are the same span. An evaluation counts them as missed; training leaves
            such documents out.
        n_bad: Number of records that could not be read and were left out, which happens only when it is asked for. Where
            one file holds several sets, the first one has the number of all.
        faults: What was wrong in them, one line per fault, with its place.
        left_out: What was left out of good records, and how often: repeats of the same triple or mention, and mentions
            with a label that the task does not know, as long as no relation needs them.
    """

    name: str
    schema: Schema
    documents: tuple[Document, ...]
    instruction: str
    unanchored: Mapping[str, int] = field(default_factory=dict)
    n_bad: int = 0
    faults: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


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


def load_dataset(folder: str | Path, split: str, *, task: Task | None = None, skip_bad: bool = False) -> list[AnnotatedSet]:
    """Read one split of a data set in the common form.

    Args:
        folder: With `schema.json` and `<split>.jsonl` or `<split>.jsonl.gz`; if there is an `ontologies.json`, each
            ontology becomes a set of its own, with its own schema.
        split: Name of the split.
        task: Its schema instead of the data set's; the data set's labels are found among its names and aliases.
        skip_bad: Leave bad records out and count them, instead of raising.

    Raises:
        DataError: A file is missing, or a record can't be read or has a label that is neither a name nor an alias of the
            task. The error lists the faults of all records.
    """
    folder = Path(folder)
    try:
        described = validated(Described, read_json(folder / "schema.json"))
        file = folder / "ontologies.json"
        ontologies = read_json(file) if file.is_file() and task is None else None
    except DataError as error:
        raise DataError(f"{folder} is no data set in the common form: {error}") from error
    path = split_file(folder, split)
    bad = BadRecords(str(path))
    groups: dict[str, list[SourceRecord]] = {name: [] for name in ontologies or ()}
    for place, line in read_lines(path):
        with bad.record(place):
            record = validated(_Record, parse_object(line))
            if ontologies is not None and record.meta.get("ontology") not in ontologies:
                known = ", ".join(ontologies)
                raise DataError(f"ontology {record.meta.get('ontology')!r} is not in ontologies.json. It has: {known:.300}")
            group = folder.name if ontologies is None else str(record.meta["ontology"])
            groups.setdefault(group, []).append(_source_record(place, record))
    sets = []
    for group, records in groups.items():
        if ontologies is None:
            name, schema = group, task.schema if task else described_schema(folder.name, described)
        else:
            used = [triple.relation for record in records for triple in record.document.triples or ()]
            name, schema = f"{folder.name}/{group}", ontology_schema(group, ontologies[group], described, used)
        if records:
            sets.append(annotated_set(name, schema, records, bad, instruction=task.instruction if task else INSTRUCTION))
    return settled(sets, bad, skip_bad=skip_bad)


def load_sentences(path: str | Path, task: str | Path | Task, *, skip_bad: bool = False) -> AnnotatedSet:
    """Read sentences written for a task: one `{"text": …, "triples": [[head, relation, tail], …]}` a line.

    Args:
        path: A JSONL file.
        task: A task, its file or its name.
        skip_bad: Leave bad records out and count them, instead of raising.

    Raises:
        DataError: A record can't be read; the error names the lines of all that can't.
    """
    path, loaded = Path(path), task if isinstance(task, Task) else load_task(task)
    bad = BadRecords(str(path))
    records = []
    for place, line in read_lines(path):
        with bad.record(place):
            sentence = validated(_Sentence, parse_object(line))
            triples, faults = ground_rows(sentence.text, sentence.triples, loaded.schema)
            if faults:
                raise DataError("; ".join(faults), faults=faults)
            number = place.rpartition(" ")[2]
            document = Document(f"{path.stem}-{number}", sentence.text, triples=tuple(triples), language=loaded.language)
            records.append(SourceRecord(place, document))
    one = AnnotatedSet(path.stem, loaded.schema, tuple(record.document for record in records), loaded.instruction)
    return settled([one], bad, skip_bad=skip_bad)[0]


def annotated_set(
    name: str,
    schema: Schema,
    records: Iterable[SourceRecord],
    bad: BadRecords,
    *,
    instruction: str = INSTRUCTION,
    notes: Mapping[str, LabelNote] | None = None,
) -> AnnotatedSet:
    """Bring records with a source's own labels under a schema.

    Args:
        name: Of the set.
        schema: Labels are found among its names and aliases.
        records: Of the source; an id that was there before gets a number, so that ids are unique.
        bad: Gets the records with a label that the schema does not know.
        instruction: First sentence of the prompt.
        notes: Names that the source has for its relation labels; they are looked up, too.
    """
    translator = Translator(schema, notes or {})
    documents: list[Document] = []
    unanchored: dict[str, int] = {}
    seen: Counter[str] = Counter()
    for record in records:
        with bad.record(record.place):
            document, n_self = translator.translate(record.document)
            seen[document.id] += 1
            if (number := seen[document.id]) > 1:
                document = replace(document, id=f"{document.id}#{number}")
            documents.append(document)
            if n_missing := record.n_unanchored + n_self:
                unanchored[document.id] = n_missing
    left_out = dict(translator.left_out)
    if left_out:
        logger.info("%s: left out %s.", bad.source, ", ".join(f"{count} {what}" for what, count in left_out.items()))
    return AnnotatedSet(name, schema, tuple(documents), instruction, unanchored, left_out=left_out)


def settled(sets: Sequence[AnnotatedSet], bad: BadRecords, *, skip_bad: bool) -> list[AnnotatedSet]:
    """The sets of a source that have documents, with what was bad in it.

    Raises:
        DataError: There are bad records and `skip_bad` is False, or there is no good one.
    """
    bad.settle(sum(len(one.documents) for one in sets), skip_bad=skip_bad)
    first, *others = (one for one in sets if one.documents)
    return [replace(first, n_bad=bad.n_bad, faults=tuple(bad.faults)), *others]


class _Entity(BaseModel):
    start: StrictInt
    end: StrictInt
    label: str | None


class _Relation(BaseModel):
    label: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    head: StrictInt
    tail: StrictInt


class _Record(BaseModel):
    """A record in the common form; it may have more keys."""

    id: str
    text: str
    entities: list[_Entity]
    relations: list[_Relation]
    lang: str | None = None
    triples: list[Any] | None = None
    n_unanchored: StrictInt = 0
    meta: dict[str, Any] = {}


class _Sentence(BaseModel):
    text: str
    triples: list[list[str]]


def _source_record(place: str, record: _Record) -> SourceRecord:
    mentions = [Mention(one.start, one.end, record.text[one.start : one.end], one.label) for one in record.entities]
    faults = [
        f"relations[{index}]: the {role} is entity {number}, but there are {len(mentions)} entities"
        for index, relation in enumerate(record.relations)
        for role, number in (("head", relation.head), ("tail", relation.tail))
        if not 0 <= number < len(mentions)
    ]
    if faults:
        raise DataError("; ".join(faults), faults=faults)
    triples = tuple(Triple(mentions[one.head], one.label, mentions[one.tail]) for one in record.relations)
    n_gold = len(record.relations) if record.triples is None else len(record.triples)
    document = Document(record.id, record.text, tuple(mentions), triples, record.lang)
    return SourceRecord(place, document, max(record.n_unanchored, n_gold - len(record.relations), 0))
