import json
import math
from dataclasses import replace
from itertools import count

import pytest

from genre_x import (
    Document,
    EntityType,
    Extractor,
    GenerationConfig,
    Mention,
    Reason,
    RelationType,
    Schema,
    Span,
    Task,
    Triple,
)
from genre_x.backends.fake import FakeBackend
from genre_x.errors import BackendError, SchemaError, TaskError
from genre_x.extractor import row_score
from genre_x.interfaces import Completion
from genre_x.prompting import PromptTemplate

SCHEMA = Schema(
    name="people",
    entity_types=(EntityType(name="person", aliases=("PER",)), EntityType(name="organization", aliases=("ORG",))),
    relation_types=(
        RelationType(name="works for", head_types=("person",), tail_types=("organization",)),
        RelationType(name="met", head_types=("person",), tail_types=("person",), symmetric=True),
        RelationType(name="likes", head_types=("person",)),
        RelationType(name="age", head_types=("person",), tail_types=("number",)),
    ),
)
UNTYPED = Schema(name="untyped", relation_types=(RelationType(name="met"),))
TEXT = "Ada Lovelace, 36, works for IBM. Bob met Ada Lovelace. Ada likes Bob."


def extractor(answers=(), *, schema=SCHEMA, output_format="rows", **options):
    task = Task(schema=schema, instruction="Find.", output_format=output_format)
    backend = answers if hasattr(answers, "generate") else FakeBackend(answers)
    return Extractor(task=task, backend=backend, **options)


def rows(*entries):
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def named(extraction):
    return [(triple.head.text, triple.relation, triple.tail.text) for triple in extraction.triples]


class ScoredBackend(FakeBackend):
    """A token is a character, and all tokens of a completion have the same probability."""

    def __init__(self, answers):
        super().__init__([text for text, _ in answers])
        self._probabilities = iter([probability for _, probability in answers])

    def generate(self, requests, *, config, batch_size=32):
        for done in super().generate(requests, config=config, batch_size=batch_size):
            n, log = len(done.text), math.log(next(self._probabilities))
            yield Completion(done.text, done.finish_reason, tuple(range(1, n + 1)), (log,) * n)


def test_a_row_becomes_a_triple_with_offsets_types_and_evidence():
    extraction = extractor([rows(["Ada Lovelace", "age", "36"])]).extract(TEXT)
    (triple,) = extraction.triples
    assert triple == Triple(Mention(0, 12, "Ada Lovelace", "person"), "age", Mention(14, 16, "36", "number"), None, Span(0, 32))
    assert extraction.rejections == ()
    assert extraction.completions == ('[["Ada Lovelace","age","36"]]',)
    assert extraction.model == "fake"
    assert extraction.template.startswith("re.v1@")
    assert extraction.document == Document("doc-0", TEXT)


def test_the_nearest_occurrences_are_meant():
    (triple,) = extractor([rows(["Bob", "met", "Ada Lovelace"])]).extract(TEXT).triples
    assert (triple.head.span, triple.tail.span) == ((33, 36), (41, 53))
    assert triple.evidence == Span(33, 54)


def test_a_name_inside_a_longer_one_of_the_answer_is_not_meant():
    text = "New York Times Co. hired Ada of the Times in York, not in New York."
    tails = {
        "New York Times Co.": 0,
        "Times": text.index("Times in"),
        "York": text.index("York,"),
        "New York": text.rindex("New"),
    }
    extraction = extractor([rows(*(["Ada", "met", tail] for tail in tails))], schema=UNTYPED).extract(text)
    assert {triple.tail.text: triple.tail.start_char for triple in extraction.triples} == tails


