"""What every output format promises."""

import json

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genre_x import EntityType, Mention, RelationType, Schema, Triple
from genre_x.errors import UnknownNameError
from genre_x.formats import FORMATS, get_format
from genre_x.formats.json_list import MAX_ENTRIES, fields_of
from genre_x.grounding import chunks, normalized

SCHEMA = Schema(
    name="s",
    entity_types=(EntityType(name="person"), EntityType(name='pl"ace'), EntityType(name="組織")),
    relation_types=(
        RelationType(name="born in", head_types=("person",), tail_types=('pl"ace',)),
        RelationType(name='says "\\"', head_types=("person", "組織")),
        RelationType(name="age", head_types=("person",), tail_types=("number",)),
        RelationType(name="worth", tail_types=("number", "text")),
    ),
)
UNTYPED = Schema(name="u", relation_types=(RelationType(name="met"), RelationType(name="near\x7f")))
SCHEMAS = {"typed": SCHEMA, "untyped": UNTYPED}
TEXT = 'Ada "the 1st" Bob\\n met \u0301 the\n\nIBM\x00 crew in 東京, \u2028 24 m². 👩‍👩‍👧'
every_format = pytest.mark.parametrize("output_format", FORMATS.values(), ids=FORMATS)
every_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)


def mention_in(text, type_names, *, numeric=False):
    limits = sorted({limit for span in chunks(text) for limit in span})
    spans = [(start, end) for start in limits for end in limits if start < end and text[start:end].strip()]
    if numeric:
        spans = [(start, end) for start, end in spans if any(c.isnumeric() for c in text[start:end])]
    types = st.sampled_from(type_names) if type_names else st.none()
    return st.builds(
        lambda span, name: Mention(*span, text[slice(*span)], name),
        st.sampled_from(spans),
        types,
    )


def triples_of(schema):
    ways = []
    for relation in schema.relation_types:
        heads, tails = schema.head_types(relation), schema.tail_types(relation)
        head, tail = mention_in(TEXT, heads), mention_in(TEXT, tails, numeric="number" in tails)
        ways.append(st.builds(Triple, head, st.just(relation.name), tail))
    return st.lists(st.one_of(ways), max_size=5)


TRIPLES = {id(schema): triples_of(schema) for schema in SCHEMAS.values()}


@every_format
@every_schema
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_written_is_read_back(output_format, schema, data):
    triples = data.draw(TRIPLES[id(schema)])
    answer = output_format.write(triples, schema)
    parsed = output_format.parse(answer, schema)
    assert (parsed.bad_fragments, parsed.unfinished) == ((), "")
    assert len(parsed.triples) == len(triples)
    for surface, triple in zip(parsed.triples, triples, strict=True):
        fields = fields_of(schema.relation_type(triple.relation), schema)
        assert (surface.head, surface.relation, surface.tail) == (
            normalized(triple.head.text),
            triple.relation,
            normalized(triple.tail.text),
        )
        assert surface.head_type == (triple.head.type if "head_type" in fields else None)
        assert surface.tail_type == (triple.tail.type if "tail_type" in fields else None)
        one = output_format.write([triple], schema)
        assert one.endswith(answer[surface.start : surface.end] + "]")


@every_format
@every_schema
@settings(max_examples=20)
@given(data=st.data())
def test_both_constraints_accept_what_is_written(walker, output_format, schema, data):
    triples = data.draw(TRIPLES[id(schema)])
    answer = output_format.write(triples, schema)
    mentions = [mention for triple in triples for mention in (triple.head, triple.tail)]
    assert walker.accepts(output_format.constraint(schema, TEXT, strength="grounded"), answer)
    assert walker.accepts(output_format.constraint(schema, TEXT, strength="grounded", mentions=mentions), answer)
    loose = output_format.constraint(schema, TEXT, strength="schema")
    assert walker.accepts(loose, answer)
    jsonschema.validate(json.loads(answer), json.loads(loose.definition))


