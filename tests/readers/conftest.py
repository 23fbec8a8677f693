"""What the tests of all readers need."""

import json

import pytest

from genre_x.errors import DataError
from genre_x.readers import convert, read_annotated
from genre_x.task import parse_task

TASK = """
name: homes
instruction: Find homes.
entity_types:
  - {name: person, aliases: [PER, Person]}
  - {name: place, aliases: [LOC, Place]}
relation_types:
  - {name: lives in, head_types: [person], tail_types: [place], aliases: [Lives_In, lives_in, P551, residence]}
examples: []
"""


@pytest.fixture
def task():
    """A task that knows a person, a place and that the one lives in the other."""
    return parse_task(TASK)


@pytest.fixture
def write(tmp_path):
    """A function that writes a file, text as it is and anything else as JSON, and gives its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        path.write_bytes(text.encode())
        return path

    return write_file


@pytest.fixture
def faults_of():
    """A function that gives the faults that a file is refused with, without the path."""

    def faults(path, data_format, **options):
        with pytest.raises(DataError) as caught:
            read_annotated(path, format=data_format, **options)
        return [fault.replace(f"{path}", "FILE") for fault in caught.value.faults]

    return faults


@pytest.fixture
def round_trip(tmp_path):
    """A function that converts a set to the common form, reads it again, and checks that nothing has changed."""

    def check(sets):
        (one,) = sets
        convert(sets, tmp_path / "converted", split="train")
        (again,) = read_annotated(tmp_path / "converted", format="common", split="train")
        assert [document.triples for document in again.documents] == [document.triples for document in one.documents]
        assert [document.text for document in again.documents] == [document.text for document in one.documents]
        assert [document.id for document in again.documents] == [document.id for document in one.documents]
        for new, old in zip(again.documents, one.documents, strict=True):
            if old.mentions is not None:
                assert new.mentions == old.mentions
        assert again.unanchored == one.unanchored
        assert [relation.model_dump(exclude={"aliases"}) for relation in again.schema.relation_types] == [
            relation.model_dump(exclude={"aliases"}) for relation in one.schema.relation_types
        ]
        assert {entity.name for entity in again.schema.entity_types} == {entity.name for entity in one.schema.entity_types}
        return again

    return check
