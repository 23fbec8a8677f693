import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre_x import Document, Extraction, Mention, Reason, Rejection, Span, Triple
from genre_x.errors import SchemaError

TEXT = "Ada met Bob in Rome."
ADA, BOB = Mention(0, 3, "Ada", "person"), Mention(8, 11, "Bob", "person")


@st.composite
def mentions(draw, text):
    start = draw(st.integers(0, len(text) - 1))
    end = draw(st.integers(start + 1, len(text)))
    return Mention(start, end, text[start:end], draw(st.none() | st.sampled_from(["person", "place"])))


@st.composite
def extractions(draw):
    text = draw(st.text(min_size=1))
    evidence = st.none() | mentions(text).map(lambda mention: Span(*mention.span))
    score = st.none() | st.integers(0, 10**6).map(lambda millionths: millionths / 10**6)
    triples = st.builds(Triple, mentions(text), st.text(), mentions(text), score, evidence)
    rejections = st.builds(Rejection, st.sampled_from(Reason), st.text())
    return Extraction(
        Document(draw(st.text()), text),
        tuple(draw(st.lists(triples, max_size=4))),
        tuple(draw(st.lists(rejections, max_size=3))),
        model=draw(st.text()),
        template=draw(st.text()),
    )


@settings(max_examples=30)
@given(extractions())
def test_an_extraction_survives_the_way_to_json_and_back(extraction):
    record = json.loads(json.dumps(extraction.to_dict()))
    assert Extraction.from_dict(record) == extraction
    assert Extraction.from_dict(record).to_dict() == record


def test_the_json_form_is_stable():
    triple = Triple(ADA, "met", BOB, 0.1234567, Span(0, 20))
    extraction = Extraction(
        Document("d1", TEXT), (triple,), (Rejection(Reason.UNGROUNDED, '["x"]'),), ("raw",), "fake", "re.v1@1"
    )
    ada = {"text": "Ada", "start_char": 0, "end_char": 3, "type": "person"}
    bob = {"text": "Bob", "start_char": 8, "end_char": 11, "type": "person"}
    evidence = {"start_char": 0, "end_char": 20}
    assert extraction.to_dict() == {
        "id": "d1",
        "text": TEXT,
        "mentions": [ada, bob],
        "triples": [{"head": ada, "relation": "met", "tail": bob, "score": 0.123457, "evidence": evidence}],
        "rejections": [{"reason": "ungrounded", "fragment": '["x"]'}],
        "model": "fake",
        "template": "re.v1@1",
    }


def test_mentions_of_an_extraction_come_once_in_text_order():
    rome = Mention(15, 19, "Rome", None)
    triples = (Triple(BOB, "in", rome), Triple(ADA, "met", BOB), Triple(ADA, "in", rome))
    assert Extraction(Document("d", TEXT), triples).mentions == (ADA, BOB, rome)


def test_the_same_span_with_two_types_is_two_mentions():
    untyped = Mention(0, 3, "Ada")
    extraction = Extraction(Document("d", TEXT), (Triple(ADA, "met", BOB), Triple(untyped, "met", BOB)))
    assert extraction.mentions == (untyped, ADA, BOB)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 3), (4, 3)])
def test_a_span_that_is_none_is_refused(start, end):
    with pytest.raises(SchemaError, match=rf"0 <= start < end, found \[{start}, {end}\)"):
        Span(start, end)


def test_spans_shift_and_sort():
    assert Span(1, 3).shifted(4) == Span(5, 7)
    assert sorted([Span(2, 3), Span(0, 9), Span(0, 2)]) == [Span(0, 2), Span(0, 9), Span(2, 3)]


def test_a_mention_shifts_and_keeps_the_rest():
    assert ADA.shifted(5) == Mention(5, 8, "Ada", "person")
    assert ADA.span == (0, 3)


@pytest.mark.parametrize(("start", "end", "text"), [(0, 4, "Ada"), (-1, 2, "Ada"), (2, 2, ""), (5, 2, "Ada")])
def test_a_mention_whose_offsets_do_not_fit_its_text_is_refused(start, end, text):
    with pytest.raises(SchemaError) as caught:
        Mention(start, end, text)
    assert f"Mention {text!r} has {len(text)} characters, its offsets are [{start}, {end})." in str(caught.value)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_outside_of_0_to_1_is_refused(score):
    with pytest.raises(SchemaError, match=r"\[0, 1\], found"):
        Triple(ADA, "met", BOB, score)


def test_a_document_says_what_stands_at_wrong_offsets():
    with pytest.raises(SchemaError) as caught:
        Document("d1", TEXT, mentions=(Mention(0, 3, "Bob"),))
    assert str(caught.value) == "Document 'd1': mention says 'Bob' at [0, 3), but the text there is 'Ada'."


@pytest.mark.parametrize("triple", [Triple(Mention(18, 21, "e.x"), "met", BOB), Triple(BOB, "met", Mention(40, 41, "x"))])
def test_a_document_checks_heads_and_tails_of_its_triples(triple):
    with pytest.raises(SchemaError, match="mention says"):
        Document("d1", TEXT, triples=(triple,))


def test_not_annotated_and_annotated_with_nothing_differ():
    assert Document("d", TEXT).mentions is None
    assert Document("d", TEXT, mentions=()).mentions == ()
    assert Document("d", TEXT) != Document("d", TEXT, mentions=())
