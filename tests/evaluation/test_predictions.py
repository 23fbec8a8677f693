import json

import pytest

from genre_x.document import Document, Mention, Reason, Rejection, Span, Triple
from genre_x.errors import DataError
from genre_x.evaluation.predictions import Prediction, Run, SetInfo, finished, read_predictions, writer

TEXT = "Ada met Bob."
ADA, BOB = Mention(0, 3, "Ada", "person"), Mention(8, 11, "Bob", "person")
SET = SetInfo(name="s", dataset="d", split="dev", sha256="aa", relations=("met",), prompt_sha256="00", n_documents=3)
RUN = Run(
    protocol="transfer",
    sets=(SET,),
    relations=("met",),
    model="m",
    template="t",
    output_format="rows",
    strength="grounded",
    generation={"seed": 0},
    batch_size=4,
    window_tokens=10,
    versions={"genre-x": "1"},
)
DOCUMENTS = [Document(str(n), TEXT, (ADA, BOB), (Triple(ADA, "met", BOB),), "en") for n in range(3)]


def prediction(n):
    pred = Triple(BOB, "met", ADA, 1.2345678901e-9, Span(0, 12))
    return Prediction(0, DOCUMENTS[n], (pred,), (Rejection(Reason.TRUNCATED, '["A'),), n, 0.25)


def write(path, n, done=()):
    with writer(path, RUN, done) as put:
        for number in range(len(done), n):
            put(prediction(number))


def test_a_file_gives_back_what_was_written_with_exact_scores(tmp_path):
    write(tmp_path / "new" / "p.jsonl", 3)
    run, found = read_predictions(tmp_path / "new" / "p.jsonl")
    assert run == RUN
    assert found == [prediction(n) for n in range(3)]
    assert run.n_documents == 3


def test_each_prediction_is_on_the_disk_at_once(tmp_path):
    path = tmp_path / "p.jsonl"
    with writer(path, RUN) as put:
        put(prediction(0))
        assert len(read_predictions(path)[1]) == 1


def test_a_line_that_was_cut_off_is_left_out_and_written_anew(tmp_path):
    path = tmp_path / "p.jsonl"
    write(path, 2)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-20], encoding="utf-8")
    done = finished(path, RUN, DOCUMENTS)
    assert done == [prediction(0)]
    write(path, 2, done)
    assert path.read_text(encoding="utf-8") == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.jsonl"]


def test_a_line_may_be_cut_off_inside_a_character(tmp_path):
    path = tmp_path / "p.jsonl"
    write(path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + '{"text": "東'.encode()[:-1])
    assert read_predictions(path)[1] == [prediction(0)]


def test_there_is_nothing_to_resume_without_a_file(tmp_path):
    assert finished(tmp_path / "p.jsonl", RUN, DOCUMENTS) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"model": "other"}, "model: 'other' and 'm'"),
        ({"entities": "given"}, "entities: 'given' and 'generated'"),
        ({"seed": 7}, "seed: 7 and 0"),
        ({"sets": (SET.model_copy(update={"prompt_sha256": "11"}),)}, "sets"),
        ({"sets": (SET.model_copy(update={"sha256": "bb"}),)}, "sets"),
    ],
)
def test_another_run_can_not_be_resumed(tmp_path, change, part):
    write(tmp_path / "p.jsonl", 1)
    with pytest.raises(DataError, match="written by another run") as raised:
        finished(tmp_path / "p.jsonl", RUN.model_copy(update=change), DOCUMENTS)
    assert part in str(raised.value)


def test_what_says_nothing_about_single_predictions_may_differ(tmp_path):
    write(tmp_path / "p.jsonl", 1)
    longer = SET.model_copy(update={"n_documents": 5})
    run = RUN.model_copy(update={"batch_size": 1, "limit": 9, "git_commit": "x", "versions": {}, "sets": (longer,)})
    assert len(finished(tmp_path / "p.jsonl", run, DOCUMENTS)) == 1


def test_documents_in_another_order_can_not_be_resumed(tmp_path):
    write(tmp_path / "p.jsonl", 2)
    with pytest.raises(DataError, match="it has '0' where '1' is due"):
        finished(tmp_path / "p.jsonl", RUN, DOCUMENTS[1:])


def test_more_than_was_asked_for_is_not_thrown_away(tmp_path):
    write(tmp_path / "p.jsonl", 3)
    run = RUN.model_copy(update={"sets": (SET.model_copy(update={"n_documents": 2}),)})
    with pytest.raises(DataError, match="already has 3 documents, but only 2"):
        finished(tmp_path / "p.jsonl", run, DOCUMENTS[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no complete line"),
        ('{"kind": "genre_x predictions 1"', "no complete line"),
        ('{"text": "Ada"}\n', "line 1: not a file of predictions"),
        ("[]\n", "line 1: not a file of predictions"),
        ("nonsense\n", "line 1"),
        ('{"kind": "genre_x predictions 1", "run": {"model": 3}}\n', "line 1"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    (tmp_path / "p.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "p.jsonl")


@pytest.mark.parametrize("line", ["{}", "[]", '{"set": 0', '{"set": 0, "id": "a"}'])
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "p.jsonl"
    write(path, 1)
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="p.jsonl, line 3"):
        read_predictions(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.jsonl"):
        read_predictions(tmp_path / "nowhere.jsonl")


def test_line_breaks_of_other_alphabets_stay_inside_a_record(tmp_path):
    document = Document("a\u2028b", "one\u2028two\x85three", triples=())
    with writer(tmp_path / "p.jsonl", RUN) as put:
        put(Prediction(0, document, ()))
    assert read_predictions(tmp_path / "p.jsonl")[1][0].document == document
    assert all(json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").split("\n")[:-1])
