import random

import pytest

from genre_x.document import Document, Mention, Triple
from genre_x.errors import SchemaError
from genre_x.schema import EntityType, RelationType, Schema
from genre_x.training.config import EpisodesConfig
from genre_x.training.schemas import SchemaSampler, confusable, express, express_mentions, is_grounded, load_paraphrases

PERSON, PLACE = EntityType(name="person", description="a human", aliases=("PER",)), EntityType(name="place", aliases=("LOC",))
SCHEMA = Schema(
    name="s",
    entity_types=(PERSON, PLACE, EntityType(name="thing")),
    relation_types=(
        RelationType(name="place of birth", description="d", head_types=("person",), tail_types=("place",), aliases=("P19",)),
        RelationType(name="place of death", head_types=("person",), tail_types=("place",)),
        RelationType(name="spouse", head_types=("person",), tail_types=("person",), symmetric=True),
        RelationType(name="birth date", head_types=("person",), tail_types=("date",)),
        RelationType(name="owns", head_types=("person",), tail_types=("thing",), inverse="owned by"),
        RelationType(name="owned by", head_types=("thing",), tail_types=("person",), inverse="owns"),
    ),
)
TEXT = "Ada, born in Rome, met Bob."
ADA, ROME, BOB = Mention(0, 3, "Ada", "PER"), Mention(13, 17, "Rome", "LOC"), Mention(23, 26, "Bob", "PER")
DOCUMENT = Document("d", TEXT, (ADA, ROME, BOB), (Triple(ADA, "place of birth", ROME), Triple(BOB, "spouse", ADA)))


def sampled(n=200, *, paraphrases=None, document=DOCUMENT, schema=SCHEMA, seed=0, limit=None, want_empty=False, **options):
    sampler = SchemaSampler(config=EpisodesConfig(**options), paraphrases=paraphrases or {})
    rng = random.Random(seed)
    return [sampler.sample(schema, document, rng, max_relation_types=limit, want_empty=want_empty) for _ in range(n)]


def names(schema):
    return {relation.name for relation in schema.relation_types}


def test_what_the_document_states_is_shown_unless_it_is_dropped():
    assert all({"place of birth", "spouse"} <= names(schema) for schema in sampled(drop_rate=0))
    dropped = sampled(1000, drop_rate=0.4)
    shares = [sum(name in names(schema) for schema in dropped) / 1000 for name in ("place of birth", "spouse")]
    # One is kept when both would go: 0.6 + 0.4 * 0.4 / 2 = 0.68.
    assert shares == pytest.approx([0.68, 0.68], abs=0.05)
    assert all({"place of birth", "spouse"} & names(schema) for schema in dropped)


def test_an_empty_answer_can_be_asked_for():
    assert all(not {"place of birth", "spouse"} & names(schema) for schema in sampled(want_empty=True))
    alone = SCHEMA.model_copy(update={"relation_types": SCHEMA.relation_types[:1]})
    stated = Document("d", TEXT, None, DOCUMENT.triples[:1])
    assert names(sampled(1, schema=alone, document=stated, want_empty=True)[0]) == {"place of birth"}


def test_schemas_keep_to_the_limit_and_small_ones_are_common():
    sizes = [len(schema.relation_types) for schema in sampled(500, document=Document("d", "x", (), ()))]
    assert set(sizes) == {1, 2, 3, 4, 5, 6}
    assert all(len(schema.relation_types) == 1 for schema in sampled(limit=1))
    orders = {tuple(r.name for r in schema.relation_types) for schema in sampled() if len(schema.relation_types) == 6}
    assert len(orders) > 5


@pytest.mark.parametrize(("large_schema_rate", "share"), [(0.0, 0.30), (1.0, 0.50)])
def test_large_schemas_are_as_common_as_asked_for(large_schema_rate, share):
    options = {"document": Document("d", "x", (), ()), "limit": 6, "large_schema_rate": large_schema_rate}
    sizes = [len(schema.relation_types) for schema in sampled(1000, **options)]
    # Evenly drawn, 4 to 6 of 6 are half of all; log-uniform, they are 1 - log 3.5 / log 6 = 0.30.
    assert sum(size >= 4 for size in sizes) / 1000 == pytest.approx(share, abs=0.05)


