import pytest

from genre_x import Mention, Triple
from genre_x.errors import DataError
from genre_x.readers import guess_format, read_annotated

DATA = {
    "P551": [
        {
            "tokens": ["Mira", "Sol", "came", ";", "Sol", "likes", "Nordvik"],
            "h": ["mira sol", "Q1", [[0, 1], [4]]],
            "t": ["nordvik", "Q2", [[6]]],
        }
    ],
    "P17": [{"tokens": ["Nordvik", ",", "Norway"], "h": ["nordvik", "Q2", [[0]]], "t": ["norway", "Q20", [[2]]]}],
}


def test_sentences_by_relation(write, round_trip):
    path = write("val.json", DATA)
    write("pid2name.json", {"P551": ["residence", "where the person lives"]})
    assert guess_format(path) == "fewrel"
    sets = read_annotated(path.parent, format="fewrel")
    first, second = sets[0].documents
    assert (first.id, first.text) == ("P551-1", "Mira Sol came ; Sol likes Nordvik")
    assert first.mentions == (Mention(0, 8, "Mira Sol"), Mention(16, 19, "Sol"), Mention(26, 33, "Nordvik"))
    assert first.triples == (Triple(Mention(16, 19, "Sol"), "residence", Mention(26, 33, "Nordvik")),)
    assert second.triples == (Triple(Mention(0, 7, "Nordvik"), "p17", Mention(10, 16, "Norway")),)
    assert sets[0].schema.relation_type("residence").description == "where the person lives"
    round_trip(sets)


def test_a_task_knows_labels(write, faults_of, task):
    path = write("val.json", DATA)
    assert faults_of(path, "fewrel", task=task) == [
        "FILE, relation 'P17', record 1: relation label 'P17' is neither a name nor an alias. Known: lives in"
    ]
    (one,) = read_annotated(path, task=task, skip_bad=True)
    (triple,) = one.documents[0].triples
    assert (triple.head.type, triple.tail.type) == ("person", "place")


def test_head_and_tail_are_the_same_span(write):
    same = {"tokens": ["Nordvik"], "h": ["n", "Q2", [[0]]], "t": ["n", "Q2", [[0]]]}
    (one,) = read_annotated(write("val.json", {"P17": [same, DATA["P17"][0]]}))
    assert one.documents[0].triples == ()
    assert one.unanchored == {"P17-1": 1}


def test_all_faults_at_once(write, faults_of):
    good = DATA["P17"][0]
    path = write("val.json", {"P17": [good, good | {"h": ["n", "Q2", [[3]]]}, good | {"t": ["n", "Q2", []]}, {"tokens": []}]})
    assert faults_of(path, "fewrel") == [
        "FILE, relation 'P17', record 2: h[2][0]: tokens [3, 4) are no range of its 3 tokens",
        "FILE, relation 'P17', record 3: t[2]: List should have at least 1 item after validation, not 0; found []",
        "FILE, relation 'P17', record 4: the key 'h' is missing",
        "FILE, relation 'P17', record 4: the key 't' is missing",
    ]


def test_other_files(write):
    with pytest.raises(DataError, match="expected a JSON object with a list of sentences for each relation"):
        read_annotated(write("a.json", [1]), format="fewrel")
    path = write("val.json", DATA)
    write("pid2name.json", {"P551": "residence"})
    with pytest.raises(DataError, match=r"pid2name\.json: expected a JSON object of \[name, description\]"):
        read_annotated(path)
