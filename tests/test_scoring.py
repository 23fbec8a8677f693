import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_x.document import Document, Mention, Triple
from genre_x.schema import RelationType, Schema
from genre_x.scoring import MATCHINGS, Counts, add_up, count, score

TEXT = "Ada met Bob in Rome."
ADA, BOB, ROME = (
    Mention(0, 3, "Ada", "person"),
    Mention(8, 11, "Bob", "person"),
    Mention(15, 19, "Rome", "place"),
)
SCHEMA = Schema(name="s", relation_types=(RelationType(name="met", symmetric=True), RelationType(name="was in")))


def gold(*triples, id="d"):
    return Document(id, TEXT, triples=triples)


def test_counts_by_hand():
    # 2 right, 1 wrong, 3 missed: P = 2/3, R = 2/5, F1 = 2·2 / (2·2 + 1 + 3) = 1/2
    counts = Counts(tp=2, fp=1, fn=3)
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == pytest.approx(2 / 5)
    assert counts.f1 == pytest.approx(1 / 2)


def test_nothing_predicted_and_nothing_to_find_is_zero_not_an_error():
    assert (Counts().precision, Counts().recall, Counts().f1) == (0.0, 0.0, 0.0)


def test_micro_counts_over_documents():
    documents = [gold(Triple(ADA, "met", BOB), Triple(ADA, "was in", ROME)), gold(Triple(BOB, "was in", ROME), id="e")]
    predictions = [[Triple(ADA, "met", BOB), Triple(BOB, "was in", ROME)], []]
    scores = score(documents, predictions, schema=SCHEMA)
    assert scores.strict == Counts(tp=1, fp=1, fn=2)
    assert scores.per_relation == {"met": Counts(tp=1), "was in": Counts(fp=1, fn=2)}


def test_a_relation_outside_of_the_schema_is_a_false_positive():
    scores = score([gold(Triple(ADA, "met", BOB))], [[Triple(ADA, "met", BOB), Triple(ADA, "invented", BOB)]], schema=SCHEMA)
    assert scores.strict == Counts(tp=1, fp=1)


def test_gold_that_was_never_proposed_is_missed():
    assert score([gold(Triple(ADA, "met", BOB))], [[]]).strict == Counts(fn=1)


def test_duplicates_count_once():
    assert score([gold(Triple(ADA, "met", BOB))], [[Triple(ADA, "met", BOB)] * 3]).strict == Counts(tp=1)


def test_wrong_type_fails_strict_and_passes_boundaries():
    wrong = Triple(Mention(0, 3, "Ada", "place"), "met", BOB)
    scores = score([gold(Triple(ADA, "met", BOB))], [[wrong]])
    assert scores.strict == Counts(fp=1, fn=1)
    assert scores.boundaries == Counts(tp=1)


def test_a_symmetric_relation_matches_in_both_directions_and_others_do_not():
    flipped = [Triple(BOB, "met", ADA), Triple(ROME, "was in", ADA)]
    documents = [gold(Triple(ADA, "met", BOB), Triple(ADA, "was in", ROME))]
    assert score(documents, [flipped], schema=SCHEMA).strict == Counts(tp=1, fp=1, fn=1)
    assert score(documents, [flipped]).strict == Counts(fp=2, fn=2)


def test_rejections_are_false_positives_in_the_second_count():
    scores = score([gold(Triple(ADA, "met", BOB))], [[Triple(ADA, "met", BOB)]], n_rejections=[2])
    assert scores.strict == Counts(tp=1)
    assert scores.strict_with_rejections == Counts(tp=1, fp=2)


def test_unanchored_gold_is_missed_and_its_document_is_not_empty():
    scores = score([gold()], [[Triple(ADA, "met", BOB)]], unanchored={"d": 2})
    assert scores.strict == Counts(fp=1, fn=2)
    assert scores.n_empty == 0


def test_documents_without_relation_are_counted():
    scores = score([gold(), gold(id="e")], [[], [Triple(ADA, "met", BOB)]])
    assert (scores.n_documents, scores.n_empty, scores.n_empty_with_predictions) == (2, 2, 1)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="zip"):
        score([gold()], [])


def test_a_document_without_annotation_is_refused():
    with pytest.raises(ValueError, match="'d' is not annotated"):
        score([Document("d", TEXT)], [[]])


def test_adding_up_single_documents_is_the_score_of_all():
    document, triple = gold(Triple(ADA, "met", BOB)), Triple(ADA, "met", BOB)
    both = add_up([count(document, [triple]), count(document, [], n_rejections=1)])
    assert both.strict == Counts(tp=1, fn=1)
    assert both.strict_with_rejections == Counts(tp=1, fp=1, fn=1)
    assert both.per_relation["met"] == Counts(tp=1, fn=1)
    assert both.n_documents == 2
    assert both == score([document, document], [[triple], []], n_rejections=[0, 1])


