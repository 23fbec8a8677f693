"""The exception tree of genre_x, and the two helpers that raise from it."""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class GenreXError(Exception):
    """Base class of every error that genre_x raises on purpose."""


class SchemaError(GenreXError, ValueError):
    """A schema, document or configuration that contradicts itself."""


class TaskError(GenreXError, ValueError):
    """A task file with faults; all of them are named at once.

    Attributes:
        source: The file, or another name for where the task came from.
        faults: One line per fault, each with its place in the file.
    """

    def __init__(self, source: str, faults: Iterable[str]) -> None:
        self.source = source
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__("\n".join([f"{source}: {len(self.faults)} {noun}", *(f"  - {fault}" for fault in self.faults)]))


class UnknownNameError(GenreXError, LookupError):
    """A name that is not among the available ones.

    Attributes:
        name: What was asked for.
        available: What there is.
    """

    def __init__(self, kind: str, name: str, available: Iterable[str]) -> None:
        self.name = name
        self.available = tuple(sorted(available))
        close = difflib.get_close_matches(name, self.available, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(self.available) or 'none'}.")


class DataError(GenreXError, ValueError):
    """A data file with records that can't be read; the message names file and line.

    Attributes:
        faults: One line per fault; empty when the file as a whole can't be read.
    """

    def __init__(self, message: str, *, faults: Iterable[str] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(message)


class ModelError(GenreXError, RuntimeError):
    """Model weights that can't be found, fetched, verified or combined."""


class MissingDependencyError(GenreXError, ImportError):
    """An optional package is not installed."""


class BackendError(GenreXError, RuntimeError):
    """A backend can't do what was asked of it."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Name of the module to import.
        extra: The extra of genre-x that installs it.

    Raises:
        MissingDependencyError: This very module is missing. A module that is there but broken shows its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingDependencyError(
            f"`{module}` is needed for this feature. Install it with `pip install 'genre-x[{extra}]'`."
        ) from error
