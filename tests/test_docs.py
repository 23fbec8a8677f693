"""What the README says is so: its code runs, its task file is valid, its JSON has the real form, its tables are current."""

import json
import re
from pathlib import Path

from eval.report import TARGETS, load_results, render
from genre_x import Extraction
from genre_x.task import parse_task

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_code_stands_within_the_first_30_lines():
    assert any(line == "```python" for line in README.splitlines()[:30])


def test_the_python_examples_run(default_weights, monkeypatch):
    monkeypatch.chdir(ROOT)
    namespace = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102
    assert namespace["extraction"].triples
    assert namespace["doc"]._.relations


def test_the_task_file_is_valid():
    (text,) = blocks("yaml")
    task = parse_task(text, source="README.md")
    assert [relation.name for relation in task.schema.relation_types] == ["captain of", "sails to", "launched on"]


def test_the_json_form_is_the_real_one():
    (text,) = blocks("json")
    record = json.loads(text)
    assert list(record) == list(Extraction.from_dict({**record, "triples": [], "id": "a", "text": "b"}).to_dict())


def test_the_tables_come_from_the_result_files():
    results = load_results()
    for target in TARGETS:
        text = target.read_text(encoding="utf-8")
        assert render(text, results) == text, f"{target} is not current: run `python -m eval.report`."
