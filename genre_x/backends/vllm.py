"""The backend on vLLM: for GPUs, large models and many documents.

Prompts are the token ids that the transformers backend uses, and constraints are compiled by llguidance here as well.
But vLLM asks the model for every token, also where the constraint leaves one spelling: `n_forced_tokens` is 0, and the
model may cut such a string into other tokens, whose probability is not 1.
"""

import hashlib
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import llguidance.hf
import torch
from transformers import AutoConfig, AutoTokenizer

from genre_x.chat import PromptEncoder, spell
from genre_x.errors import BackendError, ModelError, require
from genre_x.interfaces import Completion, GenerationConfig, Prompt, Request
from genre_x.models import DEFAULT_MODEL, ModelFiles, cache_dir, cached_folder, find_model, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm import RequestOutput

Precision = Literal["auto", "float32", "bfloat16", "float16"]

ENVIRONMENT = {
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is for results
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",  # else vLLM reports model and machine to its makers
}
"""Environment variables by which vLLM is set up; one that is set already stays as it is."""
CPU_KV_CACHE_BYTES = 2 << 30
"""Memory for keys and values on a CPU: 90,000 tokens of the default model. vLLM's own default is nearly all memory."""
_FIXED: dict[str, Any] = {
    "structured_outputs_config": {"backend": "guidance"},
    "logprobs_mode": "raw_logprobs",  # after the grammar's mask, before the temperature
}
_AHEAD = 4  # how many batches of requests vLLM holds: it fills a place as soon as it is free, so some must be waiting