def test_evidence_reaches_from_the_first_to_the_last_sentence_touched():
    (triple,) = extractor([rows(["IBM", "x", "y"], ["Bob", "works for", "IBM"])]).extract(TEXT).triples
    assert triple.evidence == Span(0, 54)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (["Ada Lovelace", "works for"], Reason.UNPARSABLE),
        (["Ada Lovelace", "works for", 3], Reason.UNPARSABLE),
        (["Ada Lovelace", "hates", "IBM"], Reason.UNKNOWN_RELATION),
        (["Ada", "likes", "Bob", "place"], Reason.TYPE_MISMATCH),
        (["Ada Lovelace", "works for", "Google"], Reason.UNGROUNDED),
        (["da", "works for", "IBM"], Reason.UNGROUNDED),
        (["IBM", "met", "IBM"], Reason.SELF_RELATION),
    ],
)
def test_every_reason_to_reject_a_row(entry, reason):
    good = ["Bob", "met", "Ada Lovelace"]
    extraction = extractor([rows(entry, good)]).extract(TEXT)
    (rejection,) = extraction.rejections
    assert rejection.reason == reason
    assert json.loads(rejection.fragment) == entry
    assert named(extraction) == [tuple(good)]


def test_there_is_a_test_for_every_reason():
    here = {mark.args[1][i][1] for mark in test_every_reason_to_reject_a_row.pytestmark for i in range(len(mark.args[1]))}
    assert set(Reason) - here == {Reason.TRUNCATED}


def test_an_answer_in_prose_is_unparsable_not_empty():
    extraction = extractor(["There are none."]).extract(TEXT)
    assert [(r.reason, r.fragment) for r in extraction.rejections] == [(Reason.UNPARSABLE, "There are none.")]


def test_a_truncated_answer_keeps_whole_rows_and_names_the_one_that_was_cut():
    answer = '[["Bob","met","Ada Lovelace"],["Ada","likes","Bob", "person"]]'
    extraction = extractor([answer], config=GenerationConfig(max_new_tokens=2)).extract(TEXT)
    assert named(extraction) == [("Bob", "met", "Ada Lovelace")]
    assert [(r.reason, r.fragment) for r in extraction.rejections] == [(Reason.TRUNCATED, '["Ada","likes","Bob",')]


def test_a_cut_between_two_rows_is_one_truncation():
    answer = '[["Bob","met","Ada Lovelace"], ["Ada","likes","Bob","person"]]'
    extraction = extractor([answer], config=GenerationConfig(max_new_tokens=2)).extract(TEXT)
    assert named(extraction) == [("Bob", "met", "Ada Lovelace")]
    assert [r.reason for r in extraction.rejections] == [Reason.TRUNCATED]


def test_an_answer_that_stops_inside_a_row_by_itself_is_unparsable():
    extraction = extractor(['[["Bob","met","Ada Lovelace"],["Ada']).extract(TEXT)
    assert named(extraction) == [("Bob", "met", "Ada Lovelace")]
    assert [(r.reason, r.fragment) for r in extraction.rejections] == [(Reason.UNPARSABLE, '["Ada')]


def test_the_same_row_twice_is_one_triple_without_a_rejection():
    extraction = extractor([rows(["Bob", "met", "Ada Lovelace"], ["Bob", "met", "Ada Lovelace"])]).extract(TEXT)
    assert len(extraction.triples) == 1
    assert extraction.rejections == ()


def test_a_symmetric_relation_in_both_directions_is_one_triple():
    extraction = extractor([rows(["Bob", "met", "Ada Lovelace"], ["Ada Lovelace", "met", "Bob"])]).extract(TEXT)
    assert named(extraction) == [("Bob", "met", "Ada Lovelace")]


def test_a_directed_relation_in_both_directions_is_two_triples():
    answer = rows(["Bob", "likes", "Ada", "person"], ["Ada", "likes", "Bob", "person"])
    assert len(extractor([answer]).extract(TEXT).triples) == 2


def test_the_format_with_keys_reads_the_same():
    answer = '[{"head":"Ada","relation":"likes","tail":"Bob","tail_type":"person"}]'
    extraction = extractor([answer], output_format="objects").extract(TEXT)
    assert named(extraction) == [("Ada", "likes", "Bob")]


