"""Backends: what runs the language model. Each is imported when it is asked for."""

import importlib
from typing import Any

from genre_x.errors import UnknownNameError
from genre_x.interfaces import Backend

BACKENDS: dict[str, str] = {
    "transformers": "genre_x.backends.transformers:TransformersBackend",
    "vllm": "genre_x.backends.vllm:VllmBackend",
    "fake": "genre_x.backends.fake:FakeBackend",
}
"""Name → `module:class`."""


def get_backend(name: str, **options: Any) -> Backend:
    """Make the backend of this name.

    Args:
        name: A key of `BACKENDS`.
        options: For the constructor of its class.

    Raises:
        UnknownNameError: There is no such backend.
        MissingDependencyError: A package that it needs is not installed.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    module, _, class_name = BACKENDS[name].partition(":")
    backend: Backend = getattr(importlib.import_module(module), class_name)(**options)
    return backend
