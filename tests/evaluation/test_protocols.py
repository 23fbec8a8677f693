from dataclasses import replace

import pytest

from genre_x.datasets import AnnotatedSet
from genre_x.document import Document, Mention, Triple
from genre_x.errors import DataError, UnknownNameError
from genre_x.evaluation.protocols import (
    draw_for_each,
    draw_shots,
    in_languages,
    load_relation_names,
    restrict,
    sample,
    unseen_relations,
)
from genre_x.schema import EntityType, RelationType, Schema

ADA, BOB = Mention(0, 3, "Ada"), Mention(8, 11, "Bob")
NAMES = ("child", "parent", "met", "saw", "never used")
SCHEMA = Schema(
    name="s",
    entity_types=(EntityType(name="person"),),
    relation_types=(
        RelationType(name="child", inverse="parent", aliases=("P40",)),
        RelationType(name="parent", inverse="child"),
        RelationType(name="met", symmetric=True),
        RelationType(name="saw"),
        RelationType(name="never used"),
    ),
)


def document(id, *relations):
    text = f"Ada and Bob: {id}"
    return Document(id, text, triples=tuple(Triple(ADA, relation, Mention(8, 11, "Bob")) for relation in relations))


def annotated(*documents, unanchored=None):
    return AnnotatedSet("s", SCHEMA, documents, "Extract.", unanchored or {})


DATA = annotated(
    document("a", "child"),
    document("b", "parent"),
    document("c", "met"),
    document("d", "saw"),
    document("e", "met", "saw"),
    document("f"),
    document("g", "met"),
    unanchored={"g": 1},
)


def test_only_relations_of_the_documents_are_drawn_and_the_seed_decides():
    drawn = {seed: unseen_relations(DATA, n_unseen=2, seed=seed) for seed in range(20)}
    assert all(len(set(names)) == 2 and list(names) == sorted(names) for names in drawn.values())
    assert {name for names in drawn.values() for name in names} == {"child", "parent", "met", "saw"}
    assert drawn == {seed: unseen_relations(DATA, n_unseen=2, seed=seed) for seed in range(20)}
    assert unseen_relations(DATA) == ("child", "met", "parent", "saw")


def test_candidates_may_be_named_by_alias_and_need_not_occur():
    assert unseen_relations(DATA, candidates=["never used", "P40", "child"]) == ("child", "never used")
    assert unseen_relations(DATA, candidates=["P40"], n_unseen=1) == ("child",)


def test_unknown_candidates_and_too_few_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'parent'"):
        unseen_relations(DATA, candidates=["parents"])
    with pytest.raises(DataError, match="Can't draw 5 relations of 's': there are 4"):
        unseen_relations(DATA, n_unseen=5)


def test_documents_with_another_relation_without_any_and_with_unknown_ones_are_left_out():
    small = restrict(DATA, ["met", "child"])
    assert [one.id for one in small.documents] == ["a", "c"]
    assert [relation.name for relation in small.schema.relation_types] == ["child", "met"]
    assert small.schema.entity_types == SCHEMA.entity_types
    assert small.unanchored == {}
    assert [one.id for one in restrict(DATA, ["met", "saw"]).documents] == ["c", "d", "e"]


def test_an_inverse_that_is_left_out_is_forgotten():
    (child,) = restrict(DATA, ["child"]).schema.relation_types
    assert child.inverse is None
    both = restrict(DATA, ["child", "parent"]).schema.relation_types
    assert [relation.inverse for relation in both] == ["parent", "child"]


def test_nothing_left_is_an_error():
    with pytest.raises(DataError, match="no document whose relations are all among: never used"):
        restrict(DATA, ["never used"])


def test_documents_are_chosen_by_their_language():
    german, english, unstated = (replace(document("a", "met"), language=language) for language in ("de", "en", None))
    sets = [annotated(german, english, unstated), annotated(english)]
    assert [one.documents for one in in_languages(sets, ["de"])] == [(german,), ()]
    assert [one.documents for one in in_languages(sets, ["de", "en"])] == [(german, english), (english,)]
    with pytest.raises(DataError, match="No document is in fr. The languages of the data: de, en, not stated."):
        in_languages(sets, ["fr"])


