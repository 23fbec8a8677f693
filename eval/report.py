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
TARGETS = (ROOT / "README.md", ROOT / "genre_x" / "adapter" / "README.md")

Result = dict[str, Any]


def quality_table(results: dict[str, Result]) -> str:
    """Scores of the default model and of the bare base, one row a data set and model."""
    lines = ["| data | model | P | R | F1 strict | F1 boundaries | false alarms | result file |", "|" + "---|" * 8]
    for name, result in results.items():
        if not name.startswith("quality."):
            continue
        scores = result["scores"]
        strict = scores["strict"]
        empty = f"{scores['n_empty_with_predictions']} of {scores['n_empty']}" if scores["n_empty"] else "–"
        data = result["dataset"].removesuffix(".jsonl") + (f" {result['split']}" if result["split"] else "")
        cells = [
            f"{data} ({scores['n_documents']})",
            result["model"],
            *(f"{100 * value:.1f}" for value in (strict["precision"], strict["recall"], strict["f1"])),
            f"{100 * scores['boundaries']['f1']:.1f}",
            empty,
            f"`{name}.json`",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speed_table(results: dict[str, Result]) -> str:
    """Documents per second beside plain Outlines."""
    lines = [
        "| constraint | precision | batch | documents | genre_x | Outlines | ratio | equal answers | passes | forced tokens |",
        "|" + "---|" * 10,
    ]
    for name, result in results.items():
        if not name.startswith("speed."):
            continue
        speed, ours = result["documents_per_s"], result["genre_x"]
        n_chosen = ours["model_tokens"]
        forced = ours.get("forced_tokens", 0)
        cells = [
            result["constraint"],
            result["precision"],
            result["batch_size"],
            result["n_documents"],
            f"{speed['genre_x']:.2f}/s",
            f"{speed['outlines']:.2f}/s",
            f"**{result['ratio']:.1f}**",
            f"{result['n_equal_answers']} of {result['n_documents']}",
            f"{ours['forward_passes']} : {result['outlines']['forward_passes']}",
            f"{forced} of {forced + n_chosen}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def format_table(results: dict[str, Result]) -> str:
    """The measurement that decided the output format."""
    lines = ["| format | tokens per triple | F1 strict | F1 boundaries | rejections |", "|---|---|---|---|---|"]
    for name, result in results.items():
        if not name.startswith("format."):
            continue
        scores = result["scores"]
        cells = [
            f"`{result['output_format']}`",
            f"{result['tokens_per_triple']:.1f}",
            f"{100 * scores['strict']['f1']:.1f}",
            f"{100 * scores['boundaries']['f1']:.1f}",
            sum(result["rejections"].values()),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def training_table(results: dict[str, Result]) -> str:
    """The training runs behind the shipped adapter, one row each."""
    lines = [
        "| run | documents | tokens | epochs | seed | minutes | template | dev F1 before | dev F1 after |",
        "|" + "---|" * 9,
    ]
    for name, run in results.items():
        if not name.startswith("training."):
            continue
        cells = [
            f"`{name}.json`",
            run["n_train_documents"],
            run["n_train_tokens_per_epoch"],
            run["config"]["optimizer"]["epochs"],
            run["config"]["seed"],
            f"{run['duration_s'] / 60:.0f}",
            f"`{run['template']}`",
            f"{100 * run['before']['strict']['f1']:.1f}",
            f"{100 * run['after']['strict']['f1']:.1f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


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