def test_hard_negatives_look_like_what_is_stated():
    stated = Document("d", TEXT, None, DOCUMENT.triples[:1])
    hard = sampled(1000, document=stated, drop_rate=0, hard_negative_rate=1, limit=2)
    easy = sampled(1000, document=stated, drop_rate=0, hard_negative_rate=0, limit=2)
    counts = [sum("place of death" in names(schema) for schema in found) for found in (hard, easy)]
    assert counts[0] > 2 * counts[1] > 0
    birth, death, spouse = SCHEMA.relation_types[:3]
    assert confusable(birth, death) == confusable(death, birth) > confusable(birth, spouse)
    assert confusable(birth, birth) == 2


def test_types_and_descriptions_are_given_or_not():
    with_types, without_types = sampled(type_rate=1, description_rate=1), sampled(type_rate=0, description_rate=0)
    for schema in with_types:
        used = {name for r in schema.relation_types for name in (*r.head_types, *r.tail_types)} - {"date"}
        assert {entity.name for entity in schema.entity_types} == used
    assert any(relation.description for schema in with_types for relation in schema.relation_types)
    for schema in without_types:
        assert schema.entity_types == ()
        assert not any(r.head_types or r.tail_types or r.description for r in schema.relation_types)


def test_a_relation_that_takes_any_type_keeps_all_types():
    any_type = RelationType(name="near")
    schema = SCHEMA.model_copy(update={"relation_types": (*SCHEMA.relation_types, any_type)})
    for found in sampled(schema=schema, type_rate=1, limit=7):
        if "near" in names(found):
            assert {entity.name for entity in found.entity_types} == {"person", "place", "thing"}


@pytest.mark.parametrize("seed", range(5))
def test_renamed_types_still_mean_the_same(seed):
    paraphrases = {"place of birth": ["born in"], "spouse": ["married to"], "person": ["human"]}
    for schema in sampled(60, seed=seed, paraphrases=paraphrases, rename_rate=1, drop_rate=0, type_rate=1):
        assert len(names(schema)) == len(schema.relation_types)
        triples = express(DOCUMENT, schema)
        renamed = {name: schema.resolve_relation(name).name for name in ("place of birth", "spouse")}
        assert {(t.head.text, t.relation, t.tail.text) for t in triples} == {
            ("Ada", renamed["place of birth"], "Rome"),
            ("Bob", renamed["spouse"], "Ada"),
        }
        for relation in schema.relation_types:
            assert relation.inverse is None or relation.inverse in names(schema)


def test_renaming_is_seen_and_takes_labels_and_paraphrases():
    found = sampled(300, paraphrases={"spouse": ["married to"]}, rename_rate=1, drop_rate=0)
    seen = set().union(*map(names, found))
    assert {"P19", "married to", "place_of_birth", "PLACE OF BIRTH", "placeOfBirth"} <= seen


def test_a_new_name_is_never_that_of_another_type_of_the_whole_schema():
    """Else `express` would give the other one's triples under it."""
    paraphrases = {"place of birth": ["place of death", "owned by"], "owns": ["owned by"], "person": ["thing", "place"]}
    for schema in sampled(300, paraphrases=paraphrases, rename_rate=1, type_rate=1, limit=3):
        for relation in schema.relation_types:
            original = next(iter({relation.name, *relation.aliases} & names(SCHEMA)))
            assert relation.name == original or relation.name not in names(SCHEMA)
        for entity in schema.entity_types:
            assert entity.name in {"person", "place", "thing"} or entity.aliases


def test_expressing_leaves_out_what_the_schema_does_not_have():
    schema = SCHEMA.model_copy(update={"relation_types": SCHEMA.relation_types[2:3]})
    assert express(DOCUMENT, schema) == [Triple(BOB_TYPED, "spouse", ADA_TYPED)]
    assert express(Document("d", "x", (), ()), schema) == []


