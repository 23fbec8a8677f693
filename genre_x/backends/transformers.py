"""The backend on transformers: our own decoding loop, with constraints compiled by Outlines' llguidance back end.

requests ─► admit: prompt ids, matcher ─► add / extend: one forward pass for all running sequences
              ▲                                     │ logits
              └── room when a sequence ends ◄── choose a token under the mask, append what the grammar forces
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import outlines
import torch
from llguidance import LLMatcher
from outlines.backends.llguidance import LLGuidanceBackend

from genre_x.backends.packed import PackedDecoder
from genre_x.backends.stepped import SteppedDecoder
from genre_x.chat import PromptEncoder, encode_content, spell
from genre_x.errors import BackendError
from genre_x.interfaces import Completion, Constraint, GenerationConfig, Prompt, Request
from genre_x.models import DEFAULT_MODEL, find_model, load_model

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16", "float16"]

_UNLIMITED = 1 << 20
_REFILL = 4
"""New sequences join when a quarter of the batch is free: their prompts are then read in one pass."""


@dataclass
class _Sequence:
    """A completion that is being written.

    Attributes:
        index: Of its request.
        pending: Tokens that are decided but not yet read by the model.
    """

    index: int
    prompt_ids: list[int]
    n_prompt_tokens: int
    matcher: LLMatcher | None
    generator: torch.Generator | None
    pending: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    n_forced: int = 0
    finish_reason: Literal["stop", "length"] | None = None


class TransformersBackend:
    """Runs a Hugging Face model in this process, on the CPU or one GPU.

    Attributes:
        statistics: Counts since the start: `forward_passes`, `model_tokens`, `forced_tokens`, `prompt_tokens`,
            `sequences`.
    """

    trained_template: str | None = None
    trained_format: str | None = None

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str | None = None,
        precision: Precision = "auto",
    ) -> None:
        """Load a model.

        Args:
            model: `default`, `base`, a folder with weights or a LoRA adapter, or a Hugging Face id.
            device: A torch device; by default the GPU if there is one.
            precision: `auto` is bfloat16 where the processor computes it natively, else float32.

        Raises:
            ModelError: The weights can't be found or read.
        """
        files = find_model(model)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        loaded, tokenizer = load_model(files, dtype=torch.float32)
        self._set_up(loaded.to(device=device, dtype=_dtype(precision, device)), tokenizer, files.name)
        self.trained_template, self.trained_format = files.template, files.output_format

    @classmethod
    def from_loaded(
        cls,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        name: str = "",
    ) -> "TransformersBackend":
        """Wrap a model that is already in memory; its attention implementation is replaced."""
        backend = cls.__new__(cls)
        backend._set_up(model, tokenizer, name or type(model).__name__)
        return backend

    def _set_up(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
        self.model = name
        self.statistics: Counter[str] = Counter()
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._eos_ids = {tokenizer.eos_token_id} | _as_set(model.generation_config.eos_token_id)
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._decoder: PackedDecoder | SteppedDecoder = PackedDecoder.for_model(model) or SteppedDecoder(model, padding)
        self._packed = isinstance(self._decoder, PackedDecoder)
        self._encoder = PromptEncoder(tokenizer)
        self._n_calls = 0
        self._lock = threading.RLock()  # held for one step; of two streams at once, the earlier one gets an error

    @property
    def max_context_tokens(self) -> int:
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit else _UNLIMITED  # relative positions, as T5 has them, have no limit

    def count_tokens(self, text: str) -> int:
        return self._encoder.count_tokens(text)

    def count_prompt_tokens(self, prompt: Prompt) -> int:
        return len(self._encoder.encode(prompt))

    def generate(self, requests: Iterable[Request], *, config: GenerationConfig, batch_size: int = 32) -> Iterator[Completion]:
        with self._lock:  # a call that failed, or was not read to its end, has left its sequences behind
            self._decoder.remove(range(self._decoder.n_sequences))
            self._n_calls += 1
            call = self._n_calls
        waiting = enumerate(requests)
        running: list[_Sequence] = []
        finished: dict[int, Completion] = {}
        next_index = 0
        blocked: tuple[int, Request] | None = None  # has another start of the prompt, so it waits until all are done
        exhausted = False
        while running or blocked or not exhausted:
            with self._lock:
                if call != self._n_calls:
                    raise BackendError("A backend runs one stream at a time: another one was started before this one ended.")
                free = batch_size - len(running)
                may_join = not running or (self._packed and blocked is None and free * _REFILL >= batch_size)
                if may_join and not (exhausted and blocked is None):
                    batch, blocked_next = self._take(waiting, blocked, free, running)
                    exhausted = exhausted or (blocked_next is None and len(batch) < free)
                    blocked = blocked_next
                    if batch:
                        new = self._admit(batch, config)
                        running += new
                        self._choose(new, self._start(new), config)
                elif running:
                    logits = self._decoder.extend([sequence.pending for sequence in running])
                    self.statistics["forward_passes"] += 1
                    for sequence in running:
                        del sequence.pending[: None if self._packed else 1]
                    self._choose(running, logits, config)
                done = [place for place, sequence in enumerate(running) if sequence.finish_reason is not None]
                if done:
                    for place in done:
                        finished[running[place].index] = self._completion(running[place])
                    running = [running[place] for place in self._decoder.remove(done)]
            while next_index in finished:
                yield finished.pop(next_index)
                next_index += 1

    def _take(
        self,
        waiting: Iterator[tuple[int, Request]],
        blocked: tuple[int, Request] | None,
        n_free: int,
        running: Sequence[_Sequence],
    ) -> tuple[list[tuple[int, Request]], tuple[int, Request] | None]:
        """The next requests that share the start of their prompt, and the first one that does not."""
        batch: list[tuple[int, Request]] = [blocked] if blocked is not None else []
        start = None if not running else self._running_start
        for index, request in islice(waiting, n_free - len(batch)):
            first = start if start is not None else (batch[0][1].prompt.messages[:-1] if batch else None)
            if first is not None and request.prompt.messages[:-1] != first:
                return batch, (index, request)
            batch.append((index, request))
        return batch, None

    def _admit(self, batch: Sequence[tuple[int, Request]], config: GenerationConfig) -> list[_Sequence]:
        """Sequences for some requests that share the start of their prompt."""
        frame = self._encoder.frame(batch[0][1].prompt)
        self._running_start = batch[0][1].prompt.messages[:-1]
        self._decoder.share(frame.before)
        new = []
        for index, request in batch:
            ids = [*encode_content(self._tokenizer, request.prompt.messages[-1].content), *frame.after]
            n_prompt_tokens = len(frame.before) + len(ids)
            if n_prompt_tokens >= self.max_context_tokens:
                raise BackendError(
                    f"A prompt has {n_prompt_tokens} tokens, {self.model} takes fewer than {self.max_context_tokens}. "
                    "Use shorter windows, fewer examples, or another model."
                )
            seed = request.draw_seed(config, index)
            generator = None if seed is None else torch.Generator().manual_seed(seed)
            sequence = _Sequence(index, ids, n_prompt_tokens, self._matcher(request.constraint), generator)
            self._append_forced(sequence, config)
            new.append(sequence)
            self.statistics["prompt_tokens"] += n_prompt_tokens
        self.statistics["forward_passes"] += 1
        self.statistics["sequences"] += len(new)
        return new

    def _start(self, new: Sequence[_Sequence]) -> torch.Tensor:
        """Read the prompts, and what the grammar forces after them; returns logits, shape (len(new), vocabulary size).

        An encoder reads the prompt alone: what is forced belongs to the answer, and goes through the decoder step by step.
        """
        if self._model.config.is_encoder_decoder:
            return self._decoder.add([sequence.prompt_ids for sequence in new])
        logits = self._decoder.add([sequence.prompt_ids + sequence.pending for sequence in new])
        for sequence in new:
            sequence.pending.clear()
        return logits

    def _choose(self, sequences: Sequence[_Sequence], logits: torch.Tensor, config: GenerationConfig) -> None:
        """Decide the next token of every sequence that the model has read to its end, and what the grammar then forces."""
        ready = [place for place, sequence in enumerate(sequences) if not sequence.pending and sequence.finish_reason is None]
        logits = logits[ready].float().cpu()
        for row, place in enumerate(ready):
            if (matcher := sequences[place].matcher) is not None:
                logits[row].masked_fill_(~_allowed(matcher, logits.shape[1]), float("-inf"))
        logprobs = logits.log_softmax(-1)
        best = logprobs.argmax(-1).tolist()
        for row, place in enumerate(ready):
            sequence, token = sequences[place], best[row]
            if sequence.generator is not None:
                odds = (logits[row] / config.temperature).softmax(-1)
                token = int(torch.multinomial(odds, 1, generator=sequence.generator))
            self._append(sequence, token, float(logprobs[row, token]), config)
        self.statistics["model_tokens"] += len(ready)

    def _append(self, sequence: _Sequence, token: int, logprob: float, config: GenerationConfig) -> None:
        if token in self._eos_ids:
            sequence.finish_reason = "stop"
            return
        sequence.tokens.append(token)
        sequence.logprobs.append(logprob)
        sequence.pending.append(token)
        if sequence.matcher is not None:
            sequence.matcher.consume_token(token)
            if sequence.matcher.is_error():
                # A token the tokenizer can't spell, or a limit of the grammar's compiler: what stands so far is kept.
                logger.warning("The constraint failed: %s", sequence.matcher.get_error())
                sequence.finish_reason = "stop"
                return
        self._append_forced(sequence, config)

    def _append_forced(self, sequence: _Sequence, config: GenerationConfig) -> None:
        """Append the tokens that the grammar leaves no choice about, and see whether the sequence is complete."""
        matcher = sequence.matcher
        if matcher is not None:
            if matcher.is_error():
                raise BackendError(f"The constraint can't be compiled: {matcher.get_error()}")
            forced = [token for token in matcher.compute_ff_tokens() if token not in self._eos_ids]
            if forced:
                matcher.consume_tokens(forced)
                sequence.tokens += forced
                sequence.logprobs += [0.0] * len(forced)
                sequence.pending += forced
                sequence.n_forced += len(forced)
                self.statistics["forced_tokens"] += len(forced)
        room = min(config.max_new_tokens, self.max_context_tokens - sequence.n_prompt_tokens)
        if matcher is not None and matcher.is_stopped() and len(sequence.tokens) <= room:
            sequence.finish_reason = "stop"
        elif len(sequence.tokens) >= room:
            n_cut = len(sequence.tokens) - room  # forced ones all of them: the model's own come one by one
            sequence.n_forced -= n_cut
            self.statistics["forced_tokens"] -= n_cut
            del sequence.tokens[room:], sequence.logprobs[room:]
            sequence.finish_reason = "length"

    def _completion(self, sequence: _Sequence) -> Completion:
        text, ends = spell(sequence.tokens, self._llg_tokenizer.decode_bytes)
        return Completion(
            text,
            sequence.finish_reason or "stop",
            ends,
            tuple(sequence.logprobs),
            sequence.n_prompt_tokens,
            sequence.n_forced,
        )

    def _matcher(self, constraint: Constraint | None) -> LLMatcher | None:
        if constraint is None:
            return None
        if constraint.kind == "grammar":
            processor = self._llguidance.get_cfg_logits_processor(constraint.definition)
        else:
            processor = self._llguidance.get_json_schema_logits_processor(constraint.definition)
        return LLMatcher(processor.llg_tokenizer, processor.grammar)

    @cached_property
    def _llguidance(self) -> LLGuidanceBackend:
        return LLGuidanceBackend(outlines.from_transformers(self._model, self._tokenizer))

    @property
    def _llg_tokenizer(self) -> "LLTokenizer":
        return self._llguidance.llg_tokenizer


def _allowed(matcher: LLMatcher, n_logits: int) -> torch.Tensor:
    """Which tokens may come next, shape (n_logits,); a model may have more logits than its tokenizer has tokens."""
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")[:n_logits]
    allowed = np.zeros(n_logits, dtype=bool)
    allowed[: len(bits)] = bits
    return torch.from_numpy(allowed)


def _as_set(ids: int | Sequence[int] | None) -> set[int]:
    if ids is None:
        return set()
    return {ids} if isinstance(ids, int) else set(ids)


def _dtype(precision: Precision, device: str) -> torch.dtype:
    if precision != "auto":
        dtype: torch.dtype = getattr(torch, precision)
        return dtype
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