def test_an_untyped_task_has_mentions_without_type():
    (triple,) = extractor([rows(["Bob", "met", "Ada Lovelace"])], schema=UNTYPED).extract(TEXT).triples
    assert (triple.head.type, triple.tail.type) == (None, None)


def sentences(n):
    return " ".join(f"Person{i} met Friend{i}." for i in range(n))


def answer_all(request):
    """All rows of the sentences that the window shows."""
    shown = request.prompt.messages[-1].content.replace(".", "").split()
    return rows(*([shown[i], "met", shown[i + 2]] for i in range(0, len(shown), 3)))


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_offsets_of_a_long_document_count_from_its_start_and_overlaps_are_merged(overlap):
    text = "\n\n  " + sentences(40)
    running = extractor(answer_all, max_window_tokens=12, overlap_sentences=overlap)
    extraction = running.extract(text)
    assert named(extraction) == [(f"Person{i}", "met", f"Friend{i}") for i in range(40)]
    for i, triple in enumerate(extraction.triples):
        assert text[triple.head.start_char : triple.head.end_char] == f"Person{i}"
        sentence = text[triple.evidence.start_char : triple.evidence.end_char]
        assert sentence == f"Person{i} met Friend{i}."
    assert len(extraction.completions) == len(running.backend.requests) > 9
    assert extraction.rejections == ()
    Document("check", text, triples=extraction.triples)


def test_of_a_triple_found_in_two_windows_the_higher_score_stays():
    text = sentences(3)
    both = [[f"Person{i}", "met", f"Friend{i}"] for i in (0, 1)], [[f"Person{i}", "met", f"Friend{i}"] for i in (1, 2)]
    for first, second in ((0.9, 0.99), (0.99, 0.9)):
        backend = ScoredBackend([(rows(*both[0]), first), (rows(*both[1]), second)])
        extraction = extractor(backend, max_window_tokens=6).extract(text)
        assert [triple.head.text for triple in extraction.triples] == ["Person0", "Person1", "Person2"]
        n_characters = len(rows(both[0][1])) - 2
        assert extraction.triples[1].score == pytest.approx(0.99**n_characters)


def test_triples_below_the_least_score_are_left_out():
    text = "Ada met Bob. Ada met Eve."
    answers = [(rows(["Ada", "met", "Bob"]), 0.99), (rows(["Ada", "met", "Eve"]), 0.5)]
    for least, expected in ((0.0, ["Bob", "Eve"]), (0.5, ["Bob"]), (1.0, [])):
        running = extractor(ScoredBackend(answers), min_score=least, max_window_tokens=3, overlap_sentences=0)
        assert [triple.tail.text for triple in running.extract(text).triples] == expected


def test_triples_without_a_score_are_never_left_out():
    assert extractor([rows(["Bob", "met", "Ada Lovelace"])], min_score=1.0).extract(TEXT).triples


@pytest.mark.parametrize("least", [-0.1, 1.5])
def test_a_least_score_outside_of_0_to_1_is_refused(least):
    with pytest.raises(SchemaError, match="min_score"):
        extractor(min_score=least)


def test_the_score_of_a_row_is_the_product_of_the_tokens_that_end_in_it():
    #        [["a"  ,"b"  ]  ,["c"...
    completion = Completion("[[a,b],[c]]", "stop", (2, 4, 6, 8, 10, 11), tuple(map(math.log, (0.9, 0.8, 0.5, 0.7, 0.6, 0.4))))
    assert row_score(completion, 1, 6) == pytest.approx(0.9 * 0.8 * 0.5)
    assert row_score(completion, 7, 10) == pytest.approx(0.7 * 0.6)
    assert row_score(Completion("[[a,b]]", "stop"), 1, 6) is None


