"""The report as one Markdown page with pictures beside it, and as one HTML page that needs nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from eval.report import cells
from eval.report.details import error_section, language_section, origin_section, relation_section
from eval.report.parts import Cell, Figure, Section, Table, paragraph
from eval.report.published import Published
from eval.report.quality import data_sections
from eval.report.readme import speed_table
from eval.report.results import QUALITY, ResultFile, Results, named
from eval.report.runs import calibration_section, training_section, tried_section
from eval.report.targets import Target, targets_table
from eval.sentences import ROOT

PAGES = ROOT / "eval" / "pages"
KNOWN = (*QUALITY, "training.", "tried.", "speed.")


def build(
    results: Results, *, published: Published, targets: Sequence[Target], calibration: ResultFile | None = None
) -> list[Section]:
    """The sections of the report; those without a result are left out.

    Args:
        results: By name.
        published: What others report.
        targets: What ours should reach.
        calibration: That of the default model, if it has one.
    """
    intro = paragraph(
        "P, R and F1 are percentages, micro over all documents; in brackets the interval that the result file names. ",
        "Every predicted triple counts, and gold that was never proposed is missed. A dash: the file does not say it.",
    )
    found = [
        Section("Targets", [targets_table(targets, results)]),
        Section("Results by data set", [intro], data_sections(results, published)),
        language_section(results, published),
        error_section(results),
        relation_section(results),
        calibration_section(results, calibration),
        Section("Speed", [_speed_with_files(results)]),
        training_section(results),
        tried_section(results),
        origin_section(results),
        _others(results),
    ]
    return [_without_empty_tables(section) for section in found if not _is_empty(section)]


def _speed_with_files(results: Results) -> Table:
    table = speed_table(results)
    rows = [[*row, cells.file(result)] for row, result in zip(table.rows, named(results, "speed."), strict=True)]
    return Table([*table.header, "result file"], rows)


def _others(results: Results) -> Section:
    rows = [[Cell(result.file, "code")] for name, result in results.items() if not name.startswith(KNOWN)]
    return Section("Other result files", [Table(["file"], rows)])


def _without_empty_tables(section: Section) -> Section:
    return replace(section, parts=[part for part in section.parts if not isinstance(part, Table) or part.rows])


def _is_empty(section: Section) -> bool:
    has_content = any(isinstance(part, Figure) or (isinstance(part, Table) and part.rows) for part in section.parts)
    return not has_content and not section.sections


def markdown(sections: Sequence[Section]) -> str:
    """The page in Markdown."""
    return _environment().get_template("report.md.jinja").render(sections=sections)


def html(sections: Sequence[Section]) -> str:
    """The page in HTML."""
    return _environment().get_template("report.html.jinja").render(sections=sections)


def write(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write both pages and the pictures; pictures of earlier reports are removed.

    Returns:
        The pages.
    """
    plots = folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    made = {f"{figure.name}.svg": figure.svg for figure in _figures(sections)}
    for old in sorted(plots.glob("*.svg")):
        if old.name not in made:
            old.unlink()
    for name, svg in made.items():
        (plots / name).write_text(svg, encoding="utf-8")
    pages = {folder / "report.md": markdown(sections), folder / "report.html": html(sections)}
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return list(pages)


def _figures(sections: Sequence[Section]) -> list[Figure]:
    return [
        figure
        for section in sections
        for figure in (*(part for part in section.parts if isinstance(part, Figure)), *_figures(section.sections))
    ]


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=select_autoescape(("html.jinja",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
