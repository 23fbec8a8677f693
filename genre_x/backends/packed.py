"""Decoder-only models over sequences of different lengths that share the start of their prompt.

Three things make this fast, and no library has all of them:

- The keys and values of the shared start are computed once and stored once. All sequences attend to the one copy, in one
  matrix product (the idea of Hydragen, Juravsky et al. 2024, https://arxiv.org/abs/2402.05099).
- A step may append any number of tokens to each sequence. The tokens of all sequences are packed into one row without
  padding, so the linear layers, nearly all of the work, compute nothing twice.
- A sequence that ends leaves at once: the last sequence moves to its place, so the others stay side by side.

    packed row      |a a a|b|c c|                        (1, n_tokens): linear layers, norms, rotary positions
    attention grid  a a a      queries of each sequence  (n_sequences, longest run)
                    b . .      own keys: capacity        (n_sequences, ..., own length)
                    c c .      shared keys               (1 copy, n_shared)

It plugs into transformers as an attention function, so it works for every model whose layers call one and attend to the
whole sequence.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

ATTENTION = "genre_x_packed"
_INITIAL_CAPACITY = 128


@dataclass
class _Layer:
    """Keys and values of one layer.

    *Shape:* `own_*` (n_slots, n_kv_heads, capacity, head_dim); `shared_*` (n_kv_heads, n_shared, head_dim).
    """

    own_keys: torch.Tensor
    own_values: torch.Tensor
    shared_keys: torch.Tensor | None = None
    shared_values: torch.Tensor | None = None

    def reserve(self, n_slots: int, length: int) -> None:
        """Make room for so many sequences of this length."""
        slots, heads, capacity, size = self.own_keys.shape
        if slots >= n_slots and capacity >= length:
            return
        new_slots = slots if slots >= n_slots else max(n_slots, 2 * slots)
        new_capacity = capacity if capacity >= length else max(length, 2 * capacity, _INITIAL_CAPACITY)
        for name in ("own_keys", "own_values"):
            old: torch.Tensor = getattr(self, name)
            grown = old.new_zeros((new_slots, heads, new_capacity, size))
            grown[:slots, :, :capacity] = old
            setattr(self, name, grown)

    def share(self, length: int) -> None:
        """Make the first keys and values of the first sequence those of the shared start, and forget all others."""
        self.shared_keys = self.own_keys[0, :, :length].clone()
        self.shared_values = self.own_values[0, :, :length].clone()
        self.own_keys, self.own_values = self.own_keys[:0, :, :0], self.own_values[:0, :, :0]

    def move(self, source: int, target: int, length: int) -> None:
        """Put the sequence in slot `source` into slot `target`."""
        self.own_keys[target, :, :length] = self.own_keys[source, :, :length]
        self.own_values[target, :, :length] = self.own_values[source, :, :length]


@dataclass
class _Step:
    """Where the tokens of one forward pass belong.

    Attributes:
        sequences: (n_tokens,) index of each token's sequence among those of the step.
        columns: (n_tokens,) index of each token in its run.
        slots: Rows of the own keys that the step's sequences use.
        positions: (n_tokens,) where each token's key goes in its slot.
        mask: (n_sequences, 1, 1, longest_run, own_length) additive: which own keys each query sees.
        n_columns: Length of the longest run.
        own_length: Length of the longest sequence after the step, without the shared start.
    """

    sequences: torch.Tensor
    columns: torch.Tensor
    slots: slice
    positions: torch.Tensor
    mask: torch.Tensor
    n_columns: int
    own_length: int


@dataclass
class PackedDecoder:
    """Runs a decoder-only model over a changing set of sequences.

    Attributes:
        model: Its attention implementation is replaced.
    """

    model: "PreTrainedModel"
    _layers: dict[int, _Layer] = field(default_factory=dict)
    _lengths: list[int] = field(default_factory=list)
    _shared_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        AttentionInterface.register(ATTENTION, _packed_attention)
        self.model.set_attn_implementation(ATTENTION)

    @classmethod
    def for_model(cls, model: "PreTrainedModel") -> "PackedDecoder | None":
        """A decoder for `model`, or None, with `model` as it was, if it can't run this way.

        It must be decoder-only, take an attention function, have full attention in every layer, and give the same logits
        as before for a few tokens: that finds models whose attention has something of its own.
        """
        config = model.config.get_text_config()
        windowed = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None) is not None
        kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
        if (
            model.config.is_encoder_decoder
            or not getattr(model, "_supports_attention_backend", False)
            or kinds != {"full_attention"}
            or windowed
        ):
            return None
        ids = [token % config.vocab_size for token in range(11, 11 + 9)]
        original = config._attn_implementation
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1]
        decoder = cls(model)
        try:
            decoder.share(tuple(ids[:3]))
            decoder.add([ids[3:6]])
            found = decoder.extend([ids[6:]])[0]
        except (TypeError, ValueError, RuntimeError) as error:
            logger.info("%s can't run packed: %s", type(model).__name__, error)
            found = None
        tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
        if found is None or (found - expected).abs().max() > tolerance * expected.abs().max():
            model.set_attn_implementation(original)
            return None
        decoder.remove([0])
        return decoder

    @property
    def n_sequences(self) -> int:
        return len(self._lengths)

    def share(self, ids: tuple[int, ...]) -> None:
        """Make `ids` the start of all sequences that are added from now on. There must be none at the moment."""
        if ids == self._shared_ids:
            return
        if self._lengths:
            raise RuntimeError("The shared start can't change while there are sequences.")
        self._layers, self._shared_ids = {}, ()
        if ids:
            self.add([list(ids)])
            for layer in self._layers.values():
                layer.share(len(ids))
            self._lengths.clear()
        self._shared_ids = ids

    @torch.inference_mode()
    def add(self, runs: Sequence[Sequence[int]]) -> torch.Tensor:
        """Add sequences that start with the shared ids and go on with these; of equal ones the model reads one.

        Returns:
            Logits after the last token of each, shape (len(runs), vocabulary size).
        """
        first = self.n_sequences
        places: dict[tuple[int, ...], int] = {}
        origins = [places.setdefault(tuple(run), len(places)) for run in runs]
        self._lengths += [0] * len(places)
        logits = self._forward(list(places), first)
        self._lengths[first:] = [len(run) for run in runs]
        if len(places) < len(runs):
            for layer in self._layers.values():
                layer.reserve(self.n_sequences, max(self._lengths))
                for place in range(len(runs) - 1, -1, -1):  # from the end: no origin is behind its copy, so none is overwritten
                    layer.move(first + origins[place], first + place, len(runs[place]))
        return logits[origins]

    def extend(self, runs: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append one or more tokens to every sequence; returns the logits after the last token of each."""
        return self._forward(runs, 0)

    @torch.inference_mode()
    def remove(self, indices: Sequence[int]) -> list[int]:
        """Drop sequences.

        Returns:
            The new order: for each place, the old index of the sequence that stands there now.
        """
        order = list(range(self.n_sequences))
        for index in sorted(indices, reverse=True):
            last = order.pop()
            if index < len(order):
                order[index] = last
        for place, old in enumerate(order):
            if place != old:
                for layer in self._layers.values():
                    layer.move(old, place, self._lengths[old])
        self._lengths = [self._lengths[old] for old in order]
        return order

    @torch.inference_mode()
    def _forward(self, runs: Sequence[Sequence[int]], first: int) -> torch.Tensor:
        device = self.model.device
        starts = self._lengths[first : first + len(runs)]
        counts = torch.tensor([len(run) for run in runs])
        sequences = torch.repeat_interleave(torch.arange(len(runs)), counts)
        columns = torch.cat([torch.arange(len(run)) for run in runs])
        positions = torch.tensor(starts)[sequences] + columns
        n_columns, own_length = int(counts.max()), int(positions.max()) + 1
        visible = torch.arange(own_length) <= (torch.tensor(starts)[:, None] + torch.arange(n_columns))[..., None]
        mask = torch.zeros(visible.shape).masked_fill_(~visible, float("-inf"))
        step = _Step(
            sequences.to(device),
            columns.to(device),
            slice(first, first + len(runs)),
            positions.to(device),
            mask[:, None, None].to(device),
            n_columns,
            own_length,
        )
        outputs = self.model(
            input_ids=torch.tensor([[token for run in runs for token in run]], device=device),
            position_ids=(positions + len(self._shared_ids))[None].to(device),
            use_cache=False,
            logits_to_keep=(counts.cumsum(0) - 1).to(device),
            packed=(self, step),
        )
        for offset, run in enumerate(runs):
            self._lengths[first + offset] += len(run)
        logits: torch.Tensor = outputs.logits[0]
        return logits

    def layer(self, index: int, keys: torch.Tensor, step: _Step) -> _Layer:
        """The keys and values of layer `index`, with room for the tokens of `step`."""
        if index not in self._layers:
            shape = (0, keys.shape[1], 0, keys.shape[3])
            self._layers[index] = _Layer(keys.new_zeros(shape), keys.new_zeros(shape))
        layer = self._layers[index]
        layer.reserve(step.slots.stop, step.own_length)
        return layer


