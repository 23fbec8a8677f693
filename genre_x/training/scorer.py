"""Scores on development documents by generation: of a saved model, and of the one that is being trained."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from genre_x.backends.transformers import TransformersBackend
from genre_x.datasets import AnnotatedSet
from genre_x.evaluation import evaluate
from genre_x.interfaces import Backend, GenerationConfig
from genre_x.training.parts import base_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 256


def sample(sets: Sequence[AnnotatedSet], n_documents: int, seed: int) -> list[AnnotatedSet]:
    """So many documents of all sets, or all if there are fewer; drawn by the seed, in their order."""
    every = [(index, place) for index, one in enumerate(sets) for place in range(len(one.documents))]
    chosen = set(random.Random(seed).sample(every, min(n_documents, len(every))))
    parts = [
        replace(one, documents=tuple(document for place, document in enumerate(one.documents) if (index, place) in chosen))
        for index, one in enumerate(sets)
    ]
    return [one for one in parts if one.documents]


@dataclass(frozen=True, kw_only=True)
class DevScorer:
    """Scores on development documents: greedy, under the grounded constraint.

    Attributes:
        sets: For `f1`.
        tokenizer: Of the model in training.
        template: What it is trained with, as `output_format`.
    """

    sets: Sequence[AnnotatedSet]
    tokenizer: "PreTrainedTokenizerBase"
    template: str
    output_format: str

    def f1(self, model: "PreTrainedModel") -> tuple[float, float]:
        """Strict F1 of a model in memory, and the seconds it took; the model is afterwards as it was."""
        started = time.perf_counter()
        with generating(model) as base:
            backend = TransformersBackend.from_loaded(base, self.tokenizer)
            scores = self.result(backend, self.sets)["scores"]
        return float(scores["strict"]["f1"]), time.perf_counter() - started

    def result(self, backend: Backend, sets: Sequence[AnnotatedSet]) -> dict[str, Any]:
        """The whole result of a running model on some sets; a fine-tuned one is asked as it was trained."""
        return evaluate(
            sets,
            backend,
            template=None if backend.trained_template else self.template,
            output_format=None if backend.trained_format else self.output_format,
            config=GenerationConfig(max_new_tokens=MAX_NEW_TOKENS),
        )


@contextmanager
def generating(model: "PreTrainedModel") -> Iterator["PreTrainedModel"]:
    """Lend a model in training to a backend, which changes its attention and its mode; both are put back afterwards.

    Meanwhile compiled layers run uncompiled: each new length would compile them again. Autocast is off, too: the packed
    attention of the backend wants keys and values of one type. Nothing is drawn from the random numbers of the training.
    """
    base = base_of(model)
    attention, was_training = base.config._attn_implementation, model.training
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        if any(module._compiled_call_impl is not None for module in base.modules()):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if "_original_forward" in base.__dict__:  # accelerate's wrapper for mixed precision
            stack.callback(setattr, base, "forward", base.forward)
            base.forward = base._original_forward
        try:
            yield base
        finally:
            if base.config._attn_implementation != attention:
                base.set_attn_implementation(attention)
            model.train(was_training)
