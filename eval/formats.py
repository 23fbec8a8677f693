"""Rows or objects? Train the same model on the same documents in both formats and compare.

    python -m eval.formats --output-format rows
    python -m eval.formats --output-format objects

CoNLL04 train → dev, the base model with a fresh LoRA adapter, the same number of documents, seed and learning rate.
"""

import argparse
from typing import Any

from eval.sentences import ROOT
from genre_x.backends.transformers import TransformersBackend
from genre_x.datasets import load_dataset
from genre_x.evaluation import evaluate, write_result
from genre_x.formats import FORMATS, get_format
from genre_x.interfaces import GenerationConfig
from genre_x.task import load_task
from genre_x.training.config import TrainingConfig
from genre_x.training.run import train


def run(output_format: str) -> dict[str, Any]:
    """Train, evaluate and return the result."""
    config = TrainingConfig.load(ROOT / "eval" / "configs" / "formats.yaml")
    config = config.model_copy(update={"output_format": output_format, "output_dir": config.output_dir / output_format})
    folder = train(config)
    source = config.dev[0]
    if source.dataset is None or source.split is None or source.task is None:
        raise SystemExit("eval/configs/formats.yaml: the first development source needs dataset, split and task")
    sets = load_dataset(source.dataset, source.split, task=load_task(source.task))
    backend = TransformersBackend(str(folder))
    result = evaluate(sets, backend, output_format=output_format, config=GenerationConfig(max_new_tokens=256))
    written = [
        get_format(output_format).write(document.triples or (), one.schema) for one in sets for document in one.documents
    ]
    n_triples = sum(len(document.triples or ()) for one in sets for document in one.documents)
    n_tokens = sum(map(backend.count_tokens, written))
    return {
        "dataset": source.dataset.name,
        "split": source.split,
        "tokens_per_triple": round(n_tokens / n_triples, 2),
        "training": config.model_dump(mode="json"),
        **result,
    }


def main() -> None:
    """Measure one format and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-format", choices=sorted(FORMATS), required=True)
    output_format = parser.parse_args().output_format
    result = run(output_format)
    write_result(result, ROOT / "eval" / "results" / f"format.{output_format}.json")
    print(output_format, result["tokens_per_triple"], "tokens per triple", result["scores"]["strict"])


if __name__ == "__main__":
    main()
