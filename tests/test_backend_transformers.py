"""The real decoding loop on tiny random models with a byte tokenizer, where every string has one tokenization."""

import copy
import itertools
import json
import random
import threading

import outlines
import pytest
import torch

from genre_x import EntityType, Extractor, GenerationConfig, Reason, RelationType, Schema, Task
from genre_x.backends.packed import PackedDecoder
from genre_x.backends.transformers import TransformersBackend, _allowed
from genre_x.chat import encode_chat, encode_content
from genre_x.errors import BackendError, ModelError
from genre_x.formats import FORMATS
from genre_x.interfaces import Constraint, Message, Prompt, Request
from genre_x.models import find_model, load_model

SCHEMA = Schema(
    name="s",
    entity_types=(EntityType(name="person"), EntityType(name="place")),
    relation_types=(
        RelationType(name="born in", head_types=("person",), tail_types=("place",)),
        RelationType(name="near"),
        RelationType(name="age", head_types=("person",), tail_types=("number",)),
    ),
)
TEXTS = [
    "Ada met Bob.",
    "Eve, 36, was born in Rome and lives near Łódź.",
    'A "quoted" name \\ here',
    "東京で会う。👩‍👩‍👧",
    "",
    "One",
    "Ada was there, and so was Bob; " * 4,
    "x\ny",
]
SHORT = GenerationConfig(max_new_tokens=24)
LONG = GenerationConfig(max_new_tokens=160)
ROWS = FORMATS["rows"]


def prompt(text, start="Find relations."):
    return Prompt((Message("system", start), Message("user", text)), "test")


def requests(texts, *, strength="grounded", start="Find relations."):
    return [Request(prompt(text, start), ROWS.constraint(SCHEMA, text, strength=strength)) for text in texts]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Models this small only lose by threads, and on a busy machine they lose a lot."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def decoder(tiny_decoder):
    return TransformersBackend(str(tiny_decoder), device="cpu", precision="float32")


@pytest.fixture(scope="module")
def seq2seq(tiny_seq2seq):
    return TransformersBackend(str(tiny_seq2seq), device="cpu", precision="float32")


@pytest.fixture(params=["decoder", "seq2seq"])
def backend(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def plain(tiny_decoder):
    """The same model as transformers and Outlines run it, with its own attention."""
    return load_model(find_model(str(tiny_decoder)), dtype=torch.float32)


def alone(backend, request, config=SHORT):
    (completion,) = backend.generate([request], config=config, batch_size=1)
    return completion


def spelled(backend, tokens):
    """What these tokens say; a random model writes bytes that are no UTF-8, which libraries replace in different ways."""
    return backend._llg_tokenizer.decode_bytes(tokens).decode("utf-8", errors="replace")


def check(completion):
    """What must hold for every completion of a model."""
    assert len(completion.token_ends) == len(completion.token_logprobs)
    assert all(logprob <= 0 for logprob in completion.token_logprobs)
    assert list(completion.token_ends) == sorted(completion.token_ends)
    assert completion.token_ends == () or completion.token_ends[-1] <= len(completion.text)
    assert 0 <= completion.n_forced_tokens <= len(completion.token_ends)
    assert completion.n_prompt_tokens > 0


def test_the_decoders_are_the_right_ones(decoder, seq2seq):
    assert type(decoder._decoder).__name__ == "PackedDecoder"
    assert type(seq2seq._decoder).__name__ == "SteppedDecoder"


@pytest.mark.parametrize("strength", ["grounded", "schema", "none"])
def test_one_completion_per_request_in_order_and_twice_the_same(backend, strength):
    batch = requests(TEXTS, strength=strength)
    first = list(backend.generate(batch, config=SHORT, batch_size=8))
    assert len(first) == len(batch)
    for completion, request in zip(first, batch, strict=True):
        check(completion)
        assert completion.n_prompt_tokens == backend.count_prompt_tokens(request.prompt)
    assert list(backend.generate(batch, config=SHORT, batch_size=8)) == first


@pytest.mark.parametrize("strength", ["grounded", "none"])
def test_the_size_of_the_batch_changes_nothing(backend, strength):
    batch, config = requests(TEXTS, strength=strength), GenerationConfig(max_new_tokens=50)
    singles = [alone(backend, request, config) for request in batch]
    for batch_size in (8, 3):
        for one, other in zip(singles, backend.generate(batch, config=config, batch_size=batch_size), strict=True):
            assert (one.text, one.token_ends, one.finish_reason) == (other.text, other.token_ends, other.finish_reason)
            assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-3)


