"""Whatever is wrong in a record, it is reported as a bad record and nothing else happens."""

import copy
import gzip
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x.errors import DataError, SchemaError
from genre_x.readers import docred, fewrel, guess_format, read_annotated, scierc, spert
from genre_x.readers.source import Piece

TOKENS = ["Mira", "left", "Nordvik"]
SPERT = {
    "tokens": TOKENS,
    "entities": [{"type": "A", "start": 0, "end": 1}, {"type": "B", "start": 2, "end": 3}],
    "relations": [{"type": "r", "head": 0, "tail": 1}],
}
SCIERC = {"doc_key": "d", "sentences": [TOKENS], "ner": [[[0, 0, "A"], [2, 2, "B"]]], "relations": [[[0, 0, 2, 2, "r"]]]}
DOCRED = {
    "title": "d",
    "sents": [TOKENS],
    "vertexSet": [[{"sent_id": 0, "pos": [0, 1], "type": "A"}], [{"sent_id": 0, "pos": [2, 3], "type": "B"}]],
    "labels": [{"h": 0, "t": 1, "r": "P1"}],
}
FEWREL = {"tokens": TOKENS, "h": ["m", "Q1", [[0]]], "t": ["n", "Q2", [[2]]]}
PARSERS = {
    "spert": (SPERT, lambda record: spert.parse(Piece("p", record))),
    "scierc": (SCIERC, lambda record: scierc.READER.parse(Piece("p", json.dumps(record)))),
    "scierc_documents": (SCIERC, lambda record: scierc.WHOLE_READER.parse(Piece("p", json.dumps(record)))),
    "docred": (DOCRED, lambda record: docred.parse(Piece("p", record))),
    "fewrel": (FEWREL, lambda record: fewrel.parse(Piece("p", fewrel.Labelled("P1", 1, record)))),
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(record, path, value):
    if not path:
        return value
    record = copy.deepcopy(record)
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return record


@pytest.mark.parametrize("name", PARSERS)
@given(st.data())
def test_a_record_with_anything_in_any_place(name, data):
    good, parse = PARSERS[name]
    broken = replaced(good, data.draw(st.sampled_from(list(places(good)))), data.draw(ANYTHING))
    try:
        records = parse(broken)
    except (DataError, SchemaError) as error:
        assert str(error)
        return
    for record in records:
        assert record.document.triples is not None


@pytest.mark.parametrize("name", PARSERS)
def test_the_good_record_is_good(name):
    good, parse = PARSERS[name]
    (record,) = parse(good)
    assert record.document.triples[0].tail.span == (10, 17)


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b'{"text": "a"}' * 99)[:-20]])
def test_a_compressed_file_that_is_broken(tmp_path, content):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(DataError):
        guess_format(path)
    with pytest.raises(DataError, match="Can't read"):
        read_annotated(path, format="scierc")


def test_readers_load_spacy_only_for_its_own_format():
    program = "import sys, genre_x.readers; print([name for name in ('spacy', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
