import hashlib
import json
import re

import pytest
from typer.testing import CliRunner

from genre_x.backends.fake import FakeBackend
from genre_x.calibration import Calibration
from genre_x.cli import app
from genre_x.evaluation.predictions import read_predictions
from genre_x.interfaces import Completion
from genre_x.prompting import PromptTemplate

runner = CliRunner()
TASK = """
name: small
instruction: Extract.
relation_types:
  - {name: knows}
  - {name: likes}
examples:
  - text: Cy knows Di.
    triples: [[Cy, knows, Di]]
"""
SENTENCES = [
    ("Ada knows Bob.", [["Ada", "knows", "Bob"]]),
    ("It rained.", []),
    ("Eve likes Ada.", [["Eve", "likes", "Ada"]]),
    ("Bob met Eve.", []),
]
ANSWERS = {
    "Ada knows Bob.": '[["Ada","knows","Bob"]]',  # right
    "It rained.": "[]",
    "Eve likes Ada.": '[["Ada","likes","Eve"],["Zoe","likes","Eve"]]',  # flipped, and one that is not in the text
    "Bob met Eve.": '[["Bob","knows","Eve"]]',  # where there is nothing
}


DOUBT = {"Ada knows Bob.": 0.01, "Eve likes Ada.": 0.05, "Bob met Eve.": 0.03}
"""For each text: minus the logarithm of the probability of every token of the answer."""


class Scored(FakeBackend):
    """Looks the answer up by the text; a token is a character."""

    def __init__(self, model, fail_after=None, **about):
        super().__init__(lambda request: ANSWERS[request.prompt.messages[-1].content], model=model, **about)
        self.fail_after = fail_after

    def generate(self, requests, *, config, batch_size=32):
        for number, done in enumerate(super().generate(requests, config=config, batch_size=batch_size)):
            if number == self.fail_after:
                raise KeyboardInterrupt
            n, doubt = len(done.text), DOUBT.get(self.requests[-1].prompt.messages[-1].content, 0.0)
            yield Completion(done.text, done.finish_reason, tuple(range(1, n + 1)), (-doubt,) * n)


@pytest.fixture
def scored(monkeypatch):
    """Makes `genre-x eval` run on `Scored` backends, and lists them."""
    made, options = [], {}

    def make(name, *, model):
        made.append(Scored(model, **options))
        return made[-1]

    monkeypatch.setattr("genre_x.backends.get_backend", make)
    made_options = options
    return made, made_options


