"""Prompts are compared as files: `pytest --update-golden` rewrites them, and the diff is reviewed."""

import hashlib
import re
from pathlib import Path

import jinja2
import pytest

from genre_x import EntityType, Extractor, RelationType, Schema, load_task
from genre_x.backends.fake import FakeBackend
from genre_x.errors import UnknownNameError
from genre_x.prompting import DEFAULT_TEMPLATE, PromptTemplate
from genre_x.resources import shipped

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = sorted(path.stem for path in shipped("prompts", "templates").glob("*.jinja"))
TASKS = sorted(path.stem for path in shipped("prompts").glob("*.yaml"))
TYPED = Schema(
    name="typed",
    entity_types=(EntityType(name="person", description="a human being"), EntityType(name="place")),
    relation_types=(
        RelationType(name="born in", description="was born there", head_types=("person",), tail_types=("place",)),
        RelationType(name="near", symmetric=True),
        RelationType(name="age", head_types=("person",), tail_types=("number",)),
        RelationType(name="of", tail_types=("person", "place"), description="any -> two"),
    ),
)
UNTYPED = Schema(name="untyped", relation_types=(RelationType(name="met"), RelationType(name="knows", symmetric=True)))
ODD = 'A {{ brace }} & <tag>\n\n{% block user %} "quoted" 東京'


def rendered(prompt):
    return "\n".join(f"<<{message.role}>>\n{message.content}" for message in prompt.messages) + "\n"


def compare(name, text, request):
    path = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path} is missing; make it with --update-golden"
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("schema", [TYPED, UNTYPED], ids=lambda schema: schema.name)
@pytest.mark.parametrize("template", TEMPLATES)
def test_golden_rendering_of_a_schema(template, schema, request):
    turns = [("First text.", '[["a","met","b"]]'), (ODD, "[]")]
    prompt = PromptTemplate.load(template).render(schema, ODD, instruction="Find them.", hint="Answer so.", turns=turns)
    compare(f"{template}.{schema.name}", rendered(prompt), request)


@pytest.mark.parametrize("name", TASKS)
def test_golden_rendering_of_a_shipped_task(name, request):
    extractor = Extractor(task=load_task(name), backend=FakeBackend())
    compare(f"{extractor.template.name}.task.{name}", rendered(extractor.prompt("Ada met Bob.")), request)


def test_no_golden_file_is_left_over():
    expected = {f"{template}.{schema.name}" for template in TEMPLATES for schema in (TYPED, UNTYPED)}
    expected |= {f"{load_task(name).template or DEFAULT_TEMPLATE}.task.{name}" for name in TASKS}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == expected


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_id_holds_the_hash_of_the_file(template):
    source = (shipped("prompts", "templates") / f"{template}.jinja").read_bytes()
    loaded = PromptTemplate.load(template)
    assert loaded.name == template
    assert loaded.id == f"{template}@{hashlib.sha256(source).hexdigest()[:8]}"
    assert re.fullmatch(r"[\w.]+@[0-9a-f]{8}", loaded.id)
    assert loaded.render(UNTYPED, "x", instruction="i", hint="h").template == loaded.id


def test_an_unknown_template_names_those_there_are():
    with pytest.raises(UnknownNameError, match=r"Unknown template 're\.v0'\. Did you mean 're\.v2'\?"):
        PromptTemplate.load("re.v0")


def test_the_text_stands_in_the_last_message_only_and_is_no_template():
    prompt = PromptTemplate.load("re.v1").render(TYPED, ODD, instruction="i", hint="h", turns=[("t", "[]")])
    assert [message.role for message in prompt.messages] == ["system", "user", "assistant", "user"]
    assert prompt.messages[-1].content == ODD
    assert all(ODD not in message.content for message in prompt.messages[:-1])


def test_all_prompts_of_a_task_share_what_stands_before_the_text():
    extractor = Extractor.from_task("general", backend=FakeBackend())
    assert extractor.prompt("One.").messages[:-1] == extractor.prompt("Two.").messages[:-1]


def test_a_name_the_template_does_not_get_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "broken.jinja").write_text(
        "{% block system %}{{ instruction }}{{ no_such_name }}{% endblock %}{% block user %}{{ text }}{% endblock %}",
        encoding="utf-8",
    )
    monkeypatch.setattr("genre_x.prompting.shipped", lambda *_: tmp_path)
    PromptTemplate.load.cache_clear()
    try:
        with pytest.raises(jinja2.UndefinedError, match="no_such_name"):
            PromptTemplate.load("broken").render(UNTYPED, "x", instruction="i", hint="h")
    finally:
        PromptTemplate.load.cache_clear()