def test_text_compares_normal_strings_without_offsets_and_types():
    text = "Ada  Lovelace met Bob. ADA LOVELACE left."
    first, again = Mention(0, 13, "Ada  Lovelace", "person"), Mention(23, 35, "ADA LOVELACE")
    bob = Mention(18, 21, "Bob")
    document = Document("d", text, triples=(Triple(first, "met", bob),))
    scores = score([document], [[Triple(again, "met", bob)]])
    assert scores.boundaries == Counts(fp=1, fn=1)
    assert scores.text == Counts(tp=1)
    assert score([document], [[Triple(again, "left", bob)]]).text == Counts(fp=1, fn=1)


def test_triples_that_text_cannot_tell_apart_count_once():
    text = "Bob met Ada. Bob met Ada."
    one = Triple(Mention(0, 3, "Bob"), "met", Mention(8, 11, "Ada"))
    two = Triple(Mention(13, 16, "Bob"), "met", Mention(21, 24, "Ada"))
    scores = score([Document("d", text, triples=(one, two))], [[one]])
    assert scores.boundaries == Counts(tp=1, fn=1)
    assert scores.text == Counts(tp=1)


def test_undirected_leaves_out_direction_and_types_but_not_the_relation():
    flipped = Triple(ROME, "was in", Mention(0, 3, "Ada", "place"))
    document = gold(Triple(ADA, "was in", ROME))
    scores = score([document], [[flipped]], schema=SCHEMA)
    assert (scores.boundaries, scores.text) == (Counts(fp=1, fn=1), Counts(fp=1, fn=1))
    assert scores.undirected == Counts(tp=1)
    assert score([document], [[Triple(ROME, "met", ADA)]]).undirected == Counts(fp=1, fn=1)


def test_text_of_a_symmetric_relation_matches_in_both_directions():
    assert score([gold(Triple(ADA, "met", BOB))], [[Triple(BOB, "met", ADA)]], schema=SCHEMA).text == Counts(tp=1)


def test_macro_is_the_mean_over_relations_with_gold():
    # met: tp 1, fp 1 → P 1/2, R 1, F1 2/3; was in: fn 1 → 0, 0, 0; invented: only predicted, so it is in no mean
    document = gold(Triple(ADA, "met", BOB), Triple(ADA, "was in", ROME))
    scores = score([document], [[Triple(ADA, "met", BOB), Triple(ADA, "met", ROME), Triple(ADA, "invented", ROME)]])
    macro = scores.macro
    assert macro.n_relations == 2
    assert (macro.precision, macro.recall, macro.f1) == (pytest.approx(1 / 4), pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert scores.to_dict()["macro"]["over"] == "relations with gold triples"


def test_macro_without_gold_is_zero():
    scores = score([gold()], [[Triple(ADA, "met", BOB)]])
    assert (scores.macro.f1, scores.macro.n_relations) == (0.0, 0)


def test_false_positive_rate_of_documents_without_gold():
    triple = Triple(ADA, "met", BOB)
    # three empty documents, one of them with predictions; the annotated one does not count
    scores = score([gold(id=str(n)) for n in range(3)] + [gold(triple)], [[], [triple], [], [triple]])
    assert scores.empty_false_positive_rate == pytest.approx(1 / 3)
    assert score([gold(triple)], [[triple]]).empty_false_positive_rate is None


MENTIONS = [Mention(start, start + 2, "x" * 2, kind) for start in (0, 3, 6) for kind in (None, "a")]
mentions = st.sampled_from(MENTIONS)
triples = st.lists(st.builds(Triple, mentions, st.sampled_from(["met", "was in", "unknown"]), mentions), max_size=6)


@given(st.lists(st.tuples(triples, triples, st.integers(0, 2)), max_size=4))
def test_counts_agree_with_a_count_by_hand(cases):
    """Marks every pair of equal triples instead of making sets of keys."""

    def same(one, other, matching):
        def ends(triple):
            return [(m.start_char, m.end_char, m.type if matching == "strict" else "") for m in (triple.head, triple.tail)]

        def texts(triple):
            return [triple.head.text, triple.tail.text]

        if one.relation != other.relation:
            return False
        parts = texts if matching == "text" else ends
        if parts(one) == parts(other):
            return True
        return (one.relation == "met" or matching == "undirected") and parts(one) == parts(other)[::-1]

    def distinct(items, matching):
        kept = []
        for item in items:
            if not any(same(item, other, matching) for other in kept):
                kept.append(item)
        return kept

    text = "xx xx xx"
    documents = [Document(str(n), text, triples=tuple(wanted)) for n, (wanted, _, _) in enumerate(cases)]
    found = score(documents, [pred for _, pred, _ in cases], schema=SCHEMA, n_rejections=[n for _, _, n in cases])
    for matching in MATCHINGS:
        tp = fp = fn = 0
        for wanted, pred, _ in cases:
            wanted, pred = distinct(wanted, matching), distinct(pred, matching)
            hits = sum(any(same(one, other, matching) for other in wanted) for one in pred)
            tp, fp, fn = tp + hits, fp + len(pred) - hits, fn + len(wanted) - hits
        assert getattr(found, matching) == Counts(tp, fp, fn)
    by_relation = sum(found.per_relation.values(), Counts())
    assert by_relation == found.strict
    assert found.strict_with_rejections.fp == found.strict.fp + sum(n for _, _, n in cases)