@pytest.fixture
def files(tmp_path):
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    lines = [json.dumps({"text": text, "triples": triples}) for text, triples in SENTENCES]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def invoke(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def evaluate(files, *arguments, data="dev.jsonl"):
    return invoke("eval", files / data, "--task", files / "task.yaml", "--model", "m", *arguments)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_result_has_every_number(files, scored):
    done = evaluate(files, "--out", files / "r.json", "--protocol", "transfer", "--seed", 5)
    assert done.exit_code == 0, done.output
    result = read(files / "r.json")
    scores = result["scores"]
    # kept: one right, one flipped, one where there is nothing; missed: the flipped one
    assert [scores["strict"][key] for key in ("tp", "fp", "fn")] == [1, 2, 1]
    assert [scores["undirected"][key] for key in ("tp", "fp", "fn")] == [2, 1, 0]
    assert scores["text"]["f1"] == scores["strict"]["f1"] == 0.4  # 2 · 1 / (2 · 1 + 2 + 1)
    assert scores["strict_with_rejections"]["fp"] == 3
    # knows: P 1/2, R 1, F1 2/3; likes: 0
    assert scores["macro"] == {
        "precision": 0.25,
        "recall": 0.5,
        "f1": 0.3333,
        "n_relations": 2,
        "over": "relations with gold triples",
    }
    assert (scores["n_empty"], scores["n_empty_with_predictions"], scores["empty_false_positive_rate"]) == (2, 1, 0.5)
    errors = result["errors"]
    assert {name: n for name, n in errors["false_positives"].items() if n} == {"flipped": 1, "spurious": 1}
    assert {name: n for name, n in errors["false_negatives"].items() if n} == {"flipped": 1}
    assert errors["invented_and_rejected"] == result["rejections"]["ungrounded"] == 1
    low, high = result["ci"]["strict.f1"]
    assert low <= 0.4 <= high
    assert low < high
    assert (result["ci"]["level"], result["ci"]["n_resamples"], result["ci"]["over"]) == (0.95, 1000, "documents")
    assert (result["protocol"], result["entities"], result["given_entities"]) == ("transfer", "generated", False)
    assert (result["relations"], result["seed"], result["generation"]["seed"]) == (["knows", "likes"], 5, 5)
    (data,) = result["sets"]
    assert data["sha256"] == hashlib.sha256((files / "dev.jsonl").read_bytes()).hexdigest()
    assert (data["dataset"], data["split"], data["n_documents"]) == ("dev.jsonl", None, 4)
    assert (result["dataset"], result["split"], result["model"], result["n_documents"]) == ("dev.jsonl", None, "m", 4)
    assert result["template"].startswith("re.v1@")
    assert result["versions"]["torch"]
    calibration = result["calibration"]
    assert (calibration["n_triples"], calibration["n_right"], calibration["ece_calibrated"]) == (3, 1, None)
    assert sum(one["n"] for one in calibration["bins"]) == 3
    assert calibration["curve"][-1]["recall"] == 0.5
    for part in ("strict", "macro, 2 relations", "flipped", "false-positive rate 50.0 %", "ungrounded 1", "ECE"):
        assert part in done.stdout


def test_a_model_is_measured_as_it_was_trained(files, scored, monkeypatch):
    monkeypatch.setitem(ANSWERS, "It rained.\n\nAgain: It rained.", "[]")  # as re.v2 shows it
    _, options = scored
    options.update(trained_template=PromptTemplate.load("re.v2").id, trained_format="mentions")
    (files / "empty.jsonl").write_text(json.dumps({"text": "It rained.", "triples": []}) + "\n", encoding="utf-8")
    for arguments, output_format in (((), "mentions"), (("--output-format", "rows"), "rows")):
        done = evaluate(files, "--out", files / "r.json", *arguments, data="empty.jsonl")
        assert done.exit_code == 0, done.output
        result = read(files / "r.json")
        assert (result["template"], result["output_format"]) == (options["trained_template"], output_format)


def test_a_result_can_be_computed_again_from_predictions(files, scored):
    made, _ = scored
    arguments = ("--predictions", files / "p.jsonl", "--out", files / "r.json", "--min-score", "0.5")
    assert evaluate(files, *arguments).exit_code == 0
    done = invoke("score", files / "p.jsonl", "--out", files / "again.json", "--min-score", "0.5")
    assert done.exit_code == 0, done.output
    assert read(files / "again.json") == read(files / "r.json")
    assert len(made) == 1
    other = invoke("score", files / "p.jsonl", "--out", files / "other.json", "--min-score", "1")
    assert other.exit_code == 0
    assert read(files / "other.json")["scores"]["strict"]["tp"] == 0


def test_an_interrupted_run_goes_on_where_it_was(files, scored):
    made, options = scored
    assert evaluate(files, "--out", files / "whole.json").exit_code == 0
    options["fail_after"] = 2
    arguments = ("--predictions", files / "p.jsonl", "--out", files / "r.json")
    assert evaluate(files, *arguments).exit_code == 130
    assert len(read_predictions(files / "p.jsonl")[1]) == 2
    assert not (files / "r.json").exists()
    unfinished = invoke("score", files / "p.jsonl")
    assert unfinished.exit_code == 1
    assert "has 2 of 4 documents" in unfinished.stderr
    options["fail_after"] = None
    refused = evaluate(files, *arguments)
    assert refused.exit_code == 1
    assert "Add --resume" in refused.stderr
    assert evaluate(files, *arguments, "--resume").exit_code == 0
    assert len(made[-1].requests) == 2  # only what was missing
    whole, resumed = read(files / "whole.json"), read(files / "r.json")
    whole.pop("seconds"), resumed.pop("seconds")
    assert resumed == whole
    other = evaluate(files, *arguments, "--resume", "--constraint", "none")
    assert other.exit_code == 1
    assert "written by another run. strength: 'none' and 'grounded'" in other.stderr


def test_votes_that_are_resumed_are_drawn_as_they_would_have_been(files, scored):
    made, options = scored
    arguments = ("--answers", "3", "--predictions", files / "p.jsonl")
    assert evaluate(files, "--answers", "3").exit_code == 0
    asked = made[-1].requests
    assert len({request.seed for request in asked}) == len(asked) == 12
    options["fail_after"] = 7
    assert evaluate(files, *arguments).exit_code == 130
    options["fail_after"] = None
    assert evaluate(files, *arguments, "--resume").exit_code == 0
    assert made[-1].requests == asked[-len(made[-1].requests) :]


def test_resume_needs_a_file(files):
    assert evaluate(files, "--resume").exit_code == 2


def fitted(files, *arguments):
    (files / "m").mkdir(exist_ok=True)
    return invoke("calibrate", files / "p.jsonl", "--out", files / "m" / "calibration.json", *arguments)


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_calibrate_then_eval_with_it(files, scored, method):
    assert evaluate(files, "--predictions", files / "p.jsonl").exit_code == 0
    done = fitted(files, "--method", method)
    assert done.exit_code == 0, done.output
    calibration = Calibration.load(files / "m" / "calibration.json")
    assert (calibration.method, calibration.fitted_on[0].dataset, calibration.fitted_on[0].n_triples) == (
        method,
        "dev.jsonl",
        3,
    )
    assert calibration.versions
    assert "cross-validated" in done.stdout
    again = ("score", files / "p.jsonl", "--calibration", files / "m" / "calibration.json", "--min-score", "auto")
    done = invoke(*again, "--out", files / "auto.json")
    assert done.exit_code == 0, done.output
    result = read(files / "auto.json")
    block = result["calibration"]
    assert block["ece_calibrated"] < block["ece_raw"]
    assert block["in_sample"] is True
    assert "fitted on these data" in done.stdout
    assert block["mismatches"] == []
    assert (result["min_score"], set(result["thresholds"])) == ("auto", {"knows", "likes"})
    # the right triple has the highest score of the three, so the best threshold keeps it alone
    assert [result["scores"]["strict"][key] for key in ("tp", "fp", "fn")] == [1, 0, 1]


def test_data_that_the_fit_has_not_seen_are_not_in_sample(files, scored):
    assert evaluate(files, "--predictions", files / "p.jsonl").exit_code == 0
    assert fitted(files).exit_code == 0
    lines = (files / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    (files / "test.jsonl").write_text("\n".join(lines[:3]) + "\n", encoding="utf-8")
    arguments = ("--calibration", files / "m" / "calibration.json", "--out", files / "r.json", "--constraint", "none")
    done = evaluate(files, *arguments, data="test.jsonl")
    assert done.exit_code == 0, done.output
    block = read(files / "r.json")["calibration"]
    assert (block["in_sample"], block["method"]) == (False, "isotonic")
    assert block["mismatches"] == ["strength 'none' (fitted with 'grounded')"]
    assert "fitted on these data" not in done.stdout


def test_the_stored_calibration_is_used_and_can_be_switched_off(files, scored, monkeypatch):
    assert evaluate(files, "--predictions", files / "p.jsonl").exit_code == 0
    assert fitted(files).exit_code == 0
    (files / "m" / "config.json").write_text("{}", encoding="utf-8")  # so that the folder holds a model
    monkeypatch.chdir(files)
    assert evaluate(files, "--out", files / "stored.json").exit_code == 0
    assert evaluate(files, "--out", files / "none.json", "--calibration", "none").exit_code == 0
    assert read(files / "stored.json")["calibration"]["method"] == "isotonic"
    assert read(files / "none.json")["calibration"]["method"] is None


def test_auto_without_a_calibration_is_a_clear_error(files, scored):
    made, _ = scored
    for arguments in (("eval", files / "dev.jsonl", "--model", "m"), ("extract", "Ada knows Bob.", "--model", "m")):
        done = invoke(*arguments, "--task", files / "task.yaml", "--min-score", "auto")
        assert done.exit_code == 1
        assert "'m' has none stored. Fit one with `genre-x calibrate`" in done.stderr
    assert made == []  # no model was loaded


@pytest.mark.parametrize("value", ["-0.1", "1.5", "high", ""])
def test_a_least_score_is_a_share_or_auto(files, value):
    assert evaluate(files, "--min-score", value).exit_code == 2
    assert invoke("extract", "Ada", "--min-score", value).exit_code == 2


@pytest.fixture
def dataset(tmp_path):
    """A data set in the common form: three relations, test and train."""
    folder = tmp_path / "three"
    folder.mkdir()
    labels = {"Knows": {}, "Likes": {}, "Sees": {"symmetric": True}}
    (folder / "schema.json").write_text(json.dumps({"entity_labels": {}, "relation_labels": labels}), encoding="utf-8")
    for split in ("test", "train"):
        records = []
        for number, label in enumerate(["Knows", "Likes", "Sees"] * 2):
            text = f"Ada {label} Bob, {split} {number}."
            ends = [(0, 3), (text.index("Bob"), text.index("Bob") + 3)]
            entities = [{"start": start, "end": end, "label": None} for start, end in ends]
            relations = [{"label": label, "head": 0, "tail": 1}]
            records.append(
                {"id": f"{split}-{number}", "lang": "en", "text": text, "entities": entities, "relations": relations}
            )
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def silent(monkeypatch):
    """Makes `genre-x eval` run on a backend that finds nothing, and lists the backends."""
    made = []

    def make(name, *, model):
        made.append(FakeBackend(lambda request: "[]", model=model))
        return made[-1]

    monkeypatch.setattr("genre_x.backends.get_backend", make)
    return made


def test_zero_shot_asks_for_drawn_relations_only(dataset, silent, tmp_path):
    drawn = set()
    for seed in range(6):
        out = tmp_path / f"{seed}.json"
        done = invoke("eval", dataset, "--model", "m", "--unseen", 1, "--seed", seed, "--out", out)
        assert done.exit_code == 0, done.output
        result = read(out)
        (relation,) = result["relations"]
        assert (result["protocol"], result["n_documents"], result["split"]) == ("zero-shot", 2, "test")
        assert result["scores"]["strict"]["fn"] == 2
        assert {"knows", "likes", "sees"} & set(silent[-1].requests[0].prompt.messages[0].content.lower().split()) <= {relation}
        drawn.add(relation)
    assert drawn == {"knows", "likes", "sees"}


def test_a_sample_of_the_documents(dataset, silent, tmp_path):
    out = tmp_path / "r.json"
    done = invoke("eval", dataset, "--model", "m", "--split", "test", "--split", "train", "--sample", 2, "--out", out)
    assert done.exit_code == 0, done.output
    result = read(out)
    assert (result["sample"], result["n_documents"], [one["n_documents"] for one in result["sets"]]) == (2, 4, [2, 2])


def test_zero_shot_relations_from_a_file(dataset, silent, tmp_path):
    names = tmp_path / "names.yaml"
    names.write_text("[Sees, likes]\n", encoding="utf-8")
    out = tmp_path / "r.json"
    assert invoke("eval", dataset, "--model", "m", "--relations-file", names, "--out", out).exit_code == 0
    assert (read(out)["relations"], read(out)["n_documents"]) == (["likes", "sees"], 4)
    assert invoke("eval", dataset, "--model", "m", "--relations-file", names, "--unseen", 1, "--out", out).exit_code == 0
    assert len(read(out)["relations"]) == 1
    names.write_text("[Seez]\n", encoding="utf-8")
    done = invoke("eval", dataset, "--model", "m", "--relations-file", names)
    assert done.exit_code == 1
    assert "Unknown relation 'Seez'" in done.stderr


def test_shots_become_turns_of_the_prompt(dataset, silent, tmp_path):
    out = tmp_path / "r.json"
    done = invoke("eval", dataset, "--model", "m", "--shots", 1, "--per-relation", "--seed", 3, "--out", out)
    assert done.exit_code == 0, done.output
    result = read(out)
    assert (result["protocol"], result["n_examples"]) == ("few-shot", 3)
    shots = result["shots"]
    assert (shots["dataset"], shots["split"], shots["k"], shots["per_relation"]) == ("three", "train", 1, True)
    (ids,) = shots["ids"]
    assert all(name.startswith("train-") for name in ids)
    turns = [message.content for message in silent[-1].requests[0].prompt.messages if message.role == "user"]
    assert len(turns) == 4
    assert all("train" in turn for turn in turns[:3])
    assert "test" in turns[3]


def test_several_data_sets_and_splits_in_one_result(dataset, files, silent, tmp_path):
    out = tmp_path / "r.json"
    done = invoke("eval", dataset, "--split", "test", "--split", "train", "--model", "m", "--out", out, "--limit", 8)
    assert done.exit_code == 0, done.output
    result = read(out)
    assert (result["dataset"], result["split"], result["n_documents"]) == ("three", "test, train", 8)
    assert [(one["split"], one["n_documents"], one["scores"]["strict"]["fn"]) for one in result["sets"]] == [
        ("test", 6, 6),
        ("train", 2, 2),
    ]


def test_another_format_by_name(tmp_path, silent):
    path = tmp_path / "pairs.json"
    tokens = ["Ada", "knows", "Bob"]
    record = {
        "tokens": tokens,
        "entities": [{"type": "P", "start": 0, "end": 1}, {"type": "P", "start": 2, "end": 3}],
        "relations": [{"type": "Knows", "head": 0, "tail": 1}],
        "orig_id": 1,
    }
    path.write_text(json.dumps([record]), encoding="utf-8")
    out = tmp_path / "r.json"
    done = invoke("eval", path, "--format", "spert", "--model", "m", "--given-entities", "--out", out)
    assert done.exit_code == 0, done.output
    result = read(out)
    assert (result["entities"], result["given_entities"], result["dataset"]) == ("given", True, "pairs.json")
    assert result["sets"][0]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    done = invoke("eval", path, "--format", "spert", "--model", "m", "--given-entities", "--mark-mentions", "--out", out)
    assert done.exit_code == 0, done.output
    marked = read(out)
    assert (marked["entities"], marked["given_entities"]) == ("marked", True)


def test_predictions_with_marked_mentions_can_be_calibrated(tmp_path, files, scored, monkeypatch):
    predictions = tmp_path / "p.jsonl"
    marked = {re.sub("Ada|Bob|Eve", r"[\g<0>]", text) if triples else text: ANSWERS[text] for text, triples in SENTENCES}
    for text, answer in marked.items():
        monkeypatch.setitem(ANSWERS, text, answer)
    assert evaluate(files, "--given-entities", "--mark-mentions", "--predictions", predictions).exit_code == 0
    done = invoke("calibrate", predictions, "--out", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    assert Calibration.load(tmp_path / "c.json").fitted_on[0].entities == "marked"


def test_given_entities_of_sentences_are_the_arguments_of_their_triples(files, scored):
    made, _ = scored
    assert evaluate(files, "--given-entities", "--out", files / "r.json").exit_code == 0
    first, second, *_ = made[-1].requests
    assert '"Ada" | "Bob"' in first.constraint.definition
    assert '"Ada" | "Bob"' not in second.constraint.definition
    assert read(files / "r.json")["entities"] == "given"


def test_a_folder_of_brat_files_needs_no_split(tmp_path, silent):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "one.txt").write_text("Ada knows Bob.", encoding="utf-8")
    (folder / "one.ann").write_text("T1\tP 0 3\tAda\nT2\tP 10 13\tBob\nR1\tKnows Arg1:T1 Arg2:T2\n", encoding="utf-8")
    for options in ((), ("--format", "brat")):
        out = tmp_path / "r.json"
        done = invoke("eval", folder, *options, "--model", "m", "--out", out)
        assert done.exit_code == 0, done.output
        assert (read(out)["split"], read(out)["n_documents"]) == (None, 1)
    (folder / "test").mkdir()
    assert "test" in invoke("eval", folder, "--format", "brat", "--model", "m").output


def test_a_text_with_a_lone_surrogate_is_written_and_read_again(tmp_path, files, scored, monkeypatch):
    text = "Ada \ud83d knows Bob."
    monkeypatch.setitem(ANSWERS, text.replace("\ud83d", "\ufffd"), '[["Ada","knows","Bob"]]')
    (files / "dev.jsonl").write_text(json.dumps({"text": text, "triples": [["Ada", "knows", "Bob"]]}) + "\n", encoding="utf-8")
    predictions = tmp_path / "p.jsonl"
    assert evaluate(files, "--predictions", predictions).exit_code == 0
    assert read_predictions(predictions)[1][0].document.text == text
    assert evaluate(files, "--predictions", predictions, "--resume").exit_code == 0


def test_nothing_is_lost_at_the_end_for_want_of_git_or_of_a_file_name(tmp_path, files, scored, monkeypatch):
    made, _ = scored
    done = evaluate(files, "--out", tmp_path)
    assert (done.exit_code, made) == (1, [])
    assert "is a folder" in done.output
    assert evaluate(files, "--seed", -1).exit_code == 2
    monkeypatch.setenv("PATH", "")
    assert evaluate(files, "--out", tmp_path / "r.json").exit_code == 0
    assert read(tmp_path / "r.json")["git_commit"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("--mark-mentions",),
        ("--shots", 1, "--few-shot"),
        ("--few-shot", "--protocol", "zero-shot"),
        ("--per-relation",),
        ("--shots-from", "x"),
    ],
)
def test_options_that_contradict_each_other(files, arguments):
    assert evaluate(files, *arguments).exit_code == 2


def test_few_shot_needs_a_task(dataset):
    assert invoke("eval", dataset, "--few-shot").exit_code == 2


def test_a_real_model_from_end_to_end(files, tiny_decoder):
    folder = files / "model"
    folder.mkdir()
    for file in tiny_decoder.iterdir():
        (folder / file.name).symlink_to(file)
    common = ("eval", files / "dev.jsonl", "--task", files / "task.yaml", "--model", folder, "--max-new-tokens", 60)
    done = invoke(*common, "--predictions", files / "p.jsonl", "--out", files / "r.json")
    assert done.exit_code == 0, done.output
    result = read(files / "r.json")
    run, predictions = read_predictions(files / "p.jsonl")
    assert [prediction.document.text for prediction in predictions] == [text for text, _ in SENTENCES]
    assert all(0 < triple.score <= 1 for prediction in predictions for triple in prediction.triples)
    assert result["calibration"]["n_unscored"] == 0
    assert run.model == result["model"] == "model"
    assert invoke("score", files / "p.jsonl", "--out", files / "again.json").exit_code == 0
    assert read(files / "again.json") == result
