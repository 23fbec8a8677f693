"""Episodes as token ids and labels: what of a sequence the loss is computed on."""

from typing import TYPE_CHECKING

from genre_x.chat import encode_chat
from genre_x.training.episodes import Episode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Label of a token without loss, as torch's cross entropy and transformers define it."""


def encode_decoder(tokenizer: "PreTrainedTokenizerBase", episode: Episode) -> dict[str, list[int]]:
    """Loss on every answer and on the token that ends it."""
    chat = encode_chat(tokenizer, episode.messages)
    labels = [token if answer else IGNORED for token, answer in zip(chat.ids, chat.in_answer, strict=True)]
    return {"input_ids": chat.ids, "labels": labels}


def encode_seq2seq(tokenizer: "PreTrainedTokenizerBase", episode: Episode) -> dict[str, list[int]]:
    """The prompt goes to the encoder, the answer to the decoder."""
    prompt = encode_chat(tokenizer, episode.messages[:-1])
    answer = tokenizer(episode.messages[-1].content, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return {"input_ids": prompt.ids, "labels": [*answer, tokenizer.eos_token_id]}
