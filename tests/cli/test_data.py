import json

import pytest
from typer.testing import CliRunner

from genre_x.cli import app
from genre_x.readers import READERS, read_annotated

runner = CliRunner()
GOOD = "text,head,relation,tail\nMira lives in Nordvik.,Mira,lives in,Nordvik\nIt rained.,,,\n"
BAD = GOOD + "Bo lives in Nordvik.,Ann,lives in,Nordvik\n"


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "facts.csv"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


def run(*arguments):
    return runner.invoke(app, ["data", *map(str, arguments)])


def test_check_counts(table):
    result = run("check", table(GOOD))
    assert result.exit_code == 0
    assert "lives in" in result.stdout
    assert "2 documents, 1 of them without a triple; 1 triples" in result.stdout
    assert result.stderr == ""


def test_check_reports_faults_beside_the_counts(table):
    path = table(BAD)
    result = run("check", path, "--format", "csv")
    assert result.exit_code == 1
    assert "2 documents" in result.stdout
    assert "1 bad records, 1 faults" in result.stderr
    assert f"{path}: line 4: the head 'Ann' is not in the text 'Bo lives in Nordvik.'" in result.stderr


def test_check_shows_the_first_of_many_faults(table):
    rows = "".join(f"Text {number}.,Ann,lives in,Bo\n" for number in range(25))
    result = run("check", table(GOOD + rows))
    assert result.stderr.count("  - ") == 20
    assert "… and 5 more" in result.stderr


def test_convert_stops_at_faults_or_leaves_them_out(table, tmp_path):
    out = tmp_path / "out"
    result = run("convert", table(BAD), out)
    assert result.exit_code == 1
    assert "line 4: the head 'Ann'" in result.stderr
    assert not out.exists()
    result = run("convert", table(BAD), out, "--skip-bad", "--as", "dev")
    assert result.exit_code == 0
    assert result.stdout.strip() == str(out / "dev.jsonl")
    assert "2 documents, 1 triples; 1 bad records left out" in result.stderr
    (one,) = read_annotated(out, split="dev")
    assert one.documents[0].triples[0].tail.text == "Nordvik"
    assert json.loads((out / "schema.json").read_text("utf-8"))["relation_labels"]["lives in"]["head_types"] == []


def test_convert_keeps_what_is_there(table, tmp_path):
    path = table(GOOD)
    assert run("convert", path, tmp_path / "out").exit_code == 0
    result = run("convert", path, tmp_path / "out")
    assert result.exit_code == 1
    assert "is there already" in result.stderr
    assert run("convert", path, tmp_path / "out", "--overwrite").exit_code == 0


def test_an_unknown_format(table):
    result = run("check", table(GOOD), "--format", "cvs")
    assert result.exit_code == 1
    assert "Did you mean 'csv'?" in result.stderr


def test_formats_lists_all():
    result = run("formats")
    assert all(name in result.stdout for name in READERS)
