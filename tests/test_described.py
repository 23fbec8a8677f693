import pytest

from genre_x.datasets import annotated_set
from genre_x.described import Described, LabelNote, describe, described_schema, natural_name, observed_schema
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError
from genre_x.records import BadRecords, SourceRecord, validated
from genre_x.schema import EntityType, RelationType, Schema

TEXT = "Ada met Bob in 1901."


def mention(text, label=None):
    start = TEXT.index(text)
    return Mention(start, start + len(text), text, label)


def document(*triples, mentions=()):
    return Document("d", TEXT, tuple(mentions), tuple(triples))


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("OrgBased_In", "org based in"),
        ("USED-FOR", "used for"),
        ("/location/location/contains", "contains"),
        ("parent taxon", "parent taxon"),
        ("本", "本"),
        ("  a__b- c ", "a b c"),
        ("_", "_"),
    ],
)
def test_natural_names(label, name):
    assert natural_name(label) == name


def test_labels_and_types_as_documents_show_them():
    met = Triple(mention("Ada", "PER"), "Met_With", mention("Bob", "PER"))
    seen = Triple(mention("Ada", "PER"), "SeenIn", mention("1901", "DATE"))
    schema = observed_schema("s", [document(met, seen, mentions=[mention("Bob", "Org_Name")])], {})
    assert [entity.name for entity in schema.entity_types] == ["org name", "per"]
    assert schema.relation_type("met with") == RelationType(
        name="met with", head_types=("per",), tail_types=("per",), aliases=("Met_With",)
    )
    assert schema.relation_type("seen in").is_attribute


def test_a_head_named_like_a_literal_is_an_entity_type_with_another_name():
    schema = observed_schema("s", [document(Triple(mention("1901", "date"), "r", mention("Ada", "NUMBER")))], {})
    assert [entity.name for entity in schema.entity_types] == ["date entity"]
    assert schema.relation_types[0].tail_types == ("number",)


def test_one_argument_without_a_type_means_any_type():
    triples = [Triple(mention("Ada", "PER"), "r", mention("Bob")), Triple(mention("Bob"), "r", mention("Ada", "PER"))]
    schema = observed_schema("s", [document(*triples)], {})
    assert (schema.relation_types[0].head_types, schema.relation_types[0].tail_types) == ((), ())


def test_names_of_the_source_for_its_labels():
    triples = [Triple(mention("Ada"), label, mention("Bob")) for label in ("P1", "P2", "P3")]
    notes = {"P1": LabelNote("Knows", "they know each other"), "P2": LabelNote("near"), "P3": LabelNote("near")}
    schema = observed_schema("s", [document(*triples)], notes)
    assert [(one.name, one.description, one.aliases) for one in schema.relation_types] == [
        ("knows", "they know each other", ("P1",)),
        ("P2", "", ("P2",)),
        ("P3", "", ("P3",)),
    ]


def test_no_relation_means_no_schema():
    assert observed_schema("s", [document()], {}) is None


def bare(types):
    return [one.model_copy(update={"aliases": ()}) for one in types]


def test_what_is_described_reads_as_the_same_schema():
    schema = Schema(
        name="s",
        entity_types=(EntityType(name="Person", description="a human", aliases=("PER",)), EntityType(name="date entity")),
        relation_types=(
            RelationType(name="Knows", description="…", head_types=("Person",), symmetric=True, aliases=("P1",)),
            RelationType(name="child of", head_types=("Person",), tail_types=("Person",), inverse="parent of"),
            RelationType(name="parent of", inverse="child of"),
            RelationType(name="born on", head_types=("Person",), tail_types=("date",)),
        ),
    )
    again = described_schema("s", validated(Described, describe(schema)))
    assert bare(again.relation_types) == bare(schema.relation_types)
    assert bare(again.entity_types) == bare(schema.entity_types)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"relation_labels": {}}, "has no relation type"),
        ({"relation_labels": {"r": {"head_types": ["X"]}}}, "uses the head type 'x', which is not declared"),
        ({}, "the key 'relation_labels' is missing"),
        ({"relation_labels": {"r": 3}}, "relation_labels.r: expected an object, found 3"),
    ],
)
def test_a_schema_file_with_a_fault(described, message):
    with pytest.raises(DataError, match=message):
        described_schema("s", validated(Described, described))


