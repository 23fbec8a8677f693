import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genre_x.backends.fake import FakeBackend
from genre_x.document import Document, Mention, Reason, Triple
from genre_x.evaluation.diagnosis import FALSE_NEGATIVE_CLASSES, FALSE_POSITIVE_CLASSES, diagnose, tally
from genre_x.extractor import Extractor
from genre_x.interfaces import GenerationConfig
from genre_x.schema import EntityType, RelationType, Schema
from genre_x.scoring import count
from genre_x.task import Task

TEXT = "Ada Lovelace met Bob Stone in Rome."
ADA, LOVELACE = Mention(0, 12, "Ada Lovelace", "person"), Mention(4, 12, "Lovelace", "person")
BOB, ROME = Mention(17, 26, "Bob Stone", "person"), Mention(30, 34, "Rome", "place")
KNOWS = Triple(ADA, "knows", BOB)


def classes(gold, pred, symmetric=frozenset()):
    document = Document("d", TEXT, triples=tuple(gold))
    return [fault.error for fault in diagnose(document, pred, symmetric)]


@pytest.mark.parametrize(
    ("gold", "pred", "expected"),
    [
        ([KNOWS], [KNOWS], []),
        ([], [], []),
        ([], [KNOWS], ["spurious"]),
        ([KNOWS], [], ["missed"]),
        ([KNOWS], [Triple(Mention(0, 12, "Ada Lovelace", "place"), "knows", BOB)], ["wrong_type"]),
        ([KNOWS], [Triple(BOB, "knows", ADA)], ["flipped"]),
        ([KNOWS], [Triple(ADA, "likes", BOB)], ["wrong_relation"]),
        ([KNOWS], [Triple(BOB, "likes", ADA)], ["wrong_relation"]),
        ([KNOWS], [Triple(LOVELACE, "knows", BOB)], ["wrong_span"]),
        ([KNOWS], [Triple(ADA, "knows", ROME)], ["spurious", "missed"]),  # only the head is right
        ([KNOWS], [Triple(LOVELACE, "likes", BOB)], ["spurious", "missed"]),  # span and relation are wrong
        ([KNOWS], [Triple(Mention(0, 3, "Eve", "person"), "knows", BOB)], ["invented", "missed"]),
        ([KNOWS], [KNOWS, KNOWS], []),
    ],
)
def test_each_class_by_hand(gold, pred, expected):
    assert classes(gold, pred) == expected


def test_a_triple_is_in_one_pair_only():
    # both predictions resemble the one gold triple; the flipped one is nearer to it than the one with another span
    assert classes([KNOWS], [Triple(LOVELACE, "knows", BOB), Triple(BOB, "knows", ADA)]) == ["flipped", "spurious"]


def test_gold_that_was_found_takes_part_in_no_pair():
    assert classes([KNOWS], [KNOWS, Triple(BOB, "knows", ADA)]) == ["spurious"]


def test_the_most_overlap_makes_the_pair():
    near, far = Triple(LOVELACE, "knows", BOB), Triple(Mention(0, 3, "Ada", "person"), "knows", BOB)
    faults = diagnose(Document("d", TEXT, triples=(KNOWS,)), [far, near])
    assert [(fault.error, fault.pred) for fault in faults] == [("wrong_span", near), ("spurious", far)]


def test_a_symmetric_relation_is_never_flipped():
    symmetric = frozenset({"knows"})
    assert classes([KNOWS], [Triple(BOB, "knows", ADA)], symmetric) == []
    other_type = Mention(0, 12, "Ada Lovelace", "place")
    assert classes([KNOWS], [Triple(BOB, "knows", other_type)], symmetric) == ["wrong_type"]
    assert classes([KNOWS], [Triple(BOB, "knows", LOVELACE)], symmetric) == ["wrong_span"]


def test_unanchored_gold_is_missed():
    counts = tally([], n_unanchored=2)
    assert counts["false_negatives"]["missed"] == 2
    assert sum(counts["false_positives"].values()) == 0


mentions = st.sampled_from(
    [
        ADA,
        LOVELACE,
        BOB,
        ROME,
        Mention(30, 34, "Rome", "person"),
        Mention(17, 20, "Bob", "person"),
        Mention(0, 4, "Zoë!", "person"),
    ]
)
triples = st.lists(st.builds(Triple, mentions, st.sampled_from(["knows", "likes", "met"]), mentions), max_size=6)


