import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x import Mention, Triple
from genre_x.readers import guess_format, read_annotated
from genre_x.readers.source import Piece
from genre_x.readers.spert import parse

SENTENCE = {
    "tokens": ["Mira", "Sol", "lives", "in", "Nordvik", "."],
    "entities": [{"type": "PER", "start": 0, "end": 2}, {"type": "LOC", "start": 4, "end": 5}],
    "relations": [{"type": "Lives_In", "head": 0, "tail": 1}],
    "orig_id": 17,
}


def test_a_sentence(write, round_trip):
    path = write("mini_train.json", [SENTENCE, {"tokens": ["Rain", "."], "entities": [], "relations": []}])
    assert guess_format(path) == "spert"
    sets = read_annotated(path)
    (one,) = sets
    assert one.name == "mini_train"
    first, second = one.documents
    assert (first.id, first.text) == ("17", "Mira Sol lives in Nordvik .")
    mira, nordvik = Mention(0, 8, "Mira Sol", "per"), Mention(18, 25, "Nordvik", "loc")
    assert first.mentions == (mira, nordvik)
    assert first.triples == (Triple(mira, "lives in", nordvik),)
    assert (second.id, second.text, second.mentions, second.triples) == ("2", "Rain .", (), ())
    assert one.schema.relation_types[0].aliases == ("Lives_In",)
    round_trip(sets)


def test_under_a_task(write, task):
    (one,) = read_annotated(write("x.json", [SENTENCE]), task=task)
    (triple,) = one.documents[0].triples
    assert (triple.head.type, triple.relation, triple.tail.type) == ("person", "lives in", "place")
    assert one.instruction == "Find homes."


def test_all_faults_at_once(write, faults_of):
    wrong_offsets = SENTENCE | {"entities": [{"type": "PER", "start": 5, "end": 7}, {"type": "LOC", "start": 3, "end": 3}]}
    wrong_index = SENTENCE | {"relations": [{"type": "Lives_In", "head": -1, "tail": 2}]}
    wrong_form = {"tokens": "Mira", "entities": [{"type": "", "start": "0", "end": 1}]}
    path = write("x.json", [SENTENCE, wrong_offsets, wrong_index, wrong_form, 3])
    assert faults_of(path, "spert") == [
        "FILE, record 2: entities[0]: tokens [5, 7) are no range of its 6 tokens",
        "FILE, record 2: entities[1]: tokens [3, 3) are no range of its 6 tokens",
        "FILE, record 3: relations[0].head: there is no entity -1; there are 2, counted from 0",
        "FILE, record 3: relations[0].tail: there is no entity 2; there are 2, counted from 0",
        "FILE, record 4: tokens: expected a valid list, found 'Mira'",
        "FILE, record 4: entities[0].type: String should have at least 1 character; found ''",
        "FILE, record 4: entities[0].start: expected a valid integer, found '0'",
        "FILE, record 4: the key 'relations' is missing",
        "FILE, record 5: expected an object, found 3",
    ]
    (one,) = read_annotated(path, skip_bad=True)
    assert (len(one.documents), one.n_bad, len(one.faults)) == (1, 4, 9)


def test_an_unknown_label_under_a_task(write, faults_of, task):
    other = SENTENCE | {"relations": [{"type": "Kill", "head": 0, "tail": 1}]}
    assert faults_of(write("x.json", [SENTENCE, other]), "spert", task=task) == [
        "FILE, record 2: relation label 'Kill' is neither a name nor an alias. Known: lives in"
    ]


@pytest.mark.parametrize(("content", "message"), [("{", "not valid JSON"), ('{"a": 1}', "expected a JSON list")])
def test_a_file_that_is_no_list(write, content, message):
    with pytest.raises(ValueError, match=message):
        read_annotated(write("x.json", content), format="spert")


TOKEN = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=4)


@given(st.data())
def test_offsets_are_those_of_the_tokens(data):
    tokens = data.draw(st.lists(TOKEN, min_size=1, max_size=8))
    start = data.draw(st.integers(0, len(tokens) - 1))
    end = data.draw(st.integers(start + 1, len(tokens)))
    entity = {"type": "X", "start": start, "end": end}
    (record,) = parse(Piece("p", {"tokens": tokens, "entities": [entity], "relations": []}))
    (mention,) = record.document.mentions
    assert record.document.text[mention.start_char : mention.end_char] == mention.text == " ".join(tokens[start:end])
    assert record.document.text[: mention.start_char].count(" ") == start