PEOPLE = Schema(
    name="people",
    entity_types=(EntityType(name="person", aliases=("PER",)), EntityType(name="place")),
    relation_types=(
        RelationType(name="met", head_types=("person",), tail_types=("person",), aliases=("MEET",)),
        RelationType(name="seen on", head_types=("person",), tail_types=("date",)),
        RelationType(name="near"),
    ),
)


def under(*triples, schema=PEOPLE, notes=None, **options):
    bad = BadRecords("file")
    one = annotated_set("s", schema, [SourceRecord("file, line 1", document(*triples, **options))], bad, notes=notes)
    return one, bad.faults


def test_labels_are_found_by_name_alias_and_note():
    triples = [
        Triple(mention("Ada", "PER"), "MEET", mention("Bob", "person")),
        Triple(mention("Bob", "PER"), "P9", mention("Ada", "place")),
    ]
    one, faults = under(*triples, notes={"P9": LabelNote("near")})
    assert not faults
    assert one.documents[0].triples == (
        Triple(mention("Ada", "person"), "met", mention("Bob", "person")),
        Triple(mention("Bob", "person"), "near", mention("Ada", "place")),
    )


def test_a_literal_takes_any_label():
    one, faults = under(Triple(mention("Ada", "PER"), "seen on", mention("1901", "TIME")))
    assert not faults
    assert one.documents[0].triples[0].tail.type == "date"


def test_labels_that_the_schema_does_not_know_are_faults_of_the_record():
    one, faults = under(
        Triple(mention("Ada", "ORG"), "met", mention("Bob", "PER")), Triple(mention("Ada"), "likes", mention("Bob"))
    )
    assert one.documents == ()
    assert faults == [
        "file, line 1: type label 'ORG' is neither a name nor an alias. Known: person, place",
        "file, line 1: relation label 'likes' is neither a name nor an alias. Known: met, seen on, near",
    ]


def test_what_is_left_out_is_counted():
    met = Triple(mention("Ada", "PER"), "met", mention("Bob", "PER"))
    loose = [mention("1901", "Q"), mention("Ada", "PER"), mention("Ada", "PER")]
    one, faults = under(met, met, mentions=loose)
    assert not faults
    assert one.left_out == {
        "repeated triples": 1,
        "mentions with the label 'Q', which the schema does not know": 1,
        "repeated mentions": 1,
    }
    assert one.documents[0].mentions == (mention("Ada", "person"),)
    assert len(one.documents[0].triples) == 1


def test_a_relation_of_a_span_with_itself_is_missed():
    one, faults = under(Triple(mention("Ada", "PER"), "met", mention("Ada", "PER")))
    assert not faults
    assert one.documents[0].triples == ()
    assert one.unanchored == {"d": 1}


def test_an_untyped_schema_takes_no_types():
    untyped = Schema(name="u", relation_types=(RelationType(name="met"),))
    one, _ = under(Triple(mention("Ada", "PER"), "met", mention("Bob", "ORG")), schema=untyped)
    assert {one.documents[0].triples[0].head.type, one.documents[0].triples[0].tail.type} == {None}


def test_ids_are_made_unique():
    records = [SourceRecord("p", Document("d", TEXT, triples=()), n_unanchored=number) for number in (0, 1, 2)]
    one = annotated_set("s", PEOPLE, records, BadRecords("file"))
    assert [found.id for found in one.documents] == ["d", "d#2", "d#3"]
    assert one.unanchored == {"d#2": 1, "d#3": 2}
