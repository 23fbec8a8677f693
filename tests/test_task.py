import textwrap
from pathlib import Path

import pytest

from genre_x.errors import TaskError, UnknownNameError
from genre_x.resources import shipped
from genre_x.task import load_task, parse_task, task_path

SHIPPED = sorted(path.stem for path in shipped("prompts").glob("*.yaml"))

GOOD = """\
name: people
instruction: Find facts about people.
entity_types:
  - name: person
    description: a human being
    aliases: [PER]
  - name: place
relation_types:
  - name: born in
    head_types: [person]
    tail_types: [place]
  - name: near
    symmetric: true
attributes:
  - name: age
    head_types: [person]
    value: number
examples:
  - text: Ada, 36, was born in London. Ada likes Paris.
    triples:
      - [Ada, born in, London]
      - [Ada, age, "36"]
      - [London, near, Paris, place, place]
  - text: It rained.
    triples: []
"""


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def faults_of(text):
    with pytest.raises(TaskError) as caught:
        parse_task(text, source="people.yaml")
    assert caught.value.source == "people.yaml"
    return caught.value.faults


def test_a_good_file_becomes_a_task():
    task = parse_task(GOOD)
    assert task.schema.name == "people"
    assert task.instruction == "Find facts about people."
    assert [relation.name for relation in task.schema.relation_types] == ["born in", "near", "age"]
    assert task.schema.relation_type("age").is_attribute
    assert (task.template, task.output_format, task.language) == (None, None, "en")
    first, second = task.examples
    assert second.triples == ()
    assert [(t.head.text, t.head.type, t.relation, t.tail.text, t.tail.type) for t in first.triples] == [
        ("Ada", "person", "born in", "London", "place"),
        ("Ada", "person", "age", "36", "number"),
        ("London", "place", "near", "Paris", "place"),
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_task_loads(name):
    task = load_task(name)
    assert task.schema.name == name
    assert task.examples


def test_a_task_is_found_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_task(path).schema.name == load_task(str(path)).schema.name == "people"
    assert task_path("general") == task_path("general.yaml") == task_path("prompts/general.yaml")


@pytest.mark.parametrize("name", ["generl", "no/general.yaml", "/general.yaml", "general.txt", "../general"])
def test_a_task_that_is_not_there_names_those_there_are(name):
    with pytest.raises(UnknownNameError, match=r"Unknown task or task file .* Available: .*general"):
        load_task(name)


def test_the_nearest_task_is_suggested():
    with pytest.raises(UnknownNameError, match="Did you mean 'general'"):
        load_task("generl")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("name: people\n", "", 1, "name: required, but missing"),
        ("instruction: Find facts about people.", "instruction: ' '", 2, "instruction: "),
        ("name: people", "name: people\nmodel: gpt", 2, "model: unknown key; known keys: name, instruction"),
        ("name: people", "name: people\ntemplate: re.v9", 2, "Unknown template 're.v9'. Did you mean 're.v2'?"),
        ("name: people", "name: people\noutput_format: row", 2, "Unknown output format 'row'. Did you mean 'rows'?"),
        ("name: people", "name: people\nlanguage: e", 2, "language: "),
        ("  - name: place", "  - nam: place", 7, "entity_types[1].nam: unknown key; known keys: name, description"),
        ("  - name: place", "  - place", 7, "entity_types[1]: "),
        ("  - name: place", "  - name: person", 7, "entity type 'person' is declared twice"),
        ("  - name: place", "  - name: date", 7, "has the name of a literal"),
        (
            "tail_types: [place]",
            "tail_types: [plaec]",
            9,
            "uses the tail type 'plaec', which is not declared. Declared: person",
        ),
        ("tail_types: [place]", "tail_types: place", 11, "relation_types[0].tail_types: "),
        ("    symmetric: true", "    symmetric: perhaps", 13, "relation_types[1].symmetric: "),
        ("    symmetric: true", "    inverse: far", 12, "has the inverse 'far', which is not declared"),
        ("  - name: age", "  - name: near", 15, "relation 'near' is declared twice"),
        ("value: number", "value: integer", 17, "attributes[0].value: "),
        ("head_types: [person]\n    value", "head_types: [dog]\n    value", 15, "uses the head type 'dog'"),
        (
            "[Ada, born in, London]",
            "[Ada, born at, London]",
            19,
            "relation 'born at' is not declared. Declared: age, born in, near",
        ),
        ("[Ada, born in, London]", "[Ada, born in, Londn]", 19, "'Londn' is not in the text of this example"),
        ("[Ada, born in, London]", "[Ada, born in, Lond]", 19, "'Lond' is not in the text of this example"),
        ("[Ada, born in, London]", "[Ada, born in]", 19, "a triple is [head, relation, tail], found ['Ada', 'born in']"),
        ("[Ada, born in, London]", "[London, born in, London]", 19, "head and tail are the same span 'London'"),
        ("[Ada, born in, London]", "[Ada, born in, London, place]", 19, "1 elements too many"),
        ("Paris, place, place]", "Paris, place]", 19, "the tail of 'near' can be person or place; add its type"),
        ("Paris, place, place]", "Paris, place, dog]", 19, "the tail of 'near' is person or place, not 'dog'"),
        ('[Ada, age, "36"]', "[Ada, age, 36]", 22, "examples[0].triples[1][2]: "),
        ("text: It rained.", "text: ''", 24, "examples[1].text: "),
        ("    triples: []", "    triple: []", 25, "examples[1].triple: unknown key"),
        ("entity_types:", "entity_types: person\nignored:", 3, "entity_types: "),
    ],
)
def test_each_fault_is_named_with_its_line(old, new, line, message):
    faults = faults_of(changed(old, new))
    assert any(fault.startswith(f"line {line}, ") and message in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tail_types: [place]", "tail_types: [plaec]"),
        ("[Ada, born in, London]", "[Ada, born at, London]"),
        ("[Ada, born in, London]", "[Ada, born in, Londn]"),
        ("    symmetric: true", "    symmetric: perhaps"),
        ("value: number", "value: integer"),
        ("name: people", "name: people\nmodel: gpt"),
    ],
)
def test_one_mistake_is_one_fault(old, new):
    assert len(faults_of(changed(old, new))) == 1


