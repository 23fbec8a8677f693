import random
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre_x.chat import encode_chat
from genre_x.datasets import AnnotatedSet
from genre_x.document import Document, Mention, Span, Triple
from genre_x.formats import FORMATS, get_format
from genre_x.grounding import occurrences
from genre_x.schema import RelationType, Schema
from genre_x.training.augmentation import Augmenter, Synonyms
from genre_x.training.config import AugmentationConfig
from genre_x.training.counting import TokenCounter
from genre_x.training.joining import join, joined
from genre_x.training.names import NamePool
from genre_x.training.tally import LeftOut, Tally

RATES = st.sampled_from([0.0, 0.5, 1.0])


def exchanges(episode):
    """Pairs of a text and its answer."""
    roles = [message.role for message in episode.messages]
    assert roles == ["system"] + ["user", "assistant"] * episode.n_documents
    contents = [message.content for message in episode.messages[1:]]
    return list(zip(contents[::2], contents[1::2], strict=True))


def check(episode, output_format, walker, *, n_walked):
    """What holds for every answer of every episode."""
    n_empty = 0
    names = {relation.name for relation in episode.schema.relation_types}
    for place, (text, answer) in enumerate(exchanges(episode)):
        parsed = output_format.parse(answer, episode.schema)
        assert (parsed.bad_fragments, parsed.unfinished) == ((), "")
        rows = [(t.head, t.head_type, t.relation, t.tail, t.tail_type) for t in parsed.triples]
        assert len(set(rows)) == len(rows)
        n_empty += not rows
        for triple in parsed.triples:
            assert triple.relation in names
            assert occurrences(text, triple.head)
            assert occurrences(text, triple.tail)
        if place < n_walked:
            constraint = output_format.constraint(episode.schema, text, strength="grounded")
            assert walker.accepts(constraint, answer), (answer, text, episode.schema)
    assert n_empty == episode.n_empty


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1000),
    format_name=st.sampled_from(sorted(FORMATS)),
    is_typed=st.booleans(),
    augments=st.booleans(),
    rates=st.tuples(RATES, RATES, RATES, st.sampled_from([0.0, 0.5])),
)
def test_every_answer_is_what_the_constraint_lets_a_model_write(
    seed, format_name, is_typed, augments, rates, typed_set, untyped_set, make_builder, walker
):
    type_rate, description_rate, rename_rate, join_rate = rates
    source = typed_set if is_typed else untyped_set
    builder = make_builder(
        format_name, type_rate=type_rate, description_rate=description_rate, rename_rate=rename_rate, join_rate=join_rate
    )
    augmenter = Augmenter(
        config=AugmentationConfig(entity_rate=0.7, synonym_rate=0.7, synonyms="s.yaml"),
        names=NamePool.of(source.documents),
        synonyms=Synonyms.of({"lies": ["is placed"], "now": ["today"], "is": ["remains"]}),
    )
    built = builder.build(source, random.Random(seed), augmenter=augmenter if augments else None)
    for episode in islice(built, 5):
        check(episode, get_format(format_name), walker, n_walked=2)


def test_an_episode_knows_its_length(byte_tokenizer, typed_set, make_builder):
    def count(messages):
        return len(encode_chat(byte_tokenizer, messages).ids)

    quick = make_builder(count=TokenCounter(byte_tokenizer), max_tokens=900, join_rate=0.3)
    slow = make_builder(count=count, max_tokens=900, join_rate=0.3)
    episodes = list(quick.build(typed_set, random.Random(3)))
    assert episodes == list(slow.build(typed_set, random.Random(3)))
    assert len(episodes) > 3
    assert max(episode.n_documents for episode in episodes) > 1
    for episode in episodes:
        assert episode.n_tokens == count(episode.messages) <= 900


@pytest.mark.parametrize("empty_share", [0.3, 0.7])
def test_sequences_stay_full_and_the_empty_rate_holds_however_many_documents_are_empty(untyped_set, make_builder, empty_share):
    def sentence(n):
        if n % 10 < 10 * empty_share:
            return Document(f"e{n}", f"It rained on day {n}.", None, ())
        verb, text = ("knows", "likes")[n % 2], f"Ada {('knows', 'likes')[n % 2]} Bob, who is {n}."
        return Document(f"k{n}", text, None, (Triple(Mention(0, 3, "Ada"), verb, Mention(10, 13, "Bob")),))

    source = replace(untyped_set, documents=tuple(map(sentence, range(2000))))
    builder = make_builder(max_tokens=100_000, empty_rate=0.2, drop_rate=0.0)
    episodes = list(builder.build(source, random.Random(0)))
    later = episodes[len(episodes) // 3 : -10]
    assert sum(episode.n_documents for episode in later) > 7 * len(later)
    share = sum(episode.n_empty for episode in later) / sum(episode.n_documents for episode in later)
    assert 0.1 < share < 0.3


def test_turns_are_rendered_as_a_prompt_with_examples(typed_set, make_builder):
    builder = make_builder(sample_schema=False, max_tokens=4000)
    episode = next(builder.build(typed_set, random.Random(0)))
    *turns, (text, _) = exchanges(episode)
    assert len(turns) > 2
    prompt = builder.template.render(
        episode.schema, text, instruction=typed_set.instruction, hint=builder.output_format.hint, turns=turns
    )
    assert episode.messages[:-1] == prompt.messages


@pytest.mark.parametrize("most", [1, 4])
def test_one_or_several_documents_per_sequence(typed_set, make_builder, most):
    tally = Tally(len(typed_set.documents))
    episodes = list(
        make_builder(max_documents=most, sample_schema=False, max_tokens=5000).build(typed_set, random.Random(0), tally=tally)
    )
    assert max(episode.n_documents for episode in episodes) == most
    assert sum(episode.n_documents for episode in episodes) == len(typed_set.documents) == tally.n_used


def test_no_document_is_used_twice_in_a_pass(typed_set, make_builder):
    texts = [text for e in make_builder().build(typed_set, random.Random(0)) for text, _ in exchanges(e)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("most", [1, 6])
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.6])
def test_the_rate_of_empty_answers(make_builder, rate, most):
    """The set has no document without triples: schemas that show nothing of a document make the empty ones."""
    schema = Schema(name="s", relation_types=tuple(RelationType(name=f"r{number}") for number in range(20)))
    pair = (Mention(0, 1, "A"), Mention(2, 3, "B"))
    documents = tuple(
        Document(str(number), f"A B {number}.", None, (Triple(pair[0], f"r{number % 20}", pair[1]),)) for number in range(160)
    )
    source = AnnotatedSet("s", schema, documents, "Extract.")
    builder = make_builder(empty_rate=rate, max_documents=most, max_tokens=5000)
    episodes = [e for seed in range(2) for e in builder.build(source, random.Random(seed))]
    share = sum(e.n_empty for e in episodes) / sum(e.n_documents for e in episodes)
    assert share == pytest.approx(rate, abs=0.07)