def test_given_mentions_are_the_only_entities_and_keep_their_spans():
    mentions = (Mention(41, 53, "Ada Lovelace", "PER"), Mention(33, 36, "Bob", "person"), Mention(28, 31, "IBM", "ORG"))
    answer = rows(["Ada Lovelace", "works for", "IBM"], ["Ada", "likes", "Bob", "person"], ["Ada Lovelace", "age", "36"])
    extraction = extractor([answer]).extract(Document("d", TEXT, mentions=mentions))
    assert [(t.head.span, t.relation, t.tail.span) for t in extraction.triples] == [
        ((41, 53), "works for", (28, 31)),
        ((41, 53), "age", (14, 16)),  # an attribute's value may stand anywhere
    ]
    assert [triple.head.type for triple in extraction.triples] == ["person", "person"]
    assert [r.reason for r in extraction.rejections] == [Reason.UNGROUNDED]


def test_given_mentions_are_marked_in_the_prompt_and_nowhere_else():
    mentions = (Mention(41, 53, "Ada Lovelace", "PER"), Mention(28, 31, "IBM", "ORG"))
    running = extractor([rows(["Ada Lovelace", "works for", "IBM"])] * 2, mark_mentions=True)
    given, free = running.pipe([Document("d", TEXT, mentions=mentions), TEXT])
    asked = [request.prompt.messages[-1].content for request in running.backend.requests]
    assert asked[0] == "Ada Lovelace, 36, works for [IBM]. Bob met [Ada Lovelace]. Ada likes Bob."
    assert asked[1] == TEXT
    for extraction in (given, free):
        assert [(t.head.span, t.tail.span) for t in extraction.triples] == [((41, 53), (28, 31))]


def test_given_mentions_of_types_outside_of_the_schema_are_left_out():
    mentions = (Mention(0, 12, "Ada Lovelace", "GPE"), Mention(28, 31, "IBM", "ORG"))
    running = extractor([rows(["Ada Lovelace", "works for", "IBM"])])
    extraction = running.extract(Document("d", TEXT, mentions=mentions))
    assert [r.reason for r in extraction.rejections] == [Reason.UNGROUNDED]
    assert "Ada Lovelace" not in running.backend.requests[0].constraint.definition.split("RUN:")[0]


def test_given_mentions_serve_an_untyped_task_whatever_their_type():
    mentions = (Mention(33, 36, "Bob", "PER"), Mention(41, 53, "Ada Lovelace", None))
    running = extractor([rows(["Bob", "met", "Ada Lovelace"])], schema=UNTYPED)
    assert len(running.extract(Document("d", TEXT, mentions=mentions)).triples) == 1


def test_values_of_attributes_are_free_in_an_untyped_task_with_given_mentions():
    schema = Schema(name="s", relation_types=(RelationType(name="age", tail_types=("number",)), RelationType(name="met")))
    answer = rows(["Ada Lovelace", "age", "36"], ["Ada Lovelace", "met", "IBM"])
    extraction = extractor([answer], schema=schema).extract(Document("d", TEXT, mentions=(Mention(0, 12, "Ada Lovelace"),)))
    assert named(extraction) == [("Ada Lovelace", "age", "36")]
    assert [rejection.reason for rejection in extraction.rejections] == [Reason.UNGROUNDED]


def test_given_mentions_lie_right_in_every_window():
    text = sentences(20)
    mentions = tuple(
        Mention(text.index(name), text.index(name) + len(name), name, "PER")
        for i in range(20)
        for name in (f"Person{i} ".strip(), f"Friend{i}")
        if text.count(name) == 1
    )
    document = Document("d", text, mentions=mentions)
    extraction = extractor(answer_all, max_window_tokens=9).extract(document)
    known = {mention.span for mention in mentions}
    assert extraction.triples
    assert all(triple.head.span in known and triple.tail.span in known for triple in extraction.triples)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t \u3000", "\x1f"])
