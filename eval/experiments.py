"""What helps? Train variants of a short reference run and score each on the same development documents.

    python -m eval.experiments --list
    python -m eval.experiments reference mentions-first

One result file a variant, `eval/results/tried.<name>.json`; the variants stand in eval/experiments.yaml. All see the same
number of training tokens, so they cost about the same, except those that say otherwise in their minutes.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from eval.sentences import ROOT
from genre_x.backends.transformers import TransformersBackend
from genre_x.datasets import load_dataset
from genre_x.evaluation import evaluate, write_result
from genre_x.interfaces import GenerationConfig
from genre_x.task import load_task
from genre_x.training.config import TrainingConfig
from genre_x.training.run import RESULT_FILE, train
from genre_x.yaml_text import load_yaml

RESULTS = ROOT / "eval" / "results"


class Experiments(BaseModel):
    """The file of variants.

    Attributes:
        reference: Training config that every variant starts from.
        dataset: Where the documents for scoring are, with `split` and `task`.
        variants: For each name, what is different from the reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reference: Path
    dataset: Path
    split: str
    task: str
    variants: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, path: Path) -> "Experiments":
        """Read the YAML file."""
        return cls.model_validate(load_yaml(path.read_text(encoding="utf-8")))

    def config(self, name: str) -> TrainingConfig:
        """The training config of a variant, with a run folder of its own."""
        values = merged(load_yaml(self.reference.read_text(encoding="utf-8")), self.variants[name])
        return TrainingConfig.model_validate({**values, "output_dir": str(Path(values["output_dir"]) / name)})


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, mapping by mapping.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    return values | {
        key: merged(values[key], change) if isinstance(change, dict) and isinstance(values.get(key), dict) else change
        for key, change in changes.items()
    }


def run(experiments: Experiments, name: str) -> dict[str, Any]:
    """Train a variant and score it."""
    config = experiments.config(name)
    folder = train(config, resume=True)  # a variant that was interrupted goes on
    record = json.loads((config.output_dir / RESULT_FILE).read_text(encoding="utf-8"))
    result = evaluate(
        load_dataset(experiments.dataset, experiments.split, task=load_task(experiments.task)),
        TransformersBackend(str(folder)),
        template=config.template,
        output_format=config.output_format,
        config=GenerationConfig(max_new_tokens=256),
    )
    return {
        "dataset": experiments.dataset.name,
        "split": experiments.split,
        "variant": name,
        "changes": experiments.variants[name],
        "minutes": round(record["duration_s"] / 60, 1),
        "n_train_tokens": record["n_train_tokens_per_epoch"],
        "training": config.model_dump(mode="json"),
        **result,
    }


def main() -> None:
    """Run variants and write their result files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="variants; without any, all that have no result file yet")
    parser.add_argument("--file", type=Path, default=ROOT / "eval" / "experiments.yaml")
    parser.add_argument("--list", action="store_true", help="print the variants and stop")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("genre_x").setLevel(logging.INFO)
    experiments = Experiments.load(arguments.file)
    if unknown := set(arguments.names) - experiments.variants.keys():
        parser.error(f"unknown variants: {', '.join(sorted(unknown))}. There are: {', '.join(experiments.variants)}")
    for name in experiments.variants:
        out = RESULTS / f"tried.{name}.json"
        if arguments.list:
            print(name, experiments.variants[name], "done" if out.is_file() else "")
        elif name in arguments.names or not (arguments.names or out.is_file()):
            result = run(experiments, name)
            write_result(result, out)
            print(name, result["scores"]["strict"], result["minutes"], "minutes")


if __name__ == "__main__":
    main()
