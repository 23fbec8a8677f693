"""YAML whose keys stand once."""

import pytest
import yaml

from genre_x.errors import TaskError
from genre_x.task import parse_task
from genre_x.yaml_text import load_yaml


def test_what_is_valid_is_read_as_by_pyyaml():
    text = "a: &a {b: 1, c: [2, 3]}\nd: {<<: *a, b: 4}\ne: {1: one, '1': text}\n? [f, g]\n: h\n"
    with pytest.raises(yaml.constructor.ConstructorError):  # a list is no key
        load_yaml(text)
    text = text.partition("?")[0]
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "x:\n- {a: 1, a: 1}\n", "? a\n: 1\n? 'a'\n: 2\n"])
def test_a_key_that_stands_twice_is_a_fault(text):
    with pytest.raises(yaml.MarkedYAMLError, match="the key 'a' stands in line") as caught:
        load_yaml(text)
    assert caught.value.problem_mark is not None


def test_a_task_file_with_a_key_twice_is_refused_with_its_line():
    with pytest.raises(TaskError, match="line 4: .*'relation_types' stands in line 3 already"):
        parse_task("name: a\ninstruction: Extract.\nrelation_types: [{name: knows}]\nrelation_types: [{name: likes}]\n")
