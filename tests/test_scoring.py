import pytest

from genre_x.document import Document, Mention, Triple
from genre_x.schema import RelationType, Schema
from genre_x.scoring import Counts, add_up, count, score

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
