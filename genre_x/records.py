"""Records of data files: their lines, what is wrong in them, and the documents they hold.

A record is what becomes a document: a line, an object of a list, a pair of files. A record with a fault is bad as a whole,
since a text that has lost some of its relations would teach and score wrong things.
"""

import gzip
import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from genre_x.document import Document
from genre_x.errors import DataError, SchemaError

logger = logging.getLogger(__name__)

N_SHOWN = 20
"""Most faults that one message shows."""

M = TypeVar("M", bound=BaseModel)

_EXPECTED = "Input should be "
"""How most of pydantic's messages begin."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A document as a source has it: relations and types are the source's own labels.

    Attributes:
        place: Where it stands, for messages: file and line, or file and number of the record.
        document: With `triples` set.
        n_unanchored: How many more gold triples there are whose strings do not stand in the text.
    """

    place: str
    document: Document
    n_unanchored: int = 0


@dataclass
class BadRecords:
    """Collects the bad records of a source, so that all are reported at once.

    Attributes:
        source: What messages call the source.
        faults: One line per fault, each with its place.
        n_bad: Number of records with a fault.
    """

    source: str
    faults: list[str] = field(default_factory=list)
    n_bad: int = 0

    @contextmanager
    def record(self, place: str) -> Iterator[None]:
        """Note what is wrong in the record at `place`, and go on with the next one."""
        try:
            yield
        except (DataError, SchemaError) as error:
            messages = (error.faults if isinstance(error, DataError) else ()) or (str(error),)
            self.faults += [f"{place}: {message}" for message in messages]
            self.n_bad += 1

    def settle(self, n_good: int, *, skip_bad: bool) -> None:
        """Raise one error for all faults, or log how many records are left out.

        Args:
            n_good: Number of records without a fault.
            skip_bad: Leave bad records out instead of raising.

        Raises:
            DataError: There are faults and `skip_bad` is False, or there is no good record.
        """
        if not n_good and not self.n_bad:
            raise DataError(f"{self.source}: there are no records.")
        if not self.faults:
            return
        counted = f"{self.n_bad} of {self.n_bad + n_good} records {'is' if self.n_bad == 1 else 'are'} bad"
        if skip_bad and n_good:
            logger.warning("%s: %s and left out. The first fault: %s", self.source, counted, self.faults[0])
            return
        if len(self.faults) == 1:
            raise DataError(self.faults[0], faults=self.faults)
        shown = [f"  - {fault}" for fault in self.faults[:N_SHOWN]]
        if rest := len(self.faults) - len(shown):
            shown.append(f"  … and {rest} more")
        raise DataError("\n".join([f"{self.source}: {counted}; {len(self.faults)} faults", *shown]), faults=self.faults)


def to_json(content: object, *, indent: int | None = None) -> str:
    """JSON with all characters as they are, or with escapes if there are lone surrogates, which no UTF-8 file can hold."""
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent)
    return text


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, compressed or not, with its line ends as they are.

    Raises:
        DataError: It can't be read.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Can't read {str(path)!r}: {error}.") from error
    return decoded(content, repr(str(path)))


def decoded(content: bytes, name: str) -> str:
    """UTF-8 text, with its line ends as they are.

    Args:
        content: The bytes.
        name: What the message calls them.

    Raises:
        DataError: They are not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8: {error.reason} at byte {error.start}.") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Places and lines of a text file, compressed or not, without its blank lines.

    Raises:
        DataError: The file can't be read.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Can't read {str(path)!r}: {error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not UTF-8: {error.reason}.") from error


def parse_object(line: str) -> dict[str, Any]:
    """The JSON object that a line holds.

    Raises:
        DataError: It holds none.
    """
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"expected a JSON object, found {type(record).__name__}.")
    return record


def read_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        DataError: The file can't be read or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error


def validated(model: type[M], value: Any) -> M:
    """`value` as an instance of `model`.

    Raises:
        DataError: It has faults; each names the field, what was expected and what was found.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = []
        for detail in error.errors(include_url=False):
            name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in detail["loc"]).lstrip(".")
            place, found = f"{name}: " if name else "", f"found {detail['input']!r:.80}"
            if detail["type"] == "missing":
                faults.append(f"the key {name!r} is missing")
            elif detail["type"] == "model_type":
                faults.append(f"{place}expected an object, {found}")
            elif detail["msg"].startswith(_EXPECTED):
                faults.append(f"{place}expected {detail['msg'].removeprefix(_EXPECTED)}, {found}")
            else:
                faults.append(f"{place}{detail['msg']}; {found}")
        raise DataError("; ".join(faults), faults=faults) from error
