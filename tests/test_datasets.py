import gzip
import json

import pytest

from genre_x import Mention, Triple
from genre_x.datasets import load_dataset, load_sentences, split_file
from genre_x.errors import DataError
from genre_x.task import load_task

SCHEMA = {
    "entity_labels": {"Peop": "a person", "Loc": None},
    "relation_labels": {
        "Live_In": {"description": "the person lives there", "head_types": ["Peop"], "tail_types": ["Loc"]},
        "Near": {"description": "near it", "templated": True, "symmetric": True},
    },
}
RECORD = {
    "id": "r1",
    "lang": "en",
    "text": "Ada lives in Rome .",
    "entities": [{"start": 0, "end": 3, "label": "Peop"}, {"start": 13, "end": 17, "label": "Loc"}],
    "relations": [{"label": "Live_In", "head": 0, "tail": 1}],
}


def make(folder, records, *, schema=SCHEMA, split="train", compress=False, **files):
    folder.mkdir(exist_ok=True)
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    text = "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)
    if compress:
        (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("compress", [False, True])
def test_a_data_set_in_the_common_form(tmp_path, compress):
    folder = make(tmp_path / "mini", [RECORD], compress=compress)
    (found,) = load_dataset(folder, "train")
    assert found.name == "mini"
    assert [entity.name for entity in found.schema.entity_types] == ["peop", "loc"]
    live_in, near = found.schema.relation_types
    assert (live_in.name, live_in.aliases, live_in.head_types) == ("live in", ("Live_In",), ("peop",))
    assert (near.description, near.symmetric) == ("", True)
    (document,) = found.documents
    ada, rome = Mention(0, 3, "Ada", "peop"), Mention(13, 17, "Rome", "loc")
    assert document.mentions == (ada, rome)
    assert document.triples == (Triple(ada, "live in", rome),)
    assert document.language == "en"
    assert found.unanchored == {}


def test_a_text_without_relations_is_annotated_with_none(tmp_path):
    (found,) = load_dataset(make(tmp_path / "d", [RECORD | {"relations": []}]), "train")
    assert found.documents[0].triples == ()


def test_the_schema_of_a_task_may_stand_in(tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: t\ninstruction: Find homes.\nentity_types: [{name: person, aliases: [Peop]}, {name: place, aliases: [Loc]}]\n"
        "relation_types: [{name: lives in, head_types: [person], tail_types: [place], aliases: [Live_In]}]\n",
        encoding="utf-8",
    )
    (found,) = load_dataset(make(tmp_path / "d", [RECORD]), "train", task=load_task(task))
    assert found.instruction == "Find homes."
    (triple,) = found.documents[0].triples
    assert (triple.head.type, triple.relation, triple.tail.type) == ("person", "lives in", "place")


def test_a_label_outside_of_the_schema_is_named_with_its_line(tmp_path):
    other = RECORD | {"relations": [{"label": "Kill", "head": 0, "tail": 1}]}
    folder = make(tmp_path / "d", [RECORD, other])
    with pytest.raises(DataError, match=r"train\.jsonl, line 2: .*'Kill' is neither a name nor an alias"):
        load_dataset(folder, "train")


@pytest.mark.parametrize(
    "broken",
    [
        "{not json",
        "[1]",
        {key: value for key, value in RECORD.items() if key != "text"},
        RECORD | {"relations": [{"label": "Live_In", "head": 0, "tail": 7}]},
        RECORD | {"entities": [{"start": 5, "end": 3, "label": "Peop"}]},
        RECORD | {"entities": [{"start": 0, "end": 300, "label": "Peop"}]},
        RECORD | {"entities": [{"start": "0", "end": 3, "label": "Peop"}]},
    ],
)
def test_a_record_that_can_not_be_read_is_named_with_its_line(tmp_path, broken):
    folder = make(tmp_path / "d", [RECORD, "", broken])
    with pytest.raises(DataError, match=r"train\.jsonl, line 3: "):
        load_dataset(folder, "train")


def test_a_missing_split_names_those_there_are(tmp_path):
    folder = make(tmp_path / "d", [RECORD])
    make(folder, [RECORD], split="dev", compress=True)
    with pytest.raises(DataError, match=r"has no split 'test'\. It has: dev, train\."):
        load_dataset(folder, "test")
    assert split_file(folder, "dev").name == "dev.jsonl.gz"


@pytest.mark.parametrize("content", [None, "{broken"])
def test_a_folder_without_a_readable_schema_is_no_data_set(tmp_path, content):
    if content is not None:
        (tmp_path / "schema.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="is no data set in the common form"):
        load_dataset(tmp_path, "train")


def test_gold_triples_that_are_not_in_the_text_are_counted(tmp_path):
    gold = [{"head": "Ada", "relation": "Live_In", "tail": tail} for tail in ("Rome", "Italy", "Europe")]
    (found,) = load_dataset(make(tmp_path / "d", [RECORD | {"triples": gold}, RECORD | {"id": "r2"}]), "train")
    assert found.unanchored == {"r1": 2}


def test_the_same_triple_twice_is_one_and_triples_stand_in_text_order(tmp_path):
    relations = [
        {"label": "Near", "head": 1, "tail": 0},
        {"label": "Live_In", "head": 0, "tail": 1},
        {"label": "Live_In", "head": 0, "tail": 1},
    ]
    (found,) = load_dataset(make(tmp_path / "d", [RECORD | {"relations": relations}]), "train")
    assert [triple.relation for triple in found.documents[0].triples] == ["live in", "near"]


def test_a_mention_without_label_gets_the_type_that_the_relation_implies(tmp_path):
    entities = [entity | {"label": None} for entity in RECORD["entities"]]
    (found,) = load_dataset(make(tmp_path / "d", [RECORD | {"entities": entities}]), "train")
    (document,) = found.documents
    assert (document.triples[0].head.type, document.triples[0].tail.type) == ("peop", "loc")
    assert [mention.type for mention in document.mentions] == [None, None]


def test_labels_with_the_same_natural_name_keep_their_own(tmp_path):
    schema = {"relation_labels": {"live_in": {}, "Live-In": {}, "NearTo": {}}}
    record = {"id": "1", "text": "a b", "entities": [], "relations": []}
    (found,) = load_dataset(make(tmp_path / "d", [record], schema=schema), "train")
    assert [relation.name for relation in found.schema.relation_types] == ["live_in", "Live-In", "near to"]


def test_each_ontology_is_a_set_of_its_own(tmp_path):
    def relation(label, domain, target):
        return {"label": label, "domain": domain, "range": target}

    ontologies = {
        "films": {"relations": [relation("directed by", "film", "human"), relation("publication date", "film", "")]},
        "ships": {"relations": [relation("length", "ship", "number")]},
        "unused": {"relations": [relation("x", "y", "z")]},
    }
    schema = {"relation_labels": {"directed by": {"description": "who directed it"}, "length": {"templated": True}}}
    film = {
        "id": "f",
        "text": "Alien by Scott",
        "entities": [{"start": 0, "end": 5, "label": None}, {"start": 9, "end": 14, "label": None}],
        "relations": [{"label": "directed by", "head": 0, "tail": 1}, {"label": "seen by", "head": 0, "tail": 1}],
        "meta": {"ontology": "films"},
    }
    ship = {"id": "s", "text": "Vasa", "entities": [], "relations": [], "meta": {"ontology": "ships"}}
    folder = make(tmp_path / "kg", [film, ship], schema=schema, ontologies=ontologies)
    films, ships = load_dataset(folder, "train")
    assert [films.name, ships.name] == ["kg/films", "kg/ships"]
    assert {entity.name for entity in films.schema.entity_types} == {"film", "human"}
    by_name = {relation.name: relation for relation in films.schema.relation_types}
    assert by_name["directed by"].description == "who directed it"
    assert by_name["publication date"].tail_types == ("date",)
    assert "seen by" in by_name
    assert ships.schema.relation_type("length").tail_types == ("number",)
    directed = next(triple for triple in films.documents[0].triples if triple.relation == "directed by")
    assert (directed.head.type, directed.tail.type) == ("film", "human")


def test_sentences_for_a_task(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"text": "Ada Berg founded Nordvik.", "triples": [["Ada Berg", "founded", "Nordvik"]]}\n\n'
        '{"text": "It rained.", "triples": []}\n',
        encoding="utf-8",
    )
    found = load_sentences(path, "general")
    assert [document.id for document in found.documents] == ["mine-1", "mine-3"]
    (triple,) = found.documents[0].triples
    assert (triple.head.span, triple.head.type, triple.tail.type) == ((0, 8), "person", "organization")
    assert found.documents[1].triples == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "Ada."}', "'triples' is missing"),
        ('{"text": "Ada.", "triples": [["Bob", "founded", "Ada"]]}', "'Bob' is not in the text"),
        ('{"text": "Ada Bob.", "triples": [["Bob", "likes", "Ada"]]}', "relation 'likes' is not declared"),
        ("nothing", "not valid JSON"),
        ("[]", "expected a JSON object, found list"),
    ],
)
def test_a_sentence_with_a_fault_is_named_with_its_line(tmp_path, line, message):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "It rained.", "triples": []}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"mine\.jsonl, line 2") as caught:
        load_sentences(path, "general")
    assert message in str(caught.value)


def test_conll04(shared_dataset):
    (train,) = load_dataset(shared_dataset("conll04"), "train")
    assert len(train.documents) == 922
    assert len(train.schema.relation_types) == 5
    assert all(document.triples for document in train.documents)
    first = train.documents[0].triples[0]
    assert (first.head.text, first.relation, first.tail.text) == ("Radio Reloj Network", "org based in", "Havana")


def test_conll04_under_the_task_of_the_checkout(shared_dataset, request):
    task = load_task(request.config.rootpath / "eval" / "tasks" / "conll04.yaml")
    (test,) = load_dataset(shared_dataset("conll04"), "test", task=task)
    assert len(test.documents) == 288
    names = {relation.name for relation in task.schema.relation_types}
    assert {triple.relation for document in test.documents for triple in document.triples} <= names


def test_t2kg_wikidata(shared_dataset):
    sets = load_dataset(shared_dataset("t2kg_wikidata"), "test_unseen")
    assert sum(len(one.documents) for one in sets) == 174
    assert len({one.name for one in sets}) == len(sets) > 1