def test_more_requests_than_places_join_while_others_run(decoder):
    many = requests([f"{text} {number}" for number in range(4) for text in TEXTS])
    config = GenerationConfig(max_new_tokens=60)
    before = decoder.statistics["forward_passes"]
    together = list(decoder.generate(many, config=config, batch_size=5))
    passes = decoder.statistics["forward_passes"] - before
    singles = [alone(decoder, request, config) for request in many]
    assert [completion.text for completion in together] == [completion.text for completion in singles]
    assert passes < decoder.statistics["forward_passes"] - before - passes


def test_tasks_may_be_mixed_in_one_stream(backend):
    starts = ["Find relations.", "Find people, please.", ""]
    mixed = [
        Request(prompt(text, starts[number % 3 if number > 4 else 0]), ROWS.constraint(SCHEMA, text, strength=strength))
        for number, (text, strength) in enumerate(itertools.product(TEXTS[:4], ("grounded", "schema", "none")))
    ]
    together = [completion.text for completion in backend.generate(mixed, config=SHORT, batch_size=4)]
    assert together == [alone(backend, request).text for request in mixed]


def test_requests_are_read_lazily(backend):
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield requests([f"Text {number}."], strength="none")[0]

    stream = backend.generate(endless(), config=GenerationConfig(max_new_tokens=3), batch_size=4)
    assert read == []
    next(stream)
    assert len(read) <= 12


def test_a_stream_that_is_left_early_leaves_nothing_behind(backend):
    batch = requests(TEXTS)
    expected = [completion.text for completion in backend.generate(batch, config=SHORT, batch_size=3)]
    stream = backend.generate(batch, config=SHORT, batch_size=3)
    next(stream)
    stream.close()
    assert [completion.text for completion in backend.generate(batch, config=SHORT, batch_size=3)] == expected


def test_no_request_no_completion(backend):
    assert list(backend.generate([], config=SHORT)) == []


@pytest.mark.parametrize("text", TEXTS)
def test_without_a_constraint_it_writes_what_transformers_writes(decoder, plain, text):
    model, tokenizer = plain
    ids = encode_chat(tokenizer, prompt(text).messages).ids
    expected = model.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)[0, len(ids) :].tolist()
    completion = alone(decoder, Request(prompt(text)), GenerationConfig(max_new_tokens=40))
    stopped = tokenizer.eos_token_id in expected
    expected = [token for token in expected if token != tokenizer.eos_token_id]
    assert completion.text == spelled(decoder, expected)
    assert len(completion.token_ends) == len(expected)
    assert completion.finish_reason == ("stop" if stopped else "length")


@pytest.mark.parametrize("text", TEXTS)
def test_without_a_constraint_a_seq2seq_writes_what_transformers_writes(seq2seq, tiny_seq2seq, text):
    model, tokenizer = load_model(find_model(str(tiny_seq2seq)), dtype=torch.float32)
    ids = encode_chat(tokenizer, prompt(text).messages).ids
    expected = model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)[0, 1:].tolist()
    completion = alone(seq2seq, Request(prompt(text)), GenerationConfig(max_new_tokens=20))
    assert completion.text == spelled(seq2seq, [token for token in expected if token != tokenizer.eos_token_id])


@pytest.mark.parametrize("text", TEXTS)
def test_under_a_grammar_it_writes_what_plain_outlines_writes(decoder, plain, text):
    model, tokenizer = plain
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = None  # Outlines would make a chat of the prompt, which is one already
    (request,) = requests([text])
    ids = encode_chat(plain[1], request.prompt.messages).ids
    generate = outlines.Generator(
        outlines.from_transformers(model, tokenizer),
        outlines.types.CFG(request.constraint.definition),
        backend="llguidance",
    )
    expected = generate(tokenizer.decode(ids), max_new_tokens=160, do_sample=False)
    completion = alone(decoder, request, LONG)
    # Both stop at 160 tokens, and a token is a byte, so the last character may be cut in two.
    assert completion.text.rstrip("\ufffd") == expected.rstrip("\ufffd")


def test_what_the_grammar_forces_costs_no_forward_pass(decoder):
    forced = Constraint("grammar", 'start: "the only answer there is"')
    before = decoder.statistics.copy()
    completion = alone(decoder, Request(prompt("Ada."), forced), LONG)
    assert (completion.text, completion.finish_reason) == ("the only answer there is", "stop")
    assert completion.n_forced_tokens == len(completion.text)
    assert set(completion.token_logprobs) == {0.0}
    assert decoder.statistics["forward_passes"] - before["forward_passes"] <= 1


def test_an_answer_under_a_json_schema_is_valid_json(backend):
    for completion in backend.generate(requests(TEXTS, strength="schema"), config=SHORT, batch_size=4):
        parsed = ROWS.parse(completion.text, SCHEMA)
        assert parsed.bad_fragments == ()
        if completion.finish_reason == "stop":
            assert isinstance(json.loads(completion.text), list)


