"""The plain way to run a model, one token per sequence and step: for encoder-decoders and unusual attention.

It has the same face as `PackedDecoder`. A group of sequences starts together and no other joins it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class SteppedDecoder:
    """Runs any generative model with transformers' own cache."""

    model: "PreTrainedModel"
    pad_token_id: int
    _cache: Any = None
    _encoded: Any = None
    _mask: torch.Tensor | None = None
    _n_sequences: int = 0
    _shared_ids: tuple[int, ...] = field(default=())

    @property
    def n_sequences(self) -> int:
        return self._n_sequences

    def share(self, ids: tuple[int, ...]) -> None:
        """Make `ids` the start of all sequences that are added from now on."""
        self._shared_ids = ids

    @torch.inference_mode()
    def add(self, runs: Sequence[Sequence[int]]) -> torch.Tensor:
        """Start a group of sequences; there must be none at the moment. Returns logits, (len(runs), vocabulary size)."""
        if self._n_sequences:
            raise RuntimeError("Sequences can't join a running group.")
        prompts = [[*self._shared_ids, *run] for run in runs]
        width = max(map(len, prompts))
        is_encoder_decoder = self.model.config.is_encoder_decoder
        # An encoder reads padding on the right; a decoder goes on at the right, so its padding stands on the left.
        padded = [
            (prompt + [self.pad_token_id] * (width - len(prompt)))
            if is_encoder_decoder
            else ([self.pad_token_id] * (width - len(prompt)) + prompt)
            for prompt in prompts
        ]
        present = [
            ([1] * len(prompt) + [0] * (width - len(prompt)))
            if is_encoder_decoder
            else ([0] * (width - len(prompt)) + [1] * len(prompt))
            for prompt in prompts
        ]
        ids = torch.tensor(padded, device=self.model.device)
        self._mask = torch.tensor(present, device=self.model.device)
        self._n_sequences, self._cache = len(runs), None
        if is_encoder_decoder:
            self._encoded = self.model.get_encoder()(input_ids=ids, attention_mask=self._mask)
            start = self.model.generation_config.decoder_start_token_id
            if start is None:
                start = self.model.config.decoder_start_token_id
            ids = torch.full((len(runs), 1), start, device=self.model.device)
        return self._step(ids)

    @torch.inference_mode()
    def extend(self, runs: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append one token to every sequence; returns the logits after it."""
        ids = torch.tensor([run[:1] for run in runs], device=self.model.device)
        if self._mask is not None and not self.model.config.is_encoder_decoder:
            self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        return self._step(ids)

    @torch.inference_mode()
    def remove(self, indices: Sequence[int]) -> list[int]:
        """Drop sequences; returns, for each place, the old index of the sequence that stands there now."""
        kept = [index for index in range(self._n_sequences) if index not in set(indices)]
        self._n_sequences = len(kept)
        if not kept:
            self._cache = self._encoded = self._mask = None
            return []
        chosen = torch.tensor(kept, device=self.model.device)
        self._cache.batch_select_indices(chosen)
        if self._mask is not None:
            self._mask = self._mask[chosen]
        if self._encoded is not None:
            self._encoded.last_hidden_state = self._encoded.last_hidden_state[chosen]
        return kept

    def _step(self, ids: torch.Tensor) -> torch.Tensor:
        if self.model.config.is_encoder_decoder:
            outputs = self.model(
                encoder_outputs=self._encoded,
                attention_mask=self._mask,
                decoder_input_ids=ids,
                past_key_values=self._cache,
                use_cache=True,
            )
        else:
            positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :] if self._mask is not None else None
            outputs = self.model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
            )
        self._cache = outputs.past_key_values
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits
