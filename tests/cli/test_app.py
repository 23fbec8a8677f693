import json

import pytest
from typer.testing import CliRunner

from genre_x.cli import app

runner = CliRunner()
TASK = """
name: small
instruction: Extract.
relation_types:
  - {name: knows}
examples: []
"""


@pytest.fixture
def task_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(TASK, encoding="utf-8")
    return str(path)


def test_task_check_of_a_good_file(task_file):
    result = runner.invoke(app, ["task", "check", task_file])
    assert result.exit_code == 0
    assert "no faults. 0 entity types, 1 relation types" in result.stdout


def test_task_check_reports_all_faults_on_stderr_with_exit_code_1(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: x\ninstruction: y\nrelation_types:\n  - {name: a, head_types: [nope]}\n  - {name: a}\n", "utf-8")
    result = runner.invoke(app, ["task", "check", str(path)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "2 faults" in result.stderr
    assert "line 4" in result.stderr
    assert "line 5" in result.stderr


def test_unknown_task_suggests_the_right_one():
    result = runner.invoke(app, ["task", "check", "generl"])
    assert result.exit_code == 1
    assert "Did you mean 'general'?" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback():
    result = runner.invoke(app, ["--debug", "task", "check", "generl"])
    assert type(result.exception).__name__ == "UnknownNameError"


def test_task_show_prints_prompt_constraint_and_template():
    result = runner.invoke(app, ["task", "show", "general", 'Ada said "hi" to Bob.'])
    assert result.exit_code == 0
    assert 'Ada said "hi" to Bob.' in result.stdout
    assert "constraint: grammar" in result.stdout
    assert "substring_chunks" in result.stdout
    assert "re.v1@" in result.stdout


def extract(*arguments, **options):
    return runner.invoke(app, ["extract", *arguments], **options)


@pytest.fixture
def small(task_file, tiny_decoder):
    return ["--task", task_file, "--model", str(tiny_decoder), "--max-new-tokens", "60"]


def test_extract_json_has_the_stable_form(small):
    result = extract("Ada knows Bob.", *small, "--format", "json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert list(record) == ["id", "text", "mentions", "triples", "rejections", "model", "template"]
    for triple in record["triples"]:
        for mention in (triple["head"], triple["tail"]):
            assert record["text"][mention["start_char"] : mention["end_char"]] == mention["text"]


def test_extract_from_a_file_per_line(small, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("Ada knows Bob.\n\n日本の首都は東京です 🎉.\n", encoding="utf-8")
    result = extract("--file", str(path), "--per-line", *small, "--format", "jsonl")
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["text"] for record in records] == ["Ada knows Bob.", "", "日本の首都は東京です 🎉."]


def test_extract_from_stdin_as_a_table(small):
    result = extract("-", *small, input="Ada knows Bob.")
    assert result.exit_code == 0
    assert "relation" in result.stdout or "No triples found." in result.stdout


def test_an_empty_text_gives_an_empty_result(small):
    result = extract("", *small, "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["triples"] == []


def test_text_and_file_together_are_a_usage_error(small, tmp_path):
    assert extract("Ada", "--file", str(tmp_path), *small).exit_code == 2
    assert extract(*small).exit_code == 2


def test_a_missing_file_is_one_clear_line(small):
    result = extract("--file", "nowhere.txt", *small)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.strip() == "error: Can't read 'nowhere.txt': No such file or directory."


def test_a_file_that_is_not_utf8_is_refused(small, tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("Zoë".encode("latin-1"))
    result = extract("--file", str(path), *small)
    assert result.exit_code == 1
    assert "is not UTF-8" in result.stderr


def test_a_model_that_is_no_folder_is_refused_before_loading(task_file):
    result = extract("Ada", "--task", task_file, "--model", "./nowhere")
    assert result.exit_code == 1
    assert "'./nowhere' is no folder with a model." in result.stderr


def test_eval_writes_a_result_file(tiny_decoder, task_file, tmp_path):
    path = tmp_path / "two.jsonl"
    path.write_text(
        '{"text": "Ada knows Bob.", "triples": [["Ada", "knows", "Bob"]]}\n{"text": "It rained.", "triples": []}\n',
        encoding="utf-8",
    )
    out = tmp_path / "result.json"
    arguments = ["eval", str(path), "--task", task_file, "--model", str(tiny_decoder), "--out", str(out)]
    result = runner.invoke(app, [*arguments, "--max-new-tokens", "40"])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text(encoding="utf-8"))
    counts = written["scores"]["strict"]
    assert counts["tp"] + counts["fn"] == 1
    assert written["scores"]["n_documents"] == 2
    assert written["template"].startswith("re.v1@")
    assert written["dataset"] == "two.jsonl"
    assert written["versions"]["torch"]


def test_eval_of_a_missing_split_names_the_splits(tmp_path):
    (tmp_path / "schema.json").write_text('{"entity_labels": {}, "relation_labels": {"knows": {}}}', encoding="utf-8")
    (tmp_path / "dev.jsonl").write_text("", encoding="utf-8")
    result = runner.invoke(app, ["eval", str(tmp_path), "--split", "test"])
    assert result.exit_code == 1
    assert "no split 'test'. It has: dev." in result.stderr


def test_training_config_faults_are_all_reported(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("output_dir: runs/x\ntrain: []\nlerning_rate: 1\n", encoding="utf-8")
    result = runner.invoke(app, ["train", str(path)])
    assert result.exit_code == 1
    for part in ("train", "dev", "lerning_rate"):
        assert part in result.stderr


def test_offsets_count_the_line_ends_of_the_file(tmp_path, small):
    path = tmp_path / "crlf.txt"
    path.write_bytes("\ufeffA title\r\n\r\nAda knows Bob.\r\n".encode())
    result = extract("--file", str(path), *small, "--format", "json")
    assert json.loads(result.stdout)["text"] == "A title\r\n\r\nAda knows Bob.\r\n"
    result = extract("--file", str(path), "--per-line", *small, "--format", "jsonl")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["A title", "", "Ada knows Bob."]


def test_standard_input_is_utf_8_whatever_the_locale(small):
    result = runner.invoke(app, ["extract", "-", *small, "--format", "json"], input="Łódź 東京".encode())
    assert json.loads(result.stdout)["text"] == "Łódź 東京"
    result = runner.invoke(app, ["extract", "-", *small], input=b"caf\xe9")
    assert result.exit_code == 1
    assert "is not UTF-8" in result.stderr


def test_a_text_with_a_lone_surrogate_can_be_printed(small):
    result = extract("Ada \ud83d knows Bob.", *small, "--format", "jsonl")
    assert json.loads(result.stdout)["text"] == "Ada \ud83d knows Bob."


def test_files_that_are_not_utf_8_are_one_line(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9".encode("latin-1"))
    for arguments in (["task", "check", str(path)], ["train", str(path)]):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 1, result.output
        assert "utf-8" in result.stderr.lower()
