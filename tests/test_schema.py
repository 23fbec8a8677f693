import pytest
from pydantic import ValidationError

from genre_x import EntityType, RelationType, Schema
from genre_x.schema import schema_faults

PERSON = EntityType(name="person", aliases=("PER", "PERSON"))
PLACE = EntityType(name="place")
BORN = RelationType(name="born in", head_types=("person",), tail_types=("place",), aliases=("Born_In",))
NEAR = RelationType(name="near")
AGE = RelationType(name="age", head_types=("person",), tail_types=("number",))
SCHEMA = Schema(name="s", entity_types=(PERSON, PLACE), relation_types=(BORN, NEAR, AGE))


def test_a_schema_can_not_be_changed():
    with pytest.raises(ValidationError):
        SCHEMA.name = "other"


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="headtypes"):
        RelationType(name="r", headtypes=("a",))


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(name):
    for make in (lambda: EntityType(name=name), lambda: RelationType(name=name)):
        with pytest.raises(ValidationError):
            make()


def test_a_schema_without_relations_is_refused():
    with pytest.raises(ValidationError):
        Schema(name="s", relation_types=())


def test_white_space_around_names_is_stripped():
    assert RelationType(name=" born in ").name == "born in"


def test_lookup_by_name_and_by_alias():
    assert SCHEMA.relation_type("born in") is SCHEMA.relation_types[0]
    assert SCHEMA.relation_type("Born_In") is None
    assert SCHEMA.resolve_relation("Born_In").name == "born in"
    assert SCHEMA.resolve_relation("born in").name == "born in"
    assert SCHEMA.resolve_relation("died in") is None
    assert SCHEMA.resolve_type("PER") == "person"
    assert SCHEMA.resolve_type("person") == "person"
    assert SCHEMA.resolve_type("ORG") is None


def test_no_types_means_any_declared_type():
    assert SCHEMA.head_types(BORN) == ("person",)
    assert SCHEMA.head_types(NEAR) == ("person", "place")
    assert SCHEMA.tail_types(NEAR) == ("person", "place")
    assert Schema(name="s", relation_types=(NEAR,)).tail_types(NEAR) == ()


def test_a_relation_to_a_literal_is_an_attribute():
    assert AGE.is_attribute
    assert not BORN.is_attribute
    assert not NEAR.is_attribute
    assert not RelationType(name="r", tail_types=("number", "person")).is_attribute


@pytest.mark.parametrize(
    ("entity_types", "relation", "message"),
    [
        ((PERSON, PERSON), NEAR, "entity type 'person' is declared twice"),
        ((EntityType(name="date"),), NEAR, "entity type 'date' has the name of a literal"),
        ((PERSON,), RelationType(name="r", head_types=("city",)), "head type 'city', which is not declared. Declared: person"),
        ((PERSON,), RelationType(name="r", head_types=("date",)), "head type 'date', which is not declared"),
        ((PERSON,), RelationType(name="r", tail_types=("city",)), "literals: text, number, date"),
        ((), RelationType(name="r", tail_types=("city",)), "Declared: none"),
        ((), RelationType(name="r", inverse="q"), "has the inverse 'q', which is not declared"),
        ((), RelationType(name="r", symmetric=True, inverse="near"), "is symmetric, so it can't have the inverse 'near'"),
        ((), RelationType(name="near"), "relation 'near' is declared twice"),
    ],
)
def test_a_contradiction_is_named(entity_types, relation, message):
    with pytest.raises(ValidationError) as caught:
        Schema(name="s", entity_types=entity_types, relation_types=(NEAR, relation))
    assert message in str(caught.value)


def test_all_contradictions_are_found_with_their_places():
    relations = (RelationType(name="r", head_types=("x",), tail_types=("y",)), RelationType(name="r", inverse="z"))
    faults = schema_faults([EntityType(name="text"), EntityType(name="text")], relations)
    assert [(fault.kind, fault.position) for fault in faults] == [
        ("entity_types", 0),
        ("entity_types", 1),
        ("entity_types", 1),
        ("relation_types", 0),
        ("relation_types", 0),
        ("relation_types", 1),
        ("relation_types", 1),
    ]


def test_a_symmetric_relation_may_be_its_own_inverse():
    relation = RelationType(name="near", symmetric=True, inverse="near")
    assert Schema(name="s", relation_types=(relation,)).relation_types == (relation,)
