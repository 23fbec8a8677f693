"""The marked tables of README.md and of the model card.

The text between `<!-- NAME -->` and `<!-- /NAME -->` is replaced, for every table NAME in `TABLES`; nothing else is touched.
"""

import re
from collections.abc import Callable
from functools import partial

from eval.report import cells
from eval.report.parts import DASH, Cell, Table
from eval.report.results import ResultFile, Results, named
from eval.report.runs import tried_table
from eval.sentences import ROOT

RESULTS = ROOT / "eval" / "results"
TARGETS = (ROOT / "README.md", ROOT / "genre_x" / "default_model" / "README.md")


def quality_table(results: Results, prefix: str = "quality.") -> Table:
    """Scores of the models whose result files start so, one row a file."""
    header = ["data", "model", "answers", "P", "R", "F1 strict", "F1 boundaries", "F1 with rejections", "false alarms"]
    return Table(
        [*header, "result file"],
        [
            [
                _data_with_count(result),
                cells.text(result, "model"),
                cells.answers(result),
                *(cells.percent(result, "scores", "strict", key) for key in ("precision", "recall", "f1")),
                cells.percent(result, "scores", "boundaries", "f1"),
                cells.percent(result, "scores", "strict_with_rejections", "f1"),
                cells.part_of(result, ("scores", "n_empty_with_predictions"), ("scores", "n_empty")),
                cells.file(result),
            ]
            for result in named(results, prefix)
        ],
    )


def speed_table(results: Results) -> Table:
    """Documents per second beside plain Outlines."""
    header = ["constraint", "precision", "batch", "documents", "genre_x", "Outlines", "ratio", "equal answers", "passes"]
    return Table(
        [*header, "forced tokens"],
        [
            [
                *(cells.text(result, key) for key in ("constraint", "precision", "batch_size", "n_documents")),
                _rate(result, "genre_x"),
                _rate(result, "outlines"),
                _strong(cells.number(result, "ratio", digits=1)),
                cells.part_of(result, ["n_equal_answers"], ["n_documents"]),
                _passes(result),
                _forced(result),
            ]
            for result in named(results, "speed.")
        ],
    )


def training_table(results: Results) -> Table:
    """The training runs behind the shipped model, one row each."""
    return Table(
        ["run", "documents", "tokens", "epochs", "seed", "minutes", "template", "dev F1 before", "dev F1 after"],
        [
            [
                cells.file(result),
                cells.number(result, "n_train_documents"),
                cells.number(result, "n_train_tokens_per_epoch"),
                cells.number(result, "config", "optimizer", "epochs"),
                cells.number(result, "config", "seed"),
                cells.minutes(result, "duration_s"),
                cells.code(result, "template"),
                cells.percent(result, "before", "strict", "f1"),
                cells.percent(result, "after", "strict", "f1"),
            ]
            for result in named(results, "training.default.")
        ],
    )


def demo_block(_: Results) -> str:
    """What `make demo` printed."""
    return "```text\n" + (RESULTS / "demo.txt").read_text(encoding="utf-8").rstrip() + "\n```"


TABLES: dict[str, Callable[[Results], str]] = {
    "demo": demo_block,
    "quality": lambda results: quality_table(results).markdown,
    "supervised": lambda results: quality_table(results, "supervised.").markdown,
    "speed": lambda results: speed_table(results).markdown,
    "tried": lambda results: tried_table(results).markdown,
    "training": lambda results: training_table(results).markdown,
}


def render(text: str, results: Results) -> str:
    """`text` with its tables made anew."""
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            made = table(results)
            text = pattern.sub(partial(_between, made), text)
    return text


def _between(made: str, match: re.Match[str]) -> str:
    return f"{match[1]}{made}\n{match[2]}"


def _data_with_count(result: ResultFile) -> Cell:
    split = result.text("split")
    return Cell(" ".join(filter(None, [cells.data_name(result), split])) + f" ({_n_documents(result).text})")


def _n_documents(result: ResultFile) -> Cell:
    return cells.number(result, "scores", "n_documents")


def _rate(result: ResultFile, side: str) -> Cell:
    value = cells.number(result, "documents_per_s", side, digits=2)
    return value if value == DASH else Cell(f"{value.text}/s")


def _strong(cell: Cell) -> Cell:
    return cell if cell == DASH else Cell(cell.text, "strong")


def _passes(result: ResultFile) -> Cell:
    ours, theirs = (cells.number(result, side, "forward_passes") for side in ("genre_x", "outlines"))
    return DASH if DASH in (ours, theirs) else Cell(f"{ours.text} : {theirs.text}")


def _forced(result: ResultFile) -> Cell:
    forced, model = (result.number("genre_x", key) for key in ("forced_tokens", "model_tokens"))
    return DASH if model is None else Cell(f"{forced or 0} of {(forced or 0) + model}")