def test_all_faults_come_at_once():
    text = GOOD.replace("name: people", "name: ''\ntemplate: re.v9\noutput_format: xml\nfoo: 1")
    text = text.replace("symmetric: true", "symmetric: perhaps").replace("value: number", "value: integer")
    text = text.replace("born in, London]", "born at, Londn]").replace("triples: []", "triples: [[a, near, b]]")
    faults = faults_of(text)
    expected = ["name: ", "re.v9", "'xml'", "foo", "perhaps", "integer", "born at", "'Londn'", "'a' is not", "'b' is not"]
    for part in expected:
        assert any(part in fault for fault in faults), (part, faults)
    assert str(len(faults)) in str(TaskError("x", faults)).splitlines()[0]


def test_a_file_without_relations_is_a_fault():
    text = "name: a\ninstruction: b\n"
    assert any("declare at least one" in fault for fault in faults_of(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [a", "line 1: not valid YAML"),
        ("name: a\n\tinstruction: b", "line 2: not valid YAML"),
        ("name: a\nname: : b", "line 2: not valid YAML"),
        ("a: *nowhere", "not valid YAML"),
        ("a: \x01", "not valid YAML"),
        ("", "a task file is a mapping"),
        ("- a\n- b", "a task file is a mapping"),
        ("just text", "a task file is a mapping"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
    ],
)
def test_what_is_no_yaml_mapping_is_a_fault(text, message):
    assert message in faults_of(text)[0]


@pytest.mark.parametrize("key", ["entity_types", "relation_types", "attributes", "examples"])
@pytest.mark.parametrize("value", ["5", "word", "{a: 1}", "[5]", "[null]", "[[]]", "[{}]", "[{name: 5}]", "[{1: 2}]"])
def test_lists_of_the_wrong_kind_are_faults_and_no_crash(key, value):
    faults = faults_of(f"name: a\ninstruction: b\n{key}: {value}\n")
    assert any(key in fault for fault in faults)


def test_non_string_keys_are_faults_and_no_crash():
    assert faults_of("1: 2\nnull: 3\n? [a]\n: 4\n")


def test_a_mention_over_a_line_break_is_found():
    text = textwrap.dedent("""\
        name: a
        instruction: b
        relation_types:
          - name: met
        examples:
          - text: "Ada\\nLovelace met Bob."
            triples:
              - [Ada Lovelace, met, Bob]
        """)
    (example,) = parse_task(text).examples
    assert example.triples[0].head.text == "Ada\nLovelace"


def test_the_tasks_of_the_checkout_load():
    folder = Path(__file__).parents[1] / "eval" / "tasks"
    for path in sorted(folder.glob("*.yaml")):
        assert load_task(path).schema.relation_types