class VllmBackend:
    """Runs a Hugging Face model with vLLM.

    `generate` reads up to four batches ahead and hands them to vLLM, which decodes as many side by side as its memory
    holds, and at most `max_num_seqs`, an engine argument (256 by default).
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        precision: Precision = "auto",
        gpu_memory_utilization: float | None = None,
        max_model_len: int | None = None,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        """Start the engine.

        Args:
            model: `default`, `base`, a folder with weights, a LoRA adapter or a delta, or a Hugging Face id. An adapter
                or a delta is added to its base's weights; the result is kept in the cache folder.
            precision: `auto` is bfloat16 where the processor computes it natively; else float16, on a CPU float32.
            gpu_memory_utilization: Part of the memory, in (0, 1], for weights, keys and values; by default vLLM's own
                choice, on a CPU as much as `CPU_KV_CACHE_BYTES` says.
            max_model_len: Longest prompt plus completion; by default what the model and the memory take.
            engine: More arguments of `vllm.LLM`, such as `tensor_parallel_size` or `kv_cache_memory_bytes`.

        Raises:
            MissingDependencyError: vLLM is not installed.
            ModelError: The weights can't be found or read.
            BackendError: vLLM can't run such a model, or an engine argument is one that this class decides.
        """
        os.environ.update({**ENVIRONMENT, **os.environ})
        with _quiet():
            self._vllm = require("vllm", extra="vllm")
            platform = require("vllm.platforms", extra="vllm").current_platform
        on_cpu = bool(platform.is_cpu())
        given = dict(engine or {})
        if clash := sorted(given.keys() & (_FIXED.keys() | {"model", "dtype"})):
            raise BackendError(f"Engine arguments {', '.join(clash)} can't be given: VllmBackend decides them.")
        files = find_model(model)
        self.model, self.trained_template, self.trained_format = files.name, files.template, files.output_format
        self._tokenizer = _tokenizer_of(files)
        options: dict[str, Any] = {
            "model": files.base if files.adapter is None and files.delta is None else str(_merged(files)),
            "dtype": _dtype(precision, on_cpu=on_cpu),
            "max_model_len": -1 if max_model_len is None else max_model_len,
            "enable_prefix_caching": True,
            "enforce_eager": on_cpu,  # no CUDA graphs there, and torch.compile needs a C++ compiler
            "use_tqdm_on_load": False,
        }
        if on_cpu:  # with processes of its own, vLLM takes a core from the model, and scripts need a `__main__` guard
            platform.simple_compile_backend = "eager"  # else the first probability compiles C++ code, and needs g++
            options["block_size"] = 32  # a start that prompts share is kept in whole blocks; vLLM's default is 128 here
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        if gpu_memory_utilization is not None:
            options["gpu_memory_utilization"] = gpu_memory_utilization
        elif on_cpu:
            options["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
        with _quiet():
            llm = self._vllm.LLM(**options | given | _FIXED)
        self._engine = llm.llm_engine
        self.max_context_tokens = int(llm.model_config.max_model_len)
        n_ids = max(int(llm.model_config.get_vocab_size()), len(self._tokenizer))
        self._llg_tokenizer = llguidance.hf.from_tokenizer(self._tokenizer, n_ids)
        self._encoder = PromptEncoder(self._tokenizer)
        self._ids, self._finished = map(str, count()), dict[str, "RequestOutput"]()

    def count_tokens(self, text: str) -> int:
        return self._encoder.count_tokens(text)

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return len(self._encoder.encode(prompt))

    def generate(self, requests: Iterable[Request], *, config: GenerationConfig, batch_size: int = 32) -> Iterator[Completion]:
        stream = enumerate(requests)
        waiting: deque[str] = deque()
        try:
            while True:
                while len(waiting) < _AHEAD * batch_size and (numbered := next(stream, None)) is not None:
                    waiting.append(self._submit(*numbered, config))
                if not waiting:
                    return
                if waiting[0] in self._finished:
                    yield self._completion(self._finished.pop(waiting.popleft()), config)
                else:  # outputs may belong to another call of `generate` that is not finished either
                    self._finished |= {output.request_id: output for output in self._engine.step()}
        finally:  # the caller stopped early, or a request could not be served
            self._engine.abort_request([each for each in waiting if self._finished.pop(each, None) is None])

    def _submit(self, index: int, request: Request, config: GenerationConfig) -> str:
        """Hand a request to the engine; returns its id there."""
        ids = self._encoder.encode(request.prompt)
        if len(ids) >= self.max_context_tokens:
            raise BackendError(
                f"A prompt has {len(ids)} tokens, {self.model} takes fewer than {self.max_context_tokens}. "
                "Use shorter windows, fewer examples, a larger `max_model_len`, or another model."
            )
        vllm, constraint, structure = self._vllm, request.constraint, None
        request_id = next(self._ids)
        try:
            if constraint is not None:
                kind = "grammar" if constraint.kind == "grammar" else "json"
                structure = vllm.sampling_params.StructuredOutputsParams(**{kind: constraint.definition})
            parameters = vllm.SamplingParams(
                temperature=config.temperature,
                seed=request.draw_seed(config, index),
                max_tokens=min(config.max_new_tokens + 1, self.max_context_tokens - len(ids)),  # + 1: ends the answer
                logprobs=0,  # the chosen token's alone
                flat_logprobs=True,
                detokenize=False,
                output_kind=vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
                structured_outputs=structure,
            )
            self._engine.add_request(request_id, vllm.inputs.tokens_input(ids), parameters)
        except vllm.exceptions.VLLMValidationError as error:
            raise BackendError(f"vLLM refuses a request: {error}") from error
        return request_id

    def _completion(self, output: "RequestOutput", config: GenerationConfig) -> Completion:
        (result,) = output.outputs
        tokens = list(result.token_ids)
        if not tokens:  # if a constraint fails later, what stands so far is kept
            raise BackendError(f"vLLM can't compile the constraint, or failed: finish reason {result.finish_reason!r}.")
        if result.finish_reason == "stop":
            tokens.pop()  # the token that ends the answer
        is_cut = result.finish_reason == "length" or len(tokens) > config.max_new_tokens
        del tokens[config.max_new_tokens :]
        text, ends = spell(tokens, self._llg_tokenizer.decode_bytes)
        logprobs = tuple(result.logprobs.logprobs[: len(tokens)])
        return Completion(text, "length" if is_cut else "stop", ends, logprobs, len(output.prompt_token_ids or ()))


def _tokenizer_of(files: ModelFiles) -> "PreTrainedTokenizerBase":
    try:
        is_encoder_decoder = AutoConfig.from_pretrained(files.base).is_encoder_decoder
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(files.base)
    except (OSError, ValueError) as error:
        raise ModelError(f"Can't load the model {files.base!r}: {error}") from error
    if is_encoder_decoder:
        raise BackendError(f"vLLM can't run {files.name!r}, an encoder-decoder model. Use backend 'transformers'.")
    return tokenizer


def _merged(files: ModelFiles) -> Path:
    """The folder with the weights of a base and its adapter or delta added to them, made once."""
    digest = hashlib.sha256(files.base.encode())
    for file in sorted(Path(files.base).glob("*.*")):
        digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    for file in [files.delta] if files.delta else sorted(files.adapter.glob("adapter_*")) if files.adapter else []:
        digest.update(file.read_bytes())

    def make(folder: Path) -> None:
        for part in load_model(files, dtype=torch.float32):  # the model and its tokenizer
            part.save_pretrained(folder)

    return cached_folder(cache_dir() / "merged" / digest.hexdigest()[:16], make, marker="config.json")


def _dtype(precision: Precision, *, on_cpu: bool) -> str:
    if precision != "auto":
        return precision
    if on_cpu:
        return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
    return "float16" if torch.cuda.is_available() and not torch.cuda.is_bf16_supported() else "bfloat16"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep stdout clean, also of C++ code and of processes that start meanwhile, and drop warnings about vLLM's own code."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