def test_a_whole_answer_under_a_json_schema_fits_it(decoder):
    finite = Constraint("json_schema", json.dumps({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}))
    completion = alone(decoder, Request(prompt("Ada."), finite), LONG)
    assert completion.finish_reason == "stop"
    assert set(json.loads(completion.text)) <= {"a", "b"}


def test_drawing_repeats_with_a_seed_and_differs_between_seeds(backend):
    batch = requests(TEXTS)

    def draw(seed, batch_size):
        config = GenerationConfig(max_new_tokens=30, temperature=1.0, seed=seed)
        return [completion.text for completion in backend.generate(batch, config=config, batch_size=batch_size)]

    assert draw(7, 8) == draw(7, 8) == draw(7, 2)
    assert draw(7, 8) != draw(8, 8)


def test_the_same_request_twice_in_a_batch_draws_twice(decoder):
    batch = requests([TEXTS[1]] * 4)
    config = GenerationConfig(max_new_tokens=60, temperature=1.5)
    assert len({completion.text for completion in decoder.generate(batch, config=config)}) > 1


def test_equal_requests_side_by_side_answer_as_each_alone(decoder):
    batch = requests([TEXTS[0], TEXTS[1], TEXTS[1], TEXTS[0], TEXTS[2], TEXTS[1]])
    config = GenerationConfig(max_new_tokens=50)
    singles = [alone(decoder, request, config) for request in batch]
    for batch_size in (6, 4):
        for one, other in zip(singles, decoder.generate(batch, config=config, batch_size=batch_size), strict=True):
            assert one.text == other.text
            assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-3)


def test_token_ends_count_whole_characters(decoder):
    only = Constraint("grammar", f"start: {json.dumps('é東👩x')}")
    completion = alone(decoder, Request(prompt("a"), only))
    assert completion.text == "é東👩x"
    assert completion.token_ends == (0, 1, 1, 1, 2, 2, 2, 2, 3, 4)


def test_logprobs_are_those_of_the_model_among_the_allowed_tokens(decoder, plain):
    model, tokenizer = plain
    request = Request(prompt("Ada."), Constraint("grammar", 'start: "<" /[ab]{5}/ ">"'))
    completion = alone(decoder, request)
    ids = encode_chat(tokenizer, request.prompt.messages).ids
    written = tokenizer(completion.text)["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([ids + written])).logits[0, len(ids) - 1 : -1]
    allowed = torch.tensor([tokenizer("a")["input_ids"][0], tokenizer("b")["input_ids"][0]])
    assert completion.token_logprobs[0] == completion.token_logprobs[-1] == 0.0
    for place in range(1, 6):
        among = logits[place, allowed].log_softmax(-1)
        assert completion.token_logprobs[place] == pytest.approx(float(among[allowed == written[place]]), abs=1e-4)


def test_a_prompt_that_is_too_long_is_an_error_with_both_numbers(decoder):
    with pytest.raises(BackendError, match=r"A prompt has 50\d\d tokens, tiny_decoder takes fewer than 4096"):
        alone(decoder, Request(prompt("x" * 5000)))


def test_the_context_limits_the_completion(decoder):
    fixed = decoder.count_prompt_tokens(prompt(""))
    completion = alone(decoder, Request(prompt("x" * (decoder.max_context_tokens - fixed - 10))), LONG)
    assert len(completion.token_ends) <= 10
    assert completion.n_prompt_tokens == decoder.max_context_tokens - 10


def test_the_limit_of_tokens_is_a_length_finish(backend):
    endless = Request(prompt("Ada."), Constraint("grammar", "start: /[ab]{9,}/"))
    for limit in (1, 5):
        completion = alone(backend, endless, GenerationConfig(max_new_tokens=limit))
        assert (len(completion.text), completion.finish_reason) == (limit, "length")


def test_the_limit_of_tokens_holds_for_what_the_grammar_forces(backend):
    forced = Request(prompt("Ada."), Constraint("grammar", 'start: "a longer answer"'))
    before = backend.statistics["forced_tokens"]
    completion = alone(backend, forced, GenerationConfig(max_new_tokens=4))
    assert (completion.text, completion.finish_reason, completion.n_forced_tokens) == ("a lo", "length", 4)
    assert backend.statistics["forced_tokens"] - before == 4


def test_a_grammar_that_is_none_is_an_error(backend):
    with pytest.raises(BackendError, match="can't be compiled"):
        alone(backend, Request(prompt("Ada."), Constraint("grammar", "start: nowhere")))


def test_after_an_error_the_backend_still_works(backend):
    good = requests(TEXTS[:2])
    expected = [completion.text for completion in backend.generate(good, config=SHORT)]
    bad = Request(prompt("Ada."), Constraint("grammar", "start: nowhere"))
    with pytest.raises(BackendError):
        list(backend.generate([*good, bad], config=SHORT, batch_size=2))
    assert [completion.text for completion in backend.generate(good, config=SHORT)] == expected


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="holds neither weights"):
        TransformersBackend(str(tmp_path))