def test_documents_without_triples_are_left_out_beyond_the_rate(typed_set, make_builder):
    tally = Tally(len(typed_set.documents))
    list(make_builder(empty_rate=0, drop_rate=0).build(typed_set, random.Random(0), tally=tally))
    assert tally.left_out == {LeftOut.EMPTY: 6}
    assert (tally.n_used, tally.n_unread) == (18, 0)


def test_what_is_left_out_is_counted_by_reason(typed_set, make_builder):
    documents = [
        replace(typed_set.documents[0], id="missing"),
        Document("long", "word " * 1000, (), (Triple(Mention(0, 4, "word"), "near", Mention(5, 9, "word")),)),
        Document("cut", "Oslo's Acmes", (), (Triple(Mention(0, 4, "Oslo"), "located in", Mention(7, 11, "Acme")),)),
        Document("bare", "Oslo lies in Rome", None, (Triple(Mention(0, 4, "Oslo"), "near", Mention(13, 17, "Rome")),)),
        typed_set.documents[1],
    ]
    typed = dict.fromkeys(("word", "Oslo", "Acme"), "place")
    documents[1:3] = [
        replace(
            one,
            triples=tuple(
                replace(t, head=replace(t.head, type=typed[t.head.text]), tail=replace(t.tail, type=typed[t.tail.text]))
                for t in one.triples
            ),
        )
        for one in documents[1:3]
    ]
    source = replace(typed_set, documents=tuple(documents), unanchored={"missing": 1})
    tally = Tally(5)
    list(make_builder(sample_schema=False).build(source, random.Random(0), tally=tally))
    assert tally.left_out == {LeftOut.TOO_LONG: 1, LeftOut.UNKNOWN_TYPES: 1, LeftOut.UNGROUNDED: 2}
    assert (tally.n_used, tally.n_unread) == (1, 0)


def test_a_document_that_another_pass_uses_is_not_left_out():
    tally = Tally(3)
    tally.leave(["a", "b"], LeftOut.TOO_LONG)
    tally.use(["a"])
    assert (tally.left_out, tally.n_used, tally.n_unread) == ({LeftOut.TOO_LONG: 1}, 1, 1)


def test_the_seed_decides(typed_set, make_builder):
    builder = make_builder(rename_rate=0.5, join_rate=0.3)
    one, same, other = (list(builder.build(typed_set, random.Random(seed))) for seed in (1, 1, 2))
    assert one == same != other


def test_joined_documents_keep_everything(typed_set):
    first, second = typed_set.documents[:2]
    second = replace(second, triples=tuple(replace(t, evidence=Span(0, 5)) for t in second.triples))
    both = join([first, second])
    assert both.text == f"{first.text} {second.text}"
    assert len(both.mentions) == len(first.mentions) + len(second.mentions)
    assert [(t.head.text, t.relation, t.tail.text) for t in both.triples] == [
        (t.head.text, t.relation, t.tail.text) for one in (first, second) for t in one.triples
    ]
    assert both.triples[-1].evidence == Span(0, 5).shifted(len(first.text) + 1)
    assert join([first]) is first
    assert join([first, replace(second, mentions=None)]).mentions is None


def test_joining_uses_each_document_once_and_keeps_languages_apart(typed_set):
    documents = [replace(one, language="en" if place % 2 else "de") for place, one in enumerate(typed_set.documents)]
    rng = random.Random(0)
    assert all(len(one.parts) == 1 for one in joined(documents, 0.9, rng))
    found = list(joined(typed_set.documents, 0.9, rng))
    assert [part for one in found for part in one.parts] == list(typed_set.documents)
    assert {len(one.parts) for one in found} == {1, 2, 3}


def test_the_parts_of_a_joined_document_that_is_too_long_get_another_chance(typed_set, make_builder):
    options = {"sample_schema": False, "max_documents": 1}
    alone = make_builder(max_tokens=5000, **options).build(typed_set, random.Random(0))
    longest = max(episode.n_tokens for episode in alone)
    builder = make_builder(join_rate=0.99, max_tokens=longest, **options)
    tally = Tally(len(typed_set.documents))
    list(builder.build(typed_set, random.Random(0), tally=tally))
    assert tally.n_used == len(typed_set.documents), tally.left_out
