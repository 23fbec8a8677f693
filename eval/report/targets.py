"""What the project wants to reach (eval/targets.yaml), and what its result files say about it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from eval.report.parts import DASH, Cell, Table
from eval.report.published import Strict, load_yaml
from eval.report.results import Results


class Target(Strict):
    """One number to reach.

    Attributes:
        what: In words.
        why: Where the number comes from.
        command: Writes the result file.
        result: Name of that file, without `.json`.
        value: Path to the number in it.
        unit: `percent`: the file has a share in [0, 1], and the target is a percentage.
        at_least: Exactly one of this and `at_most` is given.
    """

    what: str
    why: str
    command: str
    result: str
    value: tuple[str, ...] = Field(min_length=1)
    unit: Literal["percent", "number"] = "percent"
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either `at_least` or `at_most`")
        return self

    @property
    def wanted(self) -> Cell:
        return Cell(f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}")

    def reached(self, results: Results) -> tuple[Cell, Cell]:
        """Whether it is met, and the value."""
        result = results.get(self.result)
        value = result.number(*self.value) if result else None
        if value is None:
            return Cell("not measured"), DASH
        value = 100 * value if self.unit == "percent" else value
        is_met = value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0)
        shown = f"{value:.1f}" if self.unit == "percent" else f"{value:g}"
        return Cell("met", "strong") if is_met else Cell("not met"), Cell(shown)


class Targets(Strict):
    """The file."""

    targets: tuple[Target, ...]

    @classmethod
    def load(cls, path: Path) -> "Targets":
        """Read the YAML file.

        Raises:
            DataError: It has faults; all of them are named.
        """
        return load_yaml(path, cls)


def targets_table(targets: Sequence[Target], results: Results) -> Table:
    """One row a target."""
    rows = []
    for target in targets:
        is_met, value = target.reached(results)
        rows.append(
            [
                Cell(target.what),
                target.wanted,
                value,
                is_met,
                Cell(target.why),
                Cell(f"{target.result}.json", "code"),
                Cell(target.command, "code"),
            ]
        )
    return Table(["what", "target", "value", "", "why this number", "result file", "command"], rows)
