"""What a grounded constraint admits can always be found in the text, whatever the text is."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genre_x import Document, EntityType, Extractor, Mention, Reason, RelationType, Schema, Task
from genre_x.backends.fake import FakeBackend
from genre_x.constraints import choice, has_number, has_span, json_content, literal, mention_rule, span_rules
from genre_x.formats import FORMATS
from genre_x.grounding import chunks, normalized, occurrences, readable

# Everything that has ever broken an extraction program: quotes, escapes, control characters, white space of all kinds,
# emoji with joiners, combining marks, scripts without spaces, right-to-left text with its marks, surrogates.
AWKWARD = (
    list("\"\\/'`{}[](),:;.-_#<>|&$%^*+?!@~ \t\n\r\v\f\0\x01\x1b\x1f\x7f\x85\xa0\xad\u0130\u0131ßǅ")
    + list("\u1680\u180e\u2000\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202e\u2060\u3000\ufeff\ufffd\uffff")
    + list("東京タワーひ가각ไทยກខမབཀㄅ")
    + list("אבגشلم\u064b\u0651٣५½²Ⅷ①")
    + ["e\u0301", "\u0301", "न\u094dष", "👩‍👩‍👧", "🏳️‍🌈", "🇩🇪", "1️⃣", "\U0001f3fd", "\U000e0041", "\ud83d", "\udc00"]
    + ["Ada", "Bob", " met ", "IBM", "\\n", "\\u0041", '\\"', "  ", " \n ", "\r\n", "12", "<|im_end|>"]
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(AWKWARD), max_size=16).map("".join),
    st.lists(st.one_of(st.sampled_from(AWKWARD), st.characters()), max_size=14).map("".join),
)
SEEDS = st.integers(0, 2**32)

UNTYPED = Schema(name="untyped", relation_types=(RelationType(name="met"), RelationType(name='says "\\"')))
TYPED = Schema(
    name="typed",
    entity_types=(EntityType(name="person"), EntityType(name="organization"), EntityType(name='pl"ace')),
    relation_types=(
        RelationType(name="works for", head_types=("person",), tail_types=("organization",)),
        RelationType(name="near"),
        RelationType(name="age", head_types=("person",), tail_types=("number",)),
        RelationType(name="worth", tail_types=("number", "text")),
        RelationType(name="said on", head_types=("person", "organization"), tail_types=("date",)),
    ),
)
SCHEMAS = {"untyped": UNTYPED, "typed": TYPED}


@st.composite
def documents_with_mentions(draw):
    """A document with mentions between chunk limits, which is where the library promises to find them."""
    text = draw(TEXTS)
    limits = sorted({limit for span in chunks(readable(text)) for limit in span})
    spans = draw(st.lists(st.tuples(st.sampled_from(limits), st.sampled_from(limits)), max_size=5)) if limits else []
    types = st.sampled_from([None, "person", "organization", 'pl"ace'])
    mentions = tuple(Mention(start, end, text[start:end], draw(types)) for start, end in spans if text[start:end].strip())
    return Document("d", text, mentions=mentions)


def random_extractor(walker, schema_name, format_name, seeds):
    """An extractor whose model writes, at random, anything that the constraint admits."""
    task = Task(schema=SCHEMAS[schema_name], instruction="Find them.", output_format=format_name)
    backend = FakeBackend(lambda request: walker.answer(request.constraint, random.Random(seeds[-1])))
    return Extractor(task=task, backend=backend)


@pytest.mark.parametrize("schema_name", SCHEMAS)
@pytest.mark.parametrize("format_name", FORMATS)
@settings(max_examples=60)
@given(text=TEXTS, seed=SEEDS)
@example(text="Ada  met\n\nBob", seed=0)
@example(text='"', seed=1)
@example(text="\\", seed=2)
@example(text=" \u0301", seed=3)
@example(text="\x1f12\x1f", seed=4)
@example(text="\x85\xa0\u2028", seed=5)
@example(text="1\u20632", seed=6)
def test_whatever_the_grounded_grammar_admits_is_found_in_the_text(walker, schema_name, format_name, text, seed):
    schema, text = SCHEMAS[schema_name], readable(text)
    output_format = FORMATS[format_name]
    answer = walker.answer(output_format.constraint(schema, text, strength="grounded"), random.Random(seed))

    parsed = output_format.parse(answer, schema)
    assert parsed.bad_fragments == ()
    assert parsed.unfinished == ""
    for triple in parsed.triples:
        assert triple.relation in {relation.name for relation in schema.relation_types}
        for fragment in (triple.head, triple.tail):
            spans = occurrences(text, fragment)
            assert spans
            assert all(normalized(text[start:end]) == normalized(fragment) for start, end in spans)


@pytest.mark.parametrize("schema_name", SCHEMAS)
@pytest.mark.parametrize("format_name", FORMATS)
def test_the_extractor_keeps_every_row_of_a_grounded_answer(walker, schema_name, format_name):
    seeds = [0]
    extractor = random_extractor(walker, schema_name, format_name, seeds)

    @settings(max_examples=60)
    @given(text=TEXTS, seed=SEEDS)
    def check(text, seed):
        seeds.append(seed)
        extraction = extractor.extract(text)
        assert {rejection.reason for rejection in extraction.rejections} <= {Reason.SELF_RELATION}
        for triple in extraction.triples:
            for mention in (triple.head, triple.tail):
                assert text[mention.start_char : mention.end_char] == mention.text
                assert mention.text.strip() == mention.text
            assert triple.evidence.start_char <= min(triple.head.start_char, triple.tail.start_char)
            assert triple.evidence.end_char >= max(triple.head.end_char, triple.tail.end_char)

    check()


@pytest.mark.parametrize("schema_name", SCHEMAS)
@pytest.mark.parametrize("format_name", FORMATS)
def test_with_given_mentions_the_extractor_keeps_every_row(walker, schema_name, format_name):
    seeds = [0]
    extractor = random_extractor(walker, schema_name, format_name, seeds)

    @settings(max_examples=60)
    @given(document=documents_with_mentions(), seed=SEEDS)
    def check(document, seed):
        seeds.append(seed)
        extraction = extractor.extract(document)
        assert {rejection.reason for rejection in extraction.rejections} <= {Reason.SELF_RELATION}
        spans = {mention.span for mention in document.mentions}
        for triple in extraction.triples:
            assert document.text[triple.tail.start_char : triple.tail.end_char] == triple.tail.text
            assert triple.head.span in spans
            if triple.tail.type not in ("number", "date", "text"):
                assert triple.tail.span in spans

    check()


@settings(max_examples=60)
@given(text=TEXTS, data=st.data())
def test_every_run_of_chunks_is_admitted_as_a_span(walker, text, data):
    text = readable(text)
    pieces = chunks(text)
    if not pieces:
        return
    first = data.draw(st.integers(0, len(pieces) - 1))
    last = data.draw(st.integers(first, len(pieces) - 1))
    start, end = pieces[first][0], pieces[last][1]
    fragment = normalized(text[start:end])
    if not fragment:
        return
    constraint = FORMATS["rows"].constraint(UNTYPED, text, strength="grounded")
    assert walker.accepts(constraint, f'[["{json_content(fragment)}","met","{json_content(fragment)}"]]')


@pytest.mark.parametrize("fragment", ["Ad", "da", "Ada me", " met", "met ", "Ada Bob", "Bob.  ", "", "Ada met Bob.."])
def test_what_is_no_run_of_whole_chunks_is_refused(walker, fragment):
    constraint = FORMATS["rows"].constraint(UNTYPED, "Ada met Bob.", strength="grounded")
    assert walker.accepts(constraint, '[["Ada","met","Bob"]]')
    assert not walker.accepts(constraint, f'[["{fragment}","met","Bob"]]')


def test_number_arguments_must_hold_a_numeric_character(walker):
    constraint = FORMATS["rows"].constraint(TYPED, "Ada, 36, leads IBM.", strength="grounded")
    assert walker.accepts(constraint, '[["Ada","age","36"]]')
    assert not walker.accepts(constraint, '[["Ada","age","IBM"]]')


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000"])
def test_a_text_without_a_span_admits_only_the_empty_list(walker, text):
    constraint = FORMATS["rows"].constraint(TYPED, text, strength="grounded")
    assert walker.accepts(constraint, "[]")
    assert walker.answer(constraint, random.Random(0)) == "[]"


def test_no_given_mentions_admit_only_attributes_and_the_empty_list(walker):
    constraint = FORMATS["rows"].constraint(TYPED, "Ada met Bob.", strength="grounded", mentions=())
    assert walker.answer(constraint, random.Random(0)) == "[]"


def test_given_mentions_are_the_only_heads_and_tails(walker):
    text = "Ada Lovelace works for IBM."
    mentions = (Mention(0, 12, "Ada Lovelace", "person"), Mention(23, 26, "IBM", "organization"))
    constraint = FORMATS["rows"].constraint(TYPED, text, strength="grounded", mentions=mentions)
    assert walker.accepts(constraint, '[["Ada Lovelace","works for","IBM"]]')
    assert not walker.accepts(constraint, '[["Ada","works for","IBM"]]')
    assert not walker.accepts(constraint, '[["IBM","works for","Ada Lovelace"]]')


def test_json_content_escapes_what_json_must_escape():
    assert json_content('a "b" \\ \n\x01東') == 'a \\"b\\" \\\\ \\n\\u0001東'


def test_literal_and_choice_quote_their_texts():
    assert literal('say "hi"') == '"say \\"hi\\""'
    assert choice(["a", 'b"']) == '("a" | "b\\"")'


def test_has_span_and_has_number_look_at_characters():
    assert has_span(" a ")
    assert not has_span(" \n")
    assert has_number("Ⅷ")
    assert not has_number("eight")


@pytest.mark.parametrize("text", ["他有三个孩子。", "一万", "Ⅷ", "x²", "½", "٣"])
def test_has_number_agrees_with_the_rule(walker, text):
    schema = Schema(name="s", relation_types=(RelationType(name="age", tail_types=("number",)),))
    constraint = FORMATS["rows"].constraint(schema, text, strength="grounded")
    assert walker.accepts(constraint, f'[["{text}","age","{text}"]]') == has_number(text)
    assert ("age" in constraint.definition) == has_number(text)  # else a row could be begun that nothing can end


def test_span_rules_leave_out_what_the_text_does_not_have():
    assert span_rules(" ") == []
    assert [rule.split(":")[0] for rule in span_rules("Ada")] == ["RUN", "SPAN"]
    assert [rule.split(":")[0] for rule in span_rules("Ada 7")] == ["RUN", "SPAN", "NUMBER"]


def test_mention_rule_names_each_text_once_with_normal_spaces():
    mentions = [Mention(0, 9, "Ada\nLovel"), Mention(20, 29, "Ada Lovel"), Mention(30, 33, "Bob")]
    assert mention_rule(mentions) == '("Ada Lovel" | "Bob")'