def test_tokens_of_special_strings_in_a_text_count_as_text(decoder):
    assert decoder.count_tokens("<|im_end|>") == len("<|im_end|>")
    assert decoder.count_tokens("") == 0


def test_the_extractor_runs_on_a_real_model(backend):
    task = Task(schema=SCHEMA, instruction="Find relations.")
    extractor = Extractor(task=task, backend=backend, config=GenerationConfig(max_new_tokens=200), max_window_tokens=60)
    text = "Eve, 36, was born in Rome. She lives near Łódź.\n\nNear 東京 stands 'the \"Tower\"'. " * 2
    for extraction in extractor.pipe([text, "Ada met Bob.", ""], batch_size=2):
        assert {rejection.reason for rejection in extraction.rejections} <= {Reason.TRUNCATED, Reason.SELF_RELATION}
        for triple in extraction.triples:
            assert 0 <= triple.score <= 1
            found = extraction.document.text[triple.head.start_char : triple.head.end_char]
            assert found == triple.head.text


def test_packed_decoding_keeps_to_the_model_while_sequences_come_and_go(plain, tiny_decoder):
    """Against one forward pass over the whole sequence without any cache."""
    model, _ = plain
    packed = PackedDecoder(load_model(find_model(str(tiny_decoder)), dtype=torch.float32)[0])
    draw = random.Random(1)

    def ids(n):
        return [draw.randrange(256) for _ in range(n)]

    shared = tuple(ids(7))
    packed.share(shared)
    running = []
    with torch.inference_mode():
        for step in range(12):
            if step % 4 == 0:
                runs = [ids(draw.randint(1, 60)) for _ in range(2)]
                runs = [runs[0], runs[0], runs[1]]
                logits, rows = packed.add(runs), runs
                running += [list(run) for run in runs]
            else:
                runs = [ids(draw.randint(1, 5)) for _ in running]
                logits = packed.extend(runs)
                running = [old + new for old, new in zip(running, runs, strict=True)]
                rows = running
            expected = [model(torch.tensor([[*shared, *row]])).logits[0, -1] for row in rows]
            torch.testing.assert_close(logits, torch.stack(expected), atol=1e-3, rtol=1e-3)
            if step % 3 == 2:
                gone = draw.sample(range(len(running)), 2)
                running = [running[place] for place in packed.remove(gone)]


def test_what_is_forced_goes_through_the_decoder_of_a_seq2seq_not_into_the_prompt(seq2seq, tiny_seq2seq):
    request = requests(["Eve, 36, was born in Rome and lives near Oslo."])[0]
    completion = alone(seq2seq, request, LONG)
    assert completion.n_forced_tokens > 0
    model, tokenizer = load_model(find_model(str(tiny_seq2seq)), dtype=torch.float32)
    prompt_ids = torch.tensor([encode_chat(tokenizer, request.prompt.messages).ids])
    written = encode_content(tokenizer, completion.text)
    start = model.generation_config.decoder_start_token_id or model.config.decoder_start_token_id
    with torch.inference_mode():
        logits = model(input_ids=prompt_ids, decoder_input_ids=torch.tensor([[start, *written]])).logits[0]
    matcher = seq2seq._matcher(request.constraint)
    for place, token in enumerate(written):
        masked = logits[place].masked_fill(~_allowed(matcher, logits.shape[1]), float("-inf"))
        assert int(masked.argmax()) == token
        assert completion.token_logprobs[place] == pytest.approx(float(masked.log_softmax(-1)[token]), abs=1e-4)
        matcher.consume_token(token)


def test_two_threads_never_mix_their_sequences(tiny_decoder):
    backend = TransformersBackend(str(tiny_decoder), device="cpu", precision="float32")
    expected = {text: alone(backend, request, LONG).text for text, request in zip(TEXTS, requests(TEXTS), strict=True)}
    found, errors = [], []

    def work(texts):
        for _ in range(4):
            try:
                done = list(backend.generate(requests(texts), config=LONG, batch_size=2))
            except BackendError as error:
                errors.append(str(error))
            else:
                found.extend(zip(texts, (completion.text for completion in done), strict=True))

    threads = [threading.Thread(target=work, args=(texts,)) for texts in (TEXTS[:4], TEXTS[4:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) // 4 + len(errors) == 8
    assert all(text == expected[asked] for asked, text in found)
    assert all("one stream at a time" in error for error in errors)