def test_a_sample_is_drawn_by_seed_and_keeps_the_order():
    ids = [one.id for one in DATA.documents]
    drawn = [[one.id for one in sample(DATA, 3, seed=seed).documents] for seed in range(20)]
    assert all(len(found) == 3 and found == sorted(found, key=ids.index) for found in drawn)
    assert {name for found in drawn for name in found} == set(ids)
    assert drawn == [[one.id for one in sample(DATA, 3, seed=seed).documents] for seed in range(20)]
    assert sample(DATA, 7) is DATA


def test_shots_are_drawn_by_seed_and_never_from_tested_texts():
    tested = DATA.documents[0].text
    drawn = {seed: draw_shots(DATA, 3, seed=seed, without=[tested]) for seed in range(20)}
    assert all(len({one.id for one in shots}) == 3 for shots in drawn.values())
    assert {one.id for shots in drawn.values() for one in shots} == {"b", "c", "d", "e", "f"}  # a is tested, g is not complete
    assert drawn[4] == draw_shots(DATA, 3, seed=4, without=[tested])
    with pytest.raises(DataError, match="Can't draw 6 examples from 's': it has 5 other documents"):
        draw_shots(DATA, 6, without=[tested])


def test_shots_for_each_relation():
    pool = restrict(annotated(*(document(f"{name}{n}", name) for name in NAMES[:4] for n in range(5))), NAMES[:4])
    for seed in range(10):
        drawn = draw_shots(pool, 2, per_relation=True, seed=seed)
        assert sorted(triple.relation for one in drawn for triple in one.triples) == sorted(NAMES[:4] * 2)
    assert len(draw_shots(annotated(*pool.documents), 2, per_relation=True)) == 8  # `never used` has no documents
    orders = {tuple(one.id[:3] for one in draw_shots(pool, 2, per_relation=True, seed=seed)) for seed in range(10)}
    assert len(orders) > 1  # not sorted by relation, which a model could learn to expect


def test_the_tested_documents_themselves_are_no_pool():
    small = restrict(DATA, ["met", "saw"])
    for per_relation in (False, True):
        with pytest.raises(DataError, match="Can't draw 1 examples"):
            draw_for_each([small], [DATA], 1, per_relation=per_relation)


def test_each_set_has_its_own_pool():
    other = AnnotatedSet("t", SCHEMA, (document("t1", "child"), document("t2", "child")), "Extract.")
    mine = AnnotatedSet("s", SCHEMA, (document("s1", "met"), document("s2", "met")), "Extract.")
    tested = [replace(other, documents=other.documents[:1]), replace(mine, documents=mine.documents[:1])]
    assert [[one.id for one in shots] for shots in draw_for_each(tested, [mine, other], 1)] == [["t2"], ["s2"]]
    with pytest.raises(DataError, match="No examples for 'u': there are 's', 't'"):
        draw_for_each([replace(other, name="u")], [mine, other], 1)


def test_a_pool_has_only_the_relations_that_are_asked_for():
    small = restrict(annotated(document("x", "met")), ["met"])
    pool = annotated(document("a", "met"), document("b", "saw"), document("c", "met", "saw"))
    assert [one.id for one in draw_for_each([small], [pool], 1)[0]] == ["a"]


def test_a_document_counts_for_all_its_relations():
    pool = restrict(annotated(document("both", "met", "saw")), ["met", "saw"])
    assert [one.id for one in draw_shots(pool, 1, per_relation=True)] == ["both"]
    with pytest.raises(DataError, match="Can't draw 2 examples of 'met' from 's': it has 1 in documents"):
        draw_shots(pool, 2, per_relation=True)


def test_relation_names_are_a_list(tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("- child\n- 'P40'\n", encoding="utf-8")
    assert load_relation_names(path) == ("child", "P40")
    for text in ("child", "[]", "- 1\n", "a: b\n", "- [", ""):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"names\.yaml"):
            load_relation_names(path)
    with pytest.raises(DataError, match=r"none\.yaml"):
        load_relation_names(tmp_path / "none.yaml")
