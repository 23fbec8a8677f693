"""What a page is made of: cells, tables, paragraphs, figures, sections. The templates in eval/pages write them down."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Style = Literal["text", "code", "strong"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text in one style."""

    text: str
    style: Style = "text"

    @property
    def markdown(self) -> str:
        """With what Markdown would read as markup escaped."""
        text = " ".join(self.text.split("\n")).replace("|", "\\|")
        if self.style == "code":
            return f"`{text}`"
        escaped = re.sub(r"([*`<\[\]])|(?<!\w)_|_(?!\w)", lambda match: f"\\{match[0]}", text)
        return f"**{escaped}**" if self.style == "strong" else escaped


DASH = Cell("–")
"""Stands where a result file has nothing."""


@dataclass(frozen=True)
class Table:
    """A table; a folded one is shown when it is asked for.

    Attributes:
        caption: One line; needed for a folded table.
    """

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    folded: bool = False

    @property
    def markdown(self) -> str:
        lines = [
            list(self.header),
            ["---"] * len(self.header),
            *([cell.markdown for cell in row] for row in self.rows),
        ]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    cells: Sequence[Cell]

    @property
    def markdown(self) -> str:
        return "".join(cell.markdown for cell in self.cells)


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        name: Of its file, without suffix.
        svg: As it is written to that file, on white.
        alt: What it shows, for those who don't see it.
        caption: Names the result file.
    """

    kind: ClassVar[str] = "figure"
    name: str
    svg: str
    alt: str
    caption: Text

    @property
    def inline(self) -> str:
        """For a place inside an HTML page: in the page's colours, and with names that no other figure has."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = svg.replace("#ffffff", "var(--page)").replace("#000000", "currentColor")
        svg = re.sub(r'\b(id="|href="#|url\(#)', lambda match: f"{match[1]}{self.anchor}-", svg)
        start = rf'<svg \1 role="img" aria-labelledby="{self.anchor}">'
        return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', start, svg, count=1)

    @property
    def anchor(self) -> str:
        return anchor(f"figure {self.name}")


Part = Table | Text | Figure


@dataclass(frozen=True)
class Section:
    """A title and what stands under it."""

    title: str
    parts: Sequence[Part] = field(default_factory=tuple)
    sections: Sequence["Section"] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        return anchor(self.title)


def anchor(title: str) -> str:
    """As GitHub makes the name of a heading's place.

    >>> anchor("conll04, zero-shot: 5 relations")
    'conll04-zero-shot-5-relations'
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def paragraph(*pieces: str | Cell) -> Text:
    """Plain strings and cells, behind one another."""
    return Text(tuple(Cell(piece) if isinstance(piece, str) else piece for piece in pieces))
