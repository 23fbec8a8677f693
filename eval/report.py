"""Write the tables of README.md and of the model card from the result files.

    python -m eval.report

The text between `<!-- NAME -->` and `<!-- /NAME -->` is replaced, for every table NAME below; nothing else is touched.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.sentences import ROOT

RESULTS = ROOT / "eval" / "results"
TARGETS = (ROOT / "README.md", ROOT / "genre_x" / "default_model" / "README.md")

Result = dict[str, Any]


def quality_table(results: dict[str, Result]) -> str:
    """Scores of the default model and of the bare base, one row a data set and model."""
    rows = []
    for name, result in _named(results, "quality."):
        scores, strict = result["scores"], result["scores"]["strict"]
        data = result["dataset"].removesuffix(".jsonl") + (f" {result['split']}" if result["split"] else "")
        rows.append(
            [
                f"{data} ({scores['n_documents']})",
                result["model"],
                *(_percent(strict[key]) for key in ("precision", "recall", "f1")),
                _percent(scores["boundaries"]["f1"]),
                _percent(scores["strict_with_rejections"]["f1"]),
                f"{scores['n_empty_with_predictions']} of {scores['n_empty']}" if scores["n_empty"] else "–",
                f"`{name}.json`",
            ]
        )
    header = ["data", "model", "P", "R", "F1 strict", "F1 boundaries", "F1 with rejections", "false alarms", "result file"]
    return _markdown(header, rows)


def speed_table(results: dict[str, Result]) -> str:
    """Documents per second beside plain Outlines."""
    rows = []
    for _, result in _named(results, "speed."):
        speed, ours = result["documents_per_s"], result["genre_x"]
        forced = ours.get("forced_tokens", 0)
        rows.append(
            [
                result["constraint"],
                result["precision"],
                result["batch_size"],
                result["n_documents"],
                f"{speed['genre_x']:.2f}/s",
                f"{speed['outlines']:.2f}/s",
                f"**{result['ratio']:.1f}**",
                f"{result['n_equal_answers']} of {result['n_documents']}",
                f"{ours['forward_passes']} : {result['outlines']['forward_passes']}",
                f"{forced} of {forced + ours['model_tokens']}",
            ]
        )
    header = ["constraint", "precision", "batch", "documents", "genre_x", "Outlines", "ratio", "equal answers", "passes"]
    return _markdown([*header, "forced tokens"], rows)


def format_table(results: dict[str, Result]) -> str:
    """The measurement that decided the output format."""
    rows = [
        [
            f"`{result['output_format']}`",
            f"{result['tokens_per_triple']:.1f}",
            _percent(result["scores"]["strict"]["f1"]),
            _percent(result["scores"]["boundaries"]["f1"]),
            sum(result["rejections"].values()),
            f"`{name}.json`",
        ]
        for name, result in _named(results, "format.")
    ]
    return _markdown(["format", "tokens per triple", "F1 strict", "F1 boundaries", "rejections", "result file"], rows)


def training_table(results: dict[str, Result]) -> str:
    """The training runs behind the shipped adapter, one row each."""
    rows = [
        [
            f"`{name}.json`",
            run["n_train_documents"],
            run["n_train_tokens_per_epoch"],
            run["config"]["optimizer"]["epochs"],
            run["config"]["seed"],
            f"{run['duration_s'] / 60:.0f}",
            f"`{run['template']}`",
            _percent(run["before"]["strict"]["f1"]),
            _percent(run["after"]["strict"]["f1"]),
        ]
        for name, run in _named(results, "training.")
    ]
    return _markdown(
        ["run", "documents", "tokens", "epochs", "seed", "minutes", "template", "dev F1 before", "dev F1 after"], rows
    )


def demo_block(results: dict[str, Result]) -> str:
    """What `make demo` printed."""
    return "```text\n" + (RESULTS / "demo.txt").read_text(encoding="utf-8").rstrip() + "\n```"


TABLES: dict[str, Callable[[dict[str, Result]], str]] = {
    "demo": demo_block,
    "quality": quality_table,
    "speed": speed_table,
    "format": format_table,
    "training": training_table,
}


def _named(results: dict[str, Result], prefix: str) -> list[tuple[str, Result]]:
    return [(name, result) for name, result in results.items() if name.startswith(prefix)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _markdown(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def render(text: str, results: dict[str, Result]) -> str:
    """`text` with its tables made anew."""
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if pattern.search(text):
            made = table(results)
            text = pattern.sub(lambda match, made=made: f"{match[1]}{made}\n{match[2]}", text)
    return text


def load_results(folder: Path = RESULTS) -> dict[str, Result]:
    """All result files, by name without suffix, in order."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def main() -> None:
    """Rewrite the tables in place."""
    results = load_results()
    for target in TARGETS:
        target.write_text(render(target.read_text(encoding="utf-8"), results), encoding="utf-8")
        print(target)


if __name__ == "__main__":
    main()
