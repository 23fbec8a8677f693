"""Results by data set and protocol, beside published systems."""

from collections.abc import Iterator, Sequence

from eval.report import cells
from eval.report.parts import Cell, Part, Section, Table, Text, paragraph
from eval.report.plots import f1_figure
from eval.report.published import NOT_STATED, Published, System
from eval.report.results import ResultFile, Results, scored

_HEADER = (
    "model",
    "split",
    "documents",
    "relations",
    "shots",
    "answers",
    "P",
    "R",
    "F1 strict",
    "boundaries",
    "text",
    "macro",
    "with rejections",
    "false-positive rate",
    "rejections",
    "result file",
)
_OTHER_F1 = ("boundaries", "text", "macro", "strict_with_rejections")
_PUBLISHED_HEADER = (
    "system",
    "parameters",
    "F1",
    "metric",
    "split",
    "protocol",
    "trained on",
    "entities",
    "why not comparable",
    "source",
)
_NOTHING_KNOWN = "nothing known"


def data_sections(results: Results, published: Published) -> list[Section]:
    """One section a data set and protocol."""
    groups: dict[tuple[str, str, str], list[ResultFile]] = {}
    for result in scored(results):
        key = (cells.data_name(result), cells.protocol_name(result), cells.entities_name(result))
        groups.setdefault(key, []).append(result)
    return [_data_section(*key, found, published) for key, found in groups.items()]


def _data_section(name: str, protocol: str, entities: str, found: Sequence[ResultFile], published: Published) -> Section:
    about = published.datasets.get(name)
    title = f"{about.title if about else name}: protocol {protocol}, entities {entities}"
    parts: list[Part] = [Table(_HEADER, [_row(result) for result in found])]
    limited = [result for result in found if result.get("limit") is not None]
    if limited:
        parts.append(paragraph("Only the first documents were read, as their number says: ", *_listed(limited), "."))
    systems = published.of(name)
    reasons = {system: _reasons(system, protocol, entities, found) for system in systems}
    if systems:
        parts += [_published_table(reasons), _comparison(reasons)]
    if about and about.note:
        parts.append(paragraph(about.note))
    if systems or len(found) > 1:
        comparable = [system for system in systems if not reasons[system]]
        others = [system for system in systems if reasons[system]]
        parts.append(f1_figure(f"f1.{name}.{protocol}.{entities}".replace(" ", "-"), title, found, comparable, others))
    return Section(title, parts)


def _row(result: ResultFile) -> list[Cell]:
    return [
        cells.text(result, "model"),
        cells.text(result, "split"),
        cells.number(result, "scores", "n_documents"),
        cells.length(result, "relations"),
        cells.number(result, "n_examples"),
        cells.answers(result),
        *(cells.percent_with_interval(result, "strict", key) for key in ("precision", "recall", "f1")),
        *(
            cells.percent_with_interval(result, name, "f1")
            for name in ("boundaries", "text", "macro", "strict_with_rejections")
        ),
        cells.false_positive_rate(result),
        cells.total(result, "rejections"),
        cells.file(result),
    ]


def _reasons(system: System, protocol: str, entities: str, found: Sequence[ResultFile]) -> list[str]:
    splits = {result.text("split") or NOT_STATED for result in found}
    reasons = system.differences(protocols={protocol}, splits=splits, entities={entities})
    if system.protocol == "zero-shot" == protocol:
        asked = {cells.length(result, "relations").text for result in found}
        if str(system.m) not in asked:
            m = NOT_STATED if system.m is None else system.m
            reasons.append(f"unseen relations {m}, ours {' and '.join(sorted(asked))}")
    return reasons


def _published_table(reasons: dict[System, list[str]]) -> Table:
    rows = [
        [
            Cell(one.system),
            Cell(one.parameters),
            Cell(str(one.score)),
            Cell(one.metric),
            Cell(one.split),
            Cell(one.protocol),
            Cell("–" if one.protocol == "zero-shot" else one.trained_on),
            Cell(one.entities),
            Cell("; ".join(why) or _NOTHING_KNOWN),
            Cell(one.source),
        ]
        for one, why in reasons.items()
    ]
    return Table(_PUBLISHED_HEADER, rows, caption="Published, as their sources say:")


def _comparison(reasons: dict[System, list[str]]) -> Text:
    alike = list(dict.fromkeys(one.system for one, why in reasons.items() if not why))
    others = list(dict.fromkeys(one.system for one, why in reasons.items() if why and one.system not in alike))
    pieces = []
    if alike:
        pieces.append(f"Nothing is known that keeps ours from being compared with {', '.join(alike)}, metric by metric.")
    else:
        pieces.append("No published score here can be compared with ours as it stands.")
    if alike and others:
        pieces.append(f"Not comparable, for the reasons in the table: {', '.join(others)}.")
    return paragraph(" ".join(pieces))


def _listed(results: Sequence[ResultFile]) -> Iterator[Cell]:
    for place, result in enumerate(results):
        if place:
            yield Cell(", ")
        yield cells.file(result)
