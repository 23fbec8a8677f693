import json

import pytest

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.readers import convert, read_annotated, relation_counts
from genre_x.schema import EntityType, RelationType, Schema

TEXT = "Ada met Bob in 1901."
ADA, BOB, YEAR = Mention(0, 3, "Ada", "Person"), Mention(8, 11, "Bob", "Person"), Mention(15, 19, "1901", "date")
SCHEMA = Schema(
    name="s",
    entity_types=(EntityType(name="Person", description="a human", aliases=("PER",)), EntityType(name="place")),
    relation_types=(
        RelationType(name="Met", description="they met", symmetric=True, aliases=("P1", "MEET")),
        RelationType(name="met in", head_types=("Person",), tail_types=("date",)),
    ),
)


def annotated(*triples, schema=SCHEMA, name="s", **options):
    document = Document("d", TEXT, (ADA, BOB), triples, "en")
    return AnnotatedSet(name, schema, (document,), "Extract.", **options)


def test_what_is_written(tmp_path):
    one = annotated(Triple(ADA, "Met", BOB), Triple(ADA, "met in", YEAR), unanchored={"d": 2})
    written = convert([one], tmp_path / "out", split="dev")
    assert (written.files, written.n_documents, written.n_triples) == ((tmp_path / "out" / "dev.jsonl",), 1, 2)
    assert json.loads(written.files[0].read_text("utf-8")) == {
        "id": "d",
        "text": TEXT,
        "entities": [
            {"start": 0, "end": 3, "label": "PER"},
            {"start": 8, "end": 11, "label": "PER"},
            {"start": 15, "end": 19, "label": "date"},
        ],
        "relations": [{"label": "P1", "head": 0, "tail": 1}, {"label": "met in", "head": 0, "tail": 2}],
        "lang": "en",
        "n_unanchored": 2,
    }
    (again,) = read_annotated(tmp_path / "out")
    assert again.documents[0].triples == one.documents[0].triples
    assert again.unanchored == {"d": 2}
    assert again.schema.relation_types[0].symmetric


def test_splits_share_a_schema(tmp_path):
    place = Mention(8, 11, "Bob", "place")
    more = Schema(
        name="s",
        entity_types=SCHEMA.entity_types,
        relation_types=(
            RelationType(name="met in", head_types=("Person",), tail_types=("place",)),
            RelationType(name="near", head_types=("place",)),
        ),
    )
    convert([annotated(Triple(ADA, "met in", YEAR))], tmp_path, split="train")
    convert([annotated(Triple(ADA, "met in", place), schema=more)], tmp_path, split="test")
    (train,) = read_annotated(tmp_path, split="train")
    (test,) = read_annotated(tmp_path, split="test")
    assert train.schema == test.schema
    assert [relation.name for relation in test.schema.relation_types] == ["Met", "met in", "near"]
    assert test.schema.relation_type("met in").tail_types == ("date", "place")
    assert test.documents[0].triples[0].tail == place


def test_a_split_that_is_there_is_kept(tmp_path):
    convert([annotated(Triple(ADA, "Met", BOB))], tmp_path, split="train")
    with pytest.raises(DataError, match=r"train\.jsonl is there already"):
        convert([annotated()], tmp_path, split="train")
    convert([annotated()], tmp_path, split="train", overwrite=True)
    assert read_annotated(tmp_path)[0].documents[0].triples == ()


def test_schemas_that_contradict_each_other(tmp_path):
    convert([annotated()], tmp_path, split="train")
    other = Schema(name="s", relation_types=(RelationType(name="knows", aliases=("P1",)),))
    with pytest.raises(DataError, match="calls the label 'P1' 'Met'; these data would call it 'knows'"):
        convert([annotated(schema=other)], tmp_path, split="test")
    twice = Schema(name="s", relation_types=(RelationType(name="Met", aliases=("P9",)),))
    with pytest.raises(DataError, match="relation 'Met' is declared twice"):
        convert([annotated(schema=twice)], tmp_path, split="test")
    assert not (tmp_path / "test.jsonl").exists()


def test_several_sets_get_folders_of_their_own(tmp_path):
    convert([annotated(name="kg/films"), annotated(name="kg/ships")], tmp_path, split="train")
    assert sorted(path.parent.name for path in tmp_path.glob("*/train.jsonl")) == ["films", "ships"]


def test_counts(tmp_path):
    met_in, met = relation_counts(annotated(Triple(ADA, "met in", YEAR), Triple(YEAR, "met in", YEAR), Triple(ADA, "Met", BOB)))
    assert (met_in.relation, met_in.n_triples, met_in.n_documents, met_in.n_mismatched) == ("met in", 2, 1, 1)
    assert (met.relation, met.n_triples, met.n_mismatched, met.head_types) == ("Met", 1, 0, ())


@pytest.mark.parametrize("name", ["scierc", "t2kg_wikidata", "nerel"])
def test_real_data_sets_stay_the_same(tmp_path, shared_dataset, name):
    sets = read_annotated(shared_dataset(name), split="test")
    convert(sets, tmp_path, split="test")
    for one in sets:
        folder = tmp_path if len(sets) == 1 else tmp_path / one.name.rpartition("/")[2]
        (again,) = read_annotated(folder, split="test")
        assert [document.triples for document in again.documents] == [document.triples for document in one.documents]
        assert again.unanchored == one.unanchored
