import types

import genre_x


def test_all_names_what_is_public():
    public = {name for name in vars(genre_x) if not name.startswith("_")}
    modules = {name for name in public if isinstance(vars(genre_x)[name], types.ModuleType)}
    assert set(genre_x.__all__) == public - modules
    assert list(genre_x.__all__) == sorted(genre_x.__all__)


def test_every_public_name_is_documented():
    for name in genre_x.__all__:
        value = getattr(genre_x, name)
        doc = value.__doc__
        assert doc
        assert not doc.startswith(f"{name}(")  # what dataclasses write themselves
