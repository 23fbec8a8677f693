"""Output formats: how triples are written as text, read back, and constrained while they are written."""

from genre_x.errors import UnknownNameError
from genre_x.formats.mentions import MentionsFormat
from genre_x.formats.objects import ObjectsFormat
from genre_x.formats.rows import RowsFormat
from genre_x.interfaces import OutputFormat

FORMATS: dict[str, OutputFormat] = {
    output_format.name: output_format for output_format in (RowsFormat(), ObjectsFormat(), MentionsFormat())
}

DEFAULT_FORMAT = RowsFormat.name


def get_format(name: str) -> OutputFormat:
    """The output format of this name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in FORMATS:
        raise UnknownNameError("output format", name, FORMATS)
    return FORMATS[name]