def _packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    packed: tuple[PackedDecoder, _Step],
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of packed queries to the shared keys and to the keys of their own sequence.

    *Shape:* `query` (1, n_heads, n_tokens, head_dim); `key` and `value` (1, n_kv_heads, n_tokens, head_dim); the result
    (1, n_tokens, n_heads, head_dim).
    """
    decoder, step = packed
    layer = decoder.layer(module.layer_idx, key, step)  # type: ignore[arg-type]
    slots = torch.arange(step.slots.start, step.slots.stop, device=key.device)[step.sequences]
    layer.own_keys[slots, :, step.positions] = key[0].transpose(0, 1)
    layer.own_values[slots, :, step.positions] = value[0].transpose(0, 1)
    own_keys = layer.own_keys[step.slots, :, : step.own_length]
    own_values = layer.own_values[step.slots, :, : step.own_length]

    n_heads, head_dim = query.shape[1], query.shape[3]
    n_sequences, n_kv_heads = own_keys.shape[:2]
    n_groups = n_heads // n_kv_heads
    # (n_sequences, n_kv_heads, n_groups, n_columns, head_dim): the grid, with heads that share keys side by side
    grid = query.new_zeros((n_sequences, step.n_columns, n_kv_heads, n_groups, head_dim))
    grid[step.sequences, step.columns] = query[0].transpose(0, 1).reshape(-1, n_kv_heads, n_groups, head_dim) * scaling
    grid = grid.permute(0, 2, 3, 1, 4)

    rows = n_groups * step.n_columns
    own_scores = (grid.reshape(n_sequences, n_kv_heads, rows, head_dim) @ own_keys.transpose(2, 3)).float()
    own_scores = own_scores.view(n_sequences, n_kv_heads, n_groups, step.n_columns, -1) + step.mask
    scores = own_scores.view(n_sequences, n_kv_heads, rows, -1)
    if layer.shared_keys is None or layer.shared_values is None:
        weights = scores.softmax(-1).to(query.dtype)
        mixed = weights @ own_values
    else:
        n_shared = layer.shared_keys.shape[1]
        by_head = grid.transpose(0, 1).reshape(n_kv_heads, n_sequences * rows, head_dim)
        shared_scores = (by_head @ layer.shared_keys.transpose(1, 2)).float()
        shared_scores = shared_scores.view(n_kv_heads, n_sequences, rows, n_shared).transpose(0, 1)
        weights = torch.cat([shared_scores, scores], dim=-1).softmax(-1).to(query.dtype)
        shared_weights = weights[..., :n_shared].transpose(0, 1).reshape(n_kv_heads, n_sequences * rows, n_shared)
        mixed = (shared_weights @ layer.shared_values).view(n_kv_heads, n_sequences, rows, head_dim).transpose(0, 1)
        mixed = mixed + weights[..., n_shared:] @ own_values
    mixed = mixed.reshape(n_sequences, n_heads, step.n_columns, head_dim).transpose(1, 2)
    return mixed[step.sequences, step.columns][None], None
