import pytest

from genre_x import Mention, Triple
from genre_x.errors import DataError
from genre_x.readers import guess_format, read_annotated

RECORD = {
    "title": "Mira Sol",
    "sents": [["Mira", "Sol", "sings", "."], ["Nordvik", "is", "cold", "."], ["She", "left", "Nordvik", "."]],
    "vertexSet": [
        [
            {"name": "Mira Sol", "sent_id": 0, "pos": [0, 2], "type": "PER"},
            {"name": "She", "sent_id": 2, "pos": [0, 1], "type": "PER"},
        ],
        [
            {"name": "Nordvik", "sent_id": 1, "pos": [0, 1], "type": "LOC"},
            {"name": "Nordvik", "sent_id": 2, "pos": [2, 3], "type": "LOC"},
        ],
    ],
    "labels": [{"h": 0, "t": 1, "r": "P551", "evidence": [2]}],
}


def test_a_relation_holds_between_the_nearest_mentions(write, round_trip):
    path = write("dev.json", [RECORD])
    write("rel_info.json", {"P551": "residence", "P17": "country"})
    assert guess_format(path) == "docred"
    sets = read_annotated(path.parent, format="docred")  # the file with names is no data
    (document,) = sets[0].documents
    assert document.id == "Mira Sol"
    assert document.text == "Mira Sol sings . Nordvik is cold . She left Nordvik ."
    mira, she = Mention(0, 8, "Mira Sol", "per"), Mention(35, 38, "She", "per")
    first, last = Mention(17, 24, "Nordvik", "loc"), Mention(44, 51, "Nordvik", "loc")
    assert document.mentions == (mira, she, first, last)
    assert document.triples == (Triple(she, "residence", last),)
    (relation,) = sets[0].schema.relation_types
    assert (relation.name, relation.aliases) == ("residence", ("P551",))
    round_trip(sets)


def test_a_task_finds_a_label_by_its_name_beside_the_file(write, task):
    path = write("dev.json", [RECORD | {"labels": [{"h": 0, "t": 1, "r": "Q9"}]}])
    write("rel_info.json", {"Q9": "residence"})
    (one,) = read_annotated(path, task=task)
    assert one.documents[0].triples[0].relation == "lives in"


def test_an_entity_related_to_itself(write):
    both = RECORD | {"labels": [{"h": 1, "t": 1, "r": "P1"}]}
    alone = RECORD | {"title": "alone", "vertexSet": [RECORD["vertexSet"][0][:1]], "labels": [{"h": 0, "t": 0, "r": "P1"}]}
    (one,) = read_annotated(write("dev.json", [both, alone]))
    assert [triple.head.span for triple in one.documents[0].triples] == [(17, 24)]
    assert one.documents[1].triples == ()
    assert one.unanchored == {"alone": 1}


def test_the_same_title_twice(write):
    (one,) = read_annotated(write("dev.json", [RECORD, RECORD]))
    assert [document.id for document in one.documents] == ["Mira Sol", "Mira Sol#2"]


def test_all_faults_at_once(write, faults_of):
    entity = {"name": "x", "type": "PER"}
    no_sentence = RECORD | {"vertexSet": [[entity | {"sent_id": 3, "pos": [0, 1]}], [entity | {"sent_id": 1, "pos": [3, 5]}]]}
    no_entity = RECORD | {"labels": [{"h": 0, "t": 2, "r": "P551"}]}
    not_annotated = {key: value for key, value in RECORD.items() if key != "labels"}
    no_mention = RECORD | {"vertexSet": [[]]}
    path = write("dev.json", [no_sentence, no_entity, not_annotated, no_mention, RECORD])
    assert faults_of(path, "docred") == [
        "FILE, record 1: vertexSet[0][0]: there is no sentence 3; there are 3, counted from 0",
        "FILE, record 1: vertexSet[1][0]: tokens [3, 5) are no range of the 4 of its sentence",
        "FILE, record 2: labels[0].t: there is no entity 2; there are 2, counted from 0",
        "FILE, record 3: the key 'labels' is missing",
        "FILE, record 4: vertexSet[0]: List should have at least 1 item after validation, not 0; found []",
    ]


def test_names_that_can_not_be_read(write):
    path = write("dev.json", [RECORD])
    write("rel_info.json", {"P551": 3})
    with pytest.raises(DataError, match=r"rel_info\.json: expected a JSON object that maps labels to names"):
        read_annotated(path)