@given(triples, triples)
def test_every_false_positive_and_false_negative_is_in_exactly_one_class(gold, pred):
    gold = tuple(triple for triple in gold if "Zoë!" not in (triple.head.text, triple.tail.text))
    document, symmetric = Document("d", TEXT, triples=gold), frozenset({"met"})
    faults = diagnose(document, pred, symmetric)
    counts = count(document, pred, symmetric).matchings["strict"]
    tallied = tally(faults)
    assert sum(tallied["false_positives"].values()) == counts.fp
    assert sum(tallied["false_negatives"].values()) == counts.fn
    for fault in faults:
        assert (fault.pred is not None) == (fault.error in FALSE_POSITIVE_CLASSES)
        assert (fault.gold is not None) == (fault.error in FALSE_NEGATIVE_CLASSES)


TASK = Task(
    schema=Schema(
        name="people",
        entity_types=(EntityType(name="person"), EntityType(name="place")),
        relation_types=(RelationType(name="knows"), RelationType(name="likes", head_types=("person",))),
    ),
    instruction="Find.",
)
arguments = st.sampled_from(["Ada", "Lovelace", "Bob Stone", "Rome", "Paris", "Eve", "", "ada", "met  Bob"]) | st.text(
    max_size=8
)
written_rows = st.lists(
    st.lists(arguments | st.sampled_from(["knows", "likes", "hates", "person", "place"]), min_size=2, max_size=6)
    | st.tuples(arguments, st.sampled_from(["knows", "likes", "hates"]), arguments).map(list)
    | st.tuples(arguments, st.just("knows"), arguments, st.just("person"), st.just("place")).map(list),
    max_size=4,
).map(lambda entries: json.dumps(entries, ensure_ascii=False))
values = st.recursive(st.none() | st.booleans() | st.integers() | arguments, st.lists, max_leaves=12)
answers = written_rows | values.map(json.dumps) | st.text(max_size=40)


def test_nothing_is_invented_whatever_a_model_writes():
    kept, said = [], []
    extractor = Extractor(task=TASK, backend=FakeBackend(lambda request: said[-1]))

    @settings(max_examples=150)
    @example(["Ada Lovelace", "met", "Bob Stone"], '[["Ada Lovelace","knows","Bob Stone","person","person"]]')
    @given(st.lists(st.sampled_from(["Ada Lovelace", "met", "Bob Stone", "in", "Rome", ".", "\n", "  "]), max_size=12), answers)
    def check(words, answer):
        text = " ".join(words)
        said.append(answer)
        extraction = extractor.extract(text)
        faults = diagnose(Document("d", text, triples=()), extraction.triples)
        assert tally(faults)["false_positives"]["invented"] == 0
        assert len(faults) == len({(t.head, t.relation, t.tail) for t in extraction.triples})
        kept.extend(extraction.triples)

    check()
    assert kept  # else there was nothing to test


def test_what_is_invented_is_rejected_and_counted():
    extraction = Extractor(task=TASK, backend=FakeBackend(['[["Eve","knows","Bob Stone","person","person"]]'])).extract(TEXT)
    assert extraction.triples == ()
    assert [rejection.reason for rejection in extraction.rejections] == [Reason.UNGROUNDED]


def test_a_random_model_under_the_grounded_constraint_invents_nothing(tiny_decoder):
    from genre_x.backends.transformers import TransformersBackend

    texts = [TEXT, "日本の首都は東京です。", 'She said "no" to Zoë\nand left.', "a b"]
    backend = TransformersBackend(str(tiny_decoder))
    n_triples = 0
    for seed in range(3):
        config = GenerationConfig(max_new_tokens=150, temperature=1.5, seed=seed)
        extractor = Extractor(task=TASK, backend=backend, config=config)
        for text, extraction in zip(texts, extractor.pipe(texts), strict=True):
            n_triples += len(extraction.triples)
            faults = diagnose(Document("d", text, triples=()), extraction.triples)
            assert tally(faults)["false_positives"]["invented"] == 0
            assert Reason.UNGROUNDED not in {rejection.reason for rejection in extraction.rejections}
    assert n_triples > 0  # else there was nothing to test