def test_mentions_are_listed_once_and_before_the_triples(walker):
    output_format, text = FORMATS["mentions"], "Ada met Bob in Rome. Ada left."
    schema = Schema(
        name="t",
        entity_types=(EntityType(name="person"), EntityType(name="place")),
        relation_types=(RelationType(name="met", head_types=("person",), tail_types=("person",)),),
    )
    ada, bob, rome = Mention(0, 3, "Ada", "person"), Mention(8, 11, "Bob", "person"), Mention(15, 19, "Rome", "place")
    answer = output_format.write([Triple(ada, "met", bob)], schema, [ada, rome, Mention(21, 24, "Ada", "person")])
    assert answer == '[["Ada","person"],["Bob","person"],["Rome","place"],["Ada","met","Bob"]]'
    constraint = output_format.constraint(schema, text, strength="grounded")
    assert walker.accepts(constraint, answer)
    assert walker.accepts(constraint, '[["Rome","place"]]')
    assert not walker.accepts(constraint, '[["Ada","met","Bob"],["Rome","place"]]')
    assert not walker.accepts(constraint, '[["Paris","place"]]')
    (surface,) = output_format.parse(answer, schema).triples
    assert (surface.head, surface.tail) == ("Ada", "Bob")


@every_format
@settings(max_examples=300)
@given(text=st.text() | st.text('[]{}",:\\ \n\tau019eE+-.ntfl'))
@example(text="[" * 100_000)
@example(text='[["a","b","c"]' + ",[" * 50_000)
@example(text='{"head":' * 50_000)
@example(text="[1e999,NaN,-Infinity," + "9" * 5000 + "]")
@example(text='["\ud800"]')
@example(text="[\x85]")
def test_reading_never_raises_and_loses_nothing(output_format, text):
    parsed = output_format.parse(text, SCHEMA)
    if text.strip() and not parsed.triples:
        assert parsed.bad_fragments or parsed.unfinished or text.lstrip().startswith("[")
    for surface in parsed.triples:
        assert 0 <= surface.start < surface.end <= len(text)


@every_format
@every_schema
@settings(max_examples=100)
@given(data=st.data())
def test_reading_a_damaged_answer_never_raises(output_format, schema, data):
    answer = output_format.write(data.draw(TRIPLES[id(schema)]), schema)
    start = data.draw(st.integers(0, len(answer)))
    end = data.draw(st.integers(start, min(len(answer), start + 5)))
    damaged = answer[:start] + data.draw(st.text(max_size=4) | st.text('[]{}",:\\ \n', max_size=4)) + answer[end:]
    output_format.parse(damaged, schema)


@every_format
@every_schema
@settings(max_examples=60)
@given(data=st.data())
def test_a_cut_answer_keeps_its_whole_rows_and_names_the_rest(output_format, schema, data):
    answer = output_format.write(data.draw(TRIPLES[id(schema)]), schema)
    whole = output_format.parse(answer, schema).triples
    cut = data.draw(st.integers(1, len(answer) - 1))
    parsed = output_format.parse(answer[:cut], schema)
    assert parsed.triples == tuple(surface for surface in whole if surface.end <= cut)
    assert parsed.bad_fragments == ()
    assert parsed.unfinished
    if parsed.triples or parsed.unfinished != "[":
        assert answer[:cut].endswith(parsed.unfinished) or parsed.unfinished == "["


@every_format
def test_an_empty_list_says_that_there_is_nothing(output_format):
    assert output_format.write([], SCHEMA) == "[]"
    for answer in ("[]", " [ ]\n"):
        parsed = output_format.parse(answer, SCHEMA)
        assert (parsed.triples, parsed.bad_fragments, parsed.unfinished) == ((), (), "")


@every_format
def test_no_answer_at_all_is_no_fault(output_format):
    assert output_format.parse(" \n", SCHEMA).bad_fragments == ()


@every_format
def test_prose_is_one_bad_fragment(output_format):
    assert output_format.parse("I can't do that.", SCHEMA).bad_fragments == ("I can't do that.",)


