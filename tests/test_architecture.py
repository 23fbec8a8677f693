"""Imports point down: the layers of genre_x, from the bottom."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "yaml_text"),
    ("schema",),
    ("document",),
    ("interfaces", "relation_attrs"),
    ("resources", "records", "described"),
    ("grounding",),
    ("constraints",),
    ("formats",),
    ("prompting", "chat", "calibration", "delta"),
    ("models", "task", "windows", "scoring", "translation"),
    ("datasets",),
    ("readers",),
    ("backends",),
    ("extractor",),
    ("evaluation",),
    ("training",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
OURS = ("genre_x", "spacy_component", "eval")
HEAVY = ("torch", "transformers", "vllm", "spacy", "trl", "outlines", "llguidance", "peft", "datasets")


def modules_of(package):
    return sorted((ROOT / package).rglob("*.py"))


def imports(path):
    """Line numbers and full names of the modules of ours that a file imports; `from a import b` counts as `a.b`, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in OURS:
                yield node.lineno, name


def layer_of(dotted):
    """`genre_x.formats.rows` → `formats`; None for the package itself."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else None


def own_layer(path, root=ROOT):
    return path.relative_to(root / "genre_x").with_suffix("").parts[0]


def upward(path, root=ROOT):
    own = own_layer(path, root)
    for line, name in imports(path):
        if not name.startswith("genre_x"):
            continue
        target = layer_of(name)
        if target is None:
            yield f"{path.relative_to(root)}, line {line}: imports {name!r}, which is the whole package"
        elif RANK[target] > RANK[own] or (RANK[target] == RANK[own] and target != own):
            yield f"{path.relative_to(root)}, line {line}: {own!r} imports {target!r}, which stands above or beside it"


def test_every_module_has_a_layer():
    found = {own_layer(path) for path in modules_of("genre_x")} - {"__init__"}
    assert found == set(RANK)


def test_no_import_points_up():
    faults = [fault for path in modules_of("genre_x") if path != ROOT / "genre_x" / "__init__.py" for fault in upward(path)]
    assert not faults, "\n".join(faults)


def test_an_import_that_points_up_would_be_seen(tmp_path):
    (tmp_path / "genre_x").mkdir()
    path = tmp_path / "genre_x" / "schema.py"
    path.write_text(
        "from genre_x.errors import SchemaError\nfrom genre_x import Extractor\ndef f():\n    import genre_x.extractor\n",
        encoding="utf-8",
    )
    assert [fault.split(": ")[0] for fault in upward(path, tmp_path)] == [
        "genre_x/schema.py, line 2",
        "genre_x/schema.py, line 4",
    ]


def test_genre_x_knows_neither_the_spacy_component_nor_the_evaluation_scripts():
    faults = [
        f"{path.relative_to(ROOT)}, line {line}: imports {name!r}"
        for path in modules_of("genre_x")
        for line, name in imports(path)
        if not name.startswith("genre_x")
    ]
    assert not faults, "\n".join(faults)


def test_the_spacy_component_stands_on_genre_x_only():
    faults = [
        f"{path.relative_to(ROOT)}, line {line}: imports {name!r}"
        for path in modules_of("spacy_component")
        for line, name in imports(path)
        if name.startswith("eval")
    ]
    assert not faults, "\n".join(faults)


def test_importing_genre_x_loads_nothing_heavy():
    program = f"import sys, genre_x; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
