"""The same results by kind of error, by relation, by language; and what each result depends on."""

from collections.abc import Iterator

from eval.report import cells
from eval.report.parts import DASH, Cell, Section, Table, paragraph
from eval.report.published import NOT_STATED, Published
from eval.report.results import ResultFile, Results, Step, scored
from genre_x.document import Reason
from genre_x.evaluation.diagnosis import FALSE_POSITIVE_CLASSES

_PAIRS = "Strict; a wrong and a missed triple that resemble each other are one error with two sides:"
_REJECTED = "Output that was not kept, by reason:"


def error_section(results: Results) -> Section:
    """Kinds of errors, and what was rejected."""
    kinds = [*FALSE_POSITIVE_CLASSES, "missed"]
    rows = [
        [
            cells.file(result),
            Cell(side.replace("_", " ")),
            *(cells.number(result, "errors", side, kind) for kind in kinds),
        ]
        for result in scored(results)
        for side in ("false_positives", "false_negatives")
        if result.get("errors") is not None
    ]
    reasons = [reason.value for reason in Reason]
    rejected = [
        [cells.file(result), *(cells.counted(result, "rejections", reason) for reason in reasons)] for result in scored(results)
    ]
    return Section(
        "Kinds of errors",
        [
            Table(["result file", "side", *(kind.replace("_", " ") for kind in kinds)], rows, caption=_PAIRS),
            Table(["result file", *(reason.replace("_", " ") for reason in reasons)], rejected, caption=_REJECTED),
        ],
    )


def relation_section(results: Results) -> Section:
    """The strict scores of each relation."""
    header = ["relation", "P", "R", "F1", "right", "wrong", "missed"]
    tables = [
        Table(header, list(_relation_rows(result)), caption=result.file, folded=True)
        for result in scored(results)
        if result.get("scores", "per_relation")
    ]
    return Section("Relation by relation", [paragraph("Strict; the relations with most gold triples first."), *tables])


def _relation_rows(result: ResultFile) -> Iterator[list[Cell]]:
    place = ("scores", "per_relation")

    def support(name: str) -> float:
        return (result.number(*place, name, "tp") or 0) + (result.number(*place, name, "fn") or 0)

    for name in sorted(result.get(*place), key=lambda name: (-support(name), name)):
        shares = (cells.percent(result, *place, name, key) for key in ("precision", "recall", "f1"))
        yield [Cell(name), *shares, *(cells.number(result, *place, name, key) for key in ("tp", "fp", "fn"))]


def language_section(results: Results, published: Published) -> Section:
    """Results by the language of their data, each data set of a result on its own."""
    rows: list[tuple[str, list[Cell]]] = []
    for result in scored(results):
        sets = [(place, result.text("sets", place, "dataset")) for place in range(len(result.get("sets") or ()))]
        places: list[tuple[str, tuple[Step, ...]]] = [(cells.data_name(result), ())]
        if len({name for _, name in sets}) > 1:
            places = [((name or "").removesuffix(".jsonl"), ("sets", place)) for place, name in sets]
        for name, place in places:
            known = published.datasets.get(name)
            if language := ", ".join(result.get(*place, "languages") or ()) or (known.language if known else ""):
                rows.append((language, _language_row(result, language, name, place)))
    header = ["language", "data", "split", "model", "documents", "F1 strict", "F1 text", "result file"]
    return Section("By language", [Table(header, [row for _, row in sorted(rows, key=lambda pair: pair[0])])])


def _language_row(result: ResultFile, language: str, name: str, place: tuple[Step, ...]) -> list[Cell]:
    strict = ("scores", "strict", "f1")
    return [
        Cell(language),
        Cell(name),
        cells.text(result, *place, "split"),
        cells.text(result, "model"),
        cells.number(result, *place, "scores", "n_documents"),
        cells.percent(result, *place, *strict) if place else cells.percent_with_interval(result, *strict[1:]),
        cells.percent(result, *place, "scores", "text", "f1"),
        cells.file(result),
    ]


def origin_section(results: Results) -> Section:
    """What every result depends on."""
    header = ["result file", "model", "template", "format", "data", "split", "protocol", "entities", "seed", "min score"]
    rows = [
        [
            cells.file(result),
            cells.text(result, "model"),
            cells.code(result, "template"),
            _first(cells.text(result, "output_format"), cells.text(result, "config", "output_format")),
            _first(Cell(cells.data_name(result))),
            cells.text(result, "split"),
            cells.text(result, "protocol"),
            _first(Cell(cells.entities_name(result))),
            _first(*(cells.number(result, *path) for path in (["seed"], ["generation", "seed"], ["config", "seed"]))),
            cells.text(result, "min_score"),
            cells.code(result, "git_commit"),
            cells.versions(result),
        ]
        for result in results.values()
    ]
    return Section("What was run", [Table([*header, "commit", "versions"], rows)])


def _first(*found: Cell) -> Cell:
    """The first that says something: older results and training runs keep some things elsewhere."""
    return next((cell for cell in found if cell not in (DASH, Cell(NOT_STATED))), DASH)