@every_format
def test_what_follows_the_list_is_a_bad_fragment(output_format):
    triple = Triple(Mention(0, 3, "Ada", None), "met", Mention(14, 17, "Bob", None))
    parsed = output_format.parse(output_format.write([triple], UNTYPED) + " Hope it helps!", UNTYPED)
    assert len(parsed.triples) == 1
    assert parsed.bad_fragments == ("Hope it helps!",)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("rows", '["Ada","met"]'),
        ("rows", '["Ada","met","Bob","person"]'),
        ("rows", '["Ada","met",3]'),
        ("rows", '["Ada","met",["Bob"]]'),
        ("rows", '"Ada"'),
        ("rows", "null"),
        ("rows", '{"head":"Ada","relation":"met","tail":"Bob"}'),
        ("objects", '{"head":"Ada","relation":"met"}'),
        ("objects", '{"head":"Ada","relation":"met","tail":"Bob","when":"now"}'),
        ("objects", '{"head":"Ada","relation":"met","tail":null}'),
        ("objects", '["Ada","met","Bob"]'),
    ],
)
def test_an_entry_of_another_form_is_a_bad_fragment_and_its_neighbours_stay(name, bad):
    good = FORMATS[name].write([Triple(Mention(0, 3, "Ada"), "met", Mention(0, 3, "Bob"))], UNTYPED)[1:-1]
    parsed = FORMATS[name].parse(f"[{good},{bad},{good}]", UNTYPED)
    assert parsed.bad_fragments == (bad,)
    assert [triple.tail for triple in parsed.triples] == ["Bob", "Bob"]


def test_a_type_that_the_schema_leaves_open_must_be_written():
    assert FORMATS["rows"].parse('[["a","says \\"\\\\\\"","b"]]', SCHEMA).triples == ()
    answer = '[{"head":"a","relation":"says \\"\\\\\\"","tail":"b"}]'
    assert FORMATS["objects"].parse(answer, SCHEMA).triples == ()


@every_format
def test_an_unknown_relation_is_read(output_format):
    triple = Triple(Mention(0, 3, "Ada"), "hates", Mention(0, 3, "Bob"))
    (surface,) = output_format.parse(output_format.write([triple], SCHEMA), SCHEMA).triples
    assert (surface.head, surface.relation, surface.tail) == ("Ada", "hates", "Bob")


@every_format
def test_no_strength_is_no_constraint(output_format):
    assert output_format.constraint(SCHEMA, TEXT, strength="none") is None


@every_format
@pytest.mark.parametrize("strength", ["schema", "grounded"])
def test_constraints_stop_at_the_most_entries(walker, output_format, strength):
    triple = Triple(Mention(0, 3, "Ada"), "met", Mention(0, 3, "Bob"))
    constraint = output_format.constraint(UNTYPED, "Ada Bob", strength=strength)
    assert walker.accepts(constraint, output_format.write([triple] * MAX_ENTRIES, UNTYPED))
    assert not walker.accepts(constraint, output_format.write([triple] * (output_format.max_items + 1), UNTYPED))


@every_format
@pytest.mark.parametrize("strength", ["schema", "grounded"])
def test_constraints_refuse_unknown_relations_and_wrong_types(walker, output_format, strength):
    constraint = output_format.constraint(SCHEMA, "Ada 24 Bob", strength=strength)
    ada = Mention(0, 3, "Ada", "person")
    good = Triple(ada, 'says "\\"', Mention(7, 10, "Bob", "person"))
    assert walker.accepts(constraint, output_format.write([good], SCHEMA))
    wrong_type = Triple(Mention(0, 3, "Ada", 'pl"ace'), 'says "\\"', good.tail)
    assert not walker.accepts(constraint, output_format.write([wrong_type], SCHEMA))
    assert not walker.accepts(constraint, output_format.write([Triple(ada, "hates", good.tail)], SCHEMA))


def test_formats_are_found_by_name():
    for name, output_format in FORMATS.items():
        assert get_format(name) is output_format
        assert output_format.name == name
        assert output_format.hint
    with pytest.raises(
        UnknownNameError, match=r"Unknown output format 'row'\. Did you mean 'rows'\? Available: mentions, objects, rows\."
    ):
        get_format("row")