def test_a_text_without_anything_in_it_gives_nothing(text):
    running = extractor(lambda request: rows(["Bob", "met", "Ada"]))
    extraction = running.extract(text)
    assert extraction.triples == ()
    assert [r.reason for r in extraction.rejections] == [Reason.UNGROUNDED]
    assert len(running.backend.requests) == 1
    assert running.backend.requests[0].constraint.definition == 'start: "[]"'


def test_lone_surrogates_are_hidden_from_the_model_and_kept_in_the_text():
    text = "Ada \ud83d met Bob\udc00."
    running = extractor([rows(["Ada", "met", "Bob\ufffd"])])
    (triple,) = running.extract(text).triples
    assert running.backend.requests[0].prompt.messages[-1].content == "Ada \ufffd met Bob\ufffd."
    assert (triple.tail.span, triple.tail.text) == ((10, 14), "Bob\udc00")


def test_a_mention_over_a_line_break_keeps_the_texts_own_spelling():
    (triple,) = extractor([rows(["Ada Lovelace", "works for", "IBM"])]).extract("Ada\n Lovelace runs\nIBM.").triples
    assert (triple.head.span, triple.head.text) == ((0, 13), "Ada\n Lovelace")


def test_documents_come_back_in_their_order_with_their_own_windows():
    documents = [Document(f"d{n}", sentences(n)) for n in (1, 9, 0, 3, 30)]
    running = extractor(answer_all, max_window_tokens=9)
    found = list(running.pipe(documents, batch_size=2))
    assert [extraction.document for extraction in found] == documents
    assert [len(extraction.triples) for extraction in found] == [1, 9, 0, 3, 30]


def test_texts_get_ids_by_their_place():
    found = extractor(["[]", "[]"]).pipe(["One.", "Two."])
    assert [extraction.document.id for extraction in found] == ["doc-0", "doc-1"]


def test_a_stream_without_end_is_read_lazily():
    read = []

    def endless():
        for number in count():
            read.append(number)
            yield f"Text {number}."

    stream = extractor(lambda _: "[]").pipe(endless(), batch_size=4)
    assert read == []
    for _ in range(3):
        next(stream)
    assert 3 <= len(read) <= 3 + 3 * 4


def test_progress_counts_windows():
    calls = []
    documents = [sentences(6), sentences(1)]
    found = list(extractor(answer_all, max_window_tokens=6).pipe(documents, on_window=lambda *numbers: calls.append(numbers)))
    n_windows = sum(len(extraction.completions) for extraction in found)
    assert [done for done, _ in calls] == list(range(1, n_windows + 1))
    assert all(done <= known for done, known in calls)
    assert calls[-1] == (n_windows, n_windows)


def test_no_document_no_extraction():
    assert list(extractor().pipe([])) == []


@pytest.mark.parametrize("strength", ["grounded", "schema", "none"])
def test_the_strength_decides_what_the_request_carries(strength):
    running = extractor(["[]"], strength=strength)
    running.extract(TEXT)
    constraint = running.backend.requests[0].constraint
    assert (constraint and constraint.kind) == {"grounded": "grammar", "schema": "json_schema", "none": None}[strength]


def test_a_model_trained_with_another_template_is_refused_before_anything_runs():
    backend = FakeBackend(trained_template="re.v1@00000000")
    with pytest.raises(SchemaError, match=r"'re\.v1@00000000'.*'re\.v1@"):
        extractor(backend)
    assert backend.requests == []


def test_a_model_trained_with_the_same_template_is_welcome():
    template = extractor().template.id
    assert extractor(FakeBackend(["[]"], trained_template=template)).extract(TEXT).triples == ()


def test_a_task_that_names_no_template_and_format_takes_those_of_the_model():
    about = {"trained_template": PromptTemplate.load("re.v2").id, "trained_format": "objects"}
    running = extractor(FakeBackend(**about), output_format=None)
    assert (running.template.name, running.output_format.name) == ("re.v2", "objects")
    assert extractor(FakeBackend(**about), output_format="rows").output_format.name == "rows"
    assert (extractor(output_format=None).template.name, extractor(output_format=None).output_format.name) == ("re.v1", "rows")


