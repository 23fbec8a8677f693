"""The wheel holds both packages, the prompt files and the adapter, and works outside of the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("genre_x-*.whl"))


def test_the_wheel_holds_what_it_must_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "genre_x/py.typed",
        "genre_x/prompts/general.yaml",
        "genre_x/prompts/templates/re.v1.jinja",
        "genre_x/default_model/delta.safetensors",
        "spacy_component/component.py",
    ):
        assert name in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"genre_x", "spacy_component"}
    points = next(name for name in names if name.endswith("entry_points.txt"))
    text = zipfile.ZipFile(wheel).read(points).decode()
    assert "genre-x = genre_x.cli:app" in text
    assert "llm_relations = spacy_component.component:make_llm_relations" in text


def test_an_installed_wheel_renders_a_prompt_outside_of_the_checkout(wheel, tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    paths = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True,
        capture_output=True,
    )
    # The dependencies come from this environment; genre_x itself must not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    program = """
import json, genre_x, spacy
from genre_x import Extractor
from genre_x.backends.fake import FakeBackend
extractor = Extractor.from_task("finance", backend=FakeBackend())
nlp = spacy.blank("en")
nlp.add_pipe("llm_relations", config={"task": "finance"})
print(json.dumps([genre_x.__file__, extractor.prompt("Ada sold IBM.").messages[-1].content, nlp.pipe_names]))
"""
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-c", program], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    file, content, pipes = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(site)
    assert content == "Ada sold IBM."
    assert pipes == ["llm_relations"]
