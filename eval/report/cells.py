"""Cells made from result files. Each takes a file and a path into it, never a number: so no number is from anywhere else."""

from collections.abc import Iterable

from eval.report.parts import DASH, Cell
from eval.report.results import ResultFile, Step

NOT_STATED = "not stated"


def percent(result: ResultFile, *path: Step) -> Cell:
    """A share, as a percentage."""
    value = result.number(*path)
    return DASH if value is None else Cell(f"{100 * value:.1f}")


def percent_with_interval(result: ResultFile, *path: str) -> Cell:
    """A score under `scores`, with its interval under `ci` if there is one."""
    value = percent(result, "scores", *path)
    low, high = (percent(result, "ci", ".".join(path), end) for end in (0, 1))
    return value if DASH in (value, low) else Cell(f"{value.text} ({low.text}–{high.text})")


def number(result: ResultFile, *path: Step, digits: int | None = None) -> Cell:
    """A number as it stands there, or with so many digits behind the point."""
    value = result.number(*path)
    if value is None:
        return DASH
    return Cell(str(value) if digits is None else f"{value:.{digits}f}")


def answers(result: ResultFile) -> Cell:
    """How many answers were drawn for each window; a result that does not say has one, as all had at first."""
    return Cell(str(result.number("n_answers") or 1))


def minutes(result: ResultFile, *path: Step) -> Cell:
    """Seconds, as minutes."""
    value = result.number(*path)
    return DASH if value is None else Cell(f"{value / 60:.0f}")


def text(result: ResultFile, *path: Step) -> Cell:
    """A string, or anything else as JSON."""
    value = result.text(*path)
    return Cell(value) if value else DASH


def code(result: ResultFile, *path: Step) -> Cell:
    """The same in the style of code."""
    value = result.text(*path)
    return Cell(value, "code") if value else DASH


def file(result: ResultFile) -> Cell:
    """The name of the file itself."""
    return Cell(result.file, "code")


def total(result: ResultFile, *path: Step) -> Cell:
    """The sum of the numbers in a mapping."""
    found = result.get(*path)
    return DASH if found is None else Cell(str(sum(found.values())))


def length(result: ResultFile, *path: Step) -> Cell:
    """How many items a list has."""
    found = result.get(*path)
    return DASH if found is None else Cell(str(len(found)))


def counted(result: ResultFile, *path: str) -> Cell:
    """A number in a mapping of counts that names only what there was."""
    if result.get(*path[:-1]) is None:
        return DASH
    return Cell(str(result.number(*path) or 0))


def part_of(result: ResultFile, part: Iterable[Step], whole: Iterable[Step]) -> Cell:
    """`3 of 17`; a dash if the whole is nothing."""
    n, n_all = result.number(*part), result.number(*whole)
    return Cell(f"{n} of {n_all}") if n_all and n is not None else DASH


def false_positive_rate(result: ResultFile) -> Cell:
    """Share of the documents without gold triples for which something was predicted, with its interval and both counts."""
    counts = part_of(result, ("scores", "n_empty_with_predictions"), ("scores", "n_empty"))
    rate = percent_with_interval(result, "empty_false_positive_rate")
    if counts == DASH:
        return DASH
    return counts if rate == DASH else Cell(f"{rate.text}; {counts.text}")


def yes_or_no(result: ResultFile, *path: Step) -> Cell:
    """Of a truth value."""
    value = result.get(*path)
    return DASH if value is None else Cell("yes" if value else "no")


def data_name(result: ResultFile) -> str:
    """Name of the data set, or `not stated`."""
    return (result.text("dataset") or result.text("source") or NOT_STATED).removesuffix(".jsonl")


def protocol_name(result: ResultFile) -> str:
    """What the model has seen of the data, or `not stated`."""
    return result.text("protocol") or NOT_STATED


def entities_name(result: ResultFile) -> str:
    """`given` or `generated`, or `not stated`."""
    given = result.get("given_entities")
    return result.text("entities") or {True: "given", False: "generated"}.get(given, NOT_STATED)


def versions(result: ResultFile) -> Cell:
    """Packages and their versions."""
    found = result.get("versions")
    return Cell(", ".join(f"{name} {version}" for name, version in found.items())) if found else DASH