def test_the_score_of_several_answers_is_the_share_that_has_the_triple():
    met, works = ["Bob", "met", "Ada Lovelace"], ["Ada Lovelace", "works for", "IBM"]
    turned = ["Ada Lovelace", "met", "Bob"]  # the same: `met` is symmetric
    running = extractor([rows(met, works), rows(turned, turned), rows(works, ["Eve", "met", "Bob"]), "none"], n_answers=4)
    extraction = running.extract(TEXT)
    assert [(*named, triple.score) for named, triple in zip(named(extraction), extraction.triples, strict=True)] == [
        (*met, 0.5),
        (*works, 0.5),
    ]
    assert [rejection.reason for rejection in extraction.rejections] == [Reason.UNGROUNDED, Reason.UNPARSABLE]
    assert len(extraction.completions) == len(running.backend.requests) == 4
    assert len({(request.prompt, request.constraint) for request in running.backend.requests}) == 1
    assert len({request.seed for request in running.backend.requests}) == 4


def test_answers_belong_to_their_window_and_are_drawn():
    configs = []

    class Drawn(FakeBackend):
        def generate(self, requests, *, config, batch_size=32):
            configs.append(config)
            return super().generate(requests, config=config, batch_size=batch_size)

    likes = rows(["Ada", "likes", "Bob", "person"])
    backend = Drawn(["[]", rows(["Ada Lovelace", "works for", "IBM"]), likes, likes, "[]", "[]"])
    running = extractor(backend, n_answers=2, min_score=0.6, window_tokens=5, overlap_sentences=0)
    documents = ["Ada Lovelace works for IBM. Ada likes Bob.", "Bob."]
    assert [named(extraction) for extraction in running.pipe(documents)] == [[("Ada", "likes", "Bob")], []]
    assert [config.temperature for config in configs] == [1.0]
    assert replace(running, config=GenerationConfig(temperature=0.5)).generation.temperature == 0.5
    assert extractor().generation.temperature == 0.0
    with pytest.raises(SchemaError, match="n_answers is 1 or more, found 0"):
        extractor(n_answers=0)


def test_a_prompt_that_leaves_no_room_is_refused_with_the_numbers():
    running = extractor(FakeBackend(["[]"], max_context_tokens=520))
    with pytest.raises(SchemaError, match=r"leaves no room for a text: its prompt has \d+ tokens, .* 512, .* 520"):
        running.extract(TEXT)


def test_a_small_context_makes_the_windows_smaller():
    probe = extractor()
    fixed = probe.backend.count_prompt_tokens(probe.prompt(""))
    running = extractor(FakeBackend(answer_all, max_context_tokens=fixed + 20 + 6), config=GenerationConfig(max_new_tokens=20))
    extraction = running.extract(sentences(10))
    assert len(extraction.triples) == 10
    for request in running.backend.requests:
        assert running.backend.count_prompt_tokens(request.prompt) <= fixed + 6


def test_the_examples_of_the_task_are_earlier_turns():
    running = Extractor.from_task("general", backend=FakeBackend(["[]"]))
    running.extract("Nothing.")
    messages = running.backend.requests[0].prompt.messages
    assert [message.role for message in messages] == ["system", *["user", "assistant"] * len(running.task.examples), "user"]
    assert json.loads(messages[2].content) == [
        ["Marie Curie", "born in", "Warsaw"],
        ["Marie Curie", "date of birth", "7 November 1867"],
        ["Marie Curie", "studied at", "University of Paris"],
    ]


def test_a_faulty_task_file_is_reported_before_any_model_is_loaded(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\n", encoding="utf-8")
    with pytest.raises(TaskError):
        Extractor.from_task(path, model="/no/such/model")


def test_a_fake_backend_that_runs_out_says_so():
    with pytest.raises(BackendError, match=r"no answer left for 'Two\.'"):
        list(extractor(["[]"]).pipe(["One.", "Two."]))
