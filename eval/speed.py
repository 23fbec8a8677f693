"""Documents per second: our decoding loop beside the plain Outlines generator, in one run.

    python -m eval.speed --documents 128 --batch-size 32 --task eval/tasks/conll04.yaml

Both run the same weights in the same precision on the same prompts under the same constraint, greedily. Outlines takes one
grammar for a whole batch; where each document has its own, its logits processor gets one matcher per row, so that it can
batch at all. The two sides alternate over chunks of documents, so a machine that slows down slows both.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import outlines
import torch
from llguidance import LLMatcher
from outlines.backends.llguidance import LLGuidanceBackend, LLGuidanceLogitsProcessor
from outlines.inputs import Chat

from eval.sentences import ROOT, real_sentences
from genre_x.backends.transformers import TransformersBackend
from genre_x.document import Document
from genre_x.evaluation import environment, write_result
from genre_x.extractor import Extractor
from genre_x.interfaces import Constraint, GenerationConfig, Request
from genre_x.models import find_model, load_model


class PlainOutlines:
    """Outlines' own way to generate from a transformers model."""

    def __init__(self, model: str, precision: torch.dtype) -> None:
        """Load the weights once more, with transformers' standard attention."""
        loaded, tokenizer = load_model(find_model(model), dtype=torch.float32)
        self.outlines = outlines.from_transformers(loaded.to(precision), tokenizer)
        self.backend = LLGuidanceBackend(self.outlines)
        self.n_steps = 0

    def generate(self, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
        """One batch."""
        grammars = [self._grammar(request.constraint) for request in requests if request.constraint]
        processor = _RowByRow(grammars, self.backend.llg_tokenizer, "torch")
        prompts = [
            Chat([{"role": message.role, "content": message.content} for message in request.prompt.messages])
            for request in requests
        ]
        texts = self.outlines.generate_batch(prompts, processor, max_new_tokens=max_new_tokens, do_sample=False)
        self.n_steps += processor.n_steps
        return list(texts)

    def _grammar(self, constraint: Constraint) -> str:
        if constraint.kind == "grammar":
            return self.backend.get_cfg_logits_processor(constraint.definition).grammar
        return self.backend.get_json_schema_logits_processor(constraint.definition).grammar


class _RowByRow(LLGuidanceLogitsProcessor):
    """Outlines' llguidance processor with a grammar of its own for each row of the batch."""

    def __init__(self, grammars: Sequence[str], llg_tokenizer: Any, library: str) -> None:
        self.grammars = grammars
        self.n_steps = 0
        super().__init__(grammars[0], llg_tokenizer, library)

    def _setup(self, batch_size: int) -> None:
        super()._setup(batch_size)
        self.ll_matchers = [LLMatcher(self.llg_tokenizer, grammar) for grammar in self.grammars]

    def process_logits(self, input_ids: Any, logits: Any) -> Any:
        self.n_steps += 1
        return super().process_logits(input_ids, logits)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the result."""
    source, texts = real_sentences(arguments.documents)
    ours = TransformersBackend(arguments.model, precision=arguments.precision)
    plain = PlainOutlines(arguments.model, ours._model.dtype)
    extractor = Extractor.from_task(
        arguments.task,
        backend=ours,
        strength=arguments.constraint,
        config=GenerationConfig(max_new_tokens=arguments.max_new_tokens),
    )
    requests = [
        extractor._request(window)
        for number, text in enumerate(texts)
        for window in extractor._windows(Document(f"{number}", text))[:1]
    ]
    # What both pay once is not measured: compiling, reading the shared start of the prompt.
    list(ours.generate(requests[:2], config=extractor.config))
    plain.generate(requests[:2], arguments.max_new_tokens)
    ours.statistics.clear()
    plain.n_steps = 0
    seconds = {"genre_x": 0.0, "outlines": 0.0}
    n_equal = 0
    for start in range(0, len(requests), arguments.chunk):
        chunk = requests[start : start + arguments.chunk]
        began = time.perf_counter()
        answers = [
            completion.text for completion in ours.generate(chunk, config=extractor.config, batch_size=arguments.batch_size)
        ]
        seconds["genre_x"] += time.perf_counter() - began
        began = time.perf_counter()
        others: list[str] = []
        for first in range(0, len(chunk), arguments.batch_size):
            others += plain.generate(chunk[first : first + arguments.batch_size], arguments.max_new_tokens)
        seconds["outlines"] += time.perf_counter() - began
        n_equal += sum(a == b for a, b in zip(answers, others, strict=True))
    n = len(requests)
    return {
        "benchmark": "speed",
        "source": source,
        "n_documents": n,
        "n_prompt_tokens": round(ours.statistics["prompt_tokens"] / n, 1),
        "task": arguments.task,
        "constraint": arguments.constraint,
        "model": ours.model,
        "template": extractor.template.id,
        "precision": str(ours._model.dtype).removeprefix("torch."),
        "batch_size": arguments.batch_size,
        "max_new_tokens": arguments.max_new_tokens,
        "n_threads": torch.get_num_threads(),
        "documents_per_s": {name: round(n / spent, 3) for name, spent in seconds.items()},
        "ratio": round(seconds["outlines"] / seconds["genre_x"], 2),
        "n_equal_answers": n_equal,
        "genre_x": dict(ours.statistics),
        "outlines": {"forward_passes": plain.n_steps},
        **environment(),
    }


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=64, help="documents between two changes of side")
    parser.add_argument("--model", default="default")
    parser.add_argument("--task", default="general")
    parser.add_argument("--constraint", choices=("grounded", "schema"), default="grounded")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="float32")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    result = run(arguments)
    out = arguments.out or ROOT / "eval" / "results" / f"speed.{result['precision']}.{arguments.constraint}.json"
    write_result(result, out)
    speed = result["documents_per_s"]
    print(f"{result['n_documents']} documents of {result['source']}, batch {result['batch_size']}, {result['precision']}")
    print(f"genre_x  {speed['genre_x']:.2f} documents/s, {result['genre_x']}")
    print(f"outlines {speed['outlines']:.2f} documents/s, {result['outlines']}")
    print(f"ratio {result['ratio']}; equal answers: {result['n_equal_answers']}")


if __name__ == "__main__":
    main()
