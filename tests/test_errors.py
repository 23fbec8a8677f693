import sys

import pytest

from genre_x import errors
from genre_x.errors import GenreXError, MissingDependencyError, TaskError, UnknownNameError, require


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("SchemaError", ValueError),
        ("TaskError", ValueError),
        ("UnknownNameError", LookupError),
        ("DataError", ValueError),
        ("ModelError", RuntimeError),
        ("MissingDependencyError", ImportError),
        ("BackendError", RuntimeError),
    ],
)
def test_every_error_is_a_genre_x_error_and_a_builtin_one(name, builtin):
    assert issubclass(getattr(errors, name), GenreXError)
    assert issubclass(getattr(errors, name), builtin)


def test_task_error_keeps_its_faults_and_lists_one_a_line():
    error = TaskError("news.yaml", iter(["line 1: a", "line 2: b"]))
    assert error.source == "news.yaml"
    assert error.faults == ("line 1: a", "line 2: b")
    assert str(error) == "news.yaml: 2 faults\n  - line 1: a\n  - line 2: b"


def test_task_error_with_one_fault_speaks_of_one():
    assert str(TaskError("t", ["x"])).startswith("t: 1 fault\n")


def test_unknown_name_suggests_the_nearest_and_lists_the_others():
    error = UnknownNameError("backend", "vlm", {"vllm": 1, "fake": 2})
    assert (error.name, error.available) == ("vlm", ("fake", "vllm"))
    assert str(error) == "Unknown backend 'vlm'. Did you mean 'vllm'? Available: fake, vllm."


def test_unknown_name_with_nothing_like_it_and_nothing_there():
    assert str(UnknownNameError("task", "x", ["general"])) == "Unknown task 'x'. Available: general."
    assert str(UnknownNameError("task", "x", [])) == "Unknown task 'x'. Available: none."


def test_require_returns_the_module():
    assert require("json", extra="x") is sys.modules["json"]


def test_require_names_the_extra_that_installs_a_missing_module():
    with pytest.raises(MissingDependencyError, match=r"`no_such_module_here` .*`pip install 'genre-x\[vllm\]'") as caught:
        require("no_such_module_here", extra="vllm")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_require_lets_a_broken_installation_show_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import a_dependency_of_it\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_dependency_of_it") as caught:
        require("broken_package", extra="x")
    assert not isinstance(caught.value, MissingDependencyError)