ADA_TYPED, BOB_TYPED = Mention(0, 3, "Ada", "person"), Mention(23, 26, "Bob", "person")


def test_triples_spelled_alike_stand_where_the_first_of_them_is():
    text = "Ada met Bob. Cy met Di. Ada met Bob."
    ada, bob = (Mention(start, start + 3, text[start : start + 3]) for start in (0, 8))
    again, bob_again = Mention(24, 27, "Ada"), Mention(32, 35, "Bob")
    other = Triple(Mention(13, 15, "Cy"), "met", Mention(20, 22, "Di"))
    triples = (Triple(again, "met", bob_again), other, Triple(ada, "met", bob))
    schema = Schema(name="s", relation_types=(RelationType(name="met"),))
    assert express(Document("d", text, None, triples), schema) == [Triple(ada, "met", bob), other]


def test_types_that_the_answer_has_to_name_must_be_annotated():
    open_types = RelationType(name="spouse")
    schema = SCHEMA.model_copy(update={"relation_types": (open_types,)})
    assert express(DOCUMENT, schema) == [Triple(BOB_TYPED, "spouse", ADA_TYPED)]
    bare = Document("d", TEXT, None, (Triple(Mention(23, 26, "Bob"), "spouse", Mention(0, 3, "Ada")),))
    assert express(bare, schema) is None
    assert express(bare, SCHEMA) == [Triple(BOB_TYPED, "spouse", ADA_TYPED)]  # person is the only choice there


def test_triples_that_are_spelled_alike_are_answered_once():
    text = "Ada met Bob. Ada kissed Bob."
    first = Triple(Mention(0, 3, "Ada"), "met", Mention(8, 11, "Bob"))
    second = Triple(Mention(13, 16, "Ada"), "met", Mention(24, 27, "Bob"))
    schema = Schema(name="s", relation_types=(RelationType(name="met"),))
    assert express(Document("d", text, None, (second, first)), schema) == [first]


@pytest.mark.parametrize(
    ("start", "end", "type_name", "expected"),
    [(0, 4, None, True), (0, 3, None, False), (6, 8, "number", True), (0, 4, "number", False), (4, 8, None, True)],
)
def test_gold_must_be_a_span_that_the_constraint_knows(start, end, type_name, expected):
    text = "Cats, 12 dogs"
    triple = Triple(Mention(start, end, text[start:end], type_name), "r", Mention(9, 13, "dogs"))
    assert is_grounded(Document("d", text), [triple]) is expected


def test_a_file_of_paraphrases_is_checked(tmp_path):
    assert load_paraphrases(None) == {}
    path = tmp_path / "p.yaml"
    path.write_text("born in: [birthplace]\n", encoding="utf-8")
    assert load_paraphrases(path) == {"born in": ("birthplace",)}
    for wrong in ("- born in", "born in: birthplace", "born in: [1]", "a: [b"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(SchemaError, match=r"paraphrases|list of names"):
            load_paraphrases(path)
    with pytest.raises(SchemaError, match="Can't read the paraphrases"):
        load_paraphrases(tmp_path / "none.yaml")


def test_mentions_are_given_the_names_of_the_schema():
    renamed = Schema(
        name="s",
        entity_types=(EntityType(name="human", aliases=("person", "PER")),),
        relation_types=(RelationType(name="spouse", head_types=("human",), tail_types=("human",)),),
    )
    document = Document("d", TEXT, (ADA, ROME, BOB, Mention(1, 3, "da", "PER")))
    assert [(m.text, m.type) for m in express_mentions(document, renamed)] == [("Ada", "human"), ("Bob", "human")]
    untyped = Schema(name="s", relation_types=(RelationType(name="spouse"),))
    assert [(m.text, m.type) for m in express_mentions(document, untyped)] == [("Ada", None), ("Rome", None), ("Bob", None)]
